"""Interactions of features as a matrix, and as a network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xplain.core.declaring.registry import renderer
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.render import canvas
from xplain.render.bars import names_of
from xplain.render.colormap import Colormap, find

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["interaction_matrix", "interaction_network"]

_CELL, _MOST_LABEL = 34, 220
_RADIUS, _EDGE, _DOT = 170, 9, 16
_MOST = 30
"""Features that are drawn: beyond, nobody could tell one from another."""


@renderer("interaction-matrix")
def interaction_matrix(attribution: Any, item: int = 0) -> Image:
    """Each pair's interaction as a cell; main effects, what a feature does alone, on the diagonal.

    Args:
        attribution: A result of the method ``interactions``.
        item: Which item.
    """
    from PIL import Image, ImageDraw

    names, main, pairs = _of(attribution, item)
    colours, count = find("blue-red", True), len(names)
    whole = pairs + np.diag(main)
    limit = float(np.abs(whole).max()) or 1.0
    label = min(max(canvas.text_width(name) for name in names), _MOST_LABEL) + 8
    paper = Image.new("RGB", (label + _CELL * count + 1, _CELL * count + label + 1), canvas.PAPER)
    pen = ImageDraw.Draw(paper)
    for i in range(count):
        called = canvas.words([canvas.fitted(names[i], label - 8)], label)
        paper.paste(called, (0, i * _CELL + (_CELL - canvas.LINE) // 2))
        upright = canvas.words([canvas.fitted(names[i], label - 8)], label).transpose(Image.Transpose.ROTATE_270)
        paper.paste(upright, (label + i * _CELL + (_CELL - canvas.LINE) // 2, _CELL * count + 4))
        for j in range(count):
            box = (label + j * _CELL, i * _CELL, label + (j + 1) * _CELL, (i + 1) * _CELL)
            pen.rectangle(box, fill=_colour(colours, whole[i, j] / limit), outline=canvas.PAPER)
            if i == j:
                pen.rectangle(box, outline=canvas.INK)
            said = _short(whole[i, j], limit)
            at = box[0] + (_CELL - canvas.text_width(said)) // 2, box[1] + (_CELL - canvas.LINE) // 2
            shade = canvas.PAPER if abs(whole[i, j]) > 0.7 * limit else canvas.INK
            pen.text(at, said, shade, font=canvas.font())
    return canvas.column([*_told(attribution, item, paper.width), paper])


@renderer("interaction-network")
def interaction_network(attribution: Any, item: int = 0, *, most: int = 20) -> Image:
    """Features on a circle, as large as what each does alone; lines between those that interact, as wide as they do.

    Red helps the target, blue speaks against it: of a line, both features together more, or less, than each alone.

    Args:
        attribution: A result of the method ``interactions``.
        item: Which item.
        most: Lines that are drawn, the widest.
    """
    from PIL import Image, ImageDraw

    names, main, pairs = _of(attribution, item)
    count, colours = len(names), find("blue-red", True)
    label = min(max(canvas.text_width(name) for name in names), _MOST_LABEL)
    side = 2 * (_RADIUS + _DOT) + 2 * label + 24
    height = 2 * (_RADIUS + _DOT) + 4 * canvas.LINE
    paper = Image.new("RGB", (side, height), canvas.PAPER)
    pen = ImageDraw.Draw(paper)
    turns = [2 * math.pi * k / count - math.pi / 2 for k in range(count)]
    places = [(side / 2 + _RADIUS * math.cos(t), height / 2 + _RADIUS * math.sin(t)) for t in turns]
    rows, columns = np.triu_indices(count, 1)
    strength = pairs[rows, columns]
    limit = float(np.abs(strength).max(initial=0.0)) or 1.0
    widest = np.argsort(-np.abs(strength), kind="stable")[:most]
    for k in widest[::-1]:
        share = float(strength[k]) / limit
        if abs(share) < 0.02:
            continue
        line = (*places[int(rows[k])], *places[int(columns[k])])
        shade = _colour(colours, 0.35 * float(np.sign(share)) + 0.5 * share)
        pen.line(line, fill=shade, width=max(1, round(_EDGE * abs(share))))
    largest = float(np.abs(main).max()) or 1.0
    for (x, y), turn, name, value in zip(places, turns, names, main, strict=True):
        size = 4 + (_DOT - 4) * math.sqrt(abs(value) / largest)
        fill = _colour(colours, 0.75 * float(np.sign(value)))
        pen.ellipse((x - size, y - size, x + size, y + size), fill=fill, outline=canvas.INK)
        said = canvas.fitted(name, label)
        width, out = canvas.text_width(said), _DOT + 6
        left = x + out if math.cos(turn) > 0.1 else x - out - width if math.cos(turn) < -0.1 else x - width / 2
        shift = 0.0 if abs(math.cos(turn)) > 0.1 else math.copysign(out + 4, math.sin(turn))
        pen.text((left, y + shift - canvas.LINE / 2), said, canvas.INK, font=canvas.font())
    return canvas.column([*_told(attribution, item, paper.width), paper])


def _of(attribution: Any, item: int) -> tuple[list[str], Array, Array]:
    """Names, main effects and pairs of one item.

    Raises:
        UsageError: the result has no interactions, or of too many features.
    """
    one = attribution[item]
    if "pairs" not in one.each:
        raise UsageError(
            f"This is a result of {attribution.method}, which knows no pairs. Explain by method 'interactions'."
        )
    main, pairs = (np.asarray(one.each[name][0], np.float64) for name in ("main effects", "pairs"))
    if len(main) > _MOST:
        raise UsageError(f"{len(main)} features are too many to be drawn; accepted: at most {_MOST}.")
    rows = one.columns is not None or one.texts
    names = [name + held for name, held in names_of(one)][: len(main)] if rows else []
    if len(names) != len(main):
        names = [str(name) for name in one.facts.get("features", [f"feature {k}" for k in range(len(main))])]
    return [canvas.plain(name) for name in names], main, pairs


def _told(attribution: Any, item: int, width: int) -> list[Image]:
    one = attribution[item]
    text = f"{one.targets[0]}, {one.method} ({one.facts.get('index', '')}), {one.names[0]}"
    return [
        canvas.words([text, one.unit.replace(", half of its pairs included", "; pairs beyond it")], max(width, 200))
    ]


def _colour(colours: Colormap, share: float) -> tuple[int, ...]:
    return tuple(int(c) for c in colours.paint(np.array(float(np.clip(share, -1, 1))), 1.0))


def _short(value: float, limit: float) -> str:
    """A number that fits into a cell; nothing where it is no part of the largest worth seeing."""
    if abs(value) < 0.005 * limit:
        return ""
    return f"{value:.2g}" if 0.01 <= abs(value) < 1000 else f"{value:.0e}"
