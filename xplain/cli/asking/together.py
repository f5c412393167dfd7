"""Several inputs from a command line: ``left=a.jpg right=b.jpg``, which file goes to which input, and their cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xplain.cli.asking.loading import Loading
from xplain.cli.asking.tables import TABLES, labels_of, read_table
from xplain.core.errors import UsageError
from xplain.core.keeping.files import there
from xplain.models.joint import Joint, joint

__all__ = ["Together", "together"]

_NOT_HERE = ("input", "layout", "engine")
_LONGEST = 80


@dataclass(frozen=True, slots=True)
class Together:
    """Inputs that are explained at once, and where the items of each lie.

    Args:
        sources: Input to what was written behind its name.
    """

    sources: Mapping[str, str]

    def open(self, model: str, loading: Loading) -> tuple[Joint, list[dict[str, Any]], list[str]]:
        """The model, its items, each by the names of its inputs, and what each is called.

        Raises:
            UsageError: an input that is not there, a source that cannot be read, or unequal numbers of items.
            CardError: a card for an input that is not there, or takes no pictures.
            ModelError: the file cannot be loaded.
        """
        options = loading.options()
        for name in _NOT_HERE:
            if name in options:
                raise UsageError(f"--{name} is for a model that is explained on one input; leave it out.")
        card = options.pop("card", None)
        read = {name: _read(name, source) for name, source in self.sources.items()}
        known = {name: np.asarray(one.parts[0]) for name, one in read.items() if not one.pictures}
        columns = {name: one.columns for name, one in read.items() if one.columns}
        loaded = joint(model, list(self.sources), example=known, card=_cards(card), columns=columns, **options)
        if loading.labels is not None:
            from xplain.models.outlines import labelled

            loaded.outline = labelled(loaded.outline, labels_of(loading.labels))
        parts = {one.name: _parted(read[one.name].parts, one.extents) for one in loaded.segments}
        counts = {name: len(some) for name, some in parts.items()}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise UsageError(f"The inputs have different numbers of items ({told}); give as many of each.")
        count = next(iter(counts.values()))
        items = [{name: some[k] for name, some in parts.items()} for k in range(count)]
        shown = [one.parts for one in read.values() if one.pictures]
        names = [" + ".join(dict.fromkeys(Path(parts[k]).name for parts in shown)) or f"item {k}" for k in range(count)]
        return loaded, items, names


@dataclass(frozen=True, slots=True)
class _Read:
    """Items of one input: paths of pictures, arrays, or one array of them all; and names of its columns."""

    parts: Sequence[Any]
    pictures: bool = False
    columns: tuple[str, ...] = ()


def _parted(parts: Sequence[Any], extents: tuple[int, ...]) -> Sequence[Any]:
    """Items one by one, also where one array holds them all."""
    first = parts[0]
    whole = len(parts) == 1 and isinstance(first, np.ndarray) and first.shape[1:] == extents != first.shape
    return list(first) if whole else parts


def together(items: Sequence[str]) -> Together | None:
    """The inputs that a command line names; None where its items are those of one input.

    Raises:
        UsageError: some items name an input and others do not, one is given twice, or only one is given.
    """
    pairs = [(item, *item.partition("=")) for item in items]
    named = [
        (name, source) for item, name, equals, source in pairs if name and equals and source and not there(Path(item))
    ]
    if not named:
        return None
    if len(named) < len(items):
        other = next(item for item, _, equals, source in pairs if not (equals and source) or there(Path(item)))
        raise UsageError(
            f"Some items say which input they are of ({named[0][0]}=...), and {other[:_LONGEST]!r} does not. Write "
            "NAME=FILE for each."
        )
    found: dict[str, str] = {}
    for name, source in named:
        if name in found:
            raise UsageError(
                f"Input {name!r} is given twice: {found[name][:_LONGEST]!r} and {source[:_LONGEST]!r}. For several "
                "items name a folder, a glob, or a file with all of them."
            )
        found[name] = source
    if len(found) == 1:
        name = next(iter(found))
        raise UsageError(
            f"Only input {name!r} is given. Name at least two (NAME=FILE NAME=FILE), or explain it alone: --input "
            f"{name} with the others in --fixed."
        )
    return Together(found)


def _read(name: str, source: str) -> _Read:
    """What lies at a source: pictures, an array, the rows of a table, or numbers as they are written."""
    from xplain.render import pictures

    suffix = Path(source).suffix.lower()
    if suffix == ".npy":
        try:
            array = np.load(source, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UsageError(f"Input {name!r}: {source} cannot be read: {error}.") from None
        return _Read([array])
    if suffix in TABLES:
        table = read_table(Path(source), whole=True)
        words = [column for column, values in table.columns.items() if values.dtype.kind not in "fiub"]
        if words:
            raise UsageError(f"Input {name!r}: column {words[0]!r} of {source} holds words; give numbers alone.")
        rows = np.stack(list(table.columns.values()), axis=1).astype(np.float32)
        return _Read(list(rows), columns=tuple(table.columns))
    numbers = _numbers(source)
    if numbers is not None:
        return _Read([numbers])
    if suffix == ".txt" or _is_text(source):
        what = f"{source} is a text" if suffix == ".txt" else f"{source[:_LONGEST]!r} is no file and no numbers"
        raise UsageError(
            f"Input {name!r}: {what}; of several inputs a text is explained as its token ids. Give them as numbers "
            f"({name}=101,2009,102) or as an .npy file."
        )
    return _Read(pictures.collect([source]), pictures=True)


def _is_text(source: str) -> bool:
    """Whether words are given where a file's name, a glob or numbers are meant."""
    return not there(source) and not Path(source).suffix and not any(mark in source for mark in ("/", "*", "?", ":"))


def _numbers(source: str) -> Any:
    try:
        whole = "." not in source and "e" not in source.lower()
        return np.array([int(one) if whole else float(one) for one in source.split(",")])
    except ValueError:
        return None


def _cards(given: Any) -> Any:
    """``left=imagenet,right=own.toml`` as cards by input; one card, or a file with a section per input, as it is."""
    if not isinstance(given, str) or "=" not in given or there(Path(given)):
        return given
    found: dict[str, str] = {}
    for part in given.split(","):
        name, equals, card = (word.strip() for word in part.partition("="))
        if not (name and equals and card):
            raise UsageError(f"--card {given[:200]} is not understood; accepted: one card, or INPUT=CARD,INPUT=CARD.")
        if name in found:
            raise UsageError(f"--card gives input {name!r} two cards, {found[name]!r} and {card!r}; give it one.")
        found[name] = card
    return found
