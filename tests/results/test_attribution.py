"""A result is saved whole, read back equal, and never executes anything."""

from __future__ import annotations

import json

import made
import numpy as np
import pytest
from made import attribution

from xplain.core.cost import Cost
from xplain.core.errors import OutputError, UsageError
from xplain.core.positions.coordinates import Coordinates
from xplain.results.attribution import Attribution


def example(**changes) -> Attribution:
    values = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4) - 5
    fields = dict(
        values=values,
        method="occlusion",
        options={"patch": (2, 2), "baseline": 0.0},
        scores=np.array([1.5, 2.5]),
        error=np.ones_like(values),
        labels=(3, 3),
        names=("a", "b"),
        cost=Cost(10, 0, 1, 0.5),
        rows_per_call={"scores": (1, 9)},
        resolution=(3, 4),
        facts={"nan": float("nan"), "array": np.arange(3)},
        pictures=np.zeros((2, 3, 4, 3), np.uint8),
    )
    return attribution(**{**fields, **changes})


def test_round_trip(tmp_path):
    saved = example()
    back = Attribution.load(saved.save(tmp_path / "a.npz"))
    for name in ("values", "error", "scores", "pictures"):
        np.testing.assert_array_equal(getattr(back, name), getattr(saved, name))
    assert back.base is None
    assert back.meta() == saved.meta()
    assert (back.cost, back.resolution, back.labels) == (saved.cost, (3, 4), (3, 3))
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_notes_and_options_come_back_as_they_were(tmp_path):
    big = np.arange(2 * 100 * 100, dtype=np.int32).reshape(2, 100, 100)
    notes = {
        "labels": big,
        "deep": [{"mask": big[0] > 7, "share": float("-inf")}, {"mask": None}],
        "words": np.array(["a", "ü"]),
        "objects": np.array([None, "x"], dtype=object),
        "cells": (7, (8, 9)),
        "looks like a marker": {"__array__": "extra.0", "more": 1},
        "number": np.float32(0.5),
    }
    options = {"patch": (16, 8), "baseline": np.full((1, 3, 70, 70), 0.25, np.float32), "limit": float("nan")}
    each = {"masks": [big[0] > 3, None], "gap": np.array([0.5, -1.0])}
    back = Attribution.load(example(facts=notes, each=each, options=options).save(tmp_path / "a.npz"))
    np.testing.assert_array_equal(back.each["masks"][0], big[0] > 3)
    assert back.each["gap"].tolist() == [0.5, -1.0]
    np.testing.assert_array_equal(back.notes["labels"], big)
    assert back.notes["labels"].dtype == np.int32
    np.testing.assert_array_equal(back.notes["deep"][0]["mask"], big[0] > 7)
    assert back.notes["deep"][0]["share"] == float("-inf")
    assert back.notes["words"].tolist() == ["a", "ü"]
    assert back.notes["objects"] == [None, "x"]
    assert back.notes["cells"] == (7, (8, 9))
    assert back.notes["looks like a marker"] == notes["looks like a marker"]
    assert back.notes["number"] == 0.5
    assert back.options["patch"] == (16, 8)
    np.testing.assert_array_equal(back.options["baseline"], options["baseline"])
    assert np.isnan(back.options["limit"])
    again = Attribution.load(back.save(tmp_path / "b.npz"))
    assert again.meta() == back.meta()


def test_one_item():
    own = {"labels": np.arange(24, dtype=np.int32).reshape(2, 3, 4), "gap": np.array([0.5, 1.5]), "rule": ["a", "b"]}
    shared = {"cells": (2, 2), "layer": "conv"}
    every = example(facts=shared, each=own)
    one = every[-1]
    assert len(one) == 1
    assert one.names == ("b",)
    np.testing.assert_array_equal(one.values[0], example().values[1])
    np.testing.assert_array_equal(one.notes["labels"], own["labels"][1:])
    assert one.notes["gap"].tolist() == [1.5]
    assert one.notes["rule"] == ["b"]
    assert {name: one.notes[name] for name in shared} == shared
    assert every.notes_of(-1) | {"labels": 0} == {
        "labels": 0,
        "gap": 1.5,
        "rule": "b",
        **shared,
        "rows per call": {"scores": (1, 9)},
    }
    two = example(facts={"pair": [1, 2], "labels": np.zeros((2, 3))})  # as many entries as items, and yet of the run
    assert two[1].notes["pair"] == two.notes_of(1)["pair"] == [1, 2]
    assert two[1].notes["labels"].shape == (2, 3)
    with pytest.raises(UsageError, match="the result has 2 items"):
        example()[2]


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match="Cannot write"):
        example().save(tmp_path / "absent" / "a.npz")
    with pytest.raises(UsageError, match="ends in .npz"):
        example().save(tmp_path / "a.npy")


