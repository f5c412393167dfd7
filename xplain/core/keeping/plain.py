"""Text that cannot steer a terminal: the one place where names from models, files and rows are made harmless.

A name may hold escape sequences, which retitle a window, recolour what follows, or write an answer over; and marks of
direction, which show a name backwards. Every door where text is printed passes through here: errors, the command line,
and what ``str`` gives of results. JSON escapes by itself, and HTML has its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["brief_layer", "counted", "in_figures", "plain", "without_shared_folders"]

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions
    "\u2028\u2029"  # line breaks that some terminals show
    "\ud800-\udfff"  # halves of pairs, as undecodable file names have, which cannot be printed
    "\ufff9-\ufffb\U000e0000-\U000e007f]"  # annotations and invisible tags
)
_BREAKS = re.compile("[\\t\\n]")


def plain(text: str, one_line: bool = False) -> str:
    """The text with a replacement character for each that steers.

    Args:
        text: Any text.
        one_line: Whether tabs and line feeds go too, as in a name that stands in a table.
    """
    kept = _STEERING.sub("\N{REPLACEMENT CHARACTER}", text)
    return _BREAKS.sub("\N{REPLACEMENT CHARACTER}", kept) if one_line else kept


def brief_layer(name: str, most: int = 56) -> str:
    """A layer's name as a figure has room for it: its last parts, where it has parts, else its end.

    Exporters join the names of what they fused with ``;``; the first one stands for all.
    """
    first = name.partition(";")[0]
    if len(first) <= most:
        return first
    at = first.find("/", len(first) - most + 1)
    return f"…{first[1 - most :] if at < 0 else first[at:]}"


def counted(count: int, one: str, several: str = "") -> str:
    """A number with its noun: ``1 picture``, ``2 pictures``, ``3 queries`` where the plural is said."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def in_figures(value: float) -> str:
    """A number to three figures, whole from 1,000 to a million: ``0.604``, ``39.5``, ``3268``."""
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.3g}"


def without_shared_folders(names: Sequence[str]) -> list[str]:
    """Names of files without the folders that all begin with, which tell none from another."""
    parts = [name.split("/") for name in names]
    shared = 0
    while parts and all(len(one) > shared + 1 and one[shared] == parts[0][shared] for one in parts):
        shared += 1
    return ["/".join(one[shared:]) for one in parts]
