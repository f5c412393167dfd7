"""The advice of messages about boxes and masks, followed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cli.tiny import write_picture

from xplain.session.truths.reading import truths_of

Told = Callable[[Callable[[], Any]], str]

TRUTHS: dict[str, Callable[[Told, Path], Any]] = {}


def advice(fragment: str) -> Callable[[Any], Any]:
    """Keep a case for the message with this fragment."""

    def keep(case: Any) -> Any:
        TRUTHS[fragment] = case
        return case

    return keep


def table(folder: Path, text: str) -> Path:
    """A CSV file of boxes."""
    (folder / "boxes.csv").write_text(text)
    return folder / "boxes.csv"


def coco(folder: Path, images: list[tuple[int, str]], *annotations: dict[str, Any]) -> Path:
    """A COCO file."""
    listed = [{"id": key, "file_name": name} for key, name in images]
    (folder / "coco.json").write_text(json.dumps({"images": listed, "annotations": annotations}))
    return folder / "coco.json"


@advice("An array of four columns of 0 and 1 may be boxes or a mask.")
def _(told: Told, folder: Path) -> None:
    either = np.array([[0, 0, 1, 1]])
    told(lambda: truths_of([either], ["a"]))
    truths_of([either.astype(bool)], ["a"])
    truths_of([either.tolist()], ["a"])


@advice("and it is not known which are meant. Give a folder of one kind.")
def _(told: Told, folder: Path) -> None:
    (folder / "truth").mkdir()
    (folder / "truth" / "0.xml").write_text("<annotation/>")
    write_picture(folder / "truth" / "0.png")
    told(lambda: truths_of(folder / "truth", ["0.jpg"]))
    (folder / "truth" / "0.xml").unlink()
    truths_of(folder / "truth", ["0.jpg"])


@advice("is no COCO file ({}: {}); accepted: JSON with images (id, file_name), annotations (image_id, bbox)")
def _(told: Told, folder: Path) -> None:
    path = folder / "boxes.json"
    path.write_text('{"images": [{"id": 1, "file_name": "a.jpg"}]}')
    told(lambda: truths_of(path, ["a.jpg"]))
    path.write_text(
        '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "bbox": [0, 0, 4, 4]}]}'
    )
    truths_of(path, ["a.jpg"])


@advice("is no Pascal VOC file: {}; accepted: XML with object/name and object/bndbox/xmin, ymin, xmax, ymax.")
def _(told: Told, folder: Path) -> None:
    path = folder / "a.xml"
    path.write_text("<annotation><object><name>cat</name></object></annotation>")
    told(lambda: truths_of(folder, ["a.jpg"]).of(0))
    inside = "<xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax>"
    path.write_text(f"<annotation><object><name>cat</name><bndbox>{inside}</bndbox></object></annotation>")
    truths_of(folder, ["a.jpg"]).of(0)


@advice("has two columns called {}; keep one.")
def _(told: Told, folder: Path) -> None:
    told(lambda: truths_of(table(folder, "file,y0,x0,y1,x1,x1\na,0,0,2,2,3"), ["a"]))
    truths_of(table(folder, "file,y0,x0,y1,x1\na,0,0,2,2"), ["a"])


@advice("annotation {} has no bbox, and no outline of points that could give one.")
def _(told: Told, folder: Path) -> None:
    runs = {"counts": [3, 5, 8], "size": [4, 4]}
    told(lambda: truths_of(coco(folder, [(1, "a")], {"image_id": 1, "segmentation": runs}), ["a"]))
    truths_of(coco(folder, [(1, "a")], {"image_id": 1, "segmentation": runs, "bbox": [0, 0, 2, 4]}), ["a"])


@advice("annotation {} has no bbox, and an outline that is none")
def _(told: Told, folder: Path) -> None:
    outline = [0, 0, 4, 0, 4, 2]
    told(lambda: truths_of(coco(folder, [(1, "a")], {"image_id": 1, "segmentation": [outline[:3]]}), ["a"]))
    truths_of(coco(folder, [(1, "a")], {"image_id": 1, "segmentation": [outline]}), ["a"])


@advice("annotation {} is of image_id {}, and no picture of the file has this id")
def _(told: Told, folder: Path) -> None:
    box = {"image_id": 2, "bbox": [0, 0, 2, 4]}
    told(lambda: truths_of(coco(folder, [(1, "a")], box), ["a"]))
    truths_of(coco(folder, [(1, "a"), (2, "b")], box), ["a"])
    truths_of(coco(folder, [(1, "a")]), ["a"])


@advice("line {}: the picture's height is {} and its width {}")
def _(told: Told, folder: Path) -> None:
    told(lambda: truths_of(table(folder, "file,y0,x0,y1,x1,height,width\na,0,0,2,2,tall,9"), ["a"]))
    truths_of(table(folder, "file,y0,x0,y1,x1,height,width\na,0,0,2,2,9,9"), ["a"])
    truths_of(table(folder, "file,y0,x0,y1,x1,height,width\na,0,0,2,2,,"), ["a"])


@advice("lists two {} with {} {}, and it is not known which of them an annotation is of.")
def _(told: Told, folder: Path) -> None:
    box = {"image_id": 1, "bbox": [0, 0, 2, 4]}
    told(lambda: truths_of(coco(folder, [(1, "a"), (1, "b")], box), ["a", "b"]))
    truths_of(coco(folder, [(1, "a"), (2, "b")], box), ["a", "b"])


@advice("--truth {}: {}")
def _(told: Told, folder: Path) -> None:
    told(lambda: truths_of(coco(folder, [(1, "a")], {"image_id": 1, "bbox": [0.1, 0.1, 0.5, 0.5]}), ["a"]))
    truths_of(coco(folder, [(1, "a")], {"image_id": 1, "bbox": [6.4, 6.4, 32, 32]}), ["a"])  # times 64


@advice("both mean item {}, and it is not known which is right.")
def _(told: Told, folder: Path) -> None:
    told(lambda: truths_of(table(folder, "file,y0,x0,y1,x1\na/1,0,0,2,2\nb/1,0,0,2,2"), ["1"]))
    truths_of(table(folder, "file,y0,x0,y1,x1\na/1,0,0,2,2"), ["1"])
    truths_of(table(folder, "file,y0,x0,y1,x1\na/1,0,0,2,2\nb/1,0,0,2,2"), ["a/1"])


@advice("The name {} may mean {} or {}. Write as much of the path as tells them apart.")
def _(told: Told, folder: Path) -> None:
    told(lambda: truths_of({"1": [(0, 0, 2, 2)]}, ["a/1", "b/1"]))
    truths_of({"b/1": [(0, 0, 2, 2)]}, ["a/1", "b/1"])


@advice("in label maps. Write 0 where nothing is and 1 where something is")
def _(told: Told, folder: Path) -> None:
    mask = np.array([[0, 1, 255], [0, 90, 200]])
    told(lambda: truths_of([mask], ["a"]))
    truths_of([mask >= 128], ["a"])
    truths_of([(mask > 0) & (mask < 255)], ["a"])
