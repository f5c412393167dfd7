"""One session: nothing is read or asked twice, memory is that of one part, failures stay with their item."""

from __future__ import annotations

import gc
import sys
import weakref
from collections import Counter
from pathlib import Path

import nets
import numpy as np
import pytest

import xplain
from xplain.core.edits import Untouched
from xplain.core.errors import BudgetError, CapabilityError, NonFinite, PictureError, UsageError
from xplain.core.query import Score, Sweep
from xplain.core.target import label
from xplain.render import pictures
from xplain.session import Request, Session, Stream
from xplain.testing import Formula, linear

sys.path.insert(0, str(Path(__file__).parent.parent / "cli"))
import tiny

METHODS = {"occlusion": {"patch": 8, "stride": 8}, "saliency": {}, "lrp": {"rule": "epsilon"}}


class Counting:
    """A model that counts the rows of every kind of question."""

    def __init__(self, inner):
        self.inner, self.answers, self.rows = inner, inner.answers, Counter()

    @property
    def outline(self):
        return self.inner.outline

    def answer(self, query):
        if isinstance(query, Score):
            first, last = query.rows
            self.rows["clean" if isinstance(query.edits, Untouched) else "edited"] += last - first
        else:
            self.rows["swept" if isinstance(query, Sweep) else "peeked"] += len(query.x)
        return self.inner.answer(query)


@pytest.fixture
def two(tmp_path, monkeypatch):
    """A model that counts, two pictures, and how often each file was read."""
    readings, read = Counter(), pictures.read

    def counted(source, *rest):
        if not isinstance(source, np.ndarray):
            readings[Path(source).name] += 1
        return read(source, *rest)

    monkeypatch.setattr(pictures, "read", counted)
    model = Counting(xplain.load(str(tiny.write_model(tmp_path / "tiny.onnx"))))
    paths = [tiny.write_picture(tmp_path / "a.png"), tiny.write_picture(tmp_path / "b.png", bright=False)]
    return model, paths, readings


def test_two_pictures_by_three_methods_are_read_once_and_asked_no_more_than_needed(two):
    model, paths, readings = two
    found = list(xplain.explain_stream(model, paths, METHODS))
    assert [(one.names[0], one.method) for one in found] == [(path.name, name) for name in METHODS for path in paths]
    assert readings == {"a.png": 1, "b.png": 1}
    assert model.rows == {"clean": 2, "edited": 2 * 4, "swept": 2 * 2}
    assert sum(one.cost.queries for one in found) == 2 + 2 * 4
    assert sum(one.cost.sweeps for one in found) == 2 * 2


@pytest.mark.parametrize("name", METHODS)
def test_explaining_looks_at_an_untouched_item_once(two, name):
    model, paths, readings = two
    xplain.explain_many(model, paths, name, target="top2", **METHODS[name])
    assert readings == {"a.png": 1, "b.png": 1}
    assert model.rows["clean"] == 2


def test_a_stream_has_the_values_of_explain(two):
    model, paths, _ = two
    streamed = {(one.names[0], one.method): one for one in xplain.explain_stream(model, iter(paths), METHODS)}
    for name, options in METHODS.items():
        whole = xplain.explain(model, paths, name, **options)
        for n, path in enumerate(paths):
            one = streamed[path.name, name]
            assert np.array_equal(one.values, whole.values[n : n + 1])
            assert one.target == whole.target_of(n)
            assert one.scores.tolist() == whole.scores[n : n + 1].tolist()
            assert one.notes.keys() == whole.notes.keys()


def test_a_stream_of_sweeps_looks_at_nothing_apart(two):
    """The first sweep finds the predicted class and its score; a method that asks scores needs the plain look."""
    model, paths, _ = two
    model.abilities = model.inner.abilities
    with Session(model, Request({"saliency": {}, "input-x-gradient": {}})) as session:
        stream = Stream(session, paths)
        plans = stream.plans(2)
        found = list(stream)
    assert model.rows == {"swept": 4}
    assert [(times * plan.queries, times * plan.sweeps) for times, plan in plans] == [(0, 2), (0, 2)]
    scores = xplain.predict(model, paths)
    for one in found:
        np.testing.assert_allclose(one.scores, scores[one.place], rtol=1e-5)
        assert one.results[0].labels == (int(scores[one.place].argmax()),)