def test_files_that_are_no_attribution(tmp_path):
    with pytest.raises(UsageError, match="There is no file"):
        Attribution.load(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes(b"no zip")
    with pytest.raises(UsageError, match="not a saved attribution"):
        Attribution.load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", meta=np.array({"a": 1}, dtype=object))
    with pytest.raises(UsageError, match="not a saved attribution"):
        Attribution.load(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", meta=np.array('{"format": 99}'))
    with pytest.raises(UsageError, match="another format"):
        Attribution.load(tmp_path / "c.npz")
    with np.load(example().save(tmp_path / "d.npz")) as file:
        whole = dict(file)
    for lost in ("values", "extra.0", "meta"):
        np.savez(tmp_path / "e.npz", **{name: array for name, array in whole.items() if name != lost})
        with pytest.raises(UsageError, match="not a saved attribution"):
            Attribution.load(tmp_path / "e.npz")


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = example().save(tmp_path / "a.npz")
    before = path.read_bytes()

    def interrupted(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        example(target="dog").save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_items_are_gone_through_and_cut():
    from xplain.core.caveat import each

    a = attribution(
        np.arange(12).reshape(4, 3),
        scores=np.arange(4.0),
        names=("a", "b", "c", "d"),
        warnings=each(["", "x", "", "y"]),
        facts={"all": 5},
        each={"each": [1, 2, 3, 4]},
    )
    assert [one.names for one in a] == [("a",), ("b",), ("c",), ("d",)] == [one.names for one in list(a)]
    assert [(one.names[0], n) for one, n in zip(a, range(2), strict=False)] == [("a", 0), ("b", 1)]
    for cut in (slice(1, 3), slice(None, None, 2), slice(-1, None), slice(None, None, -1)):
        some = a[cut]
        np.testing.assert_array_equal(some.values, a.values[cut])
        assert some.names == a.names[cut]
        assert some.notes == {"each": a.notes["each"][cut], "all": 5}
        assert {(one.item, one.text) for one in some.warnings} == {
            (k, "x" if name == "b" else "y") for k, name in enumerate(some.names) if name in "bd"
        }
    with pytest.raises(UsageError, match=r"No item is in slice\(4, None, None\); the result has 4 items"):
        a[4:]


def test_signals_and_what_axes_measure_come_back(tmp_path):
    told = Coordinates(channels=("I", "II"), rate=250.0, unit="mV")
    signals = np.arange(12, dtype=np.float32).reshape(1, 2, 6)
    a = made.attribution(np.ones((1, 6)), signals=signals, coordinates=told, layout="NCT (stated)")
    again = Attribution.load(a.save(tmp_path / "a.npz"))
    assert again.coordinates == told
    np.testing.assert_array_equal(again.signals, signals)
    assert again.meta() == a.meta()
    assert again[0].sentence() == a.sentence()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("signals", np.ones((2, 2, 6), np.float32), r"its signals are float32 \[2, 2, 6\]; float32 \[1, ...\]"),
        ("signals", np.ones((1, 2, 6)), "its signals are float64"),
        ("signals", np.full((1, 2, 6), np.inf, np.float32), "its signals holds NaN or infinity"),
        ("coordinates", {"rate": -1}, "its field 'coordinates' is a dict"),
        ("coordinates", {"colour": 1}, "its field 'coordinates' is a dict"),
        ("coordinates", [], "its field 'coordinates' is a list"),
    ],
)
def test_signals_of_a_hostile_file_are_refused(tmp_path, name, value, said):
    a = made.attribution(np.ones((1, 6)), signals=np.ones((1, 2, 6), np.float32), layout="NCT")
    with np.load(a.save(tmp_path / "a.npz")) as file:
        arrays = dict(file)
    if name == "signals":
        arrays["signals"] = value
    else:
        arrays["meta"] = np.array(json.dumps({**json.loads(str(arrays["meta"])), name: value}))
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UsageError, match=said):
        Attribution.load(tmp_path / "a.npz")
