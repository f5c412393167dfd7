"""Pictures that were made: side by side with what was found of each, and the way to them as an animation."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from xplain.core.declaring.registry import renderer
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.render.canvas import column, fitted, image, row, words

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["film", "gif", "strip"]


class Made(Protocol):
    """What these renderers know of a result; ``xplain.results.Picture`` is one."""

    pixels: Array
    frames: Array | None
    original: Array | None
    judges: Sequence[str]
    shares: Array
    ranks: Array
    each: Mapping[str, Any]

    def name_of(self, item: int) -> str:
        """What a picture is called."""

    def __len__(self) -> int: ...


@renderer("strip", draws="picture")
def strip(made: Made, *, columns: int = 4, height: int = 240) -> Image:
    """The pictures in rows, each beside what it was made of, with its name and what the model and its judges say of it.

    Args:
        made: The result.
        columns: Pictures in a row, at most.
        height: Height of each, in pixels.
    """
    cells = []
    for n in range(len(made)):
        picture = image(made.pixels[n])
        width = max(1, round(picture.width * height / picture.height))
        picture = picture.resize((width, height))
        if made.original is not None:
            first = image(made.original[n])
            first = first.resize((max(1, round(first.width * height / first.height)), height))
            picture = row([first, picture], 2)
            width = picture.width
        lines = [made.name_of(n), *_told(made, n)]
        cells.append(column([words([fitted(line, width) for line in lines], width), picture]))
    rows = [row(cells[k : k + columns]) for k in range(0, len(cells), columns)]
    return column(rows)


def _told(made: Made, n: int) -> list[str]:
    told = []
    for judge, share, rank in zip(made.judges, made.shares[n], made.ranks[n], strict=True):
        if not np.isnan(rank):
            told.append(f"{share:.2f} rank {int(rank)} {judge}")
    facts = [f"{name} {e[n]:.3g}" for name, e in made.each.items() if isinstance(e[n], (float, np.floating))]
    return told or facts[:3]


@renderer("gif", draws="picture")
def gif(made: Made, *, item: int | None = None, milliseconds: int = 80, hold: int = 1500) -> bytes:
    """The way to the pictures, side by side, as the bytes of a GIF.

    Args:
        made: The result.
        item: One picture alone; None for all.
        milliseconds: Each frame is shown for so long ...
        hold: ... and the last one.

    Raises:
        UsageError: no frames were kept.
    """
    if made.frames is None or not made.frames.shape[1]:
        raise UsageError(
            "No frames of the way were kept. Make the picture again with ", option("frames", 24), " or more."
        )
    some = made.frames if item is None else made.frames[item : item + 1]
    return film([np.concatenate(list(frame), axis=1) for frame in some.transpose(1, 0, 2, 3, 4)], milliseconds, hold)


def film(frames: Sequence[Array], milliseconds: int = 80, hold: int = 80) -> bytes:
    """Frames uint8 ``[h, w, 1 or 3]`` as the bytes of a GIF that repeats itself; the last one stays for ``hold`` ms."""
    from PIL import Image

    films = [Image.fromarray(frame.repeat(3 // frame.shape[2], axis=2)) for frame in frames]
    small = [one.convert("P", palette=Image.Palette.ADAPTIVE) for one in films]
    out = io.BytesIO()
    times = [milliseconds] * (len(small) - 1) + [hold]
    small[0].save(out, format="GIF", save_all=True, append_images=small[1:], duration=times, loop=0)
    return out.getvalue()