def test_planning_before_a_stream_reads_nothing_twice(two):
    model, paths, readings = two
    with Session(model, Request(METHODS)) as session:
        stream = Stream(session, paths)
        plans = stream.plans(len(paths))
        assert not model.rows
        for _ in stream:
            pass
    assert readings == {"a.png": 1, "b.png": 1}
    assert sum(times * plan.queries for times, plan in plans) == model.rows["clean"] + model.rows["edited"]
    assert sum(times * plan.sweeps for times, plan in plans) == model.rows["swept"] == session.spent.sweeps


def test_a_plan_knows_what_the_session_has_asked(two):
    model, paths, _ = two
    with Session(model, Request(METHODS)) as session:
        part = session.read(paths)
        assert session.plan(part, "occlusion").queries == 2 + 2 * 4
        session.explain(part, "saliency")
        assert session.plan(part, "occlusion").queries == 2 * 4


class Item(np.ndarray):
    """An array that can be watched."""


def counted_items(count, shape, alive, most):
    for n in range(count):
        one = np.full(shape, n % 7, np.float32).view(Item)
        alive.append(weakref.ref(one))
        gc.collect(0)
        most.append(sum(ref() is not None for ref in alive))
        yield one
        del one


@pytest.mark.parametrize("at_once", [1, 4])
def test_memory_holds_one_part_however_many_items_there_are(at_once):
    model = linear(np.arange(6))
    alive, most, seen = [], [], []
    for one in xplain.explain_stream(model, counted_items(60, (6,), alive, most), "kernel-shap", at_once=at_once):
        seen.append(one.names[0])
    assert seen == [str(n) for n in range(60)]
    assert max(most) <= 2 * at_once


def test_results_come_before_the_next_part_is_read():
    taken = []

    def source():
        for n in range(4):
            taken.append(n)
            yield np.full(6, n, np.float32)

    stream = xplain.explain_stream(linear(np.arange(6)), source(), "kernel-shap", at_once=1)
    next(stream)
    assert taken == [0]


def test_chunks_batches_and_single_items_may_be_mixed():
    model = Formula(lambda rows: rows.reshape(len(rows), -1) @ np.arange(6.0), "NS", (6,))
    x = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
    whole = xplain.explain(model, x, "kernel-shap", seed=3)
    source = iter([x[0], x[1:4], [x[4], x[5]], x[6]])
    found = list(xplain.explain_stream(model, source, "kernel-shap", seed=3))
    assert [one.names for one in found] == [(str(n),) for n in range(7)]
    assert np.array_equal(np.concatenate([one.values for one in found]), whole.values)
    sliced = list(xplain.explain_stream(model, x, "kernel-shap", seed=3, at_once=3))
    assert np.array_equal(np.concatenate([one.values for one in sliced]), whole.values)


def test_what_fails_is_told_and_the_others_go_on(two, tmp_path):
    model, paths, readings = two
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"GIF8")
    told = []
    source = [paths[0], broken, paths[1]]
    found = list(xplain.explain_stream(model, source, "saliency", failed=lambda *why: told.append(why)))
    assert [one.names[0] for one in found] == ["a.png", "b.png"]
    assert [(place, given) for place, given, _ in told] == [(1, broken)]
    assert isinstance(told[0][2], PictureError)
    assert readings["a.png"] == readings["b.png"] == 1
    with pytest.raises(PictureError):
        list(xplain.explain_stream(model, source, "saliency"))


def test_scores_that_are_no_numbers_stop_their_item_alone():
    rows = Counter()

    def scores(x):
        rows["asked"] += len(x)
        return np.where(x[:, :1] == 2, np.inf, x[:, :2])

    x = np.stack([np.full(6, n, np.float32) for n in range(4)])
    told = []
    found = xplain.explain_stream(Formula(scores, classes=2), list(x), "kernel-shap", failed=lambda *w: told.append(w))
    assert [one.names[0] for one in found] == ["0", "1", "3"]
    assert [place for place, _, _ in told] == [2]
    assert isinstance(told[0][2], NonFinite)


def test_a_row_of_a_batch_that_holds_no_number_stops_alone():
    model = Formula(lambda rows: rows @ np.arange(6.0), "NS", (6,))
    x = np.ones((4, 6), np.float32)
    x[1, 3] = np.nan
    told = []
    found = xplain.explain_stream(model, iter([x[:3], x[3:]]), "lime", failed=lambda *why: told.append(why))
    assert [one.names[0] for one in found] == ["0", "2", "3"]
    assert [place for place, _, _ in told] == [1]


