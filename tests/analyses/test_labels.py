"""The confident joint is the paper's double loop, and planted wrong labels come first."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.analyses.labels import confident_joint, doubtful, label_errors
from xplain.core.errors import UsageError


def made(seed=0, wrong=20, count=300):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, count)
    p = rng.dirichlet([1, 1, 1], count) * 0.4
    p[np.arange(count), truth] += 0.6
    labels = truth.copy()
    bad = rng.choice(np.flatnonzero(truth == 1), wrong, replace=False)
    labels[bad] = 2
    return p, labels, bad


def test_the_confident_joint_is_the_papers_double_loop():
    p, labels, _ = made()
    threshold = [p[labels == j, j].mean() for j in range(3)]
    slow = np.zeros((3, 3), int)
    for row, own in zip(p, labels, strict=True):
        sure = [j for j in range(3) if row[j] >= threshold[j]]
        if sure:
            slow[own, max(sure, key=lambda j: row[j])] += 1
    joint, _ = confident_joint(p, labels)
    np.testing.assert_array_equal(joint, slow)
    with pytest.raises(UsageError, match=r"\[N, K\]"):
        confident_joint(p, labels + 2)


def test_the_wrong_labels_are_found_and_the_most_doubtful_comes_first():
    p, labels, bad = made()
    rows = doubtful(p, labels)
    assert set(rows) <= set(bad)
    assert len(rows) >= 8  # those that are as sure as the class's mean: about half of them, by the paper's threshold
    margin = p[rows, labels[rows]] - [np.delete(p[n], labels[n]).max() for n in rows]
    assert (np.diff(margin) >= 0).all()
    found = label_errors(p, labels, names=("cat", "dog", "owl"), items=np.arange(300) + 50)
    np.testing.assert_array_equal(found[0].members - 50, rows)
    assert (found[1].group, found[1].evidence["model"]) == ("owl", "dog")
    assert found[1].effect == pytest.approx(len(rows) / (labels == 2).sum())
    assert any("by heart" in one for one in found[0].limits)
    assert not any("by heart" in one for one in label_errors(p, labels, trained_on=False)[0].limits)


def test_items_without_labels_and_classes_of_few_are_left_out():
    p, labels, _ = made(wrong=0)
    labels[:100] = -1
    found = label_errors(p, labels)
    assert found[0].count == (labels >= 0).sum()
    labels[labels == 0] = -1
    labels[np.flatnonzero(labels == 1)[5:]] = -1
    few = label_errors(p, labels)
    assert (few[0].standing, few[0].evidence["needed"]) == ("too few", 2)
