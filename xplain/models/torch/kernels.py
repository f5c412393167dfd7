"""The kernels of a torch module's convolutions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from xplain.core.lenses.kernels import Kernel
from xplain.models.torch.modes import to_numpy

__all__ = ["kernels_of"]


def kernels_of(modules: Mapping[str, torch.nn.Module]) -> tuple[Kernel, ...]:
    """All kernels, in the order of the modules; the first one is taken to read the item itself."""
    return tuple(_found(modules))


def _found(modules: Mapping[str, torch.nn.Module]) -> Iterator[Kernel]:
    first = True
    for name, module in modules.items():
        weight = getattr(module, "weight", None)
        weight = weight() if callable(weight) else weight  # a quantised module unpacks it
        if not hasattr(module, "kernel_size") or not isinstance(weight, torch.Tensor) or weight.ndim < 3:
            continue
        groups = int(getattr(module, "groups", 1))
        if getattr(module, "transposed", False):  # [I, O / groups, ...]
            inside, outside = weight.shape[:2]
            weight = weight.reshape(groups, inside // groups, *weight.shape[1:]).transpose(1, 2)
            weight = weight.reshape(groups * outside, inside // groups, *weight.shape[3:])
        yield Kernel(name, to_numpy(weight), groups, first)
        first = False
