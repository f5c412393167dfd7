"""Files of annotations: tables of boxes, COCO's JSON, Pascal VOC's XML. None of them is trusted.

| format | a box is | counted |
|---|---|---|
| CSV | columns y0, x0, y1, x1, or xmin, ymin, xmax, ymax ...; height, width of the picture | pixels, each end behind |
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
    "file": ("file", "filename", "file_name", "path", "picture", "image", "item", "name"),
    "y0": ("y0", "ymin", "y_min", "top"),
    "x0": ("x0", "xmin", "x_min", "left"),
    "y1": ("y1", "ymax", "y_max", "bottom"),
    "x1": ("x1", "xmax", "x_max", "right"),
}
"""What each column may be called, the plainest word first: where there is a ``file``, a ``name`` is something else."""
_OTHERS: Mapping[str, tuple[str, ...]] = {
    "label": ("label", "class", "category"),
    "height": ("height", "image_height", "img_height"),
    "width": ("width", "image_width", "img_width"),
}
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
    twice = next((head for head in heads if head and heads.count(head) > 1), None)
    if twice is not None:
        raise UsageError(f"--truth {path} has two columns called {twice!r:.100}; keep one.")
    columns: dict[str, int] = {}
    for what, words in {**HEADS, **_OTHERS}.items():
        places = [heads.index(word) for word in words if word in heads]
        columns |= {what: places[0]} if places else {}
    missing = [what for what in HEADS if what not in columns]
    if missing:
        raise UsageError(f"--truth {path} has no column {', '.join(missing)} in its first line; {_ACCEPTED}.")
    return columns


def _of_line(path: Path, number: int, cells: Mapping[str, str]) -> Known:
    said = [cells[what] for what in ("y0", "x0", "y1", "x1")]
    size = _stated(path, number, cells)
    if not any(said):
        return boxed([], size=size)
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
    return boxed([(y0, x0, y1, x1)], [cells.get("label", "")], size)


def _stated(path: Path, number: int, cells: Mapping[str, str]) -> tuple[int, int] | None:
    """Height and width of the picture, where a line states them: both, or neither."""
    said = [cells.get("height", ""), cells.get("width", "")]
    if not any(said):
        return None
    try:
        high, wide = (float(one) for one in said)  # what held gaps was written as 10.0
        size = _size(high, wide) if high.is_integer() and wide.is_integer() else None
    except ValueError:
        size = None
    if size is None:
        raise UsageError(
            f"--truth {path}, line {number}: the picture's height is {said[0]!r:.60} and its width {said[1]!r:.60}; "
            "accepted: both as whole numbers of pixels, or neither."
        )
    return size


def coco(path: Path) -> list[tuple[str, Known]]:
    """The boxes of a COCO file as (file name, boxes of a picture); crowds, which frame many at once, are left out.

    A picture that the file lists without an annotation is one in which nothing is. Of one whose annotations are all
    crowds, or lines without an area, nothing is said. An outline without ``bbox`` counts as the box that frames it.

    Raises:
        UsageError: it is no JSON, none of COCO's, lists two pictures under one id or name, or speaks of none of them.

    Source:
        Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014; the format of its object detection.
    """
    text = read_text(path, UsageError, f"--truth {path}", most=_MOST_JSON)
    try:
        raw = json.loads(text)
        names = {key: str(one["name"]) for key, one in _once(path, raw.get("categories", ()), "categories").items()}
        pictures = _once(path, raw["images"], "pictures", "file_name")
        rows: dict[Any, list[tuple[float, ...]]] = {key: [] for key in pictures}
        labels: dict[Any, list[str]] = {key: [] for key in pictures}
        left_out = set()
        for one in raw["annotations"]:
            key = one["image_id"]
            if key not in pictures:
                raise UsageError(
                    f"--truth {path}: annotation {one.get('id')!r:.60} is of image_id {key!r:.60}, and no picture of "
                    "the file has this id (1 and '1' are two). A picture without annotations is one in which nothing "
                    "is: list the picture, or leave out what is said of it."
                )
            x, y, wide, high = (0.0,) * 4 if one.get("iscrowd") else _frame(path, one)
            if wide <= 0 or high <= 0:  # COCO's own files hold some that are lines
                left_out.add(key)
                continue
            rows[key].append((y, x, y + high, x + wide))
            labels[key].append(names.get(one.get("category_id"), ""))
        return [
            (str(one["file_name"]), boxed(rows[key], labels[key], _size(one.get("height"), one.get("width"))))
            for key, one in pictures.items()
            if rows[key] or key not in left_out
        ]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, UsageError):
            raise _of(path, error) from None
        raise UsageError(
            f"--truth {path} is no COCO file ({type(error).__name__}: {str(error)[:100]}); accepted: JSON with images "
            "(id, file_name), annotations (image_id, bbox) and, if you like, categories (id, name)."
        ) from None


def _once(path: Path, rows: Sequence[Mapping[str, Any]], of: str, *more: str) -> dict[Any, Mapping[str, Any]]:
    """Pictures or categories of a COCO file by their id; neither it nor what else tells them apart stands twice."""
    found: dict[Any, Mapping[str, Any]] = {}
    seen: set[tuple[str, Any]] = set()
    for one in rows:
        for what in ("id", *more):
            key = (what, one[what])
            if key in seen:
                raise UsageError(
                    f"--truth {path} lists two {of} with {what} {one[what]!r:.100}, and it is not known which of "
                    f"them an annotation is of. Give each its own {what}."
                )
            seen.add(key)
        found[one["id"]] = one
    return found


def _frame(path: Path, annotation: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """x, y, width, height of an annotation: its ``bbox``, or what frames its outlines."""
    if annotation.get("bbox"):
        x, y, wide, high = (float(n) for n in annotation["bbox"])
        return x, y, wide, high
    outlines = annotation.get("segmentation")
    if not isinstance(outlines, list) or not outlines:
        raise UsageError(
            f"--truth {path}: annotation {annotation.get('id')!r:.60} has no bbox, and no outline of points that could "
            "give one. Write bbox (x, y, width, height) for it; pycocotools.mask.toBbox gives that of a mask."
        )
    every = [float(n) for outline in outlines for n in outline]
    if any(len(outline) < 6 or len(outline) % 2 for outline in outlines):
        raise UsageError(
            f"--truth {path}: annotation {annotation.get('id')!r:.60} has no bbox, and an outline that is none; "
            "accepted: x, y of three points or more, [x0, y0, x1, y1, x2, y2]."
        )
    xs, ys = every[::2], every[1::2]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


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
        if root.tag != "annotation":
            raise ValueError(f"its root is {root.tag[:60]!r}, not 'annotation'")
        rows, labels = [], []
        for one in root.iter("object"):
            ends = [one.findtext(f"bndbox/{end}") for end in ("xmin", "ymin", "xmax", "ymax")]
            if None in ends:
                raise ValueError(f"object {(one.findtext('name') or '')[:60]!r} has no bndbox with all four ends")
            x0, y0, x1, y1 = (float(end or "") for end in ends)
            rows.append((y0 - 1, x0 - 1, y1, x1))
            labels.append((one.findtext("name") or "").strip())
        return boxed(rows, labels, _size(root.findtext("size/height"), root.findtext("size/width")))
    except UsageError as error:
        raise _of(path, error) from None
    except (ET.ParseError, ValueError, OverflowError, RecursionError) as error:
        why = str(error)[:200]
        raise UsageError(
            f"--truth {path} is no Pascal VOC file: {why}; accepted: XML with object/name and object/bndbox/xmin, "
            "ymin, xmax, ymax."
        ) from None


def _of(path: Path, error: UsageError) -> UsageError:
    """The error with the file that it is of."""
    said = str(error)
    return error if str(path) in said else UsageError(f"--truth {path}: {said}")


def _size(height: Any, width: Any) -> tuple[int, int] | None:
    """What a file states of a picture's size; 0 stands for nothing in both formats."""
    try:
        found = int(height or 0), int(width or 0)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if min(found) > 0 and max(found) < 2**31 else None
