"""The kernels of a convolution, as real numbers, wherever they are stored and however."""

from __future__ import annotations

from dataclasses import dataclass

from xplain.core.edits import Array

__all__ = ["Kernel"]


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """The kernels of one convolution.

    Args:
        layer: The layer that it makes.
        values: float32 ``[O, I / groups, *extent]``: one kernel per channel that is made.
        groups: Groups of channels; as many as channels where it is depthwise.
        first: Whether it reads the explained input itself, so that its channels are the picture's.
    """

    layer: str
    values: Array
    groups: int = 1
    first: bool = False

    @property
    def depthwise(self) -> bool:
        """Whether every kernel reads one channel, of several."""
        return self.groups > 1 and self.values.shape[1] == 1
