"""ReLU kernels against their definition: values, bits, in place, every type, alignment and size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xplain import native
from xplain.core.errors import UnknownName, UsageError
from xplain.native import reference

pytestmark = pytest.mark.usefixtures("kernels")
TYPES = ["float32", "float16", "bfloat16"]


def encode(values, dtype):
    if dtype != "bfloat16":
        return values.astype(dtype)
    bits = values.astype(np.float32).view(np.uint32)
    return np.where(np.isnan(values), 0x7FC0, (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def decode(array):
    return (array.astype(np.uint32) << 16).view(np.float32) if array.dtype == np.uint16 else array.astype(np.float32)


def at_offset(array, offset):
    """The same values at ``offset`` elements past a 64-byte boundary."""
    memory = np.empty(array.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset * array.itemsize
    copy = memory[start : start + array.nbytes].view(array.dtype)
    copy[:] = array
    return copy


def case(count, dtype, seed):
    rng = np.random.default_rng(seed)
    x, g = (
        encode(rng.choice([*rng.standard_normal(20), 0.0, -0.0, np.nan, np.inf, -np.inf], count), dtype) for _ in "xg"
    )
    return x, g


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.one_of(st.integers(0, 70), st.sampled_from([2047, 2048, 2049, 5000])),
    dtype=st.sampled_from(TYPES),
    rule=st.sampled_from(["gradient", "guided", "deconvnet"]),
    offset=st.integers(0, 9),
    in_place=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_backward_from_values_and_from_bits(count, dtype, rule, offset, in_place, seed):
    x, g = case(count, dtype, seed)
    expected = reference.relu_backward(decode(x), decode(g), rule)
    x = at_offset(x, offset)
    for from_bits in (False, True):
        source = np.packbits(~(decode(x) <= 0), bitorder="little") if from_bits else x
        into = at_offset(g, offset)
        given_g = into if in_place else at_offset(g, offset)
        native.relu_backward(source, given_g, into, rule, from_bits=from_bits)
        assert np.array_equal(decode(into), expected, equal_nan=True)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.one_of(st.integers(0, 70), st.sampled_from([2049, 5000])),
    dtype=st.sampled_from(TYPES),
    offset=st.integers(0, 9),
    seed=st.integers(0, 1000),
)
def test_forward_keeps_one_bit_per_element(count, dtype, offset, seed):
    x = at_offset(case(count, dtype, seed)[0], offset)
    y, bits = np.empty_like(x), np.full(-(-count // 8), 0xAA, np.uint8)
    native.relu_forward_bits(x, y, bits)
    off = decode(x) <= 0
    assert np.array_equal(bits, np.packbits(~off, bitorder="little"))
    assert np.array_equal(decode(y), np.where(off, 0, decode(x)), equal_nan=True)
    native.relu_forward_bits(x, x, bits)
    assert np.array_equal(decode(x), decode(y), equal_nan=True)


def test_torch_tensors_are_taken_as_they_are():
    torch = pytest.importorskip("torch")
    x, g = (torch.randn(3, 5, 7, 11, dtype=torch.bfloat16) for _ in "xg")
    dx = torch.empty_like(g)
    native.relu_backward(x, g, dx, "gradient")
    assert torch.equal(dx, torch.ops.aten.threshold_backward(g, x, 0))


def test_what_does_not_fit_is_refused():
    x = np.ones((4, 6), np.float32)
    with pytest.raises(UnknownName, match="Unknown ReLU rule 'guide'. Did you mean 'guided'"):
        native.relu_backward(x, x, x, "guide")
    with pytest.raises(UsageError, match="g and dx must agree in type and size"):
        native.relu_backward(x, x, x[:2].copy())
    with pytest.raises(UsageError, match="x and g must agree in type and size"):
        native.relu_backward(x.astype(np.float16), x, x)
    with pytest.raises(UsageError, match="tensors must be contiguous"):
        native.relu_backward(x, x[:, ::2], x[:, ::2])
    with pytest.raises(UsageError, match="takes float32, float16 and bfloat16, not float64"):
        native.relu_backward(*[x.astype(np.float64)] * 3)
    with pytest.raises(UsageError, match=r"bits must be uint8 \[ceil\(count / 8\)\]"):
        native.relu_forward_bits(x, x.copy(), np.empty(4, np.uint8))
