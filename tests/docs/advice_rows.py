"""The advice of messages about models of rows that are served, followed."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from docs.advice_models import graph, linear, table
from PIL import Image

import xplain
from xplain.cli.asking.loading import Loading
from xplain.cli.verbs.serve import Reading
from xplain.demo import SCENES, demo_model_path, demo_picture
from xplain.serve.served import served_as

Told = Callable[[Callable[[], Any]], str]

SERVED_ROWS: dict[str, Callable[[Told, Path], Any]] = {}


def advice(fragment: str) -> Callable[[Any], Any]:
    """Keep a case for the message with this fragment."""

    def keep(case: Any) -> Any:
        SERVED_ROWS[fragment] = case
        return case

    return keep


def rows_and_model(folder: Path) -> tuple[str, Path]:
    """A model of four numbers as a file, and a table of them."""
    onnx.save(graph(), folder / "rows.onnx")
    (folder / "rows.csv").write_text("a,b,c,d\n1,2,3,4\n5,6,7,8\n")
    return str(folder / "rows.onnx"), folder / "rows.csv"


@advice("An instance is a row with named columns; of model {} it is not known which column is which.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: served_as("m", xplain.load(linear)).read([dict.fromkeys("abcd", 1.0)]))
    assert served_as("m", xplain.load(linear)).read([np.arange(4.0)])[1].x.shape == (1, 4)
    behind = served_as("t", xplain.table(table, columns={name: [1.0, 2.0] for name in "abcd"}))
    assert behind.read([dict.fromkeys("dcba", 1.0)])[1].x.shape == (1, 4)


@advice("takes pictures. Send each as ")
def _(told: Told, _folder: Path) -> None:
    shown = served_as("m", xplain.load(demo_model_path()))
    picture = demo_picture(next(iter(SCENES)))[0]
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    said = told(lambda: shown.read([{"image": {"b64": "..."}}]))
    assert "'image'" in said
    assert shown.read([file.getvalue()])[1].x.shape[1] == 3  # what {"b64": ...} becomes


@advice("--rows is for models of tables, --{} for models of texts; give one of them.")
def _(told: Told, folder: Path) -> None:
    file, rows = rows_and_model(folder)
    told(lambda: Reading(rows=rows, mask="[MASK]").open(file, Loading()))
    read: Any = Reading(rows=rows).open(file, Loading())
    assert read.names == ("a", "b", "c", "d")


@advice("--columns says which of a table's columns the model takes; give --rows FILE.csv too.")
def _(told: Told, folder: Path) -> None:
    file, rows = rows_and_model(folder)
    told(lambda: Reading(columns="d,c,b,a").open(file, Loading()))
    read: Any = Reading(columns="d,c,b,a", rows=rows).open(file, Loading())
    assert read.names == ("d", "c", "b", "a")
