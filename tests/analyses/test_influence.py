"""Influence by the last layer: exact sums, the gradients that autograd finds, captum's numbers, retraining without."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from xplain.analyses.influence import (
    Head,
    Step,
    discovered,
    flipped,
    refit,
    removal,
    representer,
    representer_self,
    tracin,
    tracin_self,
)
from xplain.core.errors import UsageError

RNG = np.random.default_rng(4)
CENTRES = RNG.normal(size=(3, 5)) * 1.5
LABELS = np.repeat(np.arange(3), 20)
FEATURES = (CENTRES[LABELS] + RNG.normal(size=(60, 5))).astype(np.float32)
ASKED = RNG.normal(size=(7, 5)).astype(np.float32)
CLASSES = np.array([0, 1, 2, 0, 1, 2, 0])
HEADS = [Head(RNG.normal(size=(3, 5)), RNG.normal(size=3)) for _ in range(2)]


def gradients(head, features, labels):
    """The gradient of each item's loss by the weights, by autograd."""
    torch = pytest.importorskip("torch")
    found = []
    for row, label in zip(np.asarray(features, np.float64), labels, strict=True):
        weights = torch.tensor(head.weights, requires_grad=True)
        scores = torch.tensor(row) @ weights.T + torch.tensor(head.bias)
        if head.link == "softmax":
            loss = -torch.log_softmax(scores, 0)[label]
        else:
            hot = torch.nn.functional.one_hot(torch.tensor(int(label)), 3).double()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, hot, reduction="sum")
        found.append(torch.autograd.grad(loss, weights)[0].numpy().ravel())
    return np.stack(found)


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_tracin_is_the_product_of_the_gradients_that_autograd_finds(link):
    heads = [Head(one.weights, one.bias, link) for one in HEADS]
    steps = [Step(FEATURES, heads[0], 0.5), Step(2 * FEATURES, heads[1], 0.1)]
    found = tracin(steps, LABELS, [ASKED, 2 * ASKED], CLASSES)
    expected, own = 0.0, 0.0
    for step, scale in zip(steps, (1, 2), strict=True):
        mine = gradients(step.head, step.features, LABELS)
        expected = expected + step.rate * mine @ gradients(step.head, scale * ASKED, CLASSES).T
        own = own + step.rate * (mine**2).sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(tracin_self(steps, LABELS), own, rtol=1e-10)


