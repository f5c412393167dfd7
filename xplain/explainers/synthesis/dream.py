"""DeepDream: a layer sees something in a picture, and the picture is moved to show more of it, from coarse to fine."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import zoom as resampled

from xplain.core.caveat import Caveat
from xplain.core.declaring.options import AtLeastOne, Natural, Positive, PositiveReal, Together
from xplain.core.declaring.registry import Paper, Source, recipe
from xplain.core.edits import Array
from xplain.core.errors import BudgetError, UsageError
from xplain.core.query import Answer, Query
from xplain.core.synthesis.canvas import Pixels
from xplain.core.synthesis.commission import Commission, Painted, Painting
from xplain.core.synthesis.objective import Aimed, Objective, Term
from xplain.core.synthesis.slope import Slope, Sloped
from xplain.core.synthesis.terms import Energy, Guide
from xplain.core.target import channel as channel_of
from xplain.explainers.synthesis.features import features_of, layers_named

__all__ = ["dream"]

_NEARER = 1.05  # how much each frame of a zoom is nearer than the one before
_STAGE = "dream"
_SMALLEST = 24  # pixels of the shorter side below which no octave goes


@recipe(
    "dream",
    paper=Paper("Mordvintsev 2015", "https://research.google/blog/inceptionism"),
    target="none",
    sources=(
        Source("x", "pictures to dream in", needed=True),
        Source("guide", "a picture whose parts the dream is led to", single=True),
    ),
    trial={"layer": "second", "octaves": 2, "steps": 2, "zoom": 2},
)
def dream(
    commission: Commission,
    *,
    layer: str = "",
    channel: Natural | None = None,
    octaves: Together = 3,
    ratio: AtLeastOne = 1.4,
    steps: Positive = 12,
    rate: PositiveReal = 0.0075,
    jitter: Natural = 24,
    zoom: Natural = 0,
) -> Painting:
    """What a layer sees in a picture becomes more so: ``max 1/2 mean f^2``, first in a small picture, then larger ones.

    Each octave adds what it dreamt to the picture of the next one, which is ``ratio`` larger. A step is
    ``rate * g / mean |g|``; before it the picture is rolled by a random shift, and rolled back after it.

    Args:
        layer: The layer that dreams; early ones draw strokes, late ones animals.
        channel: One channel of it alone; None for all that it sees.
        octaves: Sizes of the picture, the last one its own.
        ratio: How much larger each is than the one before.
        steps: Steps uphill in each.
        rate: Length of a step: how far a colour of 0..1 moves, on average.
        jitter: Roll before a step, at most, in pixels.
        zoom: Frames of a film that goes on dreaming while it moves into the picture; 0 for none.

    Returns:
        One picture per given picture, in its own size.

    Cost:
        ``octaves * steps`` sweeps per picture, of pictures as large as they are; a third of ``steps`` more for each
        frame of ``zoom``, and one forward pass for a guide.

    Differs from the paper:
        A guide leads each position to the feature of the guide that it is most like, as the authors' code does.

    Source:
        Mordvintsev, Olah and Tyka, Inceptionism: Going Deeper into Neural Networks, 2015.
    """
    (name,) = layers_named(commission, (layer,))
    term: Term = Energy(tensor=name) if channel is None else Aimed(target=channel_of(name, channel))
    given = commission.pictures.get("guide")
    if given:
        found = (yield from features_of(commission, given[0][None], (name,)))[name]
        guides = found.reshape(1, found.shape[1], -1).transpose(0, 2, 1)
        term = Guide(tensor=name, guides=np.repeat(guides, commission.count, axis=0))
    dreamer = _Dreamer(commission, Objective((term,)), rate, jitter)
    whole = commission.stacked("x")
    high, wide = whole.shape[2:]
    detail, ended = np.zeros_like(whole), False
    for octave in reversed(range(octaves)):
        size = (round(high / ratio**octave), round(wide / ratio**octave))
        if octave and min(size) < _SMALLEST:
            continue
        base, detail = _resized(whole, size), _resized(detail, size)
        state, ended = yield from dreamer.steps(np.clip(base + detail, 0, 1), steps)
        detail = state - base
        if ended:
            break
    picture = np.clip(whole + _resized(detail, (high, wide)), 0, 1).astype(np.float32)
    film = [picture]
    while len(film) <= zoom and not ended and zoom:
        state, ended = yield from dreamer.steps(_nearer(film[-1]), max(1, steps // 3))
        film.append(state)
    frames = np.rint(np.stack(film, axis=1) * 255).astype(np.uint8).transpose(0, 1, 3, 4, 2) if zoom else None
    if frames is not None:
        frames = np.ascontiguousarray(np.broadcast_to(frames, (*frames.shape[:4], 3)))
    trace = np.stack(dreamer.trace) if dreamer.trace else np.zeros((0, len(picture)))
    names = tuple(commission.names["x"])
    return Painted(
        picture, picture, trace, names, notes={"layer": name}, warnings=tuple(dreamer.caveats), frames=frames
    )


@dataclass(slots=True, eq=False)
class _Dreamer:
    """Moves pictures of any size.

    Args:
        commission: The commission.
        objective: What they are to show more of.
        rate: Length of a step.
        jitter: Roll before a step, at most.

    What is put aside are the pictures before a step, and those that finished octaves and frames ended with: a run that
    goes on takes these as they are.
    """

    commission: Commission
    objective: Objective
    rate: float
    jitter: int
    trace: list[Array] = field(default_factory=list)
    caveats: list[Caveat] = field(default_factory=list)
    done: list[Array] = field(default_factory=list)

    def steps(self, state: Array, count: int) -> Generator[Query, Answer, tuple[Array, bool]]:
        """The pictures after some steps, and whether the budget ended them."""
        first, earlier = 0, self.commission.kept
        if earlier.get("stage") == _STAGE and len(self.done) <= earlier["finished"]:
            known = earlier["state" if len(self.done) == earlier["finished"] else f"done/{len(self.done)}"]
            if known.shape != state.shape:
                got = f"pictures {list(known.shape)}, where these are {list(state.shape)}"
                raise UsageError(option="resume", got=got, accepted="what was put aside of the same pictures and sizes")
            state, finished = known, len(self.done) < earlier["finished"]
            if finished:
                self.done.append(state)
                return state, False
            first, self.trace = int(earlier["step"]), [np.asarray(row) for row in earlier["trace"]]
        canvas = Pixels((state.shape[2], state.shape[3]), state.shape[1])
        for step in range(first, count):
            rngs = self.commission.rngs(f"roll/{len(self.trace)}")
            shifts = [rng.integers(-self.jitter, self.jitter + 1, 2) for rng in rngs]
            rolled = np.stack([np.roll(one, shift, (1, 2)) for one, shift in zip(state, shifts, strict=True)])
            kept = {"stage": _STAGE, "finished": len(self.done), "step": step, "state": state}
            kept |= {"trace": list(self.trace), **{f"done/{k}": one for k, one in enumerate(self.done)}}
            try:
                found: Sloped = yield Slope(rolled, canvas, self.objective, ink=self.commission.ink, kept=kept)
            except BudgetError as spent:
                self.caveats.append(Caveat(f"The way up ended early, and the picture is as it was then: {spent}"))
                return state, True
            back = [np.roll(one, -shift, (1, 2)) for one, shift in zip(found.gradient, shifts, strict=True)]
            gradient = np.nan_to_num(np.stack(back), nan=0.0, posinf=0.0, neginf=0.0)
            size = np.abs(gradient).mean(axis=(1, 2, 3), keepdims=True)
            state = np.clip(state + self.rate * gradient / np.maximum(size, 1e-12), 0, 1).astype(np.float32)
            self.trace.append(found.value)
        self.done.append(state)
        return state, False


def _resized(pictures: Array, size: tuple[int, int]) -> Array:
    """Pictures ``[N, C, H, W]`` in another size, linearly."""
    factors = (1, 1, size[0] / pictures.shape[2], size[1] / pictures.shape[3])
    return np.asarray(resampled(pictures, factors, order=1, grid_mode=True, mode="nearest"), np.float32)


def _nearer(pictures: Array) -> Array:
    """The middle of pictures, enlarged to their size."""
    high, wide = pictures.shape[2:]
    rows, columns = (max(1, round(n / _NEARER)) for n in (high, wide))
    top, left = (high - rows) // 2, (wide - columns) // 2
    return np.clip(_resized(pictures[:, :, top : top + rows, left : left + columns], (high, wide)), 0, 1)
