"""What running one item once shows of a torch module: its layers with their shapes, and what its scores are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from xplain.core.errors import ModelError, UsageError
from xplain.core.layout import Axes
from xplain.core.outline import Outline, ScoreSpec
from xplain.models.integers import no_gradient
from xplain.models.torch_attention import AttentionsSeen
from xplain.models.torch_axes import AxesSeen
from xplain.models.torch_guard import Pass, eval_mode
from xplain.models.torch_modes import LINKS, ActivationsSeen, LayersSeen, LogitsSeen, scores_in

__all__ = ["AS_FLOATS", "Look", "Own", "home", "look_at", "look_with", "value_of"]

AS_FLOATS = "The items are whole numbers and the module takes none: they are given to it as floating numbers."


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


def look_with(
    look: Callable[[torch.dtype], Look], module: torch.nn.Module, integer: bool, integer_before: bool, outline: Outline
) -> tuple[Look, torch.dtype]:
    """What a look shows with the first type that the module takes, and that type.

    Args:
        look: Looks at an item of that type.
        module: The module; the floating types that it may take are its parameters' own.
        integer: Whether the item holds whole numbers.
        integer_before: Whether the module took an item of this shape as whole numbers before.
        outline: What is known of it.

    Raises:
        UsageError: points between items of whole numbers, which the module takes alone.
        Exception: it takes no type; what it said of the first, or of the last if the first was of the wrong type.
    """
    own = [p.dtype for p in module.parameters() if p.is_floating_point()]
    errors: list[Exception] = []
    for kind in dict.fromkeys([*([torch.int64] if integer else []), home(module)[0], *own]):
        try:
            return look(kind), kind
        except Exception as error:
            errors.append(error)
    told = errors[-1 if "dtype" in str(errors[0]) else 0]
    if integer_before and not integer:
        raise no_gradient(outline, "int64") from told
    raise told


def value_of(name: str, calls: Sequence[Any], number: int | None) -> torch.Tensor:
    """What a layer returned at one of its calls; None: at the last.

    Raises:
        ModelError: it was not called.
        UsageError: it returned something else than a tensor.
    """
    if not calls or (number is not None and number >= len(calls)):
        raise ModelError(f"Layer {name!r} was not called for this input, so it has no value.")
    value = calls[-1 if number is None else number]
    if not isinstance(value, torch.Tensor):
        raise UsageError(f"Layer {name!r} returns {type(value).__name__}; only tensors can be named.")
    return value


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
