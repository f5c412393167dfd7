"""Labels may be any text: what was explained is carried item by item, and never read back out of words for a person."""

from __future__ import annotations

import json

import numpy as np
import pytest

import xplain
from xplain import Attribution
from xplain.core.errors import UsageError
from xplain.render import draw, montage, to_html, to_text

STRANGE = [
    "cat | dog",
    "bird",
    "a, b",
    "first\nsecond",
    "salt - pepper",
    "7",
    "",
    "  ",
    "per item: x | y",
    "<script>alert(1)</script>",
    "\u202eevil\u202c",
    "עברית ١٢",
    "top3",
    "conv[3]",
    "tab\there",
    "日本語 🐈",
    "\u200b",
    "x" * 190,
    "salt",
    "pepper",
]
K = len(STRANGE)
X = np.random.default_rng(0).random((K, 1, 6, 6)).astype(np.float32)
X[np.arange(K), 0, np.arange(K) // 5, np.arange(K) % 5] += 9  # item k is of class k


def model(labels=tuple(STRANGE)):
    def f(b):
        b = np.asarray(b)
        return np.stack([b[:, 0, k // 5, k % 5] for k in range(len(labels))], axis=1)

    return xplain.load(f, card={"labels": list(labels), "mode": "L"})


def occluded(*, target=None, x=X, labels=tuple(STRANGE)):
    return xplain.explain(model(labels), x, "occlusion", patch=3, stride=3, target=target)


def kept(label):
    """What a card makes of a label: plain text without control characters."""
    return "".join(c for c in label if c.isprintable()).strip()[:200]


def test_each_item_knows_its_target():
    a = occluded()
    assert a.labels == tuple(range(K))
    assert [a.target_of(k) for k in range(K)] == [kept(one) for one in STRANGE]
    assert [a[k].target for k in range(K)] == [kept(one) for one in STRANGE]


def test_it_survives_the_disk(tmp_path):
    a = occluded()
    back = Attribution.load(a.save(tmp_path / "a.npz"))
    assert back.targets == a.targets
    assert back.meta() == a.meta()
    assert json.loads(json.dumps(a.meta()))["targets"] == list(a.targets)


def test_everything_that_shows_a_result_takes_any_label():
    a = occluded()
    for item in range(K):
        assert draw(a, item).width > 0
    assert montage([a, a], items=range(3)).width > 0
    page = xplain.report.page(a)
    for shown in (page, to_html(a)):
        assert "<script>alert(1)" not in shown
        assert "\u202e" not in shown.replace("&#8238;", "")
    assert "&lt;script&gt;" in page
    assert "cat | dog" in page


@pytest.mark.parametrize("index", [k for k in range(K) if kept(STRANGE[k])])
def test_a_label_can_be_named_as_the_target_whatever_it_looks_like(index):
    a = occluded(target=STRANGE[index], x=X[:1])
    assert a.labels == (index,)


def test_a_label_that_no_name_reaches_is_reached_by_its_number():
    assert occluded(target=6, x=X[:1]).labels == (6,)
    with pytest.raises(UsageError, match=r"stands for classes \[6, 7, 16\]; give the number"):
        occluded(target="", x=X[:1])


def test_a_difference_is_found_wherever_its_minus_stands():
    a = occluded(target="salt - pepper - bird", x=X[:1])
    b = occluded(target=xplain.label(4) - xplain.label(1), x=X[:1])
    np.testing.assert_array_equal(a.values, b.values)
    assert a.target == "salt - pepper - bird"
    c = occluded(target="bird - salt - pepper", x=X[:1])
    np.testing.assert_array_equal(c.values, -b.values)


def test_a_difference_that_can_be_read_in_two_ways_is_asked_about():
    labels = ("a", "a - b", "b - c", "c")
    with pytest.raises(
        UsageError, match="'a' minus 'b - c' and 'a - b' minus 'c'. Say the classes by number, such as"
    ) as told:
        occluded(target="a - b - c", x=X[:1], labels=labels)
    advice = str(told.value).rpartition("such as '")[2].partition("'")[0]
    assert occluded(target=advice, x=X[:1], labels=labels).target == "a - b - c"


@pytest.mark.parametrize("wanted", ["1_0", "²", "9" * 5000, "top²", "top" + "9" * 5000, "x[" + "9" * 5000 + "]", "١"])
def test_what_is_no_number(wanted):
    with pytest.raises(UsageError):
        occluded(target=wanted, x=X[:1], labels=("a", "b"))


def test_two_classes_of_one_name():
    a = occluded(x=X[:2], labels=("crane", "crane"))
    assert (a.labels, a.targets) == ((0, 1), ("crane", "crane"))
    with pytest.raises(UsageError, match=r"stands for classes \[0, 1\]; give the number"):
        occluded(x=X[:1], target="crane", labels=("crane", "crane"))


def test_rows_and_texts_show_any_label():
    rows = xplain.table(
        lambda t: np.stack([t["a"], -t["a"]], axis=1), labels=["cat | dog", "<b>"], columns={"a": [1.0, -1.0]}
    )
    a = xplain.explain(rows, {"a": [1.0, -1.0]}, "exact-shapley", baseline=0.0)
    assert [a.target_of(k) for k in range(2)] == ["cat | dog", "<b>"]
    assert "cat | dog" in to_text(a)
    assert "<b>&" not in to_html(a)


@pytest.mark.parametrize("given", ["abc", b"abc", 5, {"a": 1}, [None], [["a"]]])
def test_labels_that_are_no_list_are_refused_at_every_door(given):
    """A text was taken for the list of its letters."""
    doors = (
        lambda: xplain.table(lambda t: np.stack([t["a"], -t["a"]], axis=1), labels=given, columns={"a": [1.0, -1.0]}),
        lambda: xplain.text(lambda texts: np.ones((len(texts), 3)), labels=given),
        lambda: xplain.load("https://example.com/v2/models/m", labels=given),
    )
    for door in doors:
        with pytest.raises(UsageError, match="labels are .*; accepted: a list of names, one per class"):
            door()


def test_classes_of_an_estimator_may_be_numbers():
    rows = xplain.table(
        lambda t: np.stack([t["a"], -t["a"]], axis=1), labels=np.array([3, 7]), columns={"a": [1.0, -1.0]}
    )
    assert rows.outline.labels == ("3", "7")
