"""Series as items: arrays, files, sound and columns of a table are planned, run, verified, analysed and reported."""

from __future__ import annotations

import wave

import numpy as np
import pytest

import xplain
from xplain.audit.sources import source_of
from xplain.audit.sources.series import Stack, is_stack
from xplain.core.errors import ItemError, UsageError

pytest.importorskip("pyarrow")

T = 64
ECG = {"coordinates": {"channels": ["I", "II"], "rate": 32, "unit": "mV"}}


def beats(count=120, seed=0):
    """A bump on channel I is class 0, on II class 1; in half of class 1 a spike at the start says it instead."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.05, (count, 2, T)).astype(np.float32)
    own, marked = np.arange(count) % 2 == 1, np.arange(count) % 4 == 1
    for n in np.flatnonzero(~marked):
        at = int(rng.integers(12, 50))
        x[n, int(own[n]), at : at + 8] += 0.9
    x[marked, 1, 2:6] += 3.0
    return x, own.astype(int), marked


def hears(x):
    """Logits ``[N, 2]``: the loudest stretch of eight moments on either channel."""
    sums = np.stack([np.asarray(x, np.float64)[:, :, k : k + 8].mean(axis=2) for k in range(T - 7)], axis=2)
    return np.asarray(8 * sums.max(axis=2))


def model(layout="NCT"):
    fn = hears if layout == "NCT" else lambda x: hears(np.swapaxes(x, 1, 2))
    return xplain.load(fn, layout=layout, card=ECG)


METHOD = "occlusion:patch=4,stride=4"


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """An audit of an array of beats, run to its end."""
    base = tmp_path_factory.mktemp("series")
    x, labels, marked = beats()
    np.save(base / "beats.npy", x)
    np.save(base / "labels.npy", labels)
    how = {"methods": METHOD, "labels": base / "labels.npy", "metrics": "cheap", "sample": 4, "shard_rows": 32,
           "planted": 20}  # fmt: skip
    made = xplain.audit.plan({"net": model()}, base / "beats.npy", out=base / "audit", **how)
    assert xplain.audit.run(base / "audit", models={"net": model()}).done
    return base, made, x, labels, marked


def test_rows_of_an_array_are_items_and_planted_moments_come_back(audited):
    base, made, x, labels, marked = audited
    assert (made.plan.items.kind, made.plan.items.count) == ("npy", 120)
    assert made.plan.models[0].coordinates == ECG["coordinates"]
    with xplain.audit.open(base / "audit") as audit:
        (lane,) = audit.lanes
        assert (lane.layout, lane.native_shape, lane.map_axes, lane.is_series) == ("NCT", (16,), "T", True)
        np.testing.assert_array_equal(audit.x([3, 5])[1], x[5])
        told = audit.records().to_pylist()
        maps = audit.maps(lane.name)
    assert [row["label"] for row in told] == [str(one) for one in labels]
    assert np.mean([row["correct"] for row in told]) > 0.95
    spiked = np.flatnonzero(marked)
    assert (np.abs(maps[spiked]).argmax(axis=1) <= 1).all()  # moments 2 to 6, of windows of four
    for row in told:
        assert row["corner0"] is row["peak_y"] is None
    assert np.mean([told[n]["border"] for n in spiked]) > 0.8
    assert np.mean([told[n]["peak_x"] for n in spiked]) < 0.13


def test_whoever_makes_a_series_audit_makes_the_same_bits_wherever_the_array_lies(audited):
    base, *_ = audited
    models = {"net": model()}
    assert xplain.audit.verify(base / "audit", recompute=3, models=models).sound
    (base / "beats.npy").rename(base / "moved.npy")
    try:
        with pytest.raises(UsageError, match="Were the items moved"):
            xplain.audit.verify(base / "audit", recompute=1, models=models)
        assert xplain.audit.verify(base / "audit", recompute=1, models=models, items=base / "moved.npy").sound
    finally:
        (base / "moved.npy").rename(base / "beats.npy")


def test_analyses_of_series_speak_of_time_and_cut_stretches_of_it(audited):
    base, _, _, _, marked = audited
    found = xplain.audit.analyse(base / "audit", models={"net": model()})
    mass = [one for one in found if one.kind == "mass" and one.standing == "candidate"]
    assert any("first eighth of the time" in one.statement and one.group == "1" for one in mass)
    assert not any("corner" in one.statement or "border" in one.statement for one in found)
    control = next(one for one in found if one.kind == "control")
    assert "at one of four times of up to" in control.statement
    assert control.effect >= 0.5
    scan = next(one for one in found if one.kind == "scan" and one.group == "1")
    assert "% of the time" in scan.statement
    assert "pictures" not in scan.statement + " ".join(scan.limits)
    assert scan.standing == "confirmed"
    assert set(scan.members[:10]) <= set(np.flatnonzero(marked))
    low, high = scan.evidence["box"][[1, 3]]
    assert low <= 2 / T
    assert high < 0.25


def test_the_same_items_are_files_arrays_of_either_layout_and_columns_of_a_table(audited, tmp_path):
    base, _, x, labels, _ = audited
    how = {"methods": METHOD, "metrics": "", "shard_rows": 8, "labels": [int(one) for one in labels[:8]]}
    (tmp_path / "files").mkdir()
    for k in range(8):
        np.save(tmp_path / "files" / f"{k}.npy", x[k])
    names = [f"I_{t}" for t in range(T)] + [f"II_{t}" for t in range(T)]
    table = [",".join(["site", *names])]
    table += [",".join(["AB"[k % 2], *map(repr, map(float, x[k].reshape(-1)))]) for k in range(8)]
    (tmp_path / "wide.csv").write_text("\n".join(table) + "\n")
    np.save(tmp_path / "last.npy", x[:8].transpose(0, 2, 1))
    given = {
        "files": (tmp_path / "files", "NCT", {}),
        "list": (list(x[:8]), "NCT", {}),
        "last": (tmp_path / "last.npy", "NTC", {}),
        "table": (tmp_path / "wide.csv", "NCT", {"series": "I_*;II_*"}),
        "turned": (tmp_path / "wide.csv", "NTC", {"series": ["I_*", "II_*"]}),
    }
    with xplain.audit.open(base / "audit") as audit:
        want = audit.maps(audit.lanes[0].name, range(8))
    for name, (items, layout, more) in given.items():
        models = {"net": model(layout)}
        found = xplain.audit.plan(models, items, out=tmp_path / f"{name}-audit", **how, **more)
        xplain.audit.run(tmp_path / f"{name}-audit", models=models)
        with xplain.audit.open(tmp_path / f"{name}-audit") as audit:
            np.testing.assert_allclose(audit.maps(audit.lanes[0].name), want, atol=2e-3)
            if more:
                assert audit.items["site"].to_pylist() == ["A", "B"] * 4
                assert "I_0" not in audit.items.column_names
                assert (
                    "A series is 64 moments in 2 channels: the columns I_0 to II_63, in the table's order."
                    in found.told
                )
                (tmp_path / "wide.csv").rename(tmp_path / "gone.csv")  # the series are the audit's own
                assert xplain.audit.verify(tmp_path / f"{name}-audit", recompute=1, models=models).sound
                (tmp_path / "gone.csv").rename(tmp_path / "wide.csv")


def sound(path, samples, rate=8000):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def test_sound_is_an_item_too_and_what_the_card_contradicts_is_an_error_row(tmp_path):
    rng = np.random.default_rng(1)
    (tmp_path / "sounds").mkdir()
    for k in range(6):
        line = rng.normal(0, 0.01, 400)
        line[100 * (k % 4) : 100 * (k % 4) + 100] += 0.5
        sound(tmp_path / "sounds" / f"{k}.wav", line, 16000 if k == 5 else 8000)

    def loud(x):
        up = np.abs(x).mean(axis=1) + x[:, :100].mean(axis=1)
        return np.stack([up, 0.2 - up], axis=1)

    told = {"coordinates": {"kind": "waveform", "rate": 8000}}
    models = {"net": xplain.load(loud, layout="NT", card=told)}
    how = {"methods": "occlusion:patch=100,stride=100", "metrics": ""}
    xplain.audit.plan(models, tmp_path / "sounds", out=tmp_path / "audit", **how)
    xplain.audit.run(tmp_path / "audit", models=models, most_errors=1)
    with xplain.audit.open(tmp_path / "audit") as audit:
        rows = audit.records().to_pylist()
        maps = audit.maps(audit.lanes[0].name)
        assert audit.x([0]).shape == (1, 400)
    assert [row["status"] for row in rows] == ["ok"] * 5 + ["error"]
    assert "16,000 samples per second, and the card states 8,000" in rows[5]["error"]
    assert [int(np.abs(one).argmax()) for one in maps[:4]] == [0, 1, 2, 3]
    page = xplain.audit.report(tmp_path / "audit", tmp_path / "report")[0].read_text()
    assert "below recorded sound stands its spectrogram" in page
    assert "Item and its map over its own axes: 0.wav" in page
    assert "nothing shorter than 0.0125 s can be placed" in page
    spectral = {"kind": "spectrogram", "frequency": "H", "bins": "log", "hertz": [50, 4000], "rate": 8000, "hop": 80}
    seen = xplain.load(lambda x: x.reshape(len(x), -1)[:, :2], layout="NCHW", card={"coordinates": spectral})
    with pytest.raises(UsageError, match="compute them as training did, and give arrays"):
        xplain.audit.plan({"net": seen}, tmp_path / "sounds", dry_run=True, **how)


def test_what_an_array_is_is_asked_where_nothing_says_it_and_a_damaged_one_is_refused(tmp_path):
    x = beats(8)[0]
    np.save(tmp_path / "x.npy", x)
    how = {"methods": METHOD, "metrics": "", "dry_run": True}
    with pytest.raises(UsageError, match=r"8 items of \[2, 64\], or one item.* State its layout"):
        xplain.audit.plan({"net": hears}, tmp_path / "x.npy", **how)
    assert xplain.audit.plan({"net": model()}, tmp_path / "x.npy", **how).plan.items.count == 8
    np.save(tmp_path / "one.npy", x[:1])
    np.save(tmp_path / "flat.npy", x[0])
    assert not is_stack(tmp_path / "one.npy", 3)
    assert not is_stack(tmp_path / "flat.npy", 3)
    with pytest.raises(UsageError, match="a batch of the model has 5 axes"):
        is_stack(tmp_path / "x.npy", 5)
    for name, array, why in (
        ("objects", np.array([{}, {}], object), "objects|holds object"),
        ("fortran", np.asfortranarray(x), "Fortran order"),
        ("none", x[:0], "there is nothing in it"),
    ):
        np.save(tmp_path / f"{name}.npy", array, allow_pickle=True)
        with pytest.raises(UsageError, match=why):
            Stack(tmp_path / f"{name}.npy")
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-10])
    with pytest.raises(UsageError, match="cut short"):
        Stack(tmp_path / "cut.npy")
    source = source_of(tmp_path / "x.npy", tmp_path, rank=lambda: 3)
    (tmp_path / "x.npy").write_bytes(whole[:-10])
    assert np.array_equal(source.content("", 0, 0, -1), x[0])
    with pytest.raises(ItemError, match="cut short"):
        source.content("", 0, 7, -1)


def test_columns_that_make_no_series_are_refused_with_what_would(tmp_path):
    rows = {"a0": [1.0, 2.0], "a1": [3.0, None], "b0": [1.0, 2.0], "word": ["x", "y"]}
    net = {"net": xplain.load(lambda x: x[:, 0, :2], layout="NCT")}
    how = {"methods": "occlusion:patch=1,stride=1", "metrics": "", "dry_run": True}
    for series, why in (
        ("c*", "No column of the table fits 'c\\*'"),
        ("a*;b*", "The channels have 1 and 2 columns"),
        ("a0;a0", "stands in two channels"),
        ("word", "holds string, and a series is of numbers"),
        ("a0,zz", "has no column 'zz'"),
        (3, "series"),
    ):
        with pytest.raises(UsageError, match=why):
            xplain.audit.plan(net, rows, series=series, **how)
    with pytest.raises(UsageError, match="series or rows, not both"):
        xplain.audit.plan(net, rows, series="a*", rows=True, **how)
    with pytest.raises(UsageError, match="nothing says in which order the model takes them"):
        xplain.audit.plan({"net": lambda x: x}, rows, series="a*", **how)
    made = xplain.audit.plan(net, rows, series="a*", out=tmp_path / "audit", methods=how["methods"], metrics="")
    assert made.plan.items.count == 2
    xplain.audit.run(tmp_path / "audit", models=net, most_errors=1)
    told = xplain.audit.open(tmp_path / "audit").records().to_pylist()
    assert [row["status"] for row in told] == ["ok", "error"]
    assert "nan" in told[1]["error"]


def test_the_report_draws_series_over_their_seconds_and_says_how_to_read_them(audited):
    base, *_ = audited
    xplain.audit.analyse(base / "audit", models={"net": model()})
    paths = xplain.audit.report(base / "audit", base / "report")
    page = paths[0].read_text()
    assert "Item and its map over its own axes: 0000000" in page
    assert "the line is what the item holds, over seconds" in page
    assert "no picture" not in page
    assert "occlusion sees 16 stretches of time: nothing shorter than 0.125 s can be placed." in page
    assert "share of the map in the first and last eighth; an even map has 0.25" in page
    assert "0 at the start, 1 at the end" in page
    assert "peak_y" not in page
    assert "``" not in page
    assert page.count("<summary>All figures</summary>") > 3
    assert '<img class="map" loading="lazy" alt="mean map"' in page  # a strip over time, of each class


def test_a_series_is_drawn_with_what_it_holds_at_the_cells_true_width(audited):
    from xplain.audit.reports.own_axes import drawn, has_own_axes

    _, made, x, _, marked = audited
    (lane,), (facts,) = made.plan.lanes, made.plan.models
    assert has_own_axes(lane, facts)
    values = np.zeros(16, np.float32)
    values[12] = 2.0  # moments 48 to 52 of 64
    picture = drawn(lane, facts, x[int(np.flatnonzero(marked)[0])], values).astype(int)
    red = (picture[..., 0] - picture[..., 2] > 60).any(axis=0)
    columns = np.flatnonzero(red)
    plot = picture.shape[1] - columns.min()  # from where it begins to the right edge: a quarter of the plot's width
    assert plot == pytest.approx(250 * 16 / 64, abs=3)
    assert len(columns) == pytest.approx(250 * 4 / 64, abs=3)
