"""What was explained is kept as data: cut, joined, saved and asked again as it was."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made import attribution

import xplain
from xplain import Attribution
from xplain.core.errors import UsageError
from xplain.measure import curve
from xplain.results.join import joined
from xplain.testing import Formula

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)
WEIGHTS = np.array([[1.0, 2.0, 3.0], [4.0, 0.0, -1.0], [0.5, 0.5, 2.0], [1.0, 1.0, 1.0]])
MODEL = Formula(lambda rows: rows.astype(float) @ WEIGHTS, "NS", (4,), classes=3)

TARGETS = {
    "one class": xplain.label(2, "cat | dog"),
    "a class of each": xplain.label([0, 2, 1], ["cat", "per item: dog", "cow"]),
    "a difference": xplain.label([0, 2, 1]) - 0.5 * xplain.label(1),
    "a layer": 3 * xplain.channel("conv", 4) + xplain.neuron("conv", 1, 2),
    "a cotangent": xplain.inner("conv", np.arange(6.0).reshape(2, 3) / 7),
    "a cotangent of each": xplain.inner("conv", np.arange(18.0).reshape(3, 2, 3) / 7, per_item=True),
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_it_comes_back(target, tmp_path):
    one = attribution(VALUES, explained=target, targets=tuple(target.of_item(n).name for n in range(3)))
    back = Attribution.load(one.save(tmp_path / "a.npz"))
    assert back.explained == target
    assert back.explained.name == target.name
    assert back.meta() == one.meta()
    for n, item in enumerate(back):
        assert item.explained.of_item(0) == target.of_item(n)
        assert item.explained.of_item(0).name == target.of_item(n).name == item.target
    whole = joined([back[:2], back[2]]).explained
    assert [whole.of_item(n) for n in range(3)] == [target.of_item(n) for n in range(3)]
    assert [whole.of_item(n).name for n in range(3)] == [target.of_item(n).name for n in range(3)]


def test_parts_of_other_targets_have_none_together():
    parts = [attribution(VALUES, explained=one) for one in (xplain.label(1), xplain.channel("conv", 1), None)]
    assert joined(parts[:2]).explained is None
    assert joined(parts[1:]).explained is None


@pytest.mark.parametrize("wanted", [None, 1, [2, 0, 1], "0 - 2", xplain.label([0, 1, 2]) - xplain.label(1)])
def test_a_result_says_what_it_explains(wanted, tmp_path):
    x = np.random.default_rng(0).random((3, 4)).astype(np.float32)
    found = xplain.explain(MODEL, x, "exact-shapley", target=wanted, baseline=0.0)
    scores = {"": xplain.predict(MODEL, x)}
    np.testing.assert_allclose(found.explained.read(scores, np.arange(3)), found.scores)
    assert found.targets == tuple(found.explained.of_item(n).name for n in range(3))
    if found.labels:
        assert found.explained == xplain.label(found.labels if len(set(found.labels)) > 1 else found.labels[0])
    kept = Attribution.load(found.save(tmp_path / "a.npz")).explained
    again = xplain.explain(MODEL, x, "exact-shapley", target=kept, baseline=0.0)
    np.testing.assert_array_equal(again.values, found.values)
    falling = curve(MODEL, x, found, "deletion", steps=4)  # of the same target, whatever it is
    np.testing.assert_allclose(falling.scores[:, 0], found.scores)
    assert falling.explained == found.explained


@pytest.mark.parametrize(
    "told",
    [
        [{"weight": 1.0}],
        [{"weight": "x", "kind": "label", "index": [0]}],
        [{"weight": 1.0, "kind": "label", "index": [[0], [1]], "per_item": True}],
        [{"weight": 1.0, "kind": "label", "index": [{"__float__": "inf"}]}],
        [{"weight": 1.0, "kind": "inner", "tensor": "a", "factors": {"__array__": "extra.99"}}],
    ],
)
def test_a_file_whose_target_is_none_is_refused(told, tmp_path):
    with np.load(attribution(VALUES).save(tmp_path / "a.npz")) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays["meta"])) | {"explained": told}
    np.savez(tmp_path / "a.npz", **{**arrays, "meta": np.array(json.dumps(meta))})
    with pytest.raises(UsageError, match="not a saved attribution: its field 'explained'"):
        Attribution.load(tmp_path / "a.npz")
