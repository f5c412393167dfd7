"""Fast styles: a small net learns to paint in the manner of others in one pass, by a file without torch."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.declaring.options import NonNegative, Positive, PositiveReal, Together
from xplain.core.declaring.registry import Paper, Source, recipe
from xplain.core.edits import Array
from xplain.core.errors import BudgetError, UsageError
from xplain.core.query import Peek
from xplain.core.synthesis.canvas import Pixels
from xplain.core.synthesis.commission import Commission, Painted, Painting
from xplain.core.synthesis.objective import Objective
from xplain.core.synthesis.slope import Slope, Sloped
from xplain.core.synthesis.terms import Distance, Gram, Variation
from xplain.explainers.synthesis.features import as_pixels, features_of
from xplain.explainers.synthesis.film import Film
from xplain.explainers.synthesis.style import scaled
from xplain.explainers.synthesis.texture import layers_of, statistics

__all__ = ["FILE", "style_fast", "style_train"]

FILE = "style.onnx"
"""What the trained net is called."""

_CARD = 'mode = "{}"\nscale = 0.00392156862745098\n'
"""The card of a trained net: colours of 0..1."""


@recipe(
    "style-train",
    paper=Paper("Dumoulin 2017", "arXiv:1610.07629"),
    target="none",
    learns=True,
    sources=(
        Source("x", "pictures to try the net on when it has learnt", needed=True, fitted=True),
        Source("style", "pictures in whose manner it learns to paint, one style each", needed=True),
        Source("photographs", "photographs to learn from", needed=True, fitted=True),
    ),
    trial={"steps": 2, "batch": 2, "width": 2},
)
def style_train(
    commission: Commission,
    *,
    content: NonNegative = 1.0,
    content_layer: str = "auto",
    style_layers: str = "auto",
    scale: PositiveReal = 1.0,
    smooth: NonNegative = 1.0,
    steps: Positive = 400,
    batch: Together = 4,
    width: Together = 16,
) -> Painting:
    """A net that paints any picture in one pass, in a style of several, trained on a folder.

    ``max over G of mean over photographs x and styles s of -Gram distance to s - content |f(y) - f(x)|^2 / |f(x)|^2 -
    smooth TV(y)``, ``y = G(x, s)``: this model says how good what was painted is and which way is better, and torch
    carries that into the weights of G. Styles share all weights but the scales and shifts behind its instance norms.

    Args:
        content: Weight of the content; 0.3 paints freely, 3 keeps close.
        content_layer: Its layer, or ``auto`` for the deepest of the style's.
        style_layers: Names with commas between, or ``auto`` for five from the first on.
        scale: Size of the styles' pictures before their statistics are read.
        smooth: Weight of the total variation.
        steps: Training steps.
        batch: Photographs in each step, their styles in turn.
        width: Channels of the net's first stage; 16 is 165 thousand weights.

    Returns:
        Each ``x`` in each style. ``files["style.onnx"]`` is the net, for ``xplain make style-fast style.onnx``; with
        several styles its input ``style`` mixes them, and is the first one where it is left out.

    Cost:
        ``steps * batch`` sweeps, and 8 evaluations per style.

    Differs from the paper:
        Statistics are covariances and means, relative to their size; a net a tenth as large, for minutes on two cores.

    Raises:
        MissingDependency: torch is not installed.

    Source:
        Johnson, Alahi and Fei-Fei, Perceptual Losses for Real-Time Style Transfer, ECCV 2016; Dumoulin, Shlens and
        Kudlur, A Learned Representation for Artistic Style, ICLR 2017.
    """
    photographs, tried = commission.stacked("photographs").astype(np.float32), commission.stacked("x")
    names = yield from layers_of(commission, style_layers, photographs[0])
    (deep,) = (names if content_layer == "auto" else (yield from layers_of(commission, content_layer, tried[0])))[-1:]
    own = replace(commission, keys=commission.keys[:1])
    styles: list[list[Gram]] = []
    for one in commission.pictures["style"]:
        styles.append((yield from statistics(own, scaled(one, scale), names)))
    net = commission.studio.stylist(commission.channels, len(styles), width, steps, commission.seed)
    canvas = Pixels(commission.size, commission.channels)
    rng, trace, caveats = commission.rng("batches"), [], []
    film = Film(steps)
    for k in range(steps):
        some = rng.integers(0, len(photographs), batch)
        given = np.where(rng.random(batch)[:, None, None, None] < 0.5, photographs[some], photographs[some][..., ::-1])
        whose = (k * batch + np.arange(batch)) % len(styles)
        try:
            held = (yield from features_of(commission, given, (deep,)))[deep]
            kept = Distance(tensor=deep, reference=held, weight=-content)
            terms = Objective((*_of(styles, whose), kept, Variation(beta=2.0, weight=-smooth)))
            painted = net.paint(given, whose)
            kept_back = {"stage": "train", "step": k, "state": painted}
            found: Sloped = yield Slope(painted, canvas, terms, ink=commission.ink, kept=kept_back)
        except BudgetError as spent:
            caveats.append(
                Caveat(f"The way up ended after {k} of {steps} steps, and the net is as it was then: {spent}")
            )
            break
        if not np.isfinite(found.gradient).all():
            caveats.append(Caveat(f"At step {k} the objective was no number any more; the net is as it was then."))
            break
        net.step(found.gradient / batch)
        if film.due(k):
            film.keep(np.concatenate([net.paint(tried, np.full(len(tried), s)) for s in range(len(styles))]))
        trace.append(found.value.mean())
    about = {"styles": list(commission.names["style"]), "weights": net.weights, "steps": len(trace)}
    mode = "RGB" if commission.channels == 3 else "L"
    shape = ("N", commission.channels, "H", "W")
    file = net.file("picture", shape, card=_CARD.format(mode), style=json.dumps(about))
    whole_row = [net.paint(tried, np.full(len(tried), s)) for s in range(len(styles))]
    names_of = [f"{one} as {style}" for style in commission.names["style"] for one in commission.names["x"]]
    picture = np.concatenate(whole_row)
    whole = np.repeat(np.array(trace)[:, None], len(picture), axis=1).reshape(-1, len(picture))
    notes = {"layers": ", ".join(names), "content layer": deep, "weights": net.weights}
    if trace:
        ends = f"{-trace[0]:.3g} at first, {-trace[-1]:.3g} after {len(trace)} steps"
        notes["learnt"] = f"distance from styles, content and smoothness {ends}; {net.weights} weights"
    return Painted(
        picture,
        picture.reshape(len(picture), -1),
        whole,
        tuple(names_of),
        notes=notes,
        warnings=tuple(caveats),
        frames=film.frames,
        files={FILE: file},
    )


@recipe(
    "style-fast",
    paper=Paper("Johnson 2016", "arXiv:1603.08155"),
    target="none",
    paints=True,
    sources=(Source("x", "pictures to paint, frames of a film too", needed=True, film=True),),
)
def style_fast(commission: Commission) -> Painting:
    """Pictures painted in one pass by a net that ``style-train`` made, or by any other that makes pictures of pictures.

    Returns:
        Each picture painted, in its own size; those of several sizes are cut in the middle to the smallest. The frames
        of an animated file come one after another, and as ``FILE.gif``. Frames are painted each by itself, so a film
        flickers where its style has grain.

    Cost:
        1 evaluation per picture.

    Raises:
        UsageError: the model makes no pictures of pictures.

    Source:
        Johnson, Alahi and Fei-Fei, Perceptual Losses for Real-Time Style Transfer, ECCV 2016.
    """
    given, caveats = list(commission.pictures["x"]), []
    high, wide = (min(one.shape[axis] for one in given) for axis in (1, 2))
    if any(one.shape[1:] != (high, wide) for one in given):
        caveats.append(Caveat(f"The pictures have several sizes, and are cut in the middle to {high} x {wide}."))
        given = [_middle(one, high, wide) for one in given]
    name = commission.outline.outputs[0] if commission.outline.outputs else commission.outline.scores.tensor
    made = []
    for one in given:
        seen = yield Peek(commission.ink.apply(one[None].astype(np.float32)), (name,))
        shape = tuple(np.shape(seen[name]))
        if len(shape) != 4 or shape[1] != commission.channels or shape[2] < high or shape[3] < wide:
            raise UsageError(
                f"{commission.outline.source} makes {list(shape)} of a picture {list(one.shape)}; a net that paints "
                "makes pictures of at least its size. Give one that recipe style-train made."
            )
        made.append(np.asarray(seen[name], np.float32)[:, :, :high, :wide])
    picture = np.clip(np.concatenate(made), 0, 1)
    films = _films(commission.names["x"], picture)
    files = {f"{stem}.gif": commission.studio.film(frames) for stem, frames in films.items()}
    empty = np.zeros((0, len(picture)))
    return Painted(
        picture,
        np.stack(given),
        empty,
        commission.names["x"],
        warnings=tuple(caveats),
        files=files,
        original=as_pixels(np.stack(given)),
    )


def _of(styles: list[list[Gram]], whose: Array) -> list[Gram]:
    """The terms of a batch whose pictures are of these styles."""
    terms = []
    for k in range(len(styles[0])):
        gram, means = (np.concatenate([getattr(styles[s][k], name) for s in whose]) for name in ("gram", "means"))
        terms.append(replace(styles[0][k], gram=gram, means=means))
    return terms


def _middle(picture: Array, high: int, wide: int) -> Array:
    top, left = (picture.shape[1] - high) // 2, (picture.shape[2] - wide) // 2
    return picture[:, top : top + high, left : left + wide]


def _films(names: tuple[str, ...], picture: Array) -> dict[str, Array]:
    """The pictures that are frames of one animated file, by its name."""
    stems = [name.rpartition(" frame ")[0] for name in names]
    return {stem: picture[[n for n, one in enumerate(stems) if one == stem]] for stem in dict.fromkeys(stems) if stem}
