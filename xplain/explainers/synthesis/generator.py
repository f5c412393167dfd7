"""Preferred pictures through a generator: what is moved is its code, so all that is painted is what it can paint."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Literal

import numpy as np

from xplain.core.declaring.options import Natural, NonNegative, Positive, PositiveReal, Share, Together
from xplain.core.declaring.registry import Paper, Source, recipe
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import BudgetError, UsageError
from xplain.core.outline import Outline
from xplain.core.synthesis.canvas_within import Code
from xplain.core.synthesis.commission import Commission, Painted, Painting
from xplain.core.synthesis.objective import Aimed, Objective
from xplain.core.synthesis.slope import Slope, Sloped
from xplain.core.synthesis.views import Transforms
from xplain.explainers.synthesis.climb import Climb, climbed
from xplain.explainers.synthesis.optimisers import Adam

__all__ = ["RANGES", "Makes", "canvas_of", "generator", "whole_of"]

Makes = Literal["0..1", "-1..1", "0..255"]
"""What a generator's colours are numbers of."""

RANGES = {"0..1": (1.0, 0.0), "-1..1": (0.5, 0.5), "0..255": (1 / 255, 0.0)}
"""Factor and shift that bring them to 0..1."""

_START = 0.3
"""Standard deviation of the codes that a way begins with, in spreads."""


@recipe(
    "generator",
    paper=Paper("Nguyen 2016", "arXiv:1605.09304"),
    aliases=("dgn-am",),
    target="needed",
    sources=(Source("generator", "a generator, which makes pictures of codes", needed=True, model=True),),
    trial={"steps": 3, "length": 5},
)
def generator(
    commission: Commission,
    *,
    steps: Positive = 200,
    rate: PositiveReal = 0.1,
    spread: PositiveReal = 1.0,
    reach: PositiveReal = 3.0,
    positive: bool = False,
    decay: Share = 0.005,
    makes: Makes = "0..1",
    views: Together = 1,
    jitter: NonNegative = 0.0,
    length: Natural = 0,
) -> Painting:
    """A picture that the target likes among those that a generator can paint: its code is moved, not its pixels.

    ``max over z of f_c(G(z))``, by ``z <- clip((1 - decay) (z + Adam), -reach spread, reach spread)``. The generator is
    the prior: what it was trained on is what pictures look like.

    Args:
        steps: Steps uphill.
        rate: Most that an element of the code moves in a step, in spreads.
        spread: Standard deviation of the generator's usual codes.
        reach: Largest size of an element, in spreads.
        positive: Whether codes are features behind a rectifier, which are never below 0.
        decay: Share of the code that fades in each step, the paper's L2.
        makes: What the generator's colours are numbers of.
        views: Views of the picture in each step; each costs a sweep of the model.
        jitter: Shift of a view, at most, in pixels of the generator's picture.
        length: Elements of a code, for a generator that does not say how many it takes.

    Returns:
        One picture per target, of the size that the generator makes. It shows the target by the generator's means: what
        that never painted, nobody sees.

    Cost:
        ``steps * views`` sweeps of the model, and as many steps of the generator: a forward pass and a sweep.

    Differs from the paper:
        The generator is the caller's, or what recipe ``decode`` trained; Adam, where the paper has steps along the
        gradient.

    Raises:
        UsageError: the generator makes no pictures, or its colours are of another range.

    Source:
        Nguyen, Dosovitskiy, Yosinski, Brox and Clune, Synthesizing the preferred inputs for neurons in neural networks
        via deep generator networks, NIPS 2016.
    """
    canvas = canvas_of(commission, commission.others["generator"], makes, length)
    low, high = (0.0 if positive else -reach * spread), reach * spread
    draws = [rng.normal(0, _START * spread, canvas.state) for rng in commission.rngs("start")]
    start = np.clip(np.abs(draws) if positive else draws, low, high).astype(np.float32)
    objective = Objective((Aimed(target=commission.aimed),))
    first: Sloped = yield Slope(start, canvas, objective, ink=commission.ink, gradient=False)
    board = whole_of(first.made).shape[2:]
    canvas = replace(canvas, board=(int(board[0]), int(board[1])))

    def settle(codes: Array, _gradient: Array, _step: int) -> Array:
        return np.asarray(np.clip(codes * np.float32(1 - decay), low, high), np.float32)

    way = Climb(
        canvas,
        objective,
        lambda factor: Adam(rate * spread * factor),
        steps,
        transforms=lambda _: Transforms(views, jitter=jitter),
        settle=settle,
        shake=0.3 * spread,
    )
    found = yield from climbed(commission, way, start)
    made = first.made if found.last is None else found.last.made
    with suppress(BudgetError):  # the way has said that it is spent: the picture of its last question is shown then
        end: Sloped = yield Slope(found.state, canvas, objective, ink=commission.ink, gradient=False)
        made = end.made
    each = {"code's size": np.sqrt((found.state**2).reshape(len(found.state), -1).mean(axis=1)).tolist()}
    return Painted(whole_of(made), found.state, found.trace, each=each, warnings=found.caveats)


def canvas_of(commission: Commission, outline: Outline, makes: Makes, length: int = 0) -> Code:
    """The canvas of a generator's codes, of which it is not known yet how large the pictures are.

    Raises:
        UsageError: it does not say what codes it takes.
    """
    spec = outline.explained
    shape = tuple(spec.shape[1:]) if spec is not None and spec.shape else (None,)
    shape = (length,) if shape == (None,) and length else shape
    if not shape or any(extent is None for extent in shape):
        raise UsageError(
            f"The generator {outline.source} takes codes {list(shape)} of free size. Say how long a code is: ",
            option("length", 64),
            ", or export it with a fixed size.",
        )
    gain, shift = RANGES[makes]
    return Code(commission.size, commission.channels, tuple(int(n or 0) for n in shape), commission.size, gain, shift)


def whole_of(made: Array | None) -> Array:
    """The pictures that came with an answer.

    Raises:
        UsageError: none did.
    """
    if made is None:
        raise UsageError("The model that was asked has no generator in front of it.")
    return np.asarray(made, np.float32)
