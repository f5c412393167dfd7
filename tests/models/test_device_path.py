"""Chunks in flight: the order of things for any place, and answers that are the plain way's bit for bit.

The places: CPU memory with a worker thread, our device kernels on the simulator, and a device of the mind whose streams
do their work late, early or in any order that the events allow.
"""

from __future__ import annotations

import nets
import numpy as np
import pytest
from models import streams
from models.test_onnx_scores import FORMS, edits_for, items

import xplain
from xplain.core.edits import Untouched, Windows
from xplain.core.errors import ModelError, NonFinite, UsageError
from xplain.core.partial_answers import pieces
from xplain.core.query import Score
from xplain.core.target import every_score, label
from xplain.models import pipeline
from xplain.models.onnx import places as device
from xplain.models.onnx.device import OnnxOnDevice
from xplain.models.onnx.places import Lanes, lanes_for
from xplain.models.onnx.providers import CPU, CUDA
from xplain.models.pipeline import in_flight, item_ranges, rows_at_once

# ------------------------------------------------------------------ the order of things


class Recorder:
    """A place that writes down what is done to it, and fails where it is told to."""

    def __init__(self, depth=2, fails=None):
        self.depth, self.fails, self.said = depth, fails, []

    def _say(self, what, *more):
        self.said.append((what, *more))
        if self.fails == (what, *more):
            raise RuntimeError("the device is gone")

    def fill(self, slot, start, stop):
        self._say("fill", slot, start, stop)

    def run(self, slot, count):
        self._say("run", slot, count)

    def fetch(self, slot, count):
        self._say("fetch", slot, count)
        return {"scores": np.zeros((count, 1))}

    def settle(self):
        self.said.append(("settle",))