@pytest.mark.parametrize("method", ["lime", "occlusion"])
@pytest.mark.parametrize("target", [[0, 1, 1, 0, 1], label([0, 1, 1, 0, 1]) - label(1), "top2", None])
def test_targets_that_are_given_per_item_are_picked_by_place(target, method):
    weights = np.random.default_rng(4).normal(size=(6, 2))
    model = Formula(lambda rows: rows @ weights, "NS", (6,), classes=2, labels=("cat", "dog"))
    x = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    options = {"patch": 1, "stride": 1} if method == "occlusion" else {"samples": 100}
    whole = xplain.explain_many(model, x, method, target=target, **options)
    found = list(xplain.explain_stream(model, iter(list(x)), method, target=target, at_once=2, **options))
    for n in range(5):
        for k, of_all in enumerate(whole):
            one = found[n * len(whole) + k]
            assert one.names == (str(n),)
            assert np.array_equal(one.values, of_all.values[n : n + 1])
            assert one.target_of(0) == of_all.target_of(n)


def test_a_list_of_targets_is_as_long_as_the_source():
    model, x = Formula(lambda rows: rows[:, :2], "NS", (6,), classes=2), np.ones((3, 6), np.float32)
    with pytest.raises(UsageError, match="given for 2 items"):
        list(xplain.explain_stream(model, list(x), "lime", target=[0, 1], at_once=1))
    with pytest.raises(UsageError, match="list of 2 for 3"):
        xplain.explain(model, x, "lime", target=[0, 1])


def test_a_method_is_asked_once_under_whatever_name():
    with pytest.raises(UsageError, match="twice"):
        xplain.explain_stream(linear(np.arange(6)), [], ["lrp", "kernel-shap", "kernel_shap"])


def test_rows_of_a_table_are_explained_against_what_is_typical_of_all():
    rows = {"age": [52, 31, 40, 61], "job": ["nurse", "clerk", "clerk", "cook"]}
    reader = xplain.table(
        lambda t: [[a * (j == "clerk")] for a, j in zip(t["age"], t["job"], strict=True)], columns=rows
    )
    for method in ("kernel-shap", "shapley-sampling", "exact-shapley"):
        whole = xplain.explain(reader, rows, method)
        found = list(xplain.explain_stream(reader, rows, method))
        assert np.array_equal(np.concatenate([one.values for one in found]), whole.values), method
        assert [one.columns.values[0][1] for one in found] == rows["job"]


def test_texts_are_read_in_groups_and_explained_as_they_are_alone():
    model = xplain.text(lambda texts: [[t.count("good") - 2.0 * t.count("bad")] for t in texts])
    texts = [f"a good film number {n}{' not bad' * (n % 3)}" for n in range(11)]
    found = list(xplain.explain_stream(model, iter(texts), "exact-shapley", at_once=4))
    assert [one.texts[0].text for one in found] == texts
    for text, one in zip(texts, found, strict=True):
        alone = xplain.explain(model, text, "exact-shapley")
        np.testing.assert_array_equal(one.values[:, : alone.values.shape[1]], alone.values)


def test_a_stream_that_was_stopped_goes_on_where_it_was(tmp_path):
    model = Formula(lambda rows: rows @ np.arange(6.0), "NS", (6,), digest="formula")
    x = np.random.default_rng(1).normal(size=(6, 6)).astype(np.float32)
    run = xplain.explain_stream(model, list(x), "exact-shapley", cache=tmp_path / "cache")
    first = [next(run) for _ in range(3)]
    run.close()
    asked = model.rows
    again = list(xplain.explain_stream(model, list(x), "exact-shapley", cache=tmp_path / "cache", sentinel=1000))
    assert [np.array_equal(a.values, b.values) for a, b in zip(first, again, strict=False)] == [True] * 3
    assert sum(one.cost.reused for one in again) >= 3 * 64
    assert model.rows - asked <= 3 * 64 + 6 * 2  # the rest, and a look of the sentinel at each item before and after


def test_a_budget_is_of_all_items_together_and_may_be_shared_out():
    model, x = linear(np.arange(6)), [np.full(6, n, np.float32) for n in range(1, 5)]
    with pytest.raises(BudgetError, match="max_queries=100"):
        list(xplain.explain_stream(model, x, "exact-shapley", max_queries=100))
    with Session(model, Request({"exact-shapley": {}}, max_queries=400)) as session:
        found = list(Stream(session, x, each=70))
    assert len(found) == 4
    assert session.spent.queries == session.budget.spent == sum(one.results[0].cost.queries for one in found)
    with Session(model, Request({"exact-shapley": {}})) as session, pytest.raises(BudgetError, match="max_queries=49"):
        list(Stream(session, x, each=50))


