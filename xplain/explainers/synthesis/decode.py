"""Decoding: a net learns from photographs what pictures a layer's features come of, and paints others by it."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.declaring.option_names import Layers
from xplain.core.declaring.options import Positive, Together
from xplain.core.declaring.registry import Paper, Source, recipe
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import Answer, Query
from xplain.core.synthesis.canvas_within import Code
from xplain.core.synthesis.commission import Commission, Painted, Painting
from xplain.core.synthesis.objective import Objective
from xplain.core.synthesis.slope import Slope, Sloped
from xplain.core.synthesis.terms import Energy
from xplain.explainers.synthesis.features import as_pixels, features_of, layers_named
from xplain.explainers.synthesis.generator import whole_of
from xplain.explainers.synthesis.invert import psnr, relative

__all__ = ["decode"]

_FEW = 8
"""Photographs fewer than which a decoder learns by heart, and says so."""

_MOST_SHIFT = 0.1
"""How far a copy is shifted at most, as a share of each edge."""


@dataclass(slots=True, eq=False)
class _Learnt:
    """What training left."""

    file: bytes
    losses: list[float] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    caveats: list[Caveat] = field(default_factory=list)


@recipe(
    "decode",
    paper=Paper("Dosovitskiy 2016", "arXiv:1506.02753"),
    target="none",
    learns=True,
    sources=(
        Source("x", "pictures to decode", needed=True, fitted=True),
        Source("photographs", "photographs to learn from, none of them among those to decode", fitted=True),
        Source("decoder", "a decoder that was trained before", model=True),
    ),
    trial={"layer": "second", "steps": 2, "copies": 1, "width": 2},
)
def decode(
    commission: Commission,
    *,
    layer: Layers = ("",),
    steps: Positive = 400,
    batch: Together = 8,
    copies: Together = 4,
    width: Together = 16,
) -> Painting:
    """What a layer holds of a picture, painted in one pass by a net that learnt the way back from photographs.

    ``D = argmin over D of mean |D(f(x)) - x|^2`` over the photographs and mirrored, shifted copies of them: features
    are enlarged and convolved, step by step, up to the picture. What the layer has lost comes out as the mean of all
    that it may have been, so deep layers are blurred where ``invert`` makes up something sharp.

    Args:
        layer: The layer, of channels ``[C]`` or ``[C, h, w]``.
        steps: Training steps.
        batch: Pictures in each.
        copies: Copies of each photograph that are learnt from, the first as it is.
        width: Channels of the decoder's last stage; it has eight times as many at its first.

    Returns:
        A picture for each given one. ``PSNR`` (dB) and ``distance`` (of the features, relative and squared) are of
        pictures that were not learnt from. ``files["decoder.onnx"]`` is the decoder, which needs no torch: give it as
        ``decoder`` to skip the training, or as the ``generator`` of recipe ``generator``.

    Cost:
        ``copies`` forward passes per photograph, two per picture; training asks the model nothing.

    Differs from the paper:
        A few hundred steps on a folder, for weeks on a million; bilinear steps and convolutions, for up-convolutions.

    Raises:
        MissingDependency: there is no decoder yet, and torch is not installed.
        UsageError: neither photographs nor a decoder, or a layer without channels.

    Source:
        Dosovitskiy and Brox, Inverting Visual Representations with Convolutional Networks, CVPR 2016.
    """
    (name,) = layers_named(commission, layer)
    wanted = commission.stacked("x")
    seen = (yield from features_of(commission, wanted, (name,)))[name]
    files: dict[str, bytes] = {}
    told = _Learnt(b"")
    if "decoder" in commission.others:
        picture = yield from _by_file(commission, name, seen)
    elif commission.pictures.get("photographs"):
        told = yield from _learnt(commission, name, (steps, batch, copies, width))
        picture = np.clip(commission.studio.run(told.file, seen.astype(np.float32)), 0, 1)
        files = {"decoder.onnx": told.file}
    else:
        raise UsageError(
            "There is nothing to decode by. Give photographs to learn from, ",
            option("photographs", python="[...]", shell="FOLDER"),
            ", or a decoder that was trained before, ",
            option("decoder", python="'decoder.onnx'", shell="decoder.onnx"),
            ".",
        )
    if picture.shape != wanted.shape:
        raise UsageError(
            f"The decoder makes pictures {list(picture.shape[1:])}; the model is shown {list(wanted.shape[1:])}. "
            "Decode at the size that it was trained for."
        )
    found = (yield from features_of(commission, picture, (name,)))[name]
    each = {"distance": relative(found, seen), "PSNR": psnr(picture, wanted)}
    trace = -np.repeat(np.array(told.losses)[:, None], len(picture), axis=1).reshape(-1, len(picture))
    called = tuple(f"{one} from {name}" for one in commission.names["x"])
    notes = {"layer": name, **told.notes}
    state = seen.reshape(len(seen), -1).astype(np.float32)
    return Painted(
        picture,
        state,
        trace,
        called,
        notes=notes,
        each=each,
        warnings=tuple(told.caveats),
        files=files,
        original=as_pixels(wanted),
    )


def _by_file(commission: Commission, name: str, seen: Array) -> Generator[Query, Answer, Array]:
    """What a given decoder makes of features; its door paints it."""
    canvas = Code(commission.size, commission.channels, tuple(seen.shape[1:]), commission.size)
    term = Objective((Energy(tensor=name),))
    answer: Sloped = yield Slope(seen.astype(np.float32), canvas, term, ink=commission.ink, gradient=False)
    return whole_of(answer.made)


def _learnt(commission: Commission, name: str, how: tuple[int, int, int, int]) -> Generator[Query, Answer, _Learnt]:
    """A decoder trained on the photographs; Ctrl-C while it learns ends the learning, not the recipe."""
    steps, batch, copies, width = how
    pictures = _copied(commission.stacked("photographs"), copies, commission.rng("copies"))
    held = []
    for start in range(0, len(pictures), batch):
        held.append((yield from features_of(commission, pictures[start : start + batch], (name,)))[name])
    features = np.concatenate(held)
    if features.ndim not in (2, 4):
        raise UsageError(
            f"Layer {name!r} is {list(features.shape[1:])} for each picture; a decoder takes channels [C] or maps "
            "[C, h, w]. Name another layer."
        )
    caveats = []
    count = len(commission.pictures["photographs"])
    if count < _FEW:
        caveats.append(Caveat(f"The decoder learnt from {count} photographs alone, which it may know by heart."))
    net = commission.studio.decoder(features, pictures, width, steps, commission.seed)
    losses: list[float] = []
    try:
        for _ in range(steps):
            losses.append(net.step(batch))
    except KeyboardInterrupt:
        caveats.append(Caveat(f"Learning was interrupted after {len(losses)} of {steps} steps."))
    reach, spread = float(np.quantile(np.abs(features), 0.995)), float(features.std())
    about = {"layer": name, "spread": spread, "reach": reach, "photographs": count}
    file = net.file("features", ("N", *features.shape[1:]), decoder=json.dumps(about))
    notes = {"as a generator": f"spread {spread:.3g}, reach {reach / max(spread, 1e-12):.2g}"}
    notes["as a generator"] += ", positive true" if features.min() >= 0 else ""
    if losses:
        notes["learnt"] = f"mean squared error {losses[0]:.3g} at first, {losses[-1]:.3g} after {len(losses)} steps"
    return _Learnt(file, losses, notes, caveats)


def _copied(pictures: Array, copies: int, rng: np.random.Generator) -> Array:
    """The pictures, and mirrored and shifted copies of them."""
    found = [pictures]
    for k in range(1, copies):
        some = pictures[..., ::-1] if k % 2 else pictures
        steps = [rng.integers(-int(_MOST_SHIFT * n), int(_MOST_SHIFT * n) + 1) for n in pictures.shape[2:]]
        edges = [(0, 0), (0, 0), *((abs(int(n)), abs(int(n))) for n in steps)]
        wide = np.pad(some, edges, mode="reflect")
        top, left = (abs(int(n)) + int(n) for n in steps)
        found.append(wide[:, :, top : top + pictures.shape[2], left : left + pictures.shape[3]])
    return np.concatenate(found).astype(np.float32)
