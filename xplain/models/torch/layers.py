"""The layers of a torch module as one pass shows them, and which tensor of the pass each is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from xplain.core.outline import LayerSpec
from xplain.models.torch.follow import AxesFollowed
from xplain.models.torch.guard import Pass

__all__ = ["LayersSeen"]

_NOT_OF_THE_ITEM = "-"


def _weighted(module: torch.nn.Module) -> bool:
    """Whether a module is one matrix of weights: a dense layer, or a convolution."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, torch.Tensor) and weight.ndim > 1 and not any(True for _ in module.children())


class LayersSeen:
    """Watches a forward pass for the tensors that modules return.

    Args:
        modules: The modules by name.
        here: The pass.
        follow: Follows the item; tells which of the tensors descend from it.
    """

    def __init__(self, modules: Mapping[str, torch.nn.Module], here: Pass, follow: AxesFollowed) -> None:
        self.calls: list[LayerSpec] = []
        self.tensors: dict[str, str] = {}
        self._modules, self._here, self._follow = modules, here, follow
        self._count: dict[str, int] = {}
        self._hooks = ExitStack()

    def __enter__(self) -> LayersSeen:
        for name, module in self._modules.items():
            self._hooks.callback(module.register_forward_hook(partial(self._see, name)).remove)
        return self

    def __exit__(self, *_error: object) -> None:
        self._hooks.close()

    def _see(self, name: str, module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        if self._here.mine and isinstance(output, torch.Tensor) and output.ndim > 0:
            number = self._count.get(name, 0)
            self._count[name] = number + 1
            shape = (None, *(int(n) for n in output.shape[1:]))
            self.calls.append(LayerSpec(f"{name}:{number}", type(module).__name__, shape, weighted=_weighted(module)))
            self.tensors[f"{name}:{number}"] = self._follow.tensor(output) or _NOT_OF_THE_ITEM

    def attention(self, spec: LayerSpec, result: torch.Tensor) -> None:
        """Note a call of attention, which no module returns, and what it returned."""
        self.calls.append(spec)
        inner = tuple(int(n or 1) for n in spec.shape[1:])
        self.tensors[spec.name] = self._follow.attention(result, inner) or _NOT_OF_THE_ITEM

    def meant(self, scores: str) -> dict[str, int]:
        """Which call the plain name of a module that is called several times means.

        The last that leads from the item to the scores: the other tower of a siamese net is called with other things.
        """
        between = self._follow.lineage(self.tensors).between([scores])
        found = {}
        for name, count in self._count.items():
            leading = [k for k in range(count) if self.tensors[f"{name}:{k}"] in between]
            of_item = [k for k in range(count) if self.tensors[f"{name}:{k}"] != _NOT_OF_THE_ITEM]
            if count > 1:
                found[name] = max(leading or of_item or [count - 1])
        return found

    def layers(self, meant: Mapping[str, int]) -> tuple[LayerSpec, ...]:
        """Layers in the order in which they were called: each call of several, and under its plain name one of them."""
        found = []
        for spec in self.calls:
            name, _, number = spec.name.rpartition(":")
            if not name:  # attention, which no module returns
                found.append(spec)
                continue
            if self._count[name] > 1:
                found.append(spec)
            if int(number) == meant.get(name, 0):
                self.tensors[name] = self.tensors[spec.name]
                found.append(replace(spec, name=name))
        return tuple(found)
