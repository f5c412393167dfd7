"""How a torch module answers a synthesis' question: canvas and objective on tensors, and autograd back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from xplain.core.errors import NoPath
from xplain.core.synthesis.slope import PICTURE, Slope, Sloped
from xplain.core.target import SCORES
from xplain.models.torch.cuts import CutsSeen, GradKept, NormGradients
from xplain.models.torch.modes import to_numpy

__all__ = ["blank_of", "sloped"]

Forward = Callable[[torch.Tensor, Sequence[str]], Mapping[str, torch.Tensor]]


def blank_of(query: Slope) -> Any:
    """One picture of zeros as the module will see it."""
    return np.asarray(query.ink.apply(np.zeros((1, query.canvas.channels, *query.canvas.size), np.float32)), np.float32)


def sloped(forward: Forward, query: Slope, kind: torch.dtype, device: torch.device) -> Sloped:
    """Value and gradient.

    Args:
        forward: The module: a batch and the names of what is wanted, to what is named.
        query: The question.
        kind: The type that the module takes; the canvas is painted in it where it is float64, else in float32.
        device: Where the module is.

    Raises:
        NoPath: nothing that a picture's colours change by a derivative is part of the objective.
    """
    real = torch.float64 if kind == torch.float64 else torch.float32
    wanted = [*query.objective.tensors, *(tap for tap in query.taps if tap != PICTURE)]

    def swept() -> tuple[Any, ...]:
        given = {name: _tensor(array, real, device) for name, array in query.given.items()}
        state = given["state"].requires_grad_(query.gradient)
        picture = query.painted(given)
        entered = query.ink.apply(picture).to(kind)
        x = entered.view_as(entered)  # a step of its own, that what passes the model is told from what does not
        answered = forward(x, list(dict.fromkeys(wanted)))
        values = {name: _readable(one, name, real) for name, one in answered.items()}
        total, terms = query.read(picture, values, given)
        uphill: torch.Tensor | None = None
        if query.gradient and total.requires_grad:
            with NormGradients():
                found = torch.autograd.grad(total.sum(), [state, x], allow_unused=True)
            # a prior alone would lead on, and nothing be excited
            uphill = None if query.objective.tensors and found[1] is None else found[0]
        return total, terms, uphill, values | {PICTURE: picture}

    total, terms, uphill, values = swept()
    if query.gradient and uphill is None:
        with GradKept(), CutsSeen() as cuts:
            total, terms, uphill, values = swept()
        if uphill is None:
            raise NoPath(f"Nothing that a picture's colours change by a derivative is in the objective: {cuts.told}.")
    numpy = np.float64 if real == torch.float64 else np.float32
    zeros = np.zeros(query.state.shape, numpy)
    return Sloped(
        to_numpy(total).astype(np.float64),
        zeros if uphill is None else to_numpy(uphill).astype(numpy),
        {name: to_numpy(part).astype(np.float64) for name, part in zip(query.objective.names, terms, strict=True)},
        {tap: to_numpy(values[tap]) for tap in query.taps},
    )


def _tensor(array: Any, real: torch.dtype, device: torch.device) -> torch.Tensor:
    found = torch.from_numpy(np.array(array))
    return found.to(device, real if found.is_floating_point() else torch.int64)


def _readable(values: torch.Tensor, name: str, real: torch.dtype) -> torch.Tensor:
    values = values.to(real)
    return values.reshape(len(values), -1) if name == SCORES else values
