"""Hidden windows answered incrementally, against the plain way: random graphs, awkward input, real questions."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from random_nets import Builder, boxes_on, random_net

import xplain
from xplain import incremental as inc
from xplain.core.edits import Untouched, Windows
from xplain.core.errors import NonFinite, UsageError
from xplain.core.query import Score
from xplain.core.target import channel, every_score, label
from xplain.incremental import cost
from xplain.models.onnx.incremental import Incremental, IncrementalWarning, Net
from xplain.models.onnx.incremental_engine import Item

SEEDS = range(60)


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Take the incremental way however little it gains, as only speed speaks against it."""
    monkeypatch.setattr("xplain.models.onnx.incremental.WORTHWHILE", 0.0)


def both(model, **options):
    return xplain.load(model, threads=1, **options), xplain.load(model, threads=1, engine="plain")


def picture(seed, item, count=1):
    return np.random.default_rng(seed).standard_normal((count, *item)).astype(np.float32)


def apart(got, wanted):
    return np.abs(got - wanted).max() / max(1.0, np.abs(wanted).max())


@pytest.mark.parametrize("seed", SEEDS)
def test_random_graphs_give_the_plain_ways_scores(seed, monkeypatch):
    monkeypatch.setattr("xplain.incremental.follow._WORTH_A_CALL", seed % 2 << 40)
    net, item = random_net(seed)
    ours, plain = both(net)
    x, fill = picture(seed, item), np.float32(0.4).reshape(1, 1, 1, 1)
    question = Score(x, Windows(boxes_on(seed, item), fill), every_score)
    assert apart(ours.answer(question), plain.answer(question)) < 1e-5
    assert ours.windows.way == "incremental", ours.windows.reason


@pytest.mark.parametrize("pairs", [0, 1 << 40])
@pytest.mark.parametrize("seed", range(0, 60, 6))
def test_winograd_gives_the_same_wherever_it_can_be_used(seed, pairs, monkeypatch):
    monkeypatch.setattr("xplain.incremental.edges._PAIRS", pairs)  # 0: edges go the direct way in any layer
    net, item = random_net(seed)
    x, boxes = picture(seed, item)[0], boxes_on(seed, item)
    made = inc.plan(net, "x", item, ["y"])
    squares = frozenset(s.out for s in made.steps if isinstance(s, inc.steps.Conv) and s.square)
    ours = Incremental(Net(net, "x", "d"), _session)
    engine = ours._engine(("y",), item)
    bases, _ = engine.look(x, [])
    fill = np.zeros_like(bases[made.entry])
    inside = inc.boxes.clipped(boxes, item[1:])
    at = made.spread(inside)
    direct, square = (engine.values(Item(inside, fill, bases, ways), [at])["y"] for ways in (frozenset(), squares))
    assert apart(square, direct) < 1e-4


def _session(part, lean=False):
    from xplain.models.onnx.session import Session

    return Session(part.SerializeToString(), "test", [("CPUExecutionProvider", {})], 1)


def small_cnn(seed=3):
    b = Builder(seed, (24, 27))
    b.at, b.channels = b.act(b.conv("x", 3, 16, (3, 3)), 16), 16
    b.residual()
    b.branches()
    return b.finish(), b.item


def test_bits_depend_on_neither_cut_nor_order_nor_threads():
    net, item = small_cnn()
    x, boxes = picture(0, item, 2), boxes_on(0, item, 100)
    edits = Windows(boxes, np.zeros((1, 1, 1, 1), np.float32))
    whole = xplain.load(net, threads=1).answer(Score(x, edits, every_score))
    rows = len(whole)
    cut = xplain.load(net, threads=2)
    parts = [(rows - 7, rows), (0, 1), (1, 2), (2, 90), (90, rows - 7)]
    got = {part: cut.answer(Score(x, edits, every_score, part=part)) for part in parts}
    assert cut.windows.way == "incremental"
    for (start, stop), part in got.items():
        assert np.array_equal(part, whole[start:stop])


def test_fills_boxes_and_targets_may_differ_between_pictures():
    net, item = small_cnn()
    ours, plain = both(net)
    x = picture(1, item, 3)
    boxes = np.stack([boxes_on(seed, item, 20) for seed in range(3)])
    for fill in (x[::-1].copy(), x.mean(axis=(2, 3), keepdims=True), picture(2, item)):
        edits = Windows(boxes, fill)
        for target in (label((1, 2, 3)), label(1) - label(2), every_score):
            question = Score(x, edits, target)
            assert apart(ours.answer(question), plain.answer(question)) < 1e-5
    assert ours.windows.way == "incremental"


