"""Kernels over windows of deltas against their dense definitions, on every kind of processor that can be had here."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.incremental import weights as pack
from xplain.incremental.boxes import reached
from xplain.incremental.steps import Conv, Plane
from xplain.native import delta
from xplain.native.delta import Activation, Around, Deltas, Kernel, Load, stored

PROCESSORS = {"portable": 0, "avx2": 1, "avx512": 2, "best": 3}
PLANE = (13, 11)
MASKS = 9
RELU, LEAKY = Activation("clip", 0.0, float("inf")), Activation("leaky", 0.2)


def rng():
    return np.random.default_rng(7)


def boxes(plane, seed=3):
    """Windows of all kinds: single pixels, borders, the whole plane, an empty one."""
    r = np.random.default_rng(seed)
    y, x = r.integers(0, plane[0], MASKS), r.integers(0, plane[1], MASKS)
    box = np.stack([y, x, r.integers(1, plane[0] - y + 1), r.integers(1, plane[1] - x + 1)], axis=1)
    box[0], box[1], box[2] = (0, 0, *plane), (0, 0, 0, 0), (plane[0] - 1, plane[1] - 1, 1, 1)
    return box.astype(np.int64)


def empty(box, channels, dtype=np.float32, spare=32, first=16):
    """Windows in a buffer whose pixels are wider than the tensor and which is full of NaN."""
    step = stored(channels) + spare
    sizes = box[:, 2] * box[:, 3] * step
    windows = np.concatenate([box, (np.cumsum(sizes) - sizes + first)[:, None], box[:, 3:4] * step], axis=1)
    data = np.full(int(sizes.sum()) + step, np.nan, np.float32)
    return Deltas(windows, data if dtype == np.float32 else pack.bfloat16(data), step)


def view(deltas, m, channels):
    y, x, h, w, offset, pitch = (int(v) for v in deltas.windows[m])
    size = deltas.data.itemsize
    strides = (pitch * size, deltas.step * size, size)
    return np.lib.stride_tricks.as_strided(deltas.data[offset:], (h, w, channels), strides), (y, x, h, w)


def fill(dense, box, dtype=np.float32):
    """Deltas of dense ``[N, C, H, W]``, which is set to zero outside the windows."""
    channels = dense.shape[1]
    out = empty(box, channels, dtype)
    for m in range(len(box)):
        pixels, (y, x, h, w) = view(out, m, stored(channels))
        inside = dense[m, :, y : y + h, x : x + w].copy()
        dense[m] = 0
        dense[m, :, y : y + h, x : x + w] = inside
        values = np.zeros((h, w, stored(channels)), np.float32)
        values[..., :channels] = inside.transpose(1, 2, 0)
        pixels[...] = values if dtype == np.float32 else pack.bfloat16(values).reshape(values.shape)
    return out


def dense_of(deltas, channels, plane):
    """Deltas as dense values; what lies outside the windows, and every stored channel past the last, is zero."""
    out = np.zeros((len(deltas.windows), channels, *plane), np.float32)
    for m in range(len(out)):
        pixels, (y, x, h, w) = view(deltas, m, stored(channels))
        values = np.array(pixels)
        if deltas.data.dtype != np.float32:
            values = (values.astype(np.uint32) << 16).view(np.float32)
        assert not values[..., channels:].any()
        out[m, :, y : y + h, x : x + w] = values[..., :channels].transpose(2, 0, 1)
    return out


def written_alone(deltas, channels):
    """Whether everything but the windows' own channels is still NaN."""
    copy = np.array(deltas.data)
    for m in range(len(deltas.windows)):
        view(Deltas(deltas.windows, copy, deltas.step), m, stored(channels))[0][...] = (
            0x7FC0 if copy.itemsize == 2 else np.nan
        )
    values = copy if copy.itemsize == 4 else (copy.astype(np.uint32) << 16).view(np.float32)
    return bool(np.isnan(values).all())


