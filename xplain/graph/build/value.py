"""A tensor of a graph under construction: arithmetic and comparisons that emit ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from onnx import TensorProto

from xplain.core.errors import ModelError

__all__ = ["Builder", "Shape", "Value", "freed", "known", "same_size"]

Shape: TypeAlias = "tuple[int | str | None, ...]"

def known(dims: Sequence[int | str | None] | None) -> bool:
    """Whether all of these extents are numbers."""
    return dims is not None and all(isinstance(d, int) for d in dims)


class Builder(Protocol):
    """What a value asks of the graph that it is part of; ``xplain.graph.build.tracer.Tracer`` is one."""

    shapes: dict[str, Shape]

    @property
    def constants(self) -> Any:
        """The constants of the graph, see ``xplain.graph.analysis.constants``."""

    @property
    def namespace(self) -> Any:
        """The functions of the array API on its values."""

    def const(self, value: Any, dtype: int | None = None) -> Value:
        """A constant."""

    def emit(self, op: str, *inputs: Any, **attributes: Any) -> Value:
        """The output of a new node."""

    def __getattr__(self, op: str) -> Callable[..., Value]:
        """Any operator, and the words of ``Tracer``."""


class Value:
    """A tensor of the graph being built. Arithmetic and comparisons emit nodes; a plain number takes this dtype."""

    __slots__ = ("dtype", "name", "tracer")
    __array_ufunc__ = None  # numpy array * value is left to the value

    def __init__(self, tracer: Builder, name: str, dtype: int) -> None:
        self.tracer, self.name, self.dtype = tracer, name, dtype

    @property
    def shape(self) -> Shape | None:
        """Extents: a number, the name of a free dimension, or None; None as a whole where even the rank is unknown."""
        return self.tracer.shapes.get(self.name)

    @property
    def rank(self) -> int:
        """Number of axes.

        Raises:
            ModelError: it is not known.
        """
        shape = self.shape
        if shape is None:
            raise ModelError(
                f"The rank of tensor {self.name!r} is not known, and no run on made-up items told it. State the model's "
                "shapes: export it with the sizes of its inputs fixed, or write them into its value_info."
            )
        return len(shape)

    @property
    def data(self) -> np.ndarray[Any, Any] | None:
        """The content of a small constant; None for anything else."""
        found: np.ndarray[Any, Any] | None = self.tracer.constants.get(self.name)
        return found

    @property
    def constant(self) -> bool:
        """Whether the value is the same in every run."""
        return self.name in self.tracer.constants

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return self.tracer.namespace

    def __getitem__(self, key: Any) -> Value:
        """Slices ``start:stop`` with numbers, ``None`` for a new axis; nothing else can be said in a static graph."""
        value = self
        for axis, part in enumerate(key if isinstance(key, tuple) else (key,)):
            if part is None:
                value = self.tracer.unsqueeze(value, [axis])
            elif not isinstance(part, slice) or part.step not in (None, 1):
                raise TypeError(f"A traced value cannot be indexed with {part!r}; only start:stop and None can.")
            elif part.start is not None or part.stop is not None:
                stop = 2**31 if part.stop is None else part.stop
                value = self.tracer.slice(value, [part.start or 0], [stop], [axis])
        return value

    def _binary(self, op: str, other: Any, swapped: bool = False) -> Value:
        other = other if isinstance(other, Value) else self.tracer.const(other, self.dtype)
        return self.tracer.emit(op, other, self) if swapped else self.tracer.emit(op, self, other)

    def __add__(self, other: Any) -> Value:
        return self._binary("Add", other)

    def __radd__(self, other: Any) -> Value:
        return self._binary("Add", other, swapped=True)

    def __sub__(self, other: Any) -> Value:
        return self._binary("Sub", other)

    def __rsub__(self, other: Any) -> Value:
        return self._binary("Sub", other, swapped=True)

    def __mul__(self, other: Any) -> Value:
        return self._binary("Mul", other)

    def __rmul__(self, other: Any) -> Value:
        return self._binary("Mul", other, swapped=True)

    def __truediv__(self, other: Any) -> Value:
        return self._binary("Div", other)

    def __rtruediv__(self, other: Any) -> Value:
        return self._binary("Div", other, swapped=True)

    def __pow__(self, other: Any) -> Value:
        return self._binary("Pow", other)

    def __neg__(self) -> Value:
        return self.tracer.emit("Neg", self)

    def __gt__(self, other: Any) -> Value:
        return self._binary("Greater", other)

    def __lt__(self, other: Any) -> Value:
        return self._binary("Less", other)

    def __ge__(self, other: Any) -> Value:
        return self._binary("GreaterOrEqual", other)

    def __le__(self, other: Any) -> Value:
        return self._binary("LessOrEqual", other)

    def equal(self, other: Any) -> Value:
        """Element-wise equality; ``==`` keeps its Python meaning."""
        return self._binary("Equal", other)

    def __repr__(self) -> str:
        return f"<Value {self.name} {TensorProto.DataType.Name(self.dtype)} {self.shape}>"


def same_size(one: Shape | None, other: Shape | None) -> bool:
    """Whether two shapes are alike but for the batch, as far as numbers are known."""
    if one is None or other is None:
        return one is other
    return len(one) == len(other) and all(
        a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in zip(one[1:], other[1:], strict=True)
    )


def freed(shape: Shape) -> Shape:
    """What is left of a shape when the batch is another one: a name or a first axis may stand for it."""
    return tuple(dim if k and isinstance(dim, int) else None for k, dim in enumerate(shape))
