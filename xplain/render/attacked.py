"""An attack as a sheet: before, after, what changed (amplified), and the maps of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from xplain.core.declaring.registry import renderer
from xplain.core.edits import Array
from xplain.render import canvas
from xplain.render.tiles import framed, tile_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ShownAttack", "attack_sheet", "panels", "printed"]

_TILE, _GAP, _MARGIN = 150, 8, 12
_MOST = 24
"""Items on a sheet; the page holds all."""

_MM = 25.4


class ShownAttack(Protocol):
    """What was attacked; ``xplain.results.Attack`` is one, and says what each field means."""

    @property
    def before(self) -> Array:
        """The items."""

    @property
    def after(self) -> Array:
        """What was found."""

    @property
    def maps(self) -> Array | None:
        """Three maps per item."""

    @property
    def fooled(self) -> Array:
        """Whether it was a success."""

    @property
    def method(self) -> str:
        """The attack."""

    @property
    def each(self) -> Mapping[str, Any]:
        """Facts of each item."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts of the run."""

    @property
    def verdict(self) -> str:
        """How many were fooled."""

    def verdict_of(self, item: int, /) -> str:
        """Whether one was."""

    def name_of(self, item: int, /) -> str:
        """What an item is called."""

    def words_of(self, item: int, /) -> tuple[str, str]:
        """What the model said before, and after."""

    def size_of(self, item: int, /) -> str:
        """How large the change is."""

    def __len__(self) -> int: ...


def panels(attack: ShownAttack, item: int, size: int = _TILE) -> list[tuple[str, Image]]:
    """The panels of one item, each with two lines of words: before, after, difference, and the maps, if there are any.

    The difference is drawn around grey and amplified so that its largest element is white or black; its words say by
    how much. Items that are no pictures are drawn as lines, or as grey squares of their own scale.
    """
    before, after = attack.before[item], attack.after[item]
    was, now = attack.words_of(item)
    change = after.astype(np.float64) - before.astype(np.float64)
    largest = float(np.abs(change).max())
    is_picture = before.dtype == np.uint8
    gain = f" x{127 / largest:.0f}" if is_picture and 0 < largest < 64 else ""
    look = "colour" if is_picture else "line" if before.ndim == 1 or min(before.shape) == 1 else "grey"
    shown = [(f"before\n{was}", before), (f"after\n{now}", after)]
    found = [
        (words, tile_of(one, None, 0.0, look, size) if is_picture else _plain(one, look, size)) for words, one in shown
    ]
    moved = f"difference{gain}\n{attack.size_of(item)}"
    found.append((moved, tile_of(None, change, largest, "colour", size) if is_picture else _plain(change, look, size)))
    if attack.maps is None:
        return found
    first, _, last = attack.maps[item]
    correlation = attack.each.get("rank correlation")
    same = "" if correlation is None else f", rank r {correlation[item][1]:.2f}"
    for words, one, picture in ((f"map before\n{was}", first, before), (f"map after{same}\n{now}", last, after)):
        top = float(np.abs(one).max())
        grid = one[..., None] if one.ndim == 2 else np.atleast_2d(one.reshape(1, -1))[..., None]
        found.append((words, tile_of(picture if is_picture and one.ndim == 2 else None, grid, top, "heat", size)))
    return found


@renderer("attack", draws="attack")
def attack_sheet(attack: ShownAttack, *, size: int = _TILE) -> Image:
    """A row for each item: before, after, the difference amplified, the map before and the map after.

    Args:
        attack: What was found.
        size: Pixels of a tile's longer side.
    """
    rows = []
    for item in range(min(len(attack), _MOST)):
        tiles = []
        for words, tile in panels(attack, item, size):
            lines = [canvas.fitted(line, max(tile.width, size)) for line in words.split("\n")]
            tiles.append(canvas.column([canvas.words(lines, max(tile.width, size)), tile], 2))
        head = canvas.words(
            [f"{attack.name_of(item)}: {attack.verdict_of(item)}"], (size + _GAP) * len(tiles), canvas.PALE
        )
        rows.append(canvas.column([head, canvas.row(tiles, _GAP)], 2))
    left = len(attack) - len(rows)
    lines = [attack.verdict, *([f"{left} more items are on the page"] if left > 0 else [])]
    lines += [str(attack.facts[name]) for name in ("held out", "what moved first") if name in attack.facts]
    width = max(one.width for one in rows)
    return framed(canvas.column([canvas.words(lines, width), *rows], _GAP), _MARGIN)


def printed(patch: Array, *, millimetres: float = 60.0, dpi: int = 300) -> Image:
    """A patch as a sheet to print: its size in millimetres at a number of dots per inch, with marks to cut along.

    Args:
        patch: uint8 ``[h, w, 3]``.
        millimetres: Width of the patch on paper.
        dpi: Dots per inch; the picture carries it, so that a printer gives the size that is written below it.
    """
    from PIL import Image, ImageDraw

    wide = max(1, round(millimetres / _MM * dpi))
    high = max(1, round(wide * patch.shape[0] / patch.shape[1]))
    large = Image.fromarray(np.ascontiguousarray(patch)).resize((wide, high), Image.Resampling.NEAREST)
    edge = max(8, round(5 / _MM * dpi))
    paper = Image.new("RGB", (wide + 2 * edge, high + 3 * edge), canvas.PAPER)
    paper.paste(large, (edge, edge))
    pen = ImageDraw.Draw(paper)
    for x in (edge, edge + wide):
        for y in (edge, edge + high):
            pen.line([(x - edge // 2, y), (x + edge // 2, y)], canvas.INK, 1)
            pen.line([(x, y - edge // 2), (x, y + edge // 2)], canvas.INK, 1)
    told = f"{millimetres:g} mm wide at {dpi} dpi; print at 100 %"
    paper.paste(canvas.words([told], max(wide, canvas.text_width(told))), (edge, high + 2 * edge))
    paper.info["dpi"] = (dpi, dpi)
    return paper


def _plain(values: Array, look: str, size: int) -> Image:
    """Numbers that are no picture: a line, or a grey square on a scale of its own."""
    flat = values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)
    return tile_of(None, flat[..., None], float(np.abs(flat).max()), look, size)