def convolved(x, weight, kernel, groups, plane):
    """Cross-correlation as its definition, float64."""
    out = np.zeros((len(x), len(weight), *plane))
    inside, outside = x.shape[1] // groups, len(weight) // groups
    for g in range(groups):
        part = x[:, g * inside : (g + 1) * inside].astype(np.float64)
        for ky in range(kernel.size[0]):
            for kx in range(kernel.size[1]):
                rows = np.arange(plane[0]) * kernel.stride[0] - kernel.pads[0] + ky * kernel.dilation[0]
                columns = np.arange(plane[1]) * kernel.stride[1] - kernel.pads[1] + kx * kernel.dilation[1]
                r, c = (rows >= 0) & (rows < x.shape[2]), (columns >= 0) & (columns < x.shape[3])
                seen = np.zeros((*part.shape[:2], *plane))
                seen[:, :, np.flatnonzero(r)[:, None], np.flatnonzero(c)] = part[:, :, rows[r][:, None], columns[c]]
                taps = weight[g * outside : (g + 1) * outside, :, ky, kx].astype(np.float64)
                out[:, g * outside : (g + 1) * outside] += np.einsum("oi,niyx->noyx", taps, seen)
    return out


def activated(act, v):
    if act.kind == "clip":
        return np.clip(v, act.low, act.high)
    return np.where(v < 0, v * act.low, v) if act.kind == "leaky" else v


CONVOLUTIONS = {
    "1x1": ("direct", 20, 40, 1, Kernel((1, 1))),
    "3x3": ("direct", 16, 33, 1, Kernel((3, 3), pads=(1, 1))),
    "5x2 dilated, strided, lopsided": ("direct", 3, 16, 1, Kernel((5, 2), (2, 1), (3, 0), (1, 2))),
    "groups": ("direct", 24, 48, 4, Kernel((3, 3), pads=(1, 1))),
    "odd groups": ("direct", 9, 15, 3, Kernel((3, 1), (1, 2), (1, 0))),
    "winograd": ("winograd", 17, 40, 1, Kernel((3, 3), pads=(1, 1))),
    "winograd without pads": ("winograd", 32, 16, 1, Kernel((3, 3))),
    "depthwise 3x3": ("depthwise", 40, 40, 40, Kernel((3, 3), pads=(1, 1))),
    "depthwise 3x3 / 2": ("depthwise", 16, 16, 16, Kernel((3, 3), (2, 2), (1, 1))),
    "depthwise 5x5": ("depthwise", 24, 24, 24, Kernel((5, 5), pads=(2, 2))),
    "depthwise 5x5 / 2": ("depthwise", 24, 24, 24, Kernel((5, 5), (2, 2), (2, 2))),
    "depthwise 7x3": ("depthwise", 24, 24, 24, Kernel((7, 3), pads=(3, 1))),
}