def test_tracin_is_captums_to_float_noise(tmp_path):
    torch = pytest.importorskip("torch")
    influence = pytest.importorskip("captum.influence")
    net = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    paths, steps, asked, rates = [], [], [], (0.3, 0.05)
    for n, rate in enumerate(rates):
        torch.manual_seed(n)
        for part in net:
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
        paths.append(str(tmp_path / f"{n}.pt"))
        torch.save(net.state_dict(), paths[-1])
        with torch.no_grad():
            hidden, others = (net[1](net[0](torch.tensor(some))).numpy() for some in (FEATURES, ASKED))
        head = Head(net[2].weight.detach().numpy().astype(float), net[2].bias.detach().numpy().astype(float))
        steps.append(Step(hidden, head, rate))
        asked.append(others)

    def loaded(model, path):
        model.load_state_dict(torch.load(path, weights_only=True))
        return rates[paths.index(path)]

    data = torch.utils.data.TensorDataset(torch.tensor(FEATURES), torch.tensor(LABELS))
    peer = influence.TracInCPFast(
        net, net[2], data, paths, loaded, torch.nn.CrossEntropyLoss(reduction="sum"), batch_size=16
    )
    theirs = peer.influence((torch.tensor(ASKED), torch.tensor(CLASSES))).numpy().T
    np.testing.assert_allclose(tracin(steps, LABELS, asked, CLASSES), theirs, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(tracin_self(steps, LABELS), peer.self_influence().numpy(), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_a_refitted_score_is_the_sum_of_what_training_items_add(link):
    fitted = refit(FEATURES, LABELS, 3, link=link)
    assert fitted.gap < 1e-5
    for label in range(3):
        asked_about = np.full(len(ASKED), label)
        found = representer(fitted, FEATURES, LABELS, ASKED, asked_about)
        np.testing.assert_allclose(found.sum(axis=0), fitted.head.scores(ASKED)[:, label], rtol=1e-4, atol=1e-4)
        mine = label == LABELS
        same = (FEATURES @ ASKED.T + 1 > 0) == mine[:, None]
        assert ((found > 0) == same).all()  # it speaks for its own class where it is alike, else against it
    own = representer(fitted, FEATURES, LABELS, FEATURES, LABELS)
    np.testing.assert_allclose(representer_self(fitted, FEATURES, LABELS), np.diag(own), rtol=1e-10)


def test_large_features_are_fitted_too():
    fitted = refit(1e9 * FEATURES.astype(float), LABELS, 3)
    assert fitted.gap < 1e-4
    assert (fitted.head.scores(1e9 * FEATURES).argmax(axis=1) == LABELS).mean() > 0.6


def test_the_refit_is_scikit_learns_logistic_regression():
    linear_model = pytest.importorskip("sklearn.linear_model")
    fitted = refit(FEATURES, LABELS, 3, l2=0.01)
    wide = np.column_stack([FEATURES, np.ones(len(FEATURES))]).astype(np.float64)
    strength = 1 / (2 * len(wide) * fitted.penalty)
    peer = linear_model.LogisticRegression(C=strength, fit_intercept=False, tol=1e-10, max_iter=5000)
    peer.fit(wide, LABELS)
    np.testing.assert_allclose(fitted.head.probabilities(FEATURES), peer.predict_proba(wide), atol=1e-5)


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_items_are_ranked_as_retraining_without_each_does(link):
    whole = refit(FEATURES, LABELS, 3, link=link, l2=0.01)
    without = np.zeros((len(LABELS), len(ASKED)))
    for n in range(len(LABELS)):
        left = np.delete(np.arange(len(LABELS)), n)
        square = (FEATURES[left].astype(float) ** 2).sum(axis=1).mean()
        same = whole.penalty * 60 / 59 / (square + 1)  # the sum of losses keeps the same penalty beside it
        one = refit(FEATURES[left], LABELS[left], 3, link=link, l2=same)
        fell = whole.head.scores(ASKED) - one.head.scores(ASKED)
        without[n] = fell[np.arange(len(ASKED)), CLASSES]
    for way, least in ((removal, 0.99), (representer, 0.6)):
        found = way(whole, FEATURES, LABELS, ASKED, CLASSES)
        ranks = [spearmanr(found[:, a], without[:, a])[0] for a in range(len(ASKED))]
        assert min(ranks) > least, way.__name__
    apart = removal(whole, FEATURES, LABELS, ASKED, CLASSES) - without
    assert np.abs(apart).max() < 0.15 * np.abs(without).max()


def test_wrong_labels_come_first_in_the_order_of_what_items_do_to_themselves():
    labels, wrong = flipped(LABELS, 0.05, np.random.default_rng(0))
    assert len(wrong) == 3
    assert (labels[wrong] != LABELS[wrong]).all()
    np.testing.assert_array_equal(np.delete(labels, wrong), np.delete(LABELS, wrong))
    spread = (3 * CENTRES[LABELS] + np.random.default_rng(5).normal(size=(60, 5))).astype(np.float32)
    fitted = refit(spread, labels, 3, l2=0.01)
    for worth in (representer_self(fitted, spread, labels), tracin_self([Step(spread, fitted.head)], labels)):
        curve = discovered(worth, wrong)
        assert len(curve) == 61
        assert (curve[0], curve[6], curve[-1]) == (0, 1, 1)  # a tenth of the items holds all


def test_the_share_that_an_order_finds_is_counted_item_by_item():
    worth = np.array([5.0, 1, 4, 2, 3])
    np.testing.assert_allclose(discovered(worth, np.array([2, 3])), [0, 0, 0.5, 0.5, 1, 1])


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(UsageError, match="all have the same label|same label"):
        refit(FEATURES, np.zeros(60, int), 3)
    with pytest.raises(UsageError, match="all items are zero"):
        refit(np.zeros((4, 3)), np.array([0, 1, 0, 1]), 2)