def test_inner_tensors_are_answered_too():
    net, item = small_cnn()
    ours, plain = both(net)
    layer = next(one.name for one in ours.outline.layers if one.shape is not None and len(one.shape) == 4)
    question = Score(
        picture(1, item), Windows(boxes_on(1, item), np.zeros((1, 1, 1, 1), np.float32)), channel(layer, 2)
    )
    assert apart(ours.answer(question), plain.answer(question)) < 1e-5
    assert ours.windows.way == "incremental"


def test_pictures_in_which_channels_come_last():
    b = Builder(3, (24, 27))
    turned = b.add("Transpose", "x", perm=[0, 3, 1, 2])
    b.at, b.channels = b.act(b.conv(turned, 3, 16, (3, 3)), 16), 16
    b.residual()
    b.item = (24, 27, 3)
    net = b.finish()
    ours, plain = both(net)
    fill = np.array([0.1, 0.2, 0.3], np.float32).reshape(1, 1, 1, 3)
    question = Score(picture(1, b.item), Windows(boxes_on(1, (3, 24, 27)), fill), every_score)
    assert apart(ours.answer(question), plain.answer(question)) < 1e-5
    assert ours.windows.way == "incremental"


def test_a_batch_that_is_frozen_at_one():
    net, item = small_cnn()
    net.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    ours, plain = both(net)
    question = Score(picture(1, item), Windows(boxes_on(1, item), np.zeros((1, 1, 1, 1), np.float32)), every_score)
    assert apart(ours.answer(question), plain.answer(question)) < 1e-5


def flat_product(kind, outputs=40):
    """A convolution whose plane goes into a matrix product, then into another."""
    b = Builder(5, (24, 27))
    plane = b.add("Relu", b.conv("x", 3, 20, (3, 3), stride=(4, 4)))  # [20, 6, 7]
    matrix = b.rng.standard_normal((outputs, 20 * 6 * 7)).astype(np.float32) / 30
    bias = b.weight(outputs)
    if kind == "Reshape, MatMul":
        flat = b.add("Reshape", plane, b.constant(np.array([0, -1])))
        at = b.add("Add", b.add("MatMul", flat, b.constant(np.ascontiguousarray(matrix.T))), bias)
    else:
        flat = b.add("Flatten", plane)
        flat = b.add("Dropout", flat) if "Dropout" in kind else flat
        given = b.constant(matrix if "transB" in kind else np.ascontiguousarray(matrix.T))
        at = b.add("Gemm", flat, given, *([] if "bare" in kind else [bias]), transB=int("transB" in kind))
    at = b.add("MatMul", b.add("Relu", at), b.weight(outputs, 5))
    b.nodes[-1].output[0] = "y"
    return b.model(5), b.item


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("kind", ["Gemm", "Gemm transB", "Dropout, Gemm transB", "Gemm bare", "Reshape, MatMul"])
def test_a_product_of_the_plane_multiplies_what_changed(kind, halves, threads, monkeypatch):
    monkeypatch.setattr("xplain.incremental.follow._WORTH_A_CALL", 0)
    monkeypatch.setattr("xplain.native.delta.pairs_pay", lambda: halves)
    net, item = flat_product(kind)
    made = inc.plan(net, "x", item, ["y"])
    (product,) = made.products.values()
    assert made.tail is not None
    assert [node.op_type for node in made.tail.graph.node][-2:] == ["Relu", "MatMul"]
    x, boxes = picture(1, item, 2), boxes_on(1, item, 300)
    ours = xplain.load(net, threads=threads, engine="fast" if halves else "auto")
    plain = xplain.load(net, threads=1, engine="plain")
    question = Score(x, Windows(boxes, np.float32(0.4).reshape(1, 1, 1, 1)), every_score)
    assert apart(ours.answer(question), plain.answer(question)) < (1e-2 if halves else 1e-5)
    assert ours.windows.way == ("fast" if halves else "incremental"), ours.windows.reason
    at = made.spread(inc.boxes.clipped(boxes, item[1:]))[product.source]
    layer = next(one for one in ours.windows.layers if one.kind == "product")
    work = (at[:, 2] * at[:, 3]).mean() * product.conv.weight[..., 0, 0].size
    assert layer.incremental == pytest.approx(work + len(product.bias) * cost.ELEMENT / 4 + cost.STEP, rel=0.1)
    assert layer.plain == product.conv.weight.size


