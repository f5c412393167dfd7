"""Python functions as models: what they may return, and what is said when they return something else."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain.core.edits import Untouched, Windows
from xplain.core.errors import CapabilityError, CardError, ModelError, NonFinite, UnknownName, UsageError
from xplain.core.query import Peek, Score
from xplain.core.target import channel, every_score, label

X = np.random.default_rng(0).random((3, 2, 8, 8)).astype(np.float32)


def two_classes(batch):
    assert batch.dtype == np.float32
    return np.stack([batch.sum((1, 2, 3)), batch[:, 0, 0, 0]], axis=1)


def ask(function, edits=None, target=every_score, **options):
    return xplain.load(function, **options).answer(Score(X, edits or Untouched(), target))


def test_scores_of_edited_items():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 8, 8]], np.int32)
    got = ask(two_classes, Windows(boxes, np.full((1, 1, 1, 1), 5, np.float32)), label(1), layout="NCHW")
    assert np.allclose(got[:, 0], 5)
    assert got.shape == (6, 1)


@pytest.mark.parametrize(
    "wrap", [lambda y: y, lambda y: y.tolist(), lambda y: y[:, 0], lambda y: y[:, :, None, None], lambda y: y > 0]
)
def test_scores_in_other_forms(wrap):
    got = ask(lambda batch: wrap(two_classes(batch)))
    assert got.shape[0] == 3
    assert got.dtype == np.float64


def test_torch_tensors_are_scores():
    torch = pytest.importorskip("torch")
    weight = torch.ones(2, requires_grad=True)
    assert np.allclose(ask(lambda batch: torch.from_numpy(two_classes(batch)) * weight), two_classes(X))


def test_a_function_may_overwrite_its_batch():
    def greedy(batch):
        scores = two_classes(batch)
        batch[:] = 0
        return scores

    model = xplain.load(greedy)
    first = model.answer(Score(X, Untouched(), every_score))
    assert np.array_equal(model.answer(Score(X, Untouched(), every_score)), first)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            np.zeros((2, 4)),
            r"returned an array of shape \[2, 4\] for a batch of shape \[3, 2, 8, 8\]; accepted: .*\[3, K\]",
        ),
        (0.5, r"returned an array of shape \[\]"),
        (None, "returned NoneType of object"),
        (["cat", "dog", "owl"], "returned list of <U3"),
        ([[1, 2], [1], [2]], "returned rows of different lengths"),
        (np.zeros((3, 0)), r"are \[3, 0\]: no score to a row"),
        (np.zeros((3, 4, 5)), r"Scores 'scores' of function .* are \[3, 4, 5\]; a classifier's are \[N, K\]"),
    ],
)
def test_returns_that_are_no_scores(returned, message):
    with pytest.raises(ModelError, match=message):
        ask(lambda batch: returned)


def test_the_number_of_classes_must_not_change():
    model = xplain.load(lambda batch: np.zeros((len(batch), 2 + len(batch) % 2)))
    model.answer(Score(X, Untouched(), every_score, part=(0, 1)))
    with pytest.raises(ModelError, match="returned 2 scores per item, but 3 are known"):
        model.answer(Score(X, Untouched(), every_score, part=(0, 2)))


def test_what_a_function_raises_passes_with_a_note():
    def broken(batch):
        raise KeyError("weights")

    with pytest.raises(KeyError, match="weights") as caught:
        ask(broken)
    (note,) = caught.value.__notes__
    assert note.startswith("raised by function test_what_a_function_raises")
    assert note.endswith("when xplain called it with float32 [3, 2, 8, 8]")


def test_nan_scores_are_named():
    with pytest.raises(NonFinite, match="score of class 1 for item 2 under edit 0 is NaN"):
        ask(lambda batch: [[0, 0], [0, 0], [0, float("nan")]])


def test_inner_tensors_and_other_questions_are_refused():
    with pytest.raises(UsageError, match="has no tensor 'conv1'; a target is a class, or a place in what it gives"):
        ask(two_classes, target=channel("conv1", 0))
    with pytest.raises(CapabilityError, match="answers scores of its items only"):
        xplain.load(two_classes).answer(Peek(X, ("conv1",)))


def test_items_must_be_numbers():
    with pytest.raises(UsageError, match="items are of type str.*explained on numbers"):
        xplain.load(two_classes).answer(Score(np.array([["a"]]), Untouched(), every_score))


def test_labels_come_from_the_card_and_must_fit():
    model = xplain.load(two_classes, card={"labels": ["bright", "corner"]})
    model.answer(Score(X, Untouched(), every_score))
    assert model.outline.labels == ("bright", "corner")
    with pytest.raises(CardError, match="it has 3 labels, but function two_classes has 2 classes"):
        ask(two_classes, card={"labels": ["a", "b", "c"]})


def test_what_is_no_model():
    with pytest.raises(UsageError, match="int is no model; accepted: a path of an ONNX file"):
        xplain.load(3)
    with pytest.raises(
        UsageError,
        match="providers: only for ONNX models; fixed: only for ONNX models and endpoints; got function.*: version",
    ):
        xplain.load(two_classes, providers="cpu", fixed={"a": 1})
    with pytest.raises(UsageError, match="threads: only for ONNX models; got function"):
        xplain.load(two_classes, threads=2)
    with pytest.raises(UnknownName, match=r"Unknown option of a function: 'verson'. Did you mean 'version'\?"):
        xplain.load(two_classes, verson="2")
