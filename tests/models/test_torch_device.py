"""Chunks of a torch module: memory format, precision, capture and order, on CPU tensors; nothing left behind."""

from __future__ import annotations

import numpy as np
import pytest
from models.test_torch import Net, state

import xplain
from xplain.core.edits import Coalitions, SoftGrid, Untouched, Windows
from xplain.core.errors import UsageError
from xplain.core.positions.layout import Layout
from xplain.core.query import Peek, Score, Sweep
from xplain.core.rules import Rules
from xplain.core.target import every_score, label
from xplain.models.options import TorchOptions
from xplain.models.pipeline import in_flight
from xplain.models.torch import device as torch_device
from xplain.models.torch.device import Batch, Means, TorchPlace

torch = pytest.importorskip("torch")
nn = torch.nn
CPU = torch.device("cpu")
PAIR = Batch(2, torch.float32, CPU)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net("none").eval()


@pytest.fixture
def x():
    return np.random.default_rng(0).random((3, 3, 12, 12)).astype(np.float32)


def kinds(x):
    fill = np.full((1, 3, 1, 1), 0.25, np.float32)
    boxes = np.array([[0, 0, 5, 5], [2, 3, 12, 12]], np.int32)
    rng = np.random.default_rng(1)
    whole = rng.integers(0, 4, x.shape[1:]).astype(np.int32)
    return {
        "untouched": Untouched(),
        "windows": Windows(boxes, fill),
        "soft grid": SoftGrid(3, 4, (3, 3), 0.5, fill),
        "whole": Coalitions(whole, rng.integers(0, 2, (3, 4)).astype(np.uint8), fill, whole=True),
    }


def answers(place, query, rows):
    return np.concatenate([found["scores"] for _, found in in_flight(place, *query.rows, rows)])


def forward_of(net):
    def forward(batch):
        with torch.no_grad():
            return {"scores": net(batch)}

    return forward


# ------------------------------------------------------------------ what is filled


