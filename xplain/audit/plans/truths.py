"""``truth.parquet``: what a caller states to be in each item, as boxes and masks in pixels of the item, written once.

A row per item, in the order of ``items.parquet``. It holds all that is compared with, so that whoever holds the
audit's folder can judge again without the files that stated it. Which part of it a model sees, its card says:
``xplain.audit.shards.truth_table``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xplain.audit.canonical import file_sha256, needed
from xplain.audit.plans.items import GROUP
from xplain.audit.plans.plan import ModelFacts
from xplain.audit.shards.reading import Data, Planned
from xplain.audit.sources.tables import read_csv
from xplain.core.errors import PictureError, UsageError
from xplain.core.keeping.files import whole_file
from xplain.core.keeping.plain import counted
from xplain.render.extents import extent_of
from xplain.session.truths.known import Known, boxed
from xplain.session.truths.masks import mask_of
from xplain.session.truths.meant import beyond
from xplain.session.truths.reading import Truths, truths_of

__all__ = ["STATES", "TRUTH", "Written", "map_shape", "write_truths"]

TRUTH = "truth.parquet"

STATES = {
    "known": "something is known to be in it",
    "empty": "nothing is in it, as is stated",
    "none": "nothing is stated of it",
    "outside": "all that is stated lies outside the picture",
    "size": "what is stated is of another size than the item",
    "unread": "it, or what is stated of it, cannot be read",
}
"""What is known of an item, and what that means. Only items that are ``known`` are compared."""

_PREFIX = "column:"
_ORDERS: Mapping[str, tuple[int, int, int, int]] = {
    "y0,x0,y1,x1": (0, 1, 2, 3),
    "x0,y0,x1,y1": (1, 0, 3, 2),
    "x,y,width,height": (1, 0, 3, 2),
}
_FILES = (".png", ".bmp", ".tif", ".tiff", ".webp", ".npy")


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Args:
        sha256: Of the file.
        says: What it is, in words.
        states: Items in each of ``STATES``.
        known: Numbers of the items of which something is known.
        labels: Label of boxes to how many have it.
        told: Sentences that must be known.
    """

    sha256: str
    says: str
    states: Mapping[str, int]
    known: tuple[int, ...]
    labels: Mapping[str, int]
    told: tuple[str, ...]


@dataclass(slots=True)
class _Gathered:
    """What is found while items pass."""

    states: Counter[str] = field(default_factory=Counter)
    known: list[int] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    cut: list[str] = field(default_factory=list)


