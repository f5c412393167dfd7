"""Items of an audit as batches of one shape: a bad item keeps its place as a blank row, with why in words.

Were it left out, the items behind it would move into other batches, and a runtime rounds by the shape of a batch and
by a row's neighbours' number: their bits would follow from a file that is none of theirs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xplain.audit.plans.doors import given_of
from xplain.audit.plans.items import ItemTable, content_sha256
from xplain.audit.plans.plan import ModelFacts
from xplain.audit.sources import Content, Source, reopened
from xplain.audit.stores.where import Where
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import ItemError, UsageError, XplainError
from xplain.core.items import Items
from xplain.core.query import Model
from xplain.session.items import items_of

__all__ = ["Batch", "Data", "Form", "Planned", "Read", "batch_of", "taken"]

CHANGED = "The content is not the one that was planned."
UNREADABLE = "It could not be read when the audit was planned."


@dataclass(frozen=True, slots=True)
class Planned:
    """An item as it was planned: what it is called, its digest and label, and where it lies in its source's files."""

    number: int
    name: str
    sha256: str
    label: str | None
    file: int = 0
    at: int = -1
    size: int = -1


@dataclass(frozen=True, slots=True)
class Read:
    """An item that was read: the model's input of one row, or why there is none.

    Args:
        items: The input; None where there is none, where it was written to a batch, or where the model reads it by a
            door of its own.
        error: Why there is none.
        given: A row as a mapping, or a text, for a model that reads such.
    """

    items: Items | None
    error: str | None = None
    given: Any = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one shape.

    Args:
        items: As many rows as were asked for; blank ones for what could not be read, and behind the last.
        errors: For each item, why its row is blank; None for a good one. Rows that fill up have no entry.
    """

    items: Items
    errors: tuple[str | None, ...]


class Form:
    """What one model takes: turns contents into its input, and knows what a blank row is.

    Args:
        model: The model.
        facts: What the plan says of it.
    """

    def __init__(self, model: Model, facts: ModelFacts) -> None:
        self.model, self.facts, self.card = model, facts, facts.preprocessing
        self.kind = facts.door.get("kind", "")
        if self.kind:
            return
        rows = np.zeros((1, *facts.item_shape), np.dtype(facts.dtype))
        self.layout = facts.layout or None
        blank = items_of(model, rows, None, self.layout)
        if self.card is not None:
            high, wide = facts.item_shape[:2] if facts.layout == "NHWC" else facts.item_shape[-2:]
            blank = replace(blank, pictures=np.zeros((1, high, wide, 3), np.uint8), card=self.card, sizes=((0, 0),))
        self.blank = replace(blank, warnings=())

    def read(self, content: Content, out: Array | None = None) -> Items:
        """One item as the model takes it; its tensor is written to ``out`` too, where that is given.

        Raises:
            XplainError: it does not.
        """
        items = items_of(self.model, [content], self.card, self.layout, out)
        if items.x.shape[1:] != self.facts.item_shape:
            raise ItemError(
                f"It becomes {list(items.x.shape[1:])}; planned are items of {list(self.facts.item_shape)}."
            )
        if out is not None and not np.may_share_memory(out, items.x):
            out[...] = items.x[0]
        return items


class Data:
    """The items of an audit: their table and their contents.

    Args:
        folder: The audit's folder.
        source: Another place of the same items; None for the one that was planned.
    """

    def __init__(self, folder: str | os.PathLike[str], source: Source | None = None) -> None:
        folder = Path(folder)
        self.table = ItemTable(folder / "items.parquet")
        self.source = _again(folder) if source is None else source
        self._places = ItemTable(folder / "places.parquet") if self.source.placed else None

    def __len__(self) -> int:
        return len(self.table)

    def planned(self, numbers: Sequence[int] | range) -> list[Planned]:
        """Items as they were planned, in the order asked."""
        rows = self.table.rows(numbers, ("name", "sha256", "label"))
        places = [[0, -1, -1]] * len(rows["name"])
        if self._places is not None:
            lying = self._places.rows(numbers)
            places = [list(one) for one in zip(lying["file"], lying["at"], lying["size"], strict=True)]
        each = zip(numbers, rows["name"], rows["sha256"], rows["label"], places, strict=True)
        return [Planned(int(number), *told, *place) for number, *told, place in each]

    def content(self, item: Planned) -> Content | str:
        """An item's content, held against its digest; a text is why there is none. Safe in several threads."""
        if not item.sha256:
            return UNREADABLE
        try:
            found = self.source.content(item.name, item.file, item.at, item.size)
        except XplainError as error:
            return str(error)
        return found if content_sha256(found)[1] == item.sha256 else CHANGED

    def one(self, item: Planned, form: Form) -> Read:
        """An item as a model takes it; whatever its content is, an answer. Safe in several threads."""
        return taken(self.content(item), form)

    def read(self, numbers: Sequence[int] | range, form: Form, rows: int | None = None) -> Batch:
        """A batch of items.

        Args:
            numbers: The items.
            form: What the model takes.
            rows: Rows of the batch, at least as many as items; None for as many.
        """
        wanted = self.planned(numbers)
        return batch_of([self.one(item, form) for item in wanted], [item.name for item in wanted], form, rows)


def taken(content: Content | str, form: Form, out: Array | None = None) -> Read:
    """A content as a model takes it; whatever it is, an answer. A text is why there is none.

    Args:
        content: The content.
        form: What the model takes.
        out: Where the tensor goes, which the answer then does without; what is there of an item that has none means
            nothing.
    """
    if isinstance(content, str):
        return Read(None, content)
    try:
        if form.kind:
            return Read(None, None, given_of(content, form.kind))
        items = form.read(content, out)
        return Read(items if out is None else None)
    except XplainError as error:
        return Read(None, str(error))
    except MemoryError:
        return Read(None, "It does not fit into memory.")
    except Exception as error:  # what a decoder raises on hostile bytes is no reason to end a run
        return Read(None, f"{type(error).__name__}: {str(error)[:200]}")


def _again(folder: Path) -> Source:
    """The source that was planned.

    Raises:
        UsageError: what it names is gone, which is no fault of any item.
    """
    told: Mapping[str, Any] = {}
    try:
        told = Where.read(folder).source
        return reopened(told, folder)
    except UsageError as error:
        if told.get("kind") in ("rows", "texts"):  # which lie in the folder itself
            raise
        error.advise("Were the items moved? Say where they are: ", option("items", "..."), ".")
        raise


def batch_of(found: Sequence[Read], names: Sequence[str], form: Form, rows: int | None = None) -> Batch:
    """Items that were read, one by one and in any order of time, as a batch in their order."""
    parts: list[Any] = [replace(one.items or form.blank, names=(name,)) for one, name in zip(found, names, strict=True)]
    fill = [replace(form.blank, names=("",))] * ((rows or len(parts)) - len(parts))
    return Batch(Items.joined([*parts, *fill]), tuple(one.error for one in found))