def test_a_small_product_of_the_plane_is_left_to_the_runtime():
    net, item = flat_product("Gemm")
    made = inc.plan(net, "x", item, ["y"])
    assert not made.products
    assert ("Gemm", "it is too small to be taken apart") in [(one.operator, one.reason) for one in made.blocked]


def test_a_flat_plane_that_is_gated_by_itself_is_left_to_the_runtime():
    """``flat * sigmoid(W flat)``: neither operand is a plane any more. So compiled files look, too."""
    b = Builder(5, (24, 27))
    flat = b.add("Flatten", b.add("Relu", b.conv("x", 3, 8, (3, 3), stride=(4, 4))))  # 8 * 6 * 7
    gate = b.add("Sigmoid", b.add("Gemm", flat, b.weight(336, 336)))
    b.nodes.append(helper.make_node("Gemm", [b.add("Mul", flat, gate), b.weight(336, 5)], ["y"]))
    ours, plain = both(b.model(5))
    question = Score(picture(1, b.item), Windows(boxes_on(1, b.item), np.zeros((1, 1, 1, 1), np.float32)), every_score)
    assert apart(ours.answer(question), plain.answer(question)) < 1e-5
    assert ours.windows.way == "incremental", ours.windows.reason


@pytest.mark.parametrize("halves", [True, False])
def test_fast_mode_is_close_and_says_how_close(halves, monkeypatch):
    monkeypatch.setattr("xplain.native.delta.pairs_pay", lambda: halves)
    net, item = small_cnn()
    ours, plain = both(net, engine="fast")
    question = Score(picture(1, item), Windows(boxes_on(1, item), np.zeros((1, 1, 1, 1), np.float32)), every_score)
    error = apart(ours.answer(question), plain.answer(question))
    assert ours.windows.way == "fast"
    assert 0 < ours.windows.error < (0.05 if halves else 1e-4)
    assert (1e-6 if halves else 0) < error < (0.05 if halves else 1e-4)


def test_without_halves_fast_mode_goes_by_winograd_wherever_it_applies(monkeypatch):
    monkeypatch.setattr("xplain.native.delta.pairs_pay", lambda: False)
    monkeypatch.setattr("xplain.models.onnx.incremental.affordable", lambda errors, savings: frozenset())
    b = Builder(3, (40, 40))
    for _ in range(3):
        b.at, b.channels = b.add("Relu", b.conv(b.at, b.channels, 64, (3, 3))), 64
    net, item = b.finish(), b.item
    question = Score(picture(1, item), Windows(boxes_on(1, item), np.zeros((1, 1, 1, 1), np.float32)), every_score)
    used = {}
    for engine in ("auto", "fast"):
        ours = xplain.load(net, threads=1, engine=engine)
        ours.answer(question)
        used[engine] = ours.windows.squares
    assert used["auto"] == 0
    assert used["fast"] > 0


# ---- declining and falling back ---------------------------------------------------------------------------------


def test_the_plain_way_is_one_option_away():
    net, item = small_cnn()
    plain = xplain.load(net, engine="plain")
    plain.answer(Score(picture(1, item), Windows(boxes_on(1, item), np.zeros((1, 1, 1, 1), np.float32)), every_score))
    assert plain.windows is None
    with pytest.raises(UsageError, match="engine is 'exact'; accepted: 'auto', 'plain', 'fast'"):
        xplain.load(net, engine="exact")


def test_little_gain_is_no_reason_to_leave_the_plain_way(monkeypatch):
    monkeypatch.setattr("xplain.models.onnx.incremental.WORTHWHILE", 1.3)
    net, item = small_cnn()
    ours, plain = both(net)
    question = Score(picture(1, item), Windows(boxes_on(1, item), np.zeros((1, 1, 1, 1), np.float32)), every_score)
    assert np.array_equal(ours.answer(question), plain.answer(question))
    assert ours.windows.way == "plain"
    assert "below 1.3 the plain way is used" in ours.windows.reason


def test_a_mismatch_is_noticed_said_and_answered_plainly(monkeypatch):
    net, item = small_cnn()
    ours, plain = both(net)
    good = inc.weights.direct

    def wrong(conv, pairs=False):
        packed = good(conv, pairs)
        return packed._replace(values=packed.values * np.float32(1.01))

    monkeypatch.setattr("xplain.incremental.weights.direct", wrong)
    question = Score(picture(1, item), Windows(boxes_on(1, item), np.zeros((1, 1, 1, 1), np.float32)), every_score)
    with pytest.warns(IncrementalWarning, match="Item 0 is answered by evaluating every window in full: mask"):
        got = ours.answer(question)
    assert np.array_equal(got, plain.answer(question))
    assert ours.windows.way == "plain"


