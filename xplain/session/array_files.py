"""Items that are arrays in files: series, spectrograms, volumes, bands as ``.npy``, sound as ``.wav``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.card import Card
from xplain.core.edits import Array
from xplain.core.errors import ItemError, UsageError
from xplain.core.outline import Outline
from xplain.core.query import Model
from xplain.render.sound import WAVES, read_sound

__all__ = ["ARRAYS", "ArrayFile", "ArrayRow", "array_items", "arrays_below", "is_array", "only_arrays", "open_array"]
__all__ += ["rank_of", "read_wave", "rows_of", "with_card"]

ARRAYS = ".npy"
_MOST_BYTES = 2 * 1024**3


def is_array(name: str | os.PathLike[str]) -> bool:
    """Whether a file's name ends as an array's does."""
    return os.fspath(name).lower().endswith((ARRAYS, WAVES))


def arrays_below(folder: Path) -> list[str]:
    """The array files in a folder, and below it, sorted; hidden ones are left out."""
    hits = [one for one in sorted(folder.rglob("*")) if is_array(one) and one.is_file()]
    return [str(one) for one in hits if not any(part[0] == "." for part in one.relative_to(folder).parts)]


def only_arrays(files: Sequence[str]) -> None:
    """Refuse arrays among files that are none.

    Raises:
        UsageError: names one.
    """
    others = [name for name in files if not is_array(name)]
    if others:
        raise UsageError(
            f"The items mix arrays ({ARRAYS}, {WAVES}) and pictures ({Path(others[0]).name}); explain them one kind at "
            "a time."
        )


def rank_of(model: Model) -> int | None:
    """How many axes a batch of the model has, where that is known."""
    outline = model.outline
    if outline.named is not None:
        return len(outline.named.letters)
    spec = outline.explained
    return len(spec.shape) if spec is not None and len(spec.shape) > 1 else None


def read_wave(path: Path, outline: Outline) -> Array:
    """The samples of a WAV file, float32 in -1 to 1, ``[T]``, ``[C, T]`` or ``[T, C]`` as the model's layout says.

    Raises:
        ItemError: it cannot be read, or has another rate than the card states, or other channels than the model takes.
    """
    told = None if outline.card is None else outline.card.coordinates
    return read_sound(path, told, None if outline.named is None else outline.named.letters, outline.source)


def open_array(path: Path, outline: Outline) -> Any:
    """What a file holds, mapped where it is ``.npy``; objects, which could run code, are refused.

    Raises:
        ItemError: it cannot be read.
    """
    if path.suffix.lower() == WAVES:
        return read_wave(path, outline)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ItemError(f"{path} has {path.stat().st_size:,} bytes; accepted: up to {_MOST_BYTES:,}.")
        # np.load would open an archive of another name, too, and hand back no array
        return np.lib.format.open_memmap(path, mode="r")
    except ItemError:
        raise
    except (OSError, ValueError, EOFError, SyntaxError, OverflowError) as error:  # overflow: an extent below zero
        why = getattr(error, "strerror", None) or _reason(path)
        raise ItemError(
            f"{path} cannot be read as an array: {why[:200]}. Save one with numpy.save: numbers in the model's layout."
        ) from None


def rows_of(path: Path, outline: Outline, rank: int | None) -> int | None:
    """How many items a file holds, a row each; None where it is one item. Of an ``.npy`` file the header alone is read.

    Args:
        path: The file.
        outline: Of the model.
        rank: How many axes a batch of the model has, see ``rank_of``.

    Raises:
        ItemError: it cannot be read, or holds nothing.
    """
    shape = open_array(path, outline).shape
    if 0 in shape:
        raise ItemError(f"{path} is {list(shape)}: there is nothing to explain. Leave it out.")
    return None if rank is None or len(shape) != rank else int(shape[0])


def _reason(path: Path) -> str:
    """Why numpy does not read a file; its own words advise what is not safe."""
    with path.open("rb") as file:
        begin = file.read(128)
    if not begin.startswith(b"\x93NUMPY"):
        return "it is no .npy file"
    objects = b"'|O'" in begin or b"'O'" in begin
    return "it holds Python objects, which could run code" if objects else "its header or its end is damaged"


@dataclass(frozen=True, slots=True)
class ArrayRow:
    """One row of a file that holds several items; read whenever it is asked for its numbers.

    Args:
        path: The file.
        row: The row.
        outline: Of the model, which says how sound is laid out.
    """

    path: Path
    row: int
    outline: Outline

    @property
    def called(self) -> str:
        """What the item is called."""
        return f"{self.path.stem}-{self.row}{ARRAYS}"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(open_array(self.path, self.outline)[self.row], dtype)


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """A file that is one item, and stands for its path too; read whenever it is asked for its numbers.

    Args:
        path: The file.
        outline: Of the model, which says how sound is laid out.
    """

    path: Path
    outline: Outline

    @property
    def called(self) -> str:
        """What the item is called."""
        return self.path.name

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(open_array(self.path, self.outline), dtype)


def with_card(outline: Outline, card: Card | None) -> Outline:
    """What is known of a model, with the card that is used in place of its own, if one is."""
    return outline if card is None else replace(outline, card=card)


def array_items(files: Sequence[str], model: Model, card: Card | None = None) -> list[ArrayFile | ArrayRow]:
    """The items in array files: one per file, or one per row where the model's batch axis stands in front.

    Of what can be opened headers alone are read; the rest is told when it is read.

    Args:
        files: Their names.
        model: Says what a batch is.
        card: Says how sound is sampled, in place of the model's own.

    Raises:
        UsageError: arrays mixed with pictures.
    """
    only_arrays(files)
    rank, outline = rank_of(model), with_card(model.outline, card)
    found: list[ArrayFile | ArrayRow] = []
    for name in files:
        path = Path(name)
        try:
            count = rows_of(path, outline, rank)
        except ItemError:
            count = None
        if count is None or count == 1:
            found.append(ArrayFile(path, outline))
        else:
            found += [ArrayRow(path, row, outline) for row in range(count)]
    return found
