"""Targets are data: they compose, read the right numbers, and refuse what is out of range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xplain.core.errors import NonFinite, UnknownName, UsageError
from xplain.core.outline import LayerSpec, Outline, ScoreSpec
from xplain.core.target import SCORES, Stack, channel, inner, label, neuron
from xplain.core.targets.target_parser import aim

SCORE = np.array([[1.0, 5.0, 3.0], [7.0, 2.0, 9.0]])
ITEMS = np.arange(2)


def outline(labels: tuple[str, ...] = ("cat", "tabby, tabby cat", "dog - wild")) -> Outline:
    spec = ScoreSpec("scores", 3, "logits", "softmax", "given")
    return Outline("test", "function", "", (), "x", None, spec, labels=labels)


def test_arithmetic_reads_what_it_says():
    target = label(2) - 0.5 * label([1, 0])
    np.testing.assert_array_equal(target.read({SCORES: SCORE}, ITEMS), [3 - 2.5, 9 - 3.5])
    np.testing.assert_array_equal((-target).read({SCORES: SCORE}, ITEMS), [-0.5, -5.5])


def test_rows_are_read_for_their_own_item():
    rows = np.repeat(SCORE, 2, axis=0)
    owners = np.array([0, 0, 1, 1])
    np.testing.assert_array_equal(label([1, 2]).read({SCORES: rows}, owners), [5, 5, 9, 9])
    np.testing.assert_array_equal(label([1, 2]).take(owners).read({SCORES: rows}, np.arange(4)), [5, 5, 9, 9])


def test_inner_tensors():
    layer = np.arange(2 * 3 * 2 * 2, dtype=float).reshape(2, 3, 2, 2)
    values = {"conv": layer, SCORES: SCORE}
    np.testing.assert_array_equal(channel("conv", 1).read(values, ITEMS), layer[:, 1].mean(axis=(1, 2)))
    np.testing.assert_array_equal(neuron("conv", 2, 0, 1).read(values, ITEMS), layer[:, 2, 0, 1])
    np.testing.assert_array_equal(
        inner("conv", layer[0]).read(values, ITEMS), [(layer[n] * layer[0]).sum() for n in (0, 1)]
    )
    per_item = inner("conv", layer, per_item=True)
    np.testing.assert_array_equal(per_item.read(values, ITEMS), (layer**2).sum(axis=(1, 2, 3)))
    np.testing.assert_array_equal(
        per_item.take(np.array([1])).read({"conv": layer[1:]}, np.array([0])), [(layer[1] ** 2).sum()]
    )
    both = Stack((channel("conv", 0), label(0)))
    assert both.tensors == ("conv", SCORES)
    assert both.read(values, ITEMS).shape == (2, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (channel("conv", 3), "no channel 3"),
        (neuron("conv", 0, 0), r"no element \[0, 0\]"),
        (neuron("conv", 0, 2, 0), r"no element \[0, 2, 0\]"),
        (inner("conv", np.zeros((3, 1, 2))), "the cotangent is"),
    ],
)
def test_what_a_tensor_does_not_have_is_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        wrong.read({"conv": np.zeros((2, 3, 2, 2))}, ITEMS)


def read(wanted, scores=SCORE, labels=("cat", "tabby, tabby cat", "dog - wild")):
    return [
        one.target.read({SCORES: scores}, np.arange(len(scores))).tolist()
        for one in aim(wanted, scores, outline(labels))
    ]


def test_what_people_ask_for():
    assert read(None) == [[5.0, 9.0]]
    assert read(0) == [[1.0, 7.0]]
    assert read(-1) == [[3.0, 9.0]]
    assert read("2") == [[3.0, 9.0]]
    assert read("CAT") == [[1.0, 7.0]]
    assert read("tabby cat") == [[5.0, 2.0]]
    assert read("dog - wild") == [[3.0, 9.0]]
    assert read("cat - tabby") == [[-4.0, 5.0]]
    assert read([1, None]) == [[5.0, 9.0]]
    assert read("top2") == [[5.0, 9.0], [3.0, 7.0]]
    assert aim("top2", SCORE, outline())[1].labels == (2, 0)
    assert aim("cat", SCORE, outline())[0].target.name == "cat"


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        (3, UsageError, "out of range: the model has 3 classes, 0 to 2"),
        (-4, UsageError, "out of range"),
        ("cta", UnknownName, "Did you mean 'cat'"),
        ("top9", UsageError, "the model has 3"),
        ([0], UsageError, "list of 1 for 2 items"),
        (1.5, UsageError, "not understood"),
        (label(7), UsageError, "asks for class 7"),
        (label([0, 1, 2]), UsageError, "names 3 classes for 2 items"),
    ],
)
def test_what_cannot_be_a_target_is_refused(wanted, error, message):
    with pytest.raises(error, match=message):
        aim(wanted, SCORE, outline())


def test_a_name_without_labels_and_a_name_that_two_classes_bear():
    with pytest.raises(UsageError, match="no labels are known"):
        aim("cat", SCORE, outline(()))
    with pytest.raises(UsageError, match=r"stands for classes \[0, 2\]"):
        aim("crane", SCORE, outline(("crane", "bird", "crane")))


def test_no_class_is_predicted_from_nan():
    with pytest.raises(NonFinite, match="score of class 1 for item 0 is nan"):
        aim(None, np.array([[0.0, np.nan]]), outline())


def test_a_layer_may_be_asked_for_in_words():
    spec = replace(outline(), layers=(LayerSpec("/conv/5", "Conv", (None, 3, 2, 2)),))
    assert aim("/conv/5[2]", SCORE, spec)[0].target == channel("/conv/5", 2)
    assert aim("/conv/5[2, 0, 1]", SCORE, spec)[0].target == neuron("/conv/5", 2, 0, 1)
    with pytest.raises(UnknownName, match="Unknown layer '/conv/6'. Did you mean '/conv/5'"):
        aim("/conv/6[2]", SCORE, spec)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [("tabby", 1), ("tabby cat", 1), ("n02123045", 1), ("tabby, tabby cat", 1), ("N02123045 tabby, tabby cat", 1)],
)
def test_a_label_with_its_wordnet_number_is_known_by_either(wanted, index):
    from dataclasses import replace

    from xplain.testing import Formula

    outline = Formula(lambda rows: rows, "NS", (2,), classes=2).outline
    outline = replace(outline, labels=("n01440764 tench, Tinca tinca", "n02123045 tabby, tabby cat"))
    assert outline.label_index(wanted, 2) == index
