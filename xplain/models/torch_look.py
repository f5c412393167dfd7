"""What running one item once shows of a torch module: its layers with their shapes, and what its scores are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from xplain.core.layout import Axes
from xplain.core.outline import Outline, ScoreSpec
from xplain.models.torch_attention import AttentionsSeen
from xplain.models.torch_axes import AxesSeen
from xplain.models.torch_guard import Pass, eval_mode
from xplain.models.torch_modes import LINKS, ActivationsSeen, LayersSeen, LogitsSeen, scores_in

__all__ = ["Look", "Own", "home", "look_at"]


@dataclass(frozen=True)
class Look:
    """What one item showed of a module.

    Args:
        outline: What is known.
        item: The item's shape; None before the first.
        integer: Whether it held integers.
        through: Whether scores are what goes into the softmax that the module returns.
        flips: Parts that put themselves into training mode when they run.
        axes: Which axis of the item is which, as the operators that took it say; None where they say nothing.
    """

    outline: Outline
    item: tuple[int, ...] | None = None
    integer: bool = False
    through: bool = False
    flips: frozenset[str] = frozenset()
    axes: Axes | None = None


class Own(threading.local):
    """What each thread knows of a module: its own last look, at first the latest of any thread."""

    def __init__(self, latest: list[Look]) -> None:
        self._latest, self.look = latest, latest[0]

    def keep(self, look: Look) -> None:
        """Note what this thread saw; threads to come begin with it."""
        self.look = self._latest[0] = look


def home(module: torch.nn.Module) -> tuple[torch.dtype, torch.device]:
    """The floating type of its parameters, float32 where it has none, and where they are."""
    kind = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    return kind, next(iter((*module.parameters(), *module.buffers())), torch.empty(0)).device


def look_at(
    module: torch.nn.Module,
    modules: Mapping[str, torch.nn.Module],
    call: Callable[[torch.Tensor], Any],
    batch: torch.Tensor,
    outline: Outline,
) -> Look:
    """Run a batch of one item.

    Args:
        module: The module.
        modules: Its layers by name.
        call: Calls it.
        batch: The item.
        outline: What is known so far.
    """
    here, logits, flips = Pass(), LogitsSeen(), set[str]()

    def flipped(name: str) -> bool:
        flips.add(name)
        return True

    seen = LayersSeen(modules, here)
    attention = AttentionsSeen(1, note=seen.calls.append)
    watch, axes = ActivationsSeen(seen.calls), AxesSeen(batch)
    with torch.no_grad(), eval_mode(module, flipped), here, seen, logits, axes, attention.watching(), watch:
        output = call(batch)
    through = logits.behind(output) is not output
    scores = scores_in(logits.behind(output), 1, outline.source)
    found = ScoreSpec("output", scores.shape[1], "logits", "none", "the module's output; no softmax before it")
    if through:
        word = f"what goes into the {logits.last} that the module returns"
        found = replace(found, link=LINKS[logits.last], found=word)
    told = replace(outline, activations=frozenset(watch.names), attended=watch.attended)
    outline = replace(told, layers=seen.layers, scores=found)
    item, integer = tuple(batch.shape[1:]), not batch.is_floating_point()
    return Look(outline, item, integer, through, frozenset(flips), axes.found)
