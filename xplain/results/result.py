"""What every result has: where it comes from, what was explained of each item, and the facts that were found.

A kind of result is a frozen dataclass on ``Result``::

    @dataclass(frozen=True, kw_only=True, eq=False)
    class Curve(Result):
        what: ClassVar[str] = "curve"                       # names it in files and messages, and for renderers
        checks: ClassVar[Mapping[str, Check]] = {...}       # what its plain fields must be in a file
        area: Array = field(metadata=ARRAY_PER_ITEM)        # an array with one entry per item
        shares: Array = field(metadata=ARRAY)               # an array that all items share

Cutting out items, joining, saving and loading follow from the fields. ``holds`` says what must be true between the
arrays of a file, ``xplain.results`` lists the kinds that files may hold, ``@renderer(name, draws="curve")`` shows one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from functools import cache, wraps
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from xplain.core.caveat import Caveat, of_items, sentences, worded
from xplain.core.cost import Cost
from xplain.core.declaring.registry import RENDERERS
from xplain.core.declaring.wording import Words
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.items import Columns
from xplain.core.keeping.plain import counted
from xplain.core.keeping.plain import plain as harmless
from xplain.core.target import Target, side_by_side
from xplain.results.archive import MOST_BYTES
from xplain.results.checks import Check
from xplain.results.provenance import Provenance
from xplain.results.saved import FORMAT, read, target_data, write

__all__ = ["ARRAY", "ARRAY_PER_ITEM", "BESIDE", "PER_ITEM", "Result", "plain_values"]

PER_ITEM = {"per item": True}
"""Marks a tuple with one entry per item."""

ARRAY = {"array": True}
"""Marks an array that all items share."""

ARRAY_PER_ITEM = PER_ITEM | ARRAY
"""Marks an array with one entry per item."""

BESIDE = {"beside": True}
"""Marks what is no part of the numbers, but lies in files beside them."""

_SHORT = 4096
"""Numbers of an array that ``meta`` still writes out."""


def _harmless(shown: Callable[[Any], str]) -> Callable[[Any], str]:
    """The same text without letters that steer a terminal: a result may be anyone's file, and its names with it."""

    @wraps(shown)
    def text(self: Any) -> str:
        return harmless(shown(self))

    return text


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What was found about N items; see the kinds.

    Args:
        provenance: Where it comes from.
        names: What each item is called: a file's name, or its number.
        targets: What was explained of each item, in words for a person; nothing is read back out of them.
        labels: Index of the explained class per item; empty for a target that is no class.
        explained: The target as data, for all items; None where it was not kept, as in files of format 1.
        facts: What was found of the run as a whole, such as the layer that was read.
        each: What was found of each item, such as the quality of a fit: name to a list of N or an array ``[N, ...]``.
        warnings: What must be known before the result is believed, on all items or on one.
        digests: Of what the model was given for each item, so that a result is not taken for one of other items; empty
            in files of older versions, and where a result is of no single items.

    Raises:
        UsageError: a field that has one entry per item has another number of them.
    """

    what: ClassVar[str] = "result"
    checks: ClassVar[Mapping[str, Check]] = {}
    made_of: ClassVar[type[Any] | None] = None
    """What a flow returns that becomes this kind: a frozen dataclass of core with fields of the same names."""
    coloured: ClassVar[bool] = False
    """Whether ``str`` writes colours of its own for a terminal, and sees to it that names of others write none."""

    provenance: Provenance
    names: tuple[str, ...] = field(default=(), metadata=PER_ITEM)
    targets: tuple[str, ...] = field(default=(), metadata=PER_ITEM)
    labels: tuple[int, ...] = field(default=(), metadata=PER_ITEM)
    explained: Target | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    each: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Caveat, ...] = ()
    digests: tuple[str, ...] = field(default=(), metadata=PER_ITEM)

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        for name in ("__repr__",) if cls.coloured else ("__repr__", "__str__"):
            if name in vars(cls):
                setattr(cls, name, _harmless(vars(cls)[name]))

    def __post_init__(self) -> None:
        count = len(self)
        for name in self.per_item():
            value = getattr(self, name)
            held = value.values if isinstance(value, Columns) else value
            if held is not None and len(held) != count and not (isinstance(held, tuple) and not held):
                raise UsageError(
                    f"{self.method}: the field {name!r} has {counted(len(held), 'entry', 'entries')} for "
                    f"{counted(count, 'item')}."
                )
        for name, entries in self.each.items():
            if not isinstance(entries, (list, tuple, np.ndarray)) or len(entries) != count:
                got = f"{len(entries)} entries" if hasattr(entries, "__len__") else repr(entries)
                raise UsageError(
                    f"{self.method}: the fact {name!r} has {got} for {counted(count, 'item')}. Give a list or "
                    "an array with "
                    "one entry per item in each, or a fact of the whole run in notes."
                )

    @property
    def kept(self) -> bool:
        """Whether its arrays lie in files of their own already, so that nobody need write them once more."""
        return False

    @classmethod
    @cache
    def arrays(cls) -> tuple[str, ...]:
        """Names of the fields that are arrays."""
        return tuple(one.name for one in fields(cls) if ARRAY.items() <= one.metadata.items())

    @classmethod
    @cache
    def per_item(cls) -> tuple[str, ...]:
        """Names of the fields with one entry per item."""
        return tuple(one.name for one in fields(cls) if PER_ITEM.items() <= one.metadata.items())

    @classmethod
    def plain(cls) -> dict[str, bool]:
        """Names of the fields that are written as JSON, and whether a file must have each."""
        inner = {*cls.arrays(), "provenance"}
        return {
            one.name: one.default is MISSING and one.default_factory is MISSING
            for one in fields(cls)
            if one.name not in inner and not BESIDE.items() <= one.metadata.items()
        }

    def __len__(self) -> int:
        return len(getattr(self, next(name for name in self.arrays() if name in self.per_item())))

    def __getitem__(self, index: int | slice) -> Self:
        """The result of one item, as a result of one; of a slice, of its items."""
        if isinstance(index, slice):
            items = range(*index.indices(len(self)))
            if not len(items):
                raise UsageError(
                    f"No item is in {index}; the result has {counted(len(self), 'item')}, 0 to {len(self) - 1}."
                )
            some = index
        else:
            if not -len(self) <= index < len(self):
                raise UsageError(
                    f"Item {index} was asked for; the result has {counted(len(self), 'item')}, 0 to {len(self) - 1}."
                )
            items = range(index % len(self), index % len(self) + 1)
            some = slice(items[0], items[0] + 1)
        cut = {name: getattr(self, name) for name in self.per_item()}
        cut = {name: value[some] for name, value in cut.items() if value is not None}
        each = {name: entries[some] for name, entries in self.each.items()}
        target = None if self.explained is None else self.explained.take(np.array(items))
        return replace(self, **cut, explained=target, each=each, warnings=of_items(self.warnings, items))

    def __iter__(self) -> Iterator[Self]:
        """Item by item, each as a result of one."""
        return (self[item] for item in range(len(self)))

    @property
    def notes(self) -> Mapping[str, Any]:
        """All that was found besides the values: facts of the run, and lists or arrays of facts of each item."""
        calls = {kind: rows if len(rows) > 1 else rows[0] for kind, rows in self.provenance.rows_per_call.items()}
        return {**self.facts, **self.each, **({"rows per call": calls} if calls else {})}

    def notes_of(self, item: int) -> dict[str, Any]:
        """The same for one item: facts of the run, and its own."""
        own = {name: entries[item] for name, entries in self.each.items()}
        return {name: own.get(name, note) for name, note in self.notes.items()}

    @property
    def target(self) -> str:
        """What was explained, in words for a person: of all items where they differ."""
        return side_by_side(self.targets) if self.targets else ""

    def target_of(self, item: int) -> str:
        """What was explained of one item, in words."""
        return self.targets[item] if self.targets else ""

    def name_of(self, item: int) -> str:
        """What an item is called; without a name, by its number."""
        return self.names[item] if self.names else f"item {item % len(self)}"

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.provenance.method

    @property
    def options(self) -> Mapping[str, Any]:
        """The method's options, all of them, with the values used."""
        return self.provenance.options

    @property
    def model(self) -> str:
        """Digest (sha256) of the model, empty where it cannot be known."""
        return self.provenance.model

    @property
    def card(self) -> str:
        """The preprocessing card as TOML, empty where tensors were given."""
        return self.provenance.card

    @property
    def layout(self) -> str:
        """How the axes of the items were read, and why; empty where none was needed."""
        return self.provenance.layout

    @property
    def seed(self) -> int:
        """Root of all randomness."""
        return self.provenance.seed

    @property
    def cost(self) -> Cost:
        """What it cost."""
        return self.provenance.cost

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of what computed it."""
        return self.provenance.versions

    @property
    def said(self) -> list[str]:
        """The warnings as texts for a person, each with the items it is about where it is not about all."""
        return sentences(self.warnings, [self.name_of(item) for item in range(len(self))])

    def in_words(self, words: Words) -> Self:
        """The same result, whose warnings name options as a door has them."""
        return replace(self, warnings=worded(self.warnings, words)) if self.warnings else self

    def with_provenance(self, **changes: Any) -> Self:
        """The same result with other entries in its provenance."""
        return replace(self, provenance=replace(self.provenance, **changes))

    def render(self, name: str, /, **options: Any) -> Any:
        """The result as a renderer shows it, which is loaded when it is first asked for.

        Args:
            name: A renderer that was declared with ``@renderer``: one of xplain's own (``figure``, ``html``, ``text``,
                ``shap`` for attributions), or one that an installed plugin offers.
            options: What the renderer takes.

        Raises:
            UnknownName: there is no such renderer; the message names the nearest.
            UsageError: it shows another kind of result.
        """
        entry = RENDERERS.find(name)
        if entry.draws != self.what:
            fits = [one.name for one in RENDERERS if one.draws == self.what]
            raise UsageError(
                f"Renderer {entry.name!r} shows results of kind {entry.draws!r}; this one is of kind {self.what!r}, "
                f"which {', '.join(fits) or 'none'} can show."
            )
        return entry.function(self, **options)

    def meta(self) -> dict[str, Any]:
        """Everything but the arrays, as plain JSON values; an array in the notes is written out if it is short."""
        out: dict[str, Any] = {"format": FORMAT, "what": self.what, "target": self.target}
        out |= {"notes": plain_values(self.notes), "explained": plain_values(target_data(self.explained))}
        out |= {one.name: plain_values(getattr(self.provenance, one.name)) for one in fields(Provenance)}
        rest = [name for name in self.plain() if name not in ("facts", "each", "explained")]
        return out | {name: plain_values(getattr(self, name)) for name in rest}

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one ``.npz`` file: the arrays and, as text, the JSON of everything else; no pickle, whole or absent.

        Raises:
            OutputError: the place cannot be written.
        """
        return write(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, most_bytes: int = MOST_BYTES) -> Self:
        """Read what ``save`` wrote. The file may come from anyone: it is bounded, checked, and nothing in it executed.

        Args:
            path: The file.
            most_bytes: Bytes that it may unpack to.

        Raises:
            UsageError: the file is not a saved result of this kind; the message names the field that is not right.
        """
        found: Self = read([cls], path, most_bytes)
        return found

    @classmethod
    def of(cls, returned: Any, **known: Any) -> Self:
        """What a flow returned, as this kind of result; ``known`` is what the session knows of it."""
        own = {one.name for one in fields(cls)}
        taken = {one.name: getattr(returned, one.name) for one in fields(returned) if one.name in own}
        return cls(**{**taken, **known})

    @classmethod
    def made(cls, given: dict[str, Any]) -> Self:
        """A result with these fields; those of this kind alone are still as JSON has them."""
        return cls(**given)

    @classmethod
    def holds(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """The number of items in what a file says.

        Raises:
            Fault: fields that do not fit together.
        """
        raise NotImplementedError


def plain_values(value: Any) -> Any:
    """A value as JSON knows it; an array that is not short becomes its type and shape."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain_values(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): plain_values(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain_values(value.tolist()) if value.size <= _SHORT else f"array {value.dtype} {list(value.shape)}"
    if isinstance(value, np.generic):
        return plain_values(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