def test_memory_that_runs_out_is_noticed_said_and_answered_plainly(monkeypatch):
    net, item = small_cnn()
    ours, plain = both(net)

    def none_left(self, size):
        raise MemoryError

    monkeypatch.setattr("xplain.incremental.run.Runner.take", none_left)
    question = Score(picture(1, item), Windows(boxes_on(1, item), np.zeros((1, 1, 1, 1), np.float32)), every_score)
    with pytest.warns(IncrementalWarning, match="memory ran out"):
        got = ours.answer(question)
    assert np.array_equal(got, plain.answer(question))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_left_to_the_plain_way(value):
    net, item = small_cnn()
    ours, plain = both(net)
    x = picture(1, item)
    x[0, 1, 20, 20] = value
    hidden = Windows(np.array([[18, 18, 23, 23], [15, 15, 24, 27]], np.int32), np.zeros((1, 1, 1, 1), np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = ours.answer(Score(x, hidden, every_score))
    assert np.array_equal(got, plain.answer(Score(x, hidden, every_score)))
    assert "not finite" in ours.windows.reason
    shown = Windows(np.zeros((1, 4), np.int32), np.zeros((1, 1, 1, 1), np.float32))
    if np.isnan(value):
        with pytest.raises(NonFinite, match="is NaN"):
            ours.answer(Score(x, shown, every_score))


def test_empty_windows_change_nothing():
    net, item = small_cnn()
    ours, _ = both(net)
    none = Windows(np.zeros((3, 4), np.int32), np.zeros((1, 1, 1, 1), np.float32))
    untouched = ours.answer(Score(picture(1, item), Untouched(), every_score))
    assert apart(ours.answer(Score(picture(1, item), none, every_score)), np.repeat(untouched, 3, axis=0)) < 1e-6


def one_input(nodes, weights=()):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 16, 16])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "one", [x], [y], list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_random_operators_transformers_and_tables_are_declined():
    kernel = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    noisy = one_input(
        [
            helper.make_node("RandomNormalLike", ["x"], ["n"], name="noise"),
            helper.make_node("Add", ["x", "n"], ["s"]),
            helper.make_node("Conv", ["s", "w"], ["y"]),
        ],
        [kernel],
    )
    refused = inc.plan(noisy, "x", (3, 16, 16), ["y"])
    assert refused == inc.Refused("operator RandomNormalLike (noise) is random")
    flat = one_input([helper.make_node("Flatten", ["x"], ["y"])])
    assert "it has no convolutions" in inc.plan(flat, "x", (3, 16, 16), ["y"]).reason
    assert "is not a float32 picture" in inc.plan(flat, "x", (768,), ["y"]).reason


def test_a_changed_graph_has_another_digest():
    net, _ = small_cnn()
    before = inc.digest_of(net)
    assert inc.digest_of(net) == before
    changed = np.array(numpy_helper.to_array(net.graph.initializer[0]))
    changed.flat[0] += 1
    net.graph.initializer[0].CopyFrom(numpy_helper.from_array(changed, net.graph.initializer[0].name))
    assert inc.digest_of(net) != before


def test_the_reason_names_global_operators():
    b = Builder(3, (24, 27))
    b.at, b.channels = b.act(b.conv("x", 3, 16, (3, 3)), 16), 16
    b.squeeze_excite()
    made = inc.plan(b.finish(), "x", b.item, ["y"])
    assert any(one.operator == "Mul" and "global value of the picture" in one.reason for one in made.blocked)


def test_the_prediction_counts_what_windows_reach():
    b = Builder(3, (64, 64))
    for _ in range(3):
        b.at, b.channels = b.add("Relu", b.conv(b.at, b.channels, 16, (3, 3))), 16
    made = inc.plan(b.finish(), "x", b.item, ["y"])
    boxes = np.array([[24, 24, 8, 8]])
    way = made.way(boxes, frozenset(), rows=10**9)
    # windows of 10, 12 and 14 pixels a side; taps that leave the 8, 10 and 12 inside are skipped
    taps = [(3 * 8) ** 2, (3 * 10) ** 2, (3 * 12) ** 2]
    weights = [3 * 16, 16 * 16, 16 * 16]
    areas = [10**2, 12**2, 14**2]
    wanted = [t * w + a * 16 * cost.ELEMENT / 4 + cost.STEP for t, w, a in zip(taps, weights, areas, strict=True)]
    assert [layer.incremental for layer in way.layers] == pytest.approx(wanted)
    assert [layer.plain for layer in way.layers] == [64 * 64 * 9 * w for w in weights]