@pytest.mark.parametrize("kernels", [False, True], ids=["cpu", "simulator"])
@pytest.mark.parametrize("memory", ["contiguous", "channels-last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64, torch.bfloat16], ids=str)
def test_rows_are_those_of_the_fill(request, x, kernels, memory, dtype):
    if kernels:
        request.getfixturevalue("on_simulator")
    layout, seen = Layout("NCHW", x.shape[1:]), []

    def forward(batch):
        last = memory == "channels-last"
        assert batch.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
        seen.append(batch.clone())
        return {"scores": batch.flatten(1)[:, :2]}

    for name, edits in kinds(x).items():
        query, total = Score(x, edits, every_score), len(x) * edits.count
        expected = np.empty((total, *x.shape[1:]), np.float32)
        xplain.native.fill(x, edits, 0, total, expected, layout)
        seen.clear()
        place = TorchPlace(
            query,
            layout,
            Batch(2, dtype, CPU),
            forward,
            TorchOptions(memory_format=memory),
            Means(by_kernels=kernels, depth=2),
        )
        got = answers(place, query, 2)
        assert torch.equal(torch.cat(seen), torch.from_numpy(expected).to(dtype)), name
        flat = torch.from_numpy(expected).to(dtype).flatten(1)[:, :2].float().numpy()
        assert np.array_equal(got, flat), name  # no view of a batch that was filled again


def test_a_layout_of_its_own_stays_as_it_is(x):
    items = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    query = Score(items, Untouched(), every_score)
    seen = []

    def forward(batch):
        seen.append(batch.clone())
        return {"scores": batch.flatten(1)}

    options = TorchOptions(memory_format="channels-last")
    place = TorchPlace(query, Layout("NHWC", items.shape[1:]), Batch(3, torch.float32, CPU), forward, options)
    assert np.array_equal(answers(place, query, 3), items.reshape(3, -1))


# ------------------------------------------------------------------ what is answered


def test_channels_last_gives_the_same_answers_to_rounding(net, x):
    plain, last = xplain.load(net), xplain.load(net, memory_format="channels-last")
    for edits in kinds(x).values():
        query = Score(x, edits, every_score)
        assert np.allclose(last.answer(query), plain.answer(query), atol=1e-6)
    seen = []
    handle = net.conv1.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    last.answer(Score(x, Untouched(), every_score))
    last.answer(Peek(x, ("conv2",)))
    last.answer(Sweep(x[:, None], label(1), Rules()))
    handle.remove()
    assert len(seen) == 3
    assert all(batch.is_contiguous(memory_format=torch.channels_last) for batch in seen)
    tokens = xplain.load(nn.Sequential(nn.Linear(4, 3)), memory_format="channels-last")  # no pictures
    assert tokens.answer(Score(np.ones((2, 4), np.float32), Untouched(), every_score)).shape == (2, 3)


def test_half_precision_is_approximate_and_says_so(net, x):
    half, plain = xplain.load(net, precision="bfloat16"), xplain.load(net)
    query = Score(x, kinds(x)["windows"], every_score)
    got, expected = half.answer(query), plain.answer(query)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(half.answer(Score(x, Untouched(), every_score)), net(torch.from_numpy(x)).float().numpy())
    assert not np.array_equal(got, expected)
    assert np.abs(got - expected).max() < 0.02 * np.ptp(expected)
    told = "Passes run under torch.autocast (precision='bfloat16'), so values differ"
    assert any(quirk.startswith(told) for quirk in half.outline.quirks)
    assert xplain.explain(half, x[:1], patch=6, stride=6).warnings[0].text.startswith(told)
    assert not xplain.explain(plain, x[:1], patch=6, stride=6).warnings


def test_a_callers_autocast_changes_nothing(net, x):
    model = xplain.load(net)
    query, sweep = Score(x, kinds(x)["soft grid"], every_score), Sweep(x[:, None], label(1), Rules())
    expected, gradient = model.answer(query), model.answer(sweep)["input"][1]
    for context in (torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad(), torch.inference_mode()):
        with context:
            assert np.array_equal(model.answer(query), expected)
            assert np.array_equal(model.answer(sweep)["input"][1], gradient)
            fresh = xplain.load(net)
            assert np.array_equal(fresh.answer(query), expected)


class Broken(nn.Module):
    """Fails from the third pass on."""

    def __init__(self, net):
        super().__init__()
        self.net, self.passes = net, 0

    def forward(self, x):
        self.passes += 1
        if self.passes > 2:
            raise ValueError("the third pass")
        return self.net(x)


@pytest.mark.parametrize("options", [{}, {"precision": "bfloat16"}, {"memory_format": "channels-last"}])
def test_nothing_is_left_behind_by_an_exception(net, x, options):
    broken = Broken(net).train()
    before = state(broken), torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")
    model = xplain.load(broken, **options)
    query = Score(x, kinds(x)["windows"], every_score, part=(0, 2))
    model.answer(query)
    with pytest.raises(ValueError, match="the third pass") as caught:
        model.answer(query)
    assert "when xplain called it with float32 [2, 3, 12, 12]" in caught.value.__notes__[0]
    assert (state(broken), torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_format": "NHWC"}, "memory_format is 'NHWC'; accepted: 'contiguous', 'channels-last'"),
        ({"precision": "half"}, "precision is 'half'; accepted: 'float32', 'bfloat16', 'float16'"),
        ({"graphs": "yes"}, "graphs is 'yes'; accepted: True or False"),
    ],
)
def test_other_words_are_refused(net, options, message):
    with pytest.raises(UsageError, match=message):
        xplain.load(net, **options)
    with pytest.raises(UsageError, match=f"{next(iter(options))}: only for torch modules; got function"):
        xplain.load(lambda batch: batch, **options)


# ------------------------------------------------------------------ capture


class Tape:
    """Stands in for CUDA graphs: work is done once when captured, and replays write the same tensors."""

    def __init__(self, refuses=""):
        self.refuses, self.captures, self.replays = refuses, 0, 0

    def __call__(self, work):
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.captures += 1
        static = {name: torch.full_like(value, torch.nan) for name, value in work().items()}

        def replay():
            self.replays += 1
            for name, value in work().items():
                static[name].copy_(value)

        return replay, static


@pytest.mark.parametrize("depth", [1, 2])
def test_full_chunks_are_captured_once_per_slot_and_the_odd_last_one_runs_eagerly(net, x, depth):
    query, layout, sizes, tape = Score(x, kinds(x)["soft grid"], every_score), Layout("NCHW", x.shape[1:]), [], Tape()

    def forward(batch):
        sizes.append(len(batch))
        return forward_of(net)(batch)

    plain = TorchPlace(query, layout, PAIR, forward_of(net), TorchOptions())
    part = Score(x, query.edits, every_score, part=(0, 11))
    place = TorchPlace(part, layout, PAIR, forward, TorchOptions(graphs=True), Means(tape, depth=depth))
    # close, not equal: the last chunk has one row here and two there, and torch rounds by the shape of a batch
    np.testing.assert_allclose(answers(place, part, 2), answers(plain, query, 2)[:11], rtol=1e-4, atol=1e-5)
    assert (place.captured, tape.captures, tape.replays, place.not_captured) == (depth, depth, 3, "")
    # two eager chunks; each captured slot works once while it is captured; three replays; the last chunk has one row
    assert sizes == [2] * (2 + depth + 3) + [1]


def test_a_capture_that_fails_is_told_and_the_pass_runs_eagerly(net, x, monkeypatch):
    reason = "operation not permitted when stream is capturing\nmore"
    query, layout, tape = Score(x, kinds(x)["soft grid"], every_score), Layout("NCHW", x.shape[1:]), Tape(reason)
    plain = TorchPlace(query, layout, PAIR, forward_of(net), TorchOptions())
    place = TorchPlace(query, layout, PAIR, forward_of(net), TorchOptions(graphs=True), Means(tape))
    assert np.array_equal(answers(place, query, 2), answers(plain, query, 2))
    told = "The forward pass could not be captured as a CUDA graph (operation not permitted when stream is capturing)"
    assert place.not_captured == f"{told}; it runs eagerly."
    model = xplain.load(net, graphs=True)
    honest = torch_device.TorchPlace

    def taped(*arguments):
        return honest(*arguments, Means(tape))

    monkeypatch.setattr("xplain.models.torch.module.TorchPlace", taped)
    pieces = list(model._scored(query, 2))
    whole = xplain.load(net).answer(query)  # in one batch of another shape: close, not equal
    np.testing.assert_allclose(np.concatenate([rows for _, rows in pieces]), whole, rtol=1e-4, atol=1e-5)
    assert any(quirk.startswith(told) for quirk in model.outline.quirks)


def test_a_module_that_fails_in_a_replayed_question_says_its_own_error(net, x):
    broken = Broken(net)
    place_of = (Layout("NCHW", x.shape[1:]), PAIR)
    query = Score(x, kinds(x)["soft grid"], every_score)
    place = TorchPlace(query, *place_of, forward_of(broken), TorchOptions(graphs=True), Means(Tape()))
    with pytest.raises(ValueError, match="the third pass"):
        answers(place, query, 2)


def test_on_the_cpu_the_engine_cuts_the_chunks(net, x):
    model = xplain.load(net)
    assert model.ahead(Score(x, Untouched(), every_score), None) is None
    a = xplain.explain(model, x, "rise", samples=24, cells=3, batch_size=5)
    b = xplain.explain(model, x, "rise", samples=24, cells=3)
    assert np.allclose(a.values, b.values, atol=1e-6)
