"""Concepts: a row for each, a bar with its interval beside its crops; and pictures in their colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from xplain.core.arrays import enlarge
from xplain.core.caveat import Caveat, sentences
from xplain.core.declaring.registry import renderer
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import brief_layer, counted
from xplain.render import canvas
from xplain.render.palette import DISTINCT, OTHERS
from xplain.render.tiles import framed

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["COLOURED", "TWO_SIDED", "ShownConcepts", "concept_colours", "concepts", "painted"]

Colour: TypeAlias = tuple[int, int, int]

_MARGIN, _GAP = 12, 8
_HEAD, _BAR, _HIGH = 190, 168, 12
COLOURED = 6
"""Concepts that have a colour of their own on pictures; the others are grey."""
_OPACITY = 0.75
TWO_SIDED = 1.96  # 95 % of a normal distribution
_LEAST = 560
_GREY = (244, 244, 244)


class ShownConcepts(Protocol):
    """Concepts; ``xplain.results.Concepts`` is one, and says what each field means."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of each concept."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layer that each is a direction of."""

    @property
    def importance(self) -> Array:
        """What each is worth."""

    @property
    def error(self) -> Array:
        """Its standard error."""

    @property
    def effect(self) -> Array:
        """How much the score falls without it."""

    @property
    def effect_error(self) -> Array:
        """Its standard error."""

    @property
    def crops(self) -> Array:
        """Parts of pictures that hold most of it."""

    @property
    def crop_values(self) -> Array:
        """How much."""

    @property
    def shown(self) -> Array:
        """Pictures to colour."""

    @property
    def unit(self) -> str:
        """The unit of the effect."""

    @property
    def items(self) -> tuple[str, ...]:
        """All pictures of the class."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was found besides."""

    @property
    def warnings(self) -> tuple[Caveat, ...]:
        """What must be known."""

    def map(self, concept: int, picture: int, /) -> Array:
        """How much of a concept every position of a picture holds."""

    def __len__(self) -> int: ...