class Case:
    """A convolution, its operands, and what it should give."""

    def __init__(self, name, act=RELU, residual=True, dtype=np.float32):
        self.way, inside, outside, groups, kernel = CONVOLUTIONS[name]
        r = rng()
        reach = [(k - 1) * d + 1 for k, d in zip(kernel.size, kernel.dilation, strict=True)]
        rooms = (n + 2 * p - k for n, p, k in zip(PLANE, kernel.pads, reach, strict=True))
        plane = tuple(room // s + 1 for room, s in zip(rooms, kernel.stride, strict=True))
        weight = r.standard_normal((outside, inside // groups, *kernel.size)).astype(np.float32)
        self.conv = Conv("y", "x", weight, groups, kernel, Plane(outside, *plane), inside)
        self.act, box = act, boxes(PLANE)
        x = r.standard_normal((MASKS, inside, *PLANE)).astype(np.float32)
        self.x = fill(x, box, dtype)
        x = dense_of(self.x, inside, PLANE)
        other, out_box = r.standard_normal((MASKS, outside, *plane)).astype(np.float32), reached(box, kernel, plane)
        out_box[3] = (0, 0, *plane)  # larger than what is reached: the rest is the residual's
        self.residual = fill(other, np.where(np.arange(MASKS)[:, None] % 2, out_box, 0), dtype) if residual else None
        self.out = empty(out_box, outside, dtype)
        self.base = r.standard_normal((*plane, stored(outside))).astype(np.float32)
        self.base[..., outside:] = 0
        rounded = weight if dtype == np.float32 or self.way == "depthwise" else _rounded(weight)
        total = convolved(x, rounded, kernel, groups, plane)
        if residual:
            total += dense_of(self.residual, outside, plane)
        base = self.base[..., :outside].transpose(2, 0, 1)
        self.wanted = activated(act, base + total) - activated(act, base)
        self.plane, self.dtype = plane, dtype

    def run(self, **options):
        packing = {"winograd": pack.square, "depthwise": pack.per_channel}.get(self.way)
        packed = packing(self.conv) if packing else pack.direct(self.conv, pairs=self.dtype != np.float32)
        around = Around(self.base if self.act.kind != "none" else None, self.act)
        delta.conv(self.x, self.out, packed, residual=self.residual, around=around, **options)
        return dense_of(self.out, self.conv.plane.channels, self.plane)


def _rounded(values):
    return (pack.bfloat16(values).astype(np.uint32) << 16).view(np.float32).reshape(values.shape)


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_are_their_definition(name, processor):
    for act, residual in ((RELU, True), (LEAKY, False), (Activation(), True)):
        case = Case(name, act, residual)
        got = case.run(processor=PROCESSORS[processor], threads=2)
        assert np.abs(got - case.wanted).max() < 1e-5 * max(1, np.abs(case.wanted).max())
        assert written_alone(case.out, case.conv.plane.channels)


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("name", [n for n in CONVOLUTIONS if "winograd" not in n])
def test_bfloat16_deltas_lose_three_digits_at_most(name, processor):
    case = Case(name, dtype=np.uint16)
    got = case.run(processor=PROCESSORS[processor])
    assert np.abs(got - case.wanted).max() < 0.01 * np.abs(case.wanted).max()


def test_a_mask_keeps_its_bits_without_the_others():
    for name in CONVOLUTIONS:
        whole, alone = Case(name), Case(name)
        together = whole.run(threads=2)
        for m in range(MASKS):
            alone.x, alone.out, alone.residual = (
                Deltas(np.ascontiguousarray(d.windows[m : m + 1]), d.data, d.step)
                for d in (whole.x, whole.out, whole.residual)
            )
            assert np.array_equal(alone.run(threads=1)[0], together[m]), name


def test_an_activation_on_load():
    r = rng()
    weight = r.standard_normal((24, 20, 1, 1)).astype(np.float32)
    conv = Conv("y", "x", weight, 1, Kernel((1, 1)), Plane(24, *PLANE), 20)
    box = boxes(PLANE)
    x = r.standard_normal((MASKS, 20, *PLANE)).astype(np.float32)
    deltas, base = fill(x, box), r.standard_normal((*PLANE, 32)).astype(np.float32)
    factor, shift = (r.standard_normal(32).astype(np.float32) for _ in range(2))
    for array in (base, factor, shift):
        array[..., 20:] = 0
    out = empty(box, 24)
    delta.conv(deltas, out, pack.direct(conv), load=Load(factor, shift, base, RELU))
    before = base[..., :20].transpose(2, 0, 1) * factor[:20, None, None] + shift[:20, None, None]
    change = np.maximum(before + x * factor[:20, None, None], 0) - np.maximum(before, 0)
    wanted = convolved(change, weight, conv.kernel, 1, PLANE)
    assert np.abs(dense_of(out, 24, PLANE) - wanted).max() < 1e-5


@pytest.mark.parametrize("kind", ["max", "mean_inside", "mean_all"])
@pytest.mark.parametrize(
    "kernel", [Kernel((3, 3), (2, 2), (1, 1)), Kernel((2, 3), (1, 2)), Kernel((3, 2), dilation=(2, 1))]
)
def test_pools_are_their_definition(kind, kernel):
    r, channels = rng(), 20
    reach = [(k - 1) * d + 1 for k, d in zip(kernel.size, kernel.dilation, strict=True)]
    plane = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in zip(PLANE, kernel.pads, reach, kernel.stride, strict=True))
    x, base = r.standard_normal((MASKS, channels, *PLANE)).astype(np.float32), r.standard_normal((channels, *PLANE))
    deltas, base = fill(x, boxes(PLANE)), base.astype(np.float32)

    def pooled(v):
        edge = -np.inf if kind == "max" else 0.0
        padded = np.pad(v, ((0, 0), *((p, p) for p in kernel.pads)), constant_values=edge)
        inside = np.pad(np.ones(PLANE), [(p, p) for p in kernel.pads], constant_values=float(kind == "mean_all"))
        out, count = np.full((channels, *plane), edge), np.zeros(plane)
        for ky in range(kernel.size[0]):
            for kx in range(kernel.size[1]):
                at = tuple(
                    slice(k * d, k * d + (n - 1) * s + 1, s)
                    for k, d, n, s in zip((ky, kx), kernel.dilation, plane, kernel.stride, strict=True)
                )
                out = np.maximum(out, padded[:, *at]) if kind == "max" else out + padded[:, *at]
                count += inside[at]
        return out if kind == "max" else out / count

    wanted = np.stack([pooled(base + v) - pooled(base) for v in x])
    out = empty(reached(boxes(PLANE), kernel, plane), channels)
    before, after = (delta.channels_last(v) for v in (base, pooled(base)))
    padded = kernel._replace(far_pads=kernel.pads)
    delta.pool(kind, deltas, out, stored(channels), padded, PLANE, bases=(before, after), threads=2)
    assert np.abs(dense_of(out, channels, plane) - wanted).max() < 1e-5
    assert written_alone(out, channels)


@pytest.mark.parametrize("function", [f for f in delta.FUNCTIONS if f not in ("clip", "leaky")])
def test_functions_are_zero_where_nothing_changed_and_right_where_it_did(function):
    import math

    low, high = {"hard_sigmoid": (0.2, 0.5), "elu": (1.3, 0.0), "selu": (1.67, 1.05)}.get(function, (0.0, 0.0))
    exact = {
        "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
        "tanh": np.tanh,
        "hard_sigmoid": lambda v: np.clip(0.2 * v + 0.5, 0, 1),
        "hard_swish": lambda v: v * np.clip(v / 6 + 0.5, 0, 1),
        "elu": lambda v: np.where(v < 0, 1.3 * np.expm1(v), v),
        "selu": lambda v: 1.05 * np.where(v < 0, 1.67 * np.expm1(v), v),
        "softplus": lambda v: np.logaddexp(0, v),
        "gelu": lambda v: v * (1 + np.vectorize(math.erf)(v / math.sqrt(2))) / 2,
        "exp": np.exp,
        "erf": np.vectorize(math.erf),
        "abs": np.abs,
    }[function]
    r = rng()
    x, base = (
        r.standard_normal((MASKS, 16, *PLANE)).astype(np.float32),
        r.standard_normal((*PLANE, 16)).astype(np.float32),
    )
    x[:, 3] = 0
    deltas = fill(x, boxes(PLANE))
    out = empty(boxes(PLANE), 16)
    delta.unary(Activation(function, low, high), deltas, out, 16, base)
    b = base.transpose(2, 0, 1).astype(np.float64)
    got = dense_of(out, 16, PLANE)
    assert np.abs(got - (exact(b + x) - exact(b))).max() < 2e-6 * max(1, np.abs(exact(b + x)).max())
    assert not got[:, 3].any()


def test_pairs_scales_copies_and_the_way_out():
    r = rng()
    one, two = boxes(PLANE, 3), boxes(PLANE, 4)
    x, y = (r.standard_normal((MASKS, 16, *PLANE)).astype(np.float32) for _ in range(2))
    a, b = fill(x, one), fill(y, two)
    bases = [r.standard_normal((*PLANE, 16)).astype(np.float32) for _ in range(2)]
    p, q = (v.transpose(2, 0, 1) for v in bases)
    whole = np.tile(np.array([0, 0, *PLANE]), (MASKS, 1))
    out = empty(whole, 16)
    for function, wanted in (("add", x + y), ("subtract", x - y), ("multiply", (p + x) * (q + y) - p * q)):
        delta.binary(function, a, b, out, 16, bases=(bases[0], bases[1]))
        assert np.abs(dense_of(out, 16, PLANE) - wanted).max() < 1e-5
    delta.scale(a, out, 16, np.arange(16, dtype=np.float32))
    assert np.array_equal(dense_of(out, 16, PLANE), x * np.arange(16, dtype=np.float32)[:, None, None])
    rows, columns = np.array([0, 0, 1, 2, 2, 2]), np.array([1, 3, 3, 10])
    big = empty(np.tile(np.array([0, 0, 6, 4]), (MASKS, 1)), 16)
    delta.gather(a, big, 16, rows, columns)
    assert np.array_equal(dense_of(big, 16, (6, 4)), x[:, :, rows][..., columns])
    assert np.array_equal(delta.leave(bases[0], a, 16), np.where(x == 0, p, p + x))
    mean = delta.plane_mean(np.ones(16, np.float32), a, 16, 1 / 143)
    assert np.abs(mean - (1 + x.mean(axis=(2, 3)))).max() < 1e-6
    inner = empty(whole, 16)
    delta.clear_rim(a.windows, inner, 16)
    outside = np.ones((MASKS, *PLANE), bool)
    for m, (top, left, h, w) in enumerate(one):
        outside[m, top : top + h, left : left + w] = False
    values = np.stack([view(inner, m, 16)[0][..., 0] for m in range(MASKS)])
    assert np.array_equal(values == 0, outside)


def test_the_edit_is_the_fill_less_the_picture():
    r = rng()
    x, hidden = (delta.channels_last(r.standard_normal((3, *PLANE))) for _ in range(2))
    out = empty(boxes(PLANE), 3)
    delta.enter(x, hidden, out, 16)
    got = dense_of(out, 3, PLANE)
    for m, (y, c, h, w) in enumerate(boxes(PLANE)):
        at = slice(y, y + h), slice(c, c + w)
        assert np.array_equal(got[m, :, *at], (hidden - x)[..., :3].transpose(2, 0, 1)[:, *at])


def test_nothing_is_read_or_written_outside_a_buffer():
    case = Case("3x3")
    packed = pack.direct(case.conv)
    short = packed._replace(values=packed.values[:-1])
    beyond = np.array(case.x.windows)
    beyond[0, 4] += case.x.data.size
    with pytest.raises(ValueError, match="delta_conv: a window lies outside its buffer"):
        delta.conv(case.x._replace(windows=beyond), case.out, packed)
    negative = np.array(case.x.windows)
    negative[0, 0] = -1
    with pytest.raises(ValueError, match="delta_conv: windows must lie inside the plane"):
        delta.conv(case.x._replace(windows=negative), case.out, packed)
    with pytest.raises(ValueError, match="delta_conv: a panel lies outside the channels or the weights"):
        delta.conv(case.x, case.out, short)
    with pytest.raises(ValueError, match="delta_conv: an activation needs base values"):
        delta.conv(case.x, case.out, packed, around=Around(act=RELU))
    with pytest.raises(ValueError, match="delta_conv: operands must have as many masks"):
        delta.conv(case.x, case.out._replace(windows=case.out.windows[1:].copy()), packed)
    with pytest.raises(ValueError, match="delta_pool: a maximum needs base values"):
        delta.pool("max", case.x, case.x, 16, Kernel((2, 2)), PLANE)
