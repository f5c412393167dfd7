"""Items from a command line that are arrays: series, spectrograms, volumes, bands as ``.npy``, sound as ``.wav``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xplain.cli.asking.sound import WAVES, read_wave
from xplain.core.errors import ItemError, UsageError
from xplain.core.outline import Outline
from xplain.core.query import Model

__all__ = ["ARRAYS", "Arrays", "arrays_in", "is_array"]

ARRAYS = ".npy"
_MOST_BYTES = 2 * 1024**3


def is_array(name: str) -> bool:
    """Whether a file's name ends as an array's does."""
    return name.lower().endswith((ARRAYS, WAVES))


@dataclass(frozen=True, slots=True)
class Arrays:
    """Arrays in files, of which one is held at a time.

    Args:
        places: File and row of each item; None where the file is one item.
        names: What each is called.
        outline: Of the model, which says how sound is laid out.
        failed: Files that cannot be read, and why.
    """

    places: Sequence[tuple[Path, int | None]]
    names: Sequence[str]
    outline: Outline
    failed: Sequence[tuple[str, ItemError]] = field(default=())

    def __iter__(self) -> Iterator[Any]:
        """The items, in order, each without a batch axis."""
        for path, row in self.places:
            found = _opened(path, self.outline)
            yield np.array(found if row is None else found[row])


def arrays_in(files: Sequence[str], model: Model) -> Arrays:
    """The items in files: one per file, or, where an array has the model's batch axis in front, one per row.

    Only headers are read; objects, which could run code, are refused.

    Raises:
        UsageError: arrays mixed with pictures.
    """
    others = [name for name in files if not is_array(name)]
    if others:
        raise UsageError(
            f"The items mix arrays ({ARRAYS}, {WAVES}) and pictures ({Path(others[0]).name}); explain them one kind at "
            "a time."
        )
    rank = _rank(model)
    places: list[tuple[Path, int | None]] = []
    names, failed = [], []
    for name in files:
        path = Path(name)
        try:
            shape = _opened(path, model.outline).shape
        except ItemError as error:
            failed.append((name, error))
            continue
        if rank is None or len(shape) != rank:
            places.append((path, None))
            names.append(name)
            continue
        places += [(path, row) for row in range(shape[0])]
        names += [name] if shape[0] == 1 else [f"{path.with_suffix('')}-{row}{ARRAYS}" for row in range(shape[0])]
    return Arrays(places, names, model.outline, failed)


def _rank(model: Model) -> int | None:
    """How many axes a batch of the model has, where that is known."""
    outline = model.outline
    if outline.named is not None:
        return len(outline.named.letters)
    spec = outline.explained
    return len(spec.shape) if spec is not None and len(spec.shape) > 1 else None


def _opened(path: Path, outline: Outline) -> Any:
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


def _reason(path: Path) -> str:
    """Why numpy does not read a file; its own words advise what is not safe."""
    with path.open("rb") as file:
        begin = file.read(128)
    if not begin.startswith(b"\x93NUMPY"):
        return "it is no .npy file"
    objects = b"'|O'" in begin or b"'O'" in begin
    return "it holds Python objects, which could run code" if objects else "its header or its end is damaged"
