"""ReLU's forward pass that keeps one bit per element, and the three ways back through it."""

from __future__ import annotations

from typing import Any

from xplain import _native
from xplain.core.errors import unknown
from xplain.native.place import call, device_of

__all__ = ["RULES", "relu_backward", "relu_forward_bits"]

RULES = {"gradient": 0, "guided": 1, "deconvnet": 2}


def relu_backward(
    x: Any, g: Any, dx: Any, rule: str = "gradient", *, from_bits: bool = False, threads: int = 0, stream: int = 0
) -> None:
    """Writes what passes back through ``max(x, 0)``; a value passes unchanged or becomes 0, and NaN stays NaN.

    ``gradient``: ``x <= 0 ? 0 : g``. ``deconvnet``: ``g <= 0 ? 0 : g`` (Zeiler and Fergus 2014). ``guided``: 0 where
    either is not positive (Springenberg et al. 2015).

    Args:
        x: Input of the ReLU, or uint8 bits ``[ceil(size / 8)]`` of ``relu_forward_bits``; unused by deconvnet.
        g: Cotangent of the output; float32, float16 or bfloat16, of the size of x. Any DLPack tensor, contiguous.
        dx: Where the cotangent of the input is written; may be ``g`` itself.
        rule: ``gradient``, ``guided`` or ``deconvnet``.
        from_bits: Whether ``x`` is bits.
        threads: On the CPU, at most so many; 0 means all.
        stream: On a device, the CUDA stream to run in; 0 is the legacy default.

    Raises:
        UnknownName: No such rule.
        UsageError: Tensors do not agree in type, size or place, or are not contiguous.
    """
    device_of("relu_backward", x=x, g=g, dx=dx)
    if rule not in RULES:
        raise unknown("ReLU rule", rule, RULES)
    call(_native.relu_backward, x, g, dx, rule=RULES[rule], from_bits=from_bits, threads=threads, stream=stream)


def relu_forward_bits(x: Any, y: Any, bits: Any, *, threads: int = 0, stream: int = 0) -> None:
    """Writes ``y = x <= 0 ? 0 : x`` and one bit per element, 1 where ``not x <= 0``, lowest bit first.

    A backward pass then needs an eighth of a byte per element instead of the whole input. ``bits`` are those of
    ``numpy.packbits(~(x <= 0), bitorder="little")``.

    Args:
        x: float32, float16 or bfloat16; any DLPack tensor, contiguous.
        y: Output of the same type and size; may be ``x``.
        bits: uint8 ``[ceil(size / 8)]``.
        threads: On the CPU, at most so many; 0 means all.
        stream: On a device, the CUDA stream to run in; 0 is the legacy default.

    Raises:
        UsageError: Tensors do not agree in type, size or place, or are not contiguous.
    """
    device_of("relu_forward_bits", x=x, y=y, bits=bits)
    call(_native.relu_forward_bits, x, y, bits, threads=threads, stream=stream)