def test_the_order_of_two_slots():
    place = Recorder()
    handed = [(rows, len(place.said)) for rows, _ in in_flight(place, 3, 12, 4)]
    assert place.said == [
        *(("fill", 0, 3, 7), ("run", 0, 4)),
        *(("fill", 1, 7, 11), ("run", 1, 4)),
        *(("fetch", 0, 4), ("fill", 0, 11, 12), ("run", 0, 1)),
        *(("fetch", 1, 4), ("fetch", 0, 1), ("settle",)),
    ]
    # a finished chunk is handed over after the next one was put in order
    assert handed == [((3, 7), 7), ((7, 11), 8), ((11, 12), 9)]


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 2, 5, 100])
@pytest.mark.parametrize("last", [0, 1, 4, 11])
def test_no_slot_is_filled_before_its_run_was_fetched(depth, rows, last):
    place = Recorder(depth)
    assert [k for (left, right), _ in in_flight(place, 0, last, rows) for k in range(left, right)] == list(range(last))
    busy = set()
    for what, *more in place.said:
        if what == "fill":
            assert more[0] not in busy
        elif what == "run":
            busy.add(more[0])
            assert len(busy) <= depth
        elif what == "fetch":
            busy.remove(more[0])
    chunks = -(-last // rows)
    assert [what for what, *_ in place.said].count("fetch") == chunks  # the only call that waits: once per chunk
    assert place.said[-1] == ("settle",)


@pytest.mark.parametrize("fails", [("fill", 0, 8, 12), ("run", 0, 4), ("fetch", 1, 4)])
def test_what_was_under_way_is_handed_over_before_an_error(fails):
    place, handed = Recorder(fails=fails), []
    with pytest.raises(RuntimeError, match="the device is gone"):
        handed.extend(rows for rows, _ in in_flight(place, 0, 20, 4))
    expected = {"fill": [(0, 4), (4, 8)], "run": [], "fetch": [(0, 4)]}[fails[0]]
    assert handed == expected
    assert place.said[-1] == ("settle",)


def test_a_caller_that_stops_early_leaves_nothing_under_way():
    place = Recorder()
    chunks = in_flight(place, 0, 20, 4)
    next(chunks)
    chunks.close()
    assert place.said[-1] == ("settle",)


def test_rows_at_once():
    assert rows_at_once(3 * 224 * 224 * 4) == 128
    assert rows_at_once(1) == rows_at_once(0) == 256
    assert rows_at_once(2**30) == 1


# ------------------------------------------------------------------ parts of many items


def test_ranges_of_items_are_the_same_rows(monkeypatch):
    from xplain.native import fill

    x = np.random.default_rng(3).random((5, 3, 8, 8)).astype(np.float32)
    layout = xplain.core.positions.layout.Layout("NCHW", (3, 8, 8))
    per_item = np.random.default_rng(4).random((5, 3, 1, 1)).astype(np.float32)
    rank = np.stack([np.random.default_rng(k).permutation(64).reshape(8, 8) for k in range(5)]).astype(np.int32)
    masks = np.random.default_rng(5).random((5, 2, 8, 8)).astype(np.float32)
    boxes = np.random.default_rng(6).integers(0, 8, (5, 3, 4)).astype(np.int32)
    keep = np.random.default_rng(7).integers(0, 2, (5, 3, 4)).astype(np.uint8)
    whole = np.random.default_rng(8).integers(0, 4, (5, 3, 8, 8)).astype(np.int32)
    edits = xplain.core.edits
    kinds = [
        *edits_for(x, layout).values(),
        edits.Windows(boxes, per_item),
        edits.Coalitions(rank % 4, keep, per_item),
        edits.Coalitions(whole, keep, per_item, whole=True),
        edits.Coalitions(whole[0], keep[0], per_item, whole=True),
        edits.Ranked(rank, np.array([3, 9], np.int64), per_item),
        edits.Full(masks, per_item, per_item=True),
        edits.SoftGrid(1, 3, (2, 2), 0.5, per_item),
    ]
    for one in kinds:
        rows = 5 * one.count
        expected = np.empty((rows, 3, 8, 8), np.float32)
        fill(x, one, 0, rows, expected, layout)
        for room in (x[:2].nbytes, x[:1].nbytes, 10**9):
            monkeypatch.setattr(pipeline, "_ITEM_BYTES", room)
            for first, last in ((0, rows), (1, rows - 1), (one.count, one.count + 1), (2, 2)):
                got = np.full((rows, 3, 8, 8), np.nan, np.float32)
                for offset, part in item_ranges(Score(x, one, every_score, part=(first, last)), layout):
                    left, right = part.rows
                    assert part.x.nbytes <= room
                    fill(part.x, part.edits, left, right, got[offset + left : offset + right], layout)
                assert np.array_equal(got[first:last], expected[first:last])
                assert np.isnan(got[:first]).all()
                assert np.isnan(got[last:]).all()


# ------------------------------------------------------------------ the places, against the plain way


def opened(monkeypatch, source, lanes=None, **options):
    """A model whose scores are asked through a place, though its session runs on the CPU."""

    def on_place(*arguments, **keywords):
        return OnnxOnDevice(*arguments, **keywords, lanes=lanes, here="another")

    with monkeypatch.context() as patch:
        patch.setattr("xplain.models.onnx.open.OnnxFile", on_place)
        return xplain.load(source, **options)


@pytest.fixture(params=["host", "simulator", "late", "fills first"])
def place(request, monkeypatch):
    """Opens a model on one of the places."""
    if request.param == "host":
        return lambda source, **options: opened(monkeypatch, source, **options)
    if request.param == "simulator":
        request.getfixturevalue("on_simulator")
        return lambda source, **options: opened(monkeypatch, source, Lanes(word="cpu"), **options)
    return lambda source, **options: on_machine(monkeypatch, streams.Machine(request.param), source, **options)


def on_machine(monkeypatch, machine, source, **options):
    """A model on the device of the mind."""
    monkeypatch.setattr(device, "kernels", machine)
    lanes = Lanes(word="cpu")
    model = opened(monkeypatch, source, lanes, **options)
    honest = model._plain

    def plain(*asked):
        session = honest(*asked)
        session.launch = streams.launch_in(machine, lanes, session)
        return session

    model._plain = plain
    return model


def told(model):
    return " ".join(map(str, model.outline.warnings))


@pytest.mark.parametrize("form", ["cnn", "fp16", "NHWC", "uint8", "4-D scores", "QDQ", "frozen batch of 4"])
def test_scores_are_the_plain_ways(place, form):
    model, plain = place(FORMS[form](), threads=1), xplain.load(FORMS[form](), threads=1, engine="plain")
    assert model.abilities.ahead is not None
    x = items(plain)
    for name, edits in edits_for(x, plain.outline.layout).items():
        total = len(x) * edits.count
        for part in ((0, total), (1, total - 1)):
            query = Score(x, edits, every_score, part=part)
            expected = plain.answer(query)
            for rows in (None, 1, 3):
                got = list(pieces(model, query, 5, rows))
                assert [k for (left, right), _ in got for k in range(left, right)] == list(range(*part))
                most = 5 if model.outline.batch == "fixed" else rows or 256
                assert all(right - left <= most for (left, right), _ in got)
                assert np.array_equal(np.concatenate([rows for _, rows in got]), expected), (name, rows)
            assert np.array_equal(model.answer(query), expected), name
    assert told(model) == ""


def test_fixed_inputs_come_along(place):
    source, fixed = two_inputs(), {"extra": np.array([1.5, -2], np.float32), "scale": np.array(3, np.int16)}
    model, plain = place(source, fixed=fixed, input="x", threads=1), xplain.load(source, fixed=fixed, input="x")
    x = np.random.default_rng(0).random((3, 2)).astype(np.float32)
    query = Score(np.repeat(x, 3, axis=0), Untouched(), every_score)
    expected = plain.answer(query)
    assert np.allclose(expected, 3 * (query.x + np.array([1.5, -2])))
    for rows in (None, 2, 4):
        assert np.array_equal(np.concatenate([got for _, got in pieces(model, query, 1, rows)]), expected)
    assert told(model) == ""


def two_inputs():
    node = nets.helper.make_node
    return nets.model(
        [node("Cast", ["scale"], ["s"], to=1), node("Add", ["x", "extra"], ["sum"]), node("Mul", ["sum", "s"], ["y"])],
        {"x": (nets.FLOAT, ["N", 2]), "extra": (nets.FLOAT, ["N", 2]), "scale": (nets.TensorProto.INT16, [])},
        {"y": (nets.FLOAT, ["N", 2])},
        {},
    )


def test_other_questions_between_two_pieces(place):
    model, plain = place(nets.cnn(), threads=1), xplain.load(nets.cnn(), threads=1)
    x = items(plain)
    query = Score(x, edits_for(x, plain.outline.layout)["soft grid"], every_score)
    watched, got = Score(x[1:2], Untouched(), label(2)), []
    for _, rows in pieces(model, query, 1, 2):
        got.append(rows)
        assert np.array_equal(model.answer(watched), plain.answer(watched))
    assert np.array_equal(np.concatenate(got), plain.answer(query))


def test_methods_give_the_same_maps(place):
    x = items(xplain.load(nets.cnn()), count=2)
    model, plain = place(nets.cnn(), threads=1), xplain.load(nets.cnn(), threads=1, engine="plain")
    for method, options in (
        ("occlusion", {"patch": 6, "stride": 5}),
        ("rise", {"samples": 30, "cells": 4}),
        ("lime", {"samples": 30, "features": "grid:3"}),
    ):
        for batch_size in (None, 7):
            got = xplain.explain(model, x, method, batch_size=batch_size, **options)
            expected = xplain.explain(plain, x, method, batch_size=batch_size, **options)
            assert np.array_equal(got.values, expected.values), method
            assert got.cost.queries == expected.cost.queries
            assert not got.warnings


# ------------------------------------------------------------------ events of the streams


def scores_of(model, rows=3):
    x = items(xplain.load(nets.cnn()), count=4)
    boxes = np.array([[k, k, k + 5, k + 7] for k in range(6)], np.int32)
    query = Score(x, Windows(boxes, np.zeros((1, 1, 1, 1), np.float32)), every_score)
    return np.concatenate([got for _, got in pieces(model, query, 1, rows)])


@pytest.mark.parametrize("policy", streams.POLICIES)
def test_any_order_that_the_events_allow_gives_the_same_bits(monkeypatch, policy):
    machine = streams.Machine(policy)
    model, plain = on_machine(monkeypatch, machine, nets.cnn(), threads=1), xplain.load(nets.cnn(), engine="plain")
    for rows in (3, 5, 24, 1):
        assert np.array_equal(scores_of(model, rows), scores_of(plain, rows))
    assert not any(machine.queues)  # nothing is under way when memory may be freed
    assert told(model) == ""


@pytest.mark.parametrize("deaf", [("run", "fill"), ("read", "run")])
def test_a_lost_event_is_seen(monkeypatch, deaf):
    expected, wrong = scores_of(xplain.load(nets.cnn(), engine="plain")), 0
    for policy in streams.POLICIES:
        machine = streams.Machine(policy, deaf)
        with monkeypatch.context() as patch:
            try:
                wrong += not np.array_equal(scores_of(on_machine(patch, machine, nets.cnn(), threads=1)), expected)
            except NonFinite:  # memory that nothing was written to
                wrong += 1
    assert wrong > 1


def test_the_host_waits_once_per_chunk_and_while_another_is_queued(monkeypatch):
    machine = streams.Machine("late")
    model = on_machine(monkeypatch, machine, nets.cnn(), threads=1)
    scores_of(model, 3)  # learns the outputs
    machine.waited.clear()
    machine.log.clear()
    scores_of(model, 3)  # 24 rows in 8 chunks
    assert dict(machine.waited) == {"copy out": 8, "settle": 4}
    said = [what if what != "copy out" else f"{what} {name[-1]}" for name, what in machine.log]
    chunk = ["fill", "run"]
    assert said[:8] == ["upload", *chunk, *chunk, "copy out 0", *chunk]
    assert said[8:14] == ["copy out 1", *chunk, "copy out 0", *chunk]
    assert said[-2:] == ["copy out 0", "copy out 1"]
    assert said.count("upload") == 1


# ------------------------------------------------------------------ when it goes wrong


def test_a_device_that_fails_midway_is_taken_over_and_that_is_told(place, monkeypatch):
    model, plain = place(nets.cnn(), threads=1), xplain.load(nets.cnn(), engine="plain")
    kind = device.HostPlace if model._lanes is None else device.DevicePlace
    honest, runs = kind.run, []

    def run(self, slot, count):
        runs.append(count)
        if len(runs) == 4:
            raise RuntimeError("occlude_windows: cudaErrorIllegalAddress: an illegal memory access\nat line 3")
        honest(self, slot, count)

    monkeypatch.setattr(kind, "run", run)
    assert np.array_equal(scores_of(model, 3), scores_of(plain, 3))
    assert runs == [3, 3, 3, 3]
    why = "Chunks could not be kept under way on the device (occlude_windows: cudaErrorIllegalAddress: an illegal"
    assert told(model).startswith(why)
    assert any(quirk.startswith(why) for quirk in model.outline.quirks)
    assert np.array_equal(scores_of(model, 3), scores_of(plain, 3))
    assert runs == [3, 3, 3, 3]  # not tried again
    x = items(plain, count=1)
    assert xplain.explain(model, x, patch=8, stride=8).warnings[0].text.startswith(why)


def test_a_model_that_fails_fails_as_it_does_the_plain_way(place):
    node = nets.helper.make_node
    bad = nets.model(
        [node("Reshape", ["x", "two"], ["scores"])],
        {"x": (nets.FLOAT, ["N", 4])},
        {"scores": (nets.FLOAT, None)},
        {"two": np.array([2, -1], np.int64)},
    )
    model, x = place(bad, threads=1), np.ones((3, 4), np.float32)
    with pytest.raises(ModelError, match=r"'scores' of net is \[2, 6\] for a batch of 3: it has no batch axis"):
        model.answer(Score(x, Untouched(), every_score))
    with pytest.raises(UsageError, match=r"Check rank, channel order and size"):
        model.answer(Score(np.ones((3, 5), np.float32), Untouched(), every_score))


def test_what_is_answered_the_plain_way(place):
    model = place(nets.cnn(), threads=1)
    x = items(model)
    inside = model.answer(xplain.core.query.Peek(x, ("pool1",)))["pool1"]
    assert model.ahead(Score(inside, Untouched(), every_score, at="pool1"), None) is None
    assert model.ahead(Score(x, Untouched(), every_score), None) is not None
    fixed = place(nets.fixed_batch(4), threads=1)
    if fixed.outline.batch == "fixed":
        assert fixed.ahead(Score(x, Untouched(), every_score), None) is None
    model._providers = [("another", {})]  # the runtime fell back to the CPU
    assert model.ahead(Score(x, Untouched(), every_score), None) is None


# ------------------------------------------------------------------ who gets streams


@pytest.mark.usefixtures("on_simulator")
def test_who_gets_streams(monkeypatch):
    assert lanes_for([(CPU, {})]) == (None, ((CPU, {}),), "")
    monkeypatch.setattr(device.native, "status", lambda: {"cuda": False})
    used = ((CUDA, {"device_id": "0"}), (CPU, {}))
    lanes, same, why = lanes_for(used)
    assert (lanes, same) == (None, used)
    assert "built without CUDA kernels, so edited rows are written by the CPU" in why
    monkeypatch.setattr(device.native, "status", lambda: {"cuda": True})
    lanes, given, why = lanes_for(used)
    assert why == ""
    assert dict(given) == {CUDA: {"device_id": "0", "user_compute_stream": str(lanes.run.handle)}, CPU: {}}
    assert lanes_for([(CUDA, {"user_compute_stream": "7"})])[0] is None


def test_a_device_that_refuses_a_stream_is_told(monkeypatch):
    def refuse(device=0):
        raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")

    monkeypatch.setattr("xplain.native.status", lambda: {"cuda": True})
    monkeypatch.setattr("xplain.native.device.stream", refuse)
    lanes, same, why = lanes_for([(CUDA, {})])
    assert (lanes, same) == (None, ((CUDA, {}),))
    assert why.startswith("Edited rows are written by the CPU")
    assert "InsufficientDriver" in why