def write_truths(given: Any, data: Data, recipe: Mapping[str, Any], facts: ModelFacts, path: Path) -> Written:
    """Read what is stated, hold it against every item's size, and write it.

    Args:
        given: What ``xplain.session.truths.reading.truths_of`` takes, or ``column:NAME`` of the items' table: files of
            masks, or boxes with their order behind (``column:boxes:x0,y0,x1,y1``).
        data: The items.
        recipe: Their source, as plain values.
        facts: A model that takes them: of tensors, what they are like.
        path: The file.

    Raises:
        UsageError: it cannot be understood, is of items that are rows or texts, or nothing is known of any item.
    """
    if facts.door:
        raise UsageError(
            f"Boxes and masks are of pictures, series and other tensors; the items of {facts.name} are "
            f"{'rows of a table' if facts.items == 'rows' else 'texts'}. Leave it out.", option="truth",
        )  # fmt: skip
    names = data.table.rows(range(len(data)), ["name"])["name"]
    column = isinstance(given, str) and given.startswith(_PREFIX)
    truths = _of_column(str(given), recipe, len(names)) if column else truths_of(given, names)
    found = _Gathered()
    pa, parquet = needed("pyarrow"), needed("pyarrow.parquet")
    schema = pa.schema(
        [("status", pa.string()), ("height", pa.int32()), ("width", pa.int32()), ("labels", pa.list_(pa.string())),
         ("boxes", pa.list_(pa.float64())), ("shape", pa.list_(pa.int32())), ("runs", pa.list_(pa.int64()))]
    )  # fmt: skip
    with whole_file(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for start in range(0, len(data), GROUP):
            numbers = range(start, min(start + GROUP, len(data)))
            rows = list(_rows(data.planned(numbers), truths, data, facts, found))
            writer.write_table(pa.Table.from_pylist(rows, schema=schema), row_group_size=GROUP)
    states = {name: found.states[name] for name in STATES if found.states[name]}
    if not found.known:
        told = "; ".join(f"{count:,}: {STATES[name]}{_such(found, name)}" for name, count in states.items())
        raise UsageError(f"Of none of the items it is known what is in them: {told}.", option="truth")
    return Written(
        file_sha256(path), truths.says, states, tuple(found.known), dict(found.labels), tuple(_told(found, truths))
    )


def map_shape(facts: ModelFacts) -> tuple[int, ...]:
    """Positions of a model's items: their extents without channels."""
    letters = facts.layout[1:]
    if len(letters) != len(facts.item_shape):
        return facts.item_shape
    return tuple(n for letter, n in zip(letters, facts.item_shape, strict=True) if letter != "C")


def _rows(
    items: Sequence[Planned], truths: Truths, data: Data, facts: ModelFacts, found: _Gathered
) -> Iterator[dict[str, Any]]:
    for item in items:
        state, known, size, why = _held(item, truths, data, facts)
        found.states[state] += 1
        found.first.setdefault(state, f"{item.name}{': ' * bool(why)}{why}")
        row: dict[str, Any] = {"status": state}
        if state == "known" and known is not None:
            found.known.append(item.number)
            found.labels.update(one for one in known.labels if one)
            row |= {"labels": list(known.labels), "boxes": known.boxes.reshape(-1).tolist()}
            row |= {"height": size[0], "width": size[1]} if size else {}
            found.cut += [item.name] if len(size) == 2 and beyond(known, (size[0], size[1])) else []
            if known.runs is not None:
                row |= {"shape": list(known.shape), "runs": known.runs.tolist()}
        yield row


def _held(
    item: Planned, truths: Truths, data: Data, facts: ModelFacts
) -> tuple[str, Known | None, tuple[int, ...], str]:
    """The state of an item, what is known of it, its size where it is a picture, and what is wrong."""
    try:
        known = truths.of(item.number)
    except UsageError as error:
        return "unread", None, (), str(error)
    if known is None:
        return "none", None, (), ""
    if known.empty:
        return "empty", known, (), ""
    content = data.content(item)
    if isinstance(content, str):
        return "unread", None, (), content
    picture = not (isinstance(content, np.ndarray) and content.dtype != np.uint8) and facts.card is not None
    try:
        size = extent_of(content) if picture else map_shape(facts)
    except PictureError as error:
        return "unread", None, (), str(error)
    for stated in (known.size, known.shape or None):
        if stated is not None and tuple(stated) != size:
            return "size", None, (), f"it is {_times(size)}, stated is {_times(stated)}"
    if len(known.boxes):
        if len(size) != 2:
            return "size", None, (), f"its positions are {_times(size)}, and boxes are of a plane"
        high, wide = size
        inside = (known.boxes[:, 0] < high) & (known.boxes[:, 1] < wide) & (known.boxes[:, 2:] > 0).all(axis=1)
        if not inside.any() and known.runs is None:
            return "outside", None, (), f"it is {_times(size)}, a box is {known.boxes[0].tolist()}"
    return "known", known, size if picture else (), ""


def _told(found: _Gathered, truths: Truths) -> Iterator[str]:
    """What must be known of what is stated."""
    for name in ("none", "empty", "outside", "size", "unread"):
        if found.states[name]:
            such = "" if name == "empty" else _such(found, name)
            yield f"Of {counted(found.states[name], 'item')} {STATES[name]}{such}: not compared."
    if found.cut:
        many = counted(len(found.cut), "item")
        yield f"Of {many} a box reaches beyond the picture and is cut, such as {found.cut[0]}."
    yield from truths.told()


def _such(found: _Gathered, name: str) -> str:
    return f", such as {found.first[name][:300].rstrip('.')}"


def _times(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


def _of_column(given: str, recipe: Mapping[str, Any], count: int) -> Truths:
    """What a column of the items' table states: files of masks, or boxes in an order that is stated.

    Raises:
        UsageError: there is no such table or column, or the order of its numbers is not said.
    """
    name, _, order = given.removeprefix(_PREFIX).partition(":")
    order = order.replace(" ", "")
    if recipe.get("kind") not in ("csv", "parquet"):
        raise UsageError(
            "A column is of a table of items (.csv, .parquet), and the items are none.", option="truth", got=given,
            accepted="a table of boxes, COCO's .json, a folder of masks or of Pascal VOC's .xml",
        )  # fmt: skip
    path = Path(recipe["path"])
    if recipe["kind"] == "csv":
        table = read_csv(path)
    else:
        with needed("pyarrow.parquet").ParquetFile(path) as file:
            table = file.read(columns=[one for one in file.schema_arrow.names if one == name])
    if name not in table.column_names:
        raise UsageError(f"{path} has no column {name!r}", option="truth", got=given)
    values = table[name].to_pylist()
    told = [one for one in values if one not in (None, "", [])]
    if told and all(isinstance(one, str) and one.lower().endswith(_FILES) for one in told):
        return _of_files(values, path.parent, name)
    if order not in _ORDERS:
        raise UsageError(
            f"It is not known what the four numbers of a box in column {name!r} are", option="truth", got=given,
            accepted=" or ".join(f"column:{name}:{one}" for one in _ORDERS),
        )  # fmt: skip
    entries = {}
    for k, value in enumerate(values):
        known = _boxes(value, order, f"Row {k + 1} of {path}, column {name!r}")
        if known is not None:
            entries[k] = known
    return Truths(f"boxes of column {name}", entries, (), count)


def _of_files(values: Sequence[str | None], folder: Path, name: str) -> Truths:
    """Masks that a column names, relative to the table's folder."""
    entries = {k: (lambda one=one: mask_of(folder / one)) for k, one in enumerate(values) if one}
    return Truths(f"masks that column {name} names", entries, (), len(entries))


def _boxes(value: Any, order: str, where: str) -> Known | None:
    """Boxes of a cell: a list, JSON, or numbers with ``;`` between boxes; None where it is empty."""
    if value is None or value == "":
        return None
    raw = value
    if isinstance(value, str):
        try:
            raw = json.loads(value)
        except ValueError:
            raw = [one.replace(",", " ").split() for one in value.split(";") if one.strip()]
    if isinstance(raw, (list, tuple)) and raw and not isinstance(raw[0], (list, tuple)):
        raw = [raw]
    try:
        numbers = np.array([[float(one) for one in row] for row in raw], np.float64).reshape(-1, 4)
        found = numbers[:, list(_ORDERS[order])]
        if order.endswith("height"):
            found[:, 2:] += found[:, :2]
        return boxed(found.tolist())
    except (TypeError, ValueError, UsageError):
        raise UsageError(
            f"{where} holds {str(value)[:80]!r}; accepted: boxes of four numbers ({order}), as a list of lists or with "
            "';' between.", option="truth",
        ) from None  # fmt: skip