@renderer("concepts", draws="concepts")
def concepts(shown: ShownConcepts, *, tile: int = 80, pictures: int = 160, most: int = 32) -> Image:
    """Draw concepts.

    Args:
        shown: What to draw.
        tile: Pixels of a crop's side.
        pictures: Pixels of a picture's side.
        most: Concepts that are drawn; the rest is counted.

    Raises:
        UsageError: an argument that cannot be used.
    """
    for name, value in (("tile", tile), ("pictures", pictures), ("most", most)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 8192:
            raise UsageError(option=name, got=value, accepted="a whole number from 1 to 8192")
    colours = concept_colours(shown)
    rows = [_row(shown, n, tile, colours[n]) for n in range(min(len(shown), most))]
    width = max(_LEAST, *(one.width for one in rows))
    layer = brief_layer(str(shown.facts.get("layer", "")))
    parts = [canvas.heading(f"What {shown.facts.get('class', 'a class')} is made of at {layer}", width)]
    parts.append(canvas.words(_legend(shown, most), width, canvas.PALE))
    parts += rows
    if len(shown.shown):
        drawn = [painted(shown, p, pictures, colours) for p in range(len(shown.shown))]
        wide = max(1, (width + _GAP) // (pictures + _GAP))
        parts.append(canvas.words(["Where they lie; a position has its strongest concept's colour."], width))
        parts += [canvas.row(drawn[first : first + wide], _GAP) for first in range(0, len(drawn), wide)]
    told = sentences(shown.warnings, list(shown.names), brief=True)
    if told:
        parts.append(canvas.words(told, width, canvas.ALERT))
    return framed(canvas.column(parts, _GAP), _MARGIN)


def concept_colours(shown: ShownConcepts) -> list[Colour]:
    """The first concepts get a colour each; parts of one have its colour."""
    found: dict[str, Colour] = {}
    for name in shown.names:
        whole = name.partition(".")[0]
        if whole not in found:
            found[whole] = DISTINCT[len(found)] if len(found) < COLOURED else OTHERS
    return [found[name.partition(".")[0]] for name in shown.names]


def _row(shown: ShownConcepts, n: int, tile: int, colour: Colour) -> Image:
    """One concept: what it is called and worth, and its crops."""
    error, spread = (TWO_SIDED * float(one[n]) for one in (shown.error, shown.effect_error))
    name = shown.names[n]
    split = "." in name
    lines = [f"{name} at {brief_layer(shown.layers[n], 24)}" if split else name]
    lines.append(f"importance {shown.importance[n]:.3f} ± {error:.3f}")
    width = _HEAD
    head = canvas.column(
        [
            canvas.words(lines, width, canvas.INK),
            _bar(shown, n, colour),
            canvas.words([f"score {-shown.effect[n]:+.3g} ± {spread:.2g} without"], width, canvas.PALE),
        ],
        2,
    )
    tiles = []
    for crop, value in zip(shown.crops[n], shown.crop_values[n], strict=True):
        if np.isfinite(value):
            under = canvas.words([canvas.fitted(f"{value:.3g}", tile)], tile, canvas.PALE)
            tiles.append(canvas.column([_sized(crop, tile), under], 1))
    body = canvas.row(tiles, 4) if tiles else canvas.words(["no crop holds it"], 4 * tile, canvas.PALE)
    return canvas.row([canvas.widened(head, _HEAD + (16 if split else 0)), body], _GAP)


def _bar(shown: ShownConcepts, n: int, colour: Colour) -> Image:
    """The importance from 0 on, as long as the largest with its interval is wide, with a whisker for its interval."""
    from PIL import Image, ImageDraw

    reach = shown.importance + TWO_SIDED * shown.error
    full = float(reach.max()) or 1.0
    paper = Image.new("RGB", (_BAR, _HIGH), _GREY)
    pen = ImageDraw.Draw(paper)
    value, error = float(shown.importance[n]), TWO_SIDED * float(shown.error[n])

    def at(number: float) -> float:
        return float(np.clip(number / full, 0, 1)) * (_BAR - 1)

    if value > 0:
        pen.rectangle((0, 1, at(value), _HIGH - 2), fill=colour)
    middle = _HIGH // 2
    pen.line([(at(value - error), middle), (at(value + error), middle)], canvas.INK, 1)
    for end in (value - error, value + error):
        pen.line([(at(end), middle - 3), (at(end), middle + 3)], canvas.INK, 1)
    return paper


def painted(shown: ShownConcepts, p: int, side: int, colours: Sequence[Colour]) -> Image:
    """A picture in grey, each position in the colour of the concept that is strongest there for what it can be."""
    picture = np.asarray(_sized(shown.shown[p], side), np.float64)
    whole = [n for n, name in enumerate(shown.names) if "." not in name]
    most = [max(float(shown.map(n, q).max()) for q in range(len(shown.shown))) for n in whole]
    shares = np.stack(
        [
            enlarge(shown.map(n, p) / top if top > 0 else shown.map(n, p), (side, side))
            for n, top in zip(whole, most, strict=True)
        ]
    )
    winner = shares.argmax(axis=0)
    strength = np.clip(shares.max(axis=0), 0, 1)[..., None] * _OPACITY
    colour = np.array([colours[n] for n in whole], np.float64)[winner]
    grey = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    return canvas.image(np.rint(grey * (1 - strength) + colour * strength).astype(np.uint8))


def _sized(picture: Array, side: int) -> Image:
    from PIL.Image import Resampling

    way = Resampling.LANCZOS if len(picture) > side else Resampling.BICUBIC
    return canvas.image(picture).resize((side, side), way)


def _legend(shown: ShownConcepts, most: int) -> list[str]:
    lost = shown.facts.get("share of squares not in the concepts, of pictures")
    over = shown.facts.get("importance estimated over", 0)
    lines = [
        f"{counted(len(shown.items), 'picture')}; bars: total Sobol index of the score over {over}, 95 % intervals.",
        "Below crops: how much of the concept each holds.",
    ]
    if lost is not None:
        lines.append(f"{float(lost):.0%} of the layer's squares are in none of the concepts.")
    if most < len(shown):
        lines.append(f"{most} of {counted(len(shown), 'concept')} are drawn.")
    return lines
