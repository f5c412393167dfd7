"""The advice of messages about models of rows that are served, followed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from docs.advice_models import graph, linear, table

import xplain
from xplain.cli.asking.loading import Loading
from xplain.cli.verbs.serve import Reading
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
