"""A result is saved whole, read back equal, and never executes anything."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.core.attribution import Attribution, Cost
from xplain.core.errors import OutputError, UsageError


def example(**changes) -> Attribution:
    values = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4) - 5
    fields = dict(
        values=values,
        unit="delta logit",
        method="occlusion",
        options={"patch": (2, 2), "baseline": 0.0},
        target="cat",
        scores=np.array([1.5, 2.5]),
        error=np.ones_like(values),
        labels=(3, 3),
        names=("a", "b"),
        cost=Cost(10, 0, 1, 0.5),
        resolution=(3, 4),
        notes={"nan": float("nan"), "array": np.arange(3)},
        pictures=np.zeros((2, 3, 4, 3), np.uint8),
    )
    return Attribution(**{**fields, **changes})


def test_round_trip(tmp_path):
    saved = example()
    back = Attribution.load(saved.save(tmp_path / "a.npz"))
    for name in ("values", "error", "scores", "pictures"):
        np.testing.assert_array_equal(getattr(back, name), getattr(saved, name))
    assert back.base is None
    assert back.meta() == saved.meta()
    assert (back.cost, back.resolution, back.labels) == (saved.cost, (3, 4), (3, 3))
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_one_item():
    one = example()[-1]
    assert len(one) == 1
    assert one.names == ("b",)
    np.testing.assert_array_equal(one.values[0], example().values[1])
    with pytest.raises(UsageError, match="there are 2 items"):
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
