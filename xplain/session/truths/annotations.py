"""Files of annotations: tables of boxes, COCO's JSON, Pascal VOC's XML. None of them is trusted.

| format | a box is | counted |
|---|---|---|
| CSV | columns y0, x0, y1, x1, or xmin, ymin, xmax, ymax ... | pixels, each end behind its start |
| COCO | ``bbox``: x, y, width, height | pixels from 0 |
| Pascal VOC | ``bndbox``: xmin, ymin, xmax, ymax | whole pixels from 1, the last one inside |
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from xplain.core.errors import UsageError
from xplain.core.keeping.files import read_text
from xplain.session.truths.known import Known, boxed

__all__ = ["HEADS", "coco", "table", "voc"]

HEADS: Mapping[str, tuple[str, ...]] = {
    "file": ("file", "filename", "name", "path", "picture", "image", "item"),
    "y0": ("y0", "ymin", "y_min", "top"),
    "x0": ("x0", "xmin", "x_min", "left"),
    "y1": ("y1", "ymax", "y_max", "bottom"),
    "x1": ("x1", "xmax", "x_max", "right"),
}
_LABELS = ("label", "class", "category")
_ACCEPTED = (
    "accepted: a header with file, y0, x0, y1, x1 (or xmin, ymin, xmax, ymax), if you like label, then one line per box"
)
_MOST_JSON, _MOST_XML = 2**31, 2**22


def table(path: Path) -> list[tuple[str, Known]]:
    """The boxes of a CSV file, one line each, as (file, box); a line without four numbers says that nothing is there.

    Raises:
        UsageError: it cannot be read or understood.
    """
    content = read_text(path, UsageError, f"--truth {path}")
    mark = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        rows = list(csv.reader(io.StringIO(content, newline=""), delimiter=mark))
    except csv.Error as error:
        raise UsageError(f"--truth {path} cannot be read: {error}; {_ACCEPTED}.") from None
    columns = _header(path, rows[0] if rows else [])
    found = []
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        cells = {what: row[k].strip() if k < len(row) else "" for what, k in columns.items()}
        found.append((cells["file"], _of_line(path, number, cells)))
    return found


def _header(path: Path, row: Sequence[str]) -> dict[str, int]:
    heads = [head.strip().lower() for head in row]
    columns = {what: k for what, words in HEADS.items() for k, head in enumerate(heads) if head in words}
    missing = [what for what in HEADS if what not in columns]
    if missing:
        raise UsageError(f"--truth {path} has no column {', '.join(missing)} in its first line; {_ACCEPTED}.")
    label = [k for k, head in enumerate(heads) if head in _LABELS]
    return columns | ({"label": label[0]} if label else {})


def _of_line(path: Path, number: int, cells: Mapping[str, str]) -> Known:
    said = [cells[what] for what in ("y0", "x0", "y1", "x1")]
    if not any(said):
        return boxed([])
    try:
        y0, x0, y1, x1 = (float(one) for one in said)
        if not all(abs(one) < float("inf") for one in (y0, x0, y1, x1)):
            raise ValueError(said)
    except ValueError:
        raise UsageError(f"--truth {path}, line {number}: four numbers of pixels are needed; {_ACCEPTED}.") from None
    if not (0 <= y0 < y1 and 0 <= x0 < x1):
        raise UsageError(
            f"--truth {path}, line {number}: the box is y {y0:g} to {y1:g}, x {x0:g} to {x1:g}; accepted: pixels from "
            "the upper left corner, each end behind its start."
        )
    return boxed([(y0, x0, y1, x1)], [cells.get("label", "")])


def coco(path: Path) -> list[tuple[str, Known]]:
    """The boxes of a COCO file as (file name, boxes of a picture); crowds, which frame many at once, are left out.

    A picture that the file lists without a box is one in which nothing is.

    Raises:
        UsageError: it is no JSON, or none of COCO's.

    Source:
        Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014; the format of its object detection.
    """
    text = read_text(path, UsageError, f"--truth {path}", most=_MOST_JSON)
    try:
        raw = json.loads(text)
        names = {one["id"]: str(one["name"]) for one in raw.get("categories", ())}
        pictures = {one["id"]: one for one in raw["images"]}
        rows: dict[Any, list[tuple[float, ...]]] = {key: [] for key in pictures}
        labels: dict[Any, list[str]] = {key: [] for key in pictures}
        for one in raw["annotations"]:
            if one.get("iscrowd") or one["image_id"] not in pictures:
                continue
            x, y, wide, high = (float(n) for n in one["bbox"])
            if wide <= 0 or high <= 0:  # COCO's own files hold some that are lines
                continue
            rows[one["image_id"]].append((y, x, y + high, x + wide))
            labels[one["image_id"]].append(names.get(one.get("category_id"), ""))
        return [
            (str(one["file_name"]), boxed(rows[key], labels[key], _size(one.get("height"), one.get("width"))))
            for key, one in pictures.items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"--truth {path} is no COCO file ({type(error).__name__}: {str(error)[:100]}); accepted: JSON with images "
            "(id, file_name), annotations (image_id, bbox) and, if you like, categories (id, name)."
        ) from None


def voc(path: Path) -> Known:
    """The boxes of one Pascal VOC file.

    ``x0 = xmin - 1``, ``x1 = xmax``: VOC counts whole pixels from 1, and xmax is the last one inside.

    Raises:
        UsageError: it is no XML, one with a document type, or holds no box where it should.

    Source:
        Everingham et al., The PASCAL Visual Object Classes Challenge 2012 Development Kit, section 2.
    """
    text = read_text(path, UsageError, f"--truth {path}", most=_MOST_XML)
    try:
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise ValueError("it has a document type of its own")
        root = ET.fromstring(text)  # entities, which can grow without end, are refused above
        rows, labels = [], []
        for one in root.iter("object"):
            x0, y0, x1, y1 = (float(one.findtext(f"bndbox/{end}") or "") for end in ("xmin", "ymin", "xmax", "ymax"))
            rows.append((y0 - 1, x0 - 1, y1, x1))
            labels.append((one.findtext("name") or "").strip())
        return boxed(rows, labels, _size(root.findtext("size/height"), root.findtext("size/width")))
    except (ET.ParseError, ValueError, RecursionError) as error:
        why = str(error)[:200]
        raise UsageError(
            f"--truth {path} is no Pascal VOC file: {why}; accepted: XML with object/name and object/bndbox/xmin, "
            "ymin, xmax, ymax."
        ) from None


def _size(height: Any, width: Any) -> tuple[int, int] | None:
    """What a file states of a picture's size; 0 stands for nothing in both formats."""
    try:
        found = int(height or 0), int(width or 0)
    except (TypeError, ValueError):
        return None
    return found if min(found) > 0 else None
