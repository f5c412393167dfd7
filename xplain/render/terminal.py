"""A picture as characters that a terminal shows: by the protocols of kitty, iTerm2 and sixel, or as half blocks.

| way | who shows it | what is sent |
|---|---|---|
| ``kitty`` | kitty, Ghostty, Konsole | the PNG in pieces of 4096 letters of base64 |
| ``iterm`` | iTerm2, WezTerm, VS Code | the PNG in base64 |
| ``sixel`` | foot, mlterm, xterm -ti vt340, Windows Terminal | 256 colours, six rows at a time |
| ``blocks`` | any terminal with 24-bit colour | an upper half block for two pixels, one above the other |
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from xplain.core.edits import Array

__all__ = ["WAYS", "characters", "way_of"]

WAYS = ("kitty", "iterm", "sixel", "blocks", "none")

_PIECE = 4096  # letters of base64 in one of kitty's commands, at most
_WIDEST = 800  # pixels of a sixel picture
_ESCAPE, _END = "\x1b", "\x1b\\"


def way_of(environment: Mapping[str, str]) -> str:
    """How a terminal with this environment shows pictures: what ``XPLAIN_PICTURES`` says, else what is known of it.

    Sixel has to be asked for, since no variable tells of it.
    """
    asked = environment.get("XPLAIN_PICTURES", "auto").lower()
    if asked in WAYS:
        return asked
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if environment.get("NO_COLOR") or term in ("", "dumb") or environment.get("TMUX") or term.startswith("screen"):
        return "none"  # a multiplexer passes no pictures on
    if environment.get("KITTY_WINDOW_ID") or term in ("xterm-kitty", "xterm-ghostty"):
        return "kitty"
    if program in ("iTerm.app", "WezTerm"):
        return "iterm"
    return "blocks" if environment.get("COLORTERM") in ("truecolor", "24bit") else "none"


def characters(png: bytes, way: str, columns: int = 80) -> str:
    """A PNG as one of ``WAYS`` writes it, ending in a new line; nothing for ``none``.

    Args:
        png: The file.
        way: How.
        columns: Width of the terminal, which half blocks and sixels stay within.
    """
    if way == "kitty":
        return _kitty(png)
    if way == "iterm":
        coded = base64.b64encode(png).decode()
        return f"{_ESCAPE}]1337;File=inline=1;size={len(png)};preserveAspectRatio=1:{coded}\a\n"
    if way not in ("sixel", "blocks"):
        return ""
    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGB")
    if way == "sixel":
        return _sixel(_within(picture, min(_WIDEST, 9 * columns)))
    return _blocks(np.asarray(_within(picture, columns)))


def _within(picture: Any, width: int) -> Any:
    """The picture no wider than that."""
    if picture.width <= width:
        return picture
    height = max(1, round(picture.height * width / picture.width))
    return picture.resize((width, height), Image.Resampling.BOX)


def _kitty(png: bytes) -> str:
    coded = base64.b64encode(png).decode()
    pieces = [coded[at : at + _PIECE] for at in range(0, len(coded), _PIECE)]
    told = []
    for number, piece in enumerate(pieces):
        more = int(number < len(pieces) - 1)
        how = f"a=T,f=100,m={more}" if number == 0 else f"m={more}"
        told.append(f"{_ESCAPE}_G{how};{piece}{_END}")
    return "".join(told) + "\n"


def _blocks(pixels: Array) -> str:
    """Two rows of pixels in a line: the upper as the block's colour, the lower as the colour behind it."""
    if len(pixels) % 2:
        pixels = np.concatenate([pixels, pixels[-1:]])
    lines = []
    for upper, lower in zip(pixels[::2].tolist(), pixels[1::2].tolist(), strict=True):
        cells = [
            f"{_ESCAPE}[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m▀"
            for a, b in zip(upper, lower, strict=True)
        ]
        lines.append("".join(cells) + f"{_ESCAPE}[0m")
    return "\n".join(lines) + "\n"


def _sixel(picture: Any) -> str:
    """Six rows make a band; in a band each colour says in which of the six rows of a column it stands."""
    reduced = picture.quantize(256)
    numbers, palette = np.asarray(reduced), reduced.getpalette()
    used = np.unique(numbers)
    parts = [f'{_ESCAPE}Pq"1;1;{reduced.width};{reduced.height}']
    for colour in used:
        r, g, b = (round(value * 100 / 255) for value in palette[3 * colour : 3 * colour + 3])
        parts.append(f"#{colour};2;{r};{g};{b}")
    for top in range(0, reduced.height, 6):
        band = numbers[top : top + 6]
        weights = 2 ** np.arange(len(band))
        for colour in np.unique(band):
            bits = ((band == colour) * weights[:, None]).sum(axis=0)
            parts.append(f"#{colour}{_repeated(bits)}$")
        parts.append("-")
    return "".join(parts) + f"{_END}\n"


def _repeated(bits: Array) -> str:
    """Letters of sixels, runs of more than three as ``!COUNT``."""
    ends = np.flatnonzero(np.diff(bits)) + 1
    told = []
    for run in np.split(bits, ends):
        letter = chr(63 + int(run[0]))
        told.append(f"!{len(run)}{letter}" if len(run) > 3 else letter * len(run))
    return "".join(told)
