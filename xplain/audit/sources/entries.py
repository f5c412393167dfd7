"""What a source of items is: names in a fixed order, and the content of each, read at any time and place."""

from __future__ import annotations

import io
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import ItemError, PictureError
from xplain.render.formats import SUFFIXES as PICTURES

__all__ = ["MOST_BYTES", "PARSING", "SUFFIXES", "Content", "Entry", "Source", "array_of", "file_content", "is_item"]

Content: TypeAlias = "bytes | Array"
"""An item as it is kept: the bytes of a picture's or a sound's file, a uint8 array (a picture), or the model's own
tensor."""

PARSING = threading.Lock()
"""numpy reads a header by Python's parser, which fails in two threads at once (CPython 3.11: SystemError)."""

MOST_BYTES = 256 * 1024 * 1024
"""Largest item, in bytes."""

SUFFIXES = (*PICTURES, ".npy", ".wav")
"""How names of items end, in folders and archives: pictures as xplain reads them, arrays, and recorded sound."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An item as its source lists it.

    Args:
        name: Relative to the data's root, unique.
        file: In which of the source's files it lies.
        at: Where in that file: a row, or an offset; -1 for a file of its own.
        size: Bytes from there; -1 where that is not known.
        label: Its label as the source states it.
        split: Such as ``train``.
        more: Its metadata, in the order of the source's ``metadata``.
    """

    name: str
    file: int = 0
    at: int = -1
    size: int = -1
    label: str | None = None
    split: str | None = None
    more: tuple[Any, ...] = ()


class Source(Protocol):
    """Items in a fixed order. Reading is safe in several threads at once."""

    kind: str
    placed: bool
    """Whether an item lies at a place in a file, which its name alone does not say."""
    unique: bool
    """Whether no name can stand twice, so that nobody has to look."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """Further columns, and Arrow's types of them."""
        ...

    @property
    def told(self) -> tuple[str, ...]:
        """Sentences on what was left out while entries were listed."""
        ...

    def entries(self) -> Iterator[Entry]:
        """All items, in order, one at a time.

        Raises:
            UsageError: they cannot be listed.
        """
        ...

    def content(self, name: str, file: int, at: int, size: int) -> Content:
        """An item's content.

        Raises:
            PictureError, ItemError: it cannot be read; the message names no path.
        """
        ...

    def recipe(self) -> dict[str, Any]:
        """What ``reopened`` needs to open it again, as plain values."""
        ...


def is_item(name: str) -> bool:
    """Whether a file's name ends as an item's does."""
    return name.lower().endswith(SUFFIXES)


def array_of(content: bytes) -> Array:
    """The array in the bytes of an ``.npy`` file; objects are refused, which would run code.

    Raises:
        ItemError: there is none.
    """
    try:
        with PARSING:
            return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
    except (ValueError, EOFError, OSError, SyntaxError) as error:
        raise ItemError(f"The item is no array of numbers: {str(error)[:200]}.") from None


def file_content(root: Path, name: str) -> Content:
    """The content of a file below ``root``; an ``.npy`` file's is its array.

    Raises:
        PictureError: it is missing, no regular file, too large, or cannot be read.
        ItemError: its array cannot be read.
    """
    try:
        number = os.open(root / name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for ever
        with os.fdopen(number, "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise PictureError("It is no regular file.")
            if facts.st_size > MOST_BYTES:
                raise PictureError(f"It has {facts.st_size:,} bytes; accepted: up to {MOST_BYTES:,}.")
            content = file.read(facts.st_size + 1)  # room for all that could be read would be made for each file
    except FileNotFoundError:
        raise PictureError("The file is missing.") from None
    except PictureError:
        raise
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise PictureError(f"The file cannot be read: {why}.") from None
    return array_of(content) if content and name.lower().endswith(".npy") else content