def test_what_concerns_all_items_is_raised_before_the_first():
    with pytest.raises(CapabilityError):
        xplain.explain_stream(linear(np.arange(6)), iter([]), ["kernel-shap", "saliency"])
    with pytest.raises(UsageError, match="methods="):
        xplain.explain_stream(linear(np.arange(6)), [], ["lime", "kernel-shap"], samples=50)
    with pytest.raises(UsageError, match="empty"):
        xplain.explain_stream(linear(np.arange(6)), [], "lime")


def test_progress_counts_the_whole_session():
    told = []
    x = [np.full(6, n, np.float32) for n in range(1, 4)]
    run = xplain.explain_stream(linear(np.arange(6)), x, "kernel-shap", progress=lambda *now: told.append(now))
    spent = sum(one.cost.queries for one in run)
    assert told[-1] == (spent, spent)
    assert told == sorted(told)


@pytest.mark.parametrize("name", ["smoothgrad", "expected-gradients", "saliency", "lrp"])
@pytest.mark.parametrize("target", [None, 0, "0 - 1", "top2"])
def test_what_a_plan_of_sweeps_says_is_enough_and_is_spent(two, name, target):
    model, paths, _ = two
    options = {"samples": 5} if name in ("smoothgrad", "expected-gradients") else {}
    plan = xplain.plan(model.inner, paths, name, target=target, **options)
    most = plan.queries + plan.sweeps
    found = xplain.explain_many(model.inner, paths, name, target=target, max_queries=most, **options)[0]
    assert (found.cost.queries, found.cost.sweeps) == (plan.queries, plan.sweeps)


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_what_an_iterator_made_before_it_failed_is_explained(at_once):
    def items():
        yield np.ones(2, np.float32)
        yield np.ones(2, np.float32)
        raise OSError("the disk is gone")

    stream = xplain.explain_stream(linear([[1.0], [2.0]]), items(), "ablation", target=0, at_once=at_once)
    found = [next(stream).values.tolist() for _ in range(2)]
    with pytest.raises(OSError, match="the disk is gone"):
        next(stream)
    assert found == [[[1.0, 2.0]], [[1.0, 2.0]]]


def test_items_that_are_no_numbers_are_refused_before_a_method_sees_them(two):
    model, _, _ = two
    item = np.zeros((2, *model.outline.explained.shape[1:]), object)
    with pytest.raises(UsageError, match="of type object"):
        xplain.explain(model.inner, item, "expected-gradients", target=0, samples=5)


@pytest.mark.parametrize("empty", [[], (), np.zeros((0, 3, 16, 16), np.float32), {}])
def test_a_source_without_items_is_refused_and_an_iterator_may_end(two, empty):
    """An array of no items gave no result and no word, where a list of none was refused."""
    model, _, _ = two
    with pytest.raises(UsageError, match="There is nothing to explain"):
        xplain.explain_stream(model.inner, empty, "saliency")
    assert list(xplain.explain_stream(model.inner, iter([]), "saliency")) == []


def test_an_empty_chunk_of_a_stream_is_passed_over(two):
    model, _, _ = two
    batch = np.ones((2, *model.outline.explained.shape[1:]), np.float32)
    found = list(xplain.explain_stream(model.inner, iter([batch[:1], batch[:0], [], batch[1:]]), "saliency"))
    assert [one.names for one in found] == [("0",), ("1",)]


def test_a_flow_that_goes_on_with_some_items_reads_no_target_of_the_others():
    """Integrated gradients takes more steps for items that need them, with the targets of just these."""
    net = nets.cnn(size=16, classes=5)
    x = np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32)
    targets = [0, 1, 2, 3]
    options = {"steps": 2, "tolerance": 1e-3}
    whole = xplain.explain(net, x, "integrated-gradients", target=targets, **options)
    assert len(set(whole.notes["steps"])) > 1
    for n, target in enumerate(targets):
        alone = xplain.explain(net, x[n : n + 1], "integrated-gradients", target=target, **options)
        np.testing.assert_allclose(whole.values[n : n + 1], alone.values, rtol=1e-4, atol=1e-6)
