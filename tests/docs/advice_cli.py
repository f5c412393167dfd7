"""Advice of the command line, followed: a piece of the message, the words that get it, and the words that it advises.

Paths are relative to a folder that ``prepared`` fills: a tiny classifier with a card, pictures, boxes and a table.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cli.tiny import write_model, write_picture
from docs.advice_models import FLOAT, N, graph
from docs.advice_table import Case
from onnx import helper
from typer.testing import CliRunner

from xplain.cli import application
from xplain.core.errors import XplainError
from xplain.serve.site import RUNTIME

__all__ = ["COMMANDS"]

BOX = "file,y0,x0,y1,x1\n{},4,8,8,12\n"
EXPLAIN = "explain tiny.onnx pictures/a.png -m occlusion --patch 4 --out out"
LOCALISE = "localise tiny.onnx pictures/a.png -m occlusion --patch 4 --out out --truth"
CHECK = "check tiny.onnx --labelled"
TWO = "inspect two.onnx --input x --fixed"
ROWS = "explain rows.onnx rows.csv -m occlusion --out out"


def prepared(folder: Path) -> None:
    """The files that the commands name."""
    write_model(folder / "tiny.onnx")
    write_model(folder / "bare.onnx", card=False)
    onnx.save(graph(), folder / "rows.onnx")
    shifted = graph(N("MatMul", ["x", "w"], ["z"]), N("Add", ["z", "s"], ["y"]))
    shifted.graph.input.append(helper.make_tensor_value_info("s", FLOAT, [1]))
    onnx.save(shifted, folder / "two.onnx")
    np.save(folder / "s.npy", np.ones(1, np.float32))
    pictures = folder / "pictures"
    pictures.mkdir()
    for name, bright in (("a.png", True), ("b.png", False)):
        write_picture(pictures / name, bright)
    (folder / "empty").mkdir()
    (folder / "numbers").mkdir()
    np.save(folder / "items.npy", np.zeros((2, 3, 16, 16), np.float32))
    texts = {
        "a.csv": BOX.format("a.png"),
        "column.csv": "file,y0,x0,y1\na.png,4,8,8\n",
        "other.csv": BOX.format("z.png"),
        "words.csv": BOX.format("a.png").replace("4,", "four,"),
        "behind.csv": "file,y0,x0,y1,x1\na.png,8,8,4,12\n",
        "rows.csv": "a,b,c,d\n1,2,3,4\n0,1,0,1\n",
        "true.csv": "a,b,c,d,y\n1,2,3,4,bright\n0,1,0,1,dark\n",
        "numbered.csv": "a,b,c,d,y\n1,2,3,4,0\n0,1,0,1,1\n",
        "gap.csv": "a,b,c,d,e,f\n1,2,3,4,,x\n2,1,0,1,y,\n",
        "dropped.csv": "a,b,c,d\n0,1,0,1\n2,1,0,1\n",
        "twice.csv": "a,b,b,d\n1,2,3,4\n",
        "labels.txt": "bright\ndark\nother\n",
        "pictures/labels.csv": "file,label\na.png,bright\nb.png,dark\n",
        "numbers/labels.csv": "file,label\n../pictures/a.png,0\n../pictures/b.png,1\n",
        "how.toml": 'card = "imagenet"\n',
        "plain.toml": "resize = [16, 16]\n",
        "notes.txt": "mine\n",
        "broken.npy": "no array\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "broken.csv").write_bytes(b"\xff\xfe\x00\xd8")
    (folder / "dist").mkdir()
    for name in RUNTIME:
        (folder / "dist" / name).write_text(name)


def run(folder: Path, words: str) -> None:
    """Run a verb in this process.

    Raises:
        XplainError: it refuses; with what it prints.
    """
    if not (folder / "tiny.onnx").exists():
        prepared(folder)
    there = Path.cwd()
    given = shlex.split(words)
    try:
        os.chdir(folder)
        ran = CliRunner().invoke(application(given), given, prog_name="xplain", env={"COLUMNS": "4000"})
    finally:
        os.chdir(there)
    if ran.exit_code:
        raise XplainError(" ".join(ran.stderr.split()))


def case(fragment: str, wrong: str, *right: str, first: str = "") -> Case:
    """Words of the command line; ``first`` is run before the wrong ones."""

    def calls(words: str, *before: str) -> Callable[[Path], Any]:
        return lambda folder: [run(folder, one) for one in (*filter(None, before), words)]

    return Case(fragment, calls(wrong, first), [calls(one) for one in right])


WHY_NOT = "why-not tiny.onnx {} {} --features grid:4 --out out"

PAGE = "page tiny.onnx {} -m saliency --runtime dist -o site"

COMMANDS = [
    case("Two models are called {}. Give each", PAGE.format("tiny.onnx"), PAGE.format("other=tiny.onnx")),
    case(
        "{} is {} pictures. Name one: why not is asked",
        WHY_NOT.format("pictures", "dark"),
        WHY_NOT.format("pictures/a.png", "dark"),
    ),
    case(
        "{} is what the model says of this item. Ask ab",
        WHY_NOT.format("pictures/a.png", "bright"),
        WHY_NOT.format("pictures/a.png", "dark"),
    ),
    case(
        "--endpoint {} cannot be read: {}.",
        "inspect tiny.onnx --endpoint twice.csv",
        "inspect tiny.onnx --endpoint how.toml",
    ),
    case(
        "--fixed {} is not understood; accepted: NAME=",
        f"{TWO} s",
        f"{TWO} s=1.5",
        f"{TWO} s=s.npy",
    ),
    case(
        "--fixed {}: {} is neither a number nor an .np",
        f"{TWO} s=one",
        f"{TWO} s=1",
        f"{TWO} s=s.npy",
    ),
    case("--fixed {}: the file cannot be read: {}.", f"{TWO} s=broken.npy", f"{TWO} s=s.npy"),
    case(
        "given, but the model has {}. Give one per class.",
        f"{EXPLAIN} --labels a,b",
        f"{EXPLAIN} --labels a,b,c",
    ),
    case(
        "--baseline {}: the file cannot be read: {}.",
        "explain tiny.onnx pictures/a.png -m expected-gradients --out out --baseline broken.npy",
        "explain tiny.onnx pictures/a.png -m expected-gradients --out out --baseline items.npy",
    ),
    case("--truth {} cannot be read: {}; {}.", f"{LOCALISE} broken.csv", f"{LOCALISE} a.csv"),
    case("--truth {} has no column {} in its first line", f"{LOCALISE} column.csv", f"{LOCALISE} a.csv"),
    case("--truth {} names none of the {} pictures, suc", f"{LOCALISE} other.csv", f"{LOCALISE} a.csv"),
    case("--truth {}, line {}: four numbers of pixels a", f"{LOCALISE} words.csv", f"{LOCALISE} a.csv"),
    case("--truth {}, line {}: the box is y {} to {}, x", f"{LOCALISE} behind.csv", f"{LOCALISE} a.csv"),
    case("--top is {} and --at-least is {}; accepted: a", f"{CHECK} pictures --top 0", f"{CHECK} pictures --top 1"),
    case(
        "above --max-queries {}. Raise it, or label fewer pi",
        f"{CHECK} pictures --max-queries 2",
        f"{CHECK} pictures --max-queries 200",
    ),
    case(
        "has no preprocessing card; give --card a file or a preset: {}.",
        "check bare.onnx --labelled pictures",
        "check bare.onnx --labelled pictures --card tiny.card.toml",
    ),
    case(
        "but no labels are known for {}. Give class numbers in their place, or --card",
        "check bare.onnx --labelled pictures --card plain.toml",
        "check bare.onnx --labelled numbers --card plain.toml --at-least 0",
        "check bare.onnx --labelled pictures --card tiny.card.toml",
    ),
    case(
        "--out {} does not end in .onnx; give a file's",
        "compile tiny.onnx -m saliency -o one.txt",
        "compile tiny.onnx -m saliency -o one.onnx",
    ),
    case(
        "--out {} is the model itself, which stays as",
        "compile tiny.onnx -m saliency -o tiny.onnx --force",
        "compile tiny.onnx -m saliency -o other.onnx",
    ),
    case(
        "--out {} is there already. Choose another nam",
        "compile tiny.onnx -m saliency -o one.onnx",
        "compile tiny.onnx -m saliency -o another.onnx",
        "compile tiny.onnx -m saliency -o one.onnx --force",
        first="compile tiny.onnx -m saliency -o one.onnx",
    ),
    case(
        "--out {}: there is no folder {}. Make it firs",
        "compile tiny.onnx -m saliency -o nowhere/one.onnx",
        "compile tiny.onnx -m saliency -o empty/one.onnx",
    ),
    case(
        "--size is {}; accepted: whole numbers with an",
        "compile tiny.onnx -m saliency -o one.onnx --size big",
        "compile tiny.onnx -m saliency -o one.onnx --size 16x16",
    ),
    case(
        "Give one of --out FILE.onnx and --triton FOLDER.",
        "compile tiny.onnx -m saliency",
        "compile tiny.onnx -m saliency -o one.onnx",
        "compile tiny.onnx -m saliency --triton models",
    ),
    case(
        "--triton {} cannot be made: {}. Choose another folder.",
        "compile tiny.onnx -m saliency --triton notes.txt/deeper",
        "compile tiny.onnx -m saliency --triton models",
    ),
    case(
        "{} holds no results (.npz). Name the folder",
        "compare empty",
        "compare two",
        first="explain tiny.onnx pictures/a.png -m occlusion,saliency --out two",
    ),
    case("it takes one value. Give it once.", f"{EXPLAIN} --seed 1 --seed 2", f"{EXPLAIN} --seed 2"),
    case(
        "--conservation follows a reverse sweep, but ",
        f"{EXPLAIN} --conservation",
        "explain tiny.onnx pictures/a.png -m lrp --out lrp --conservation",
        "explain tiny.onnx pictures/a.png -m deeplift --out deeplift --conservation",
    ),
    case("There is nothing to explain. Name pictures (files", "explain tiny.onnx --out out", EXPLAIN, ROWS),
    case(
        "The truth is text, such as",
        "importance rows.onnx true.csv --truth y --out out",
        "importance rows.onnx true.csv --truth y --out out --labels labels.txt",
        "importance rows.onnx numbered.csv --truth y --out out",
    ),
    case("--labelled {} holds neither labels.csv nor la", f"{CHECK} empty", f"{CHECK} pictures"),
    case("--labelled {} is not a folder; give one with", f"{CHECK} notes.txt", f"{CHECK} pictures"),
    case(
        "--limit {} is not understood; accepted: NAME=",
        f"{EXPLAIN} --limit nodes",
        f"{EXPLAIN} --limit nodes=100",
        f"{EXPLAIN} --limit contact_seconds=0 --force",
    ),
    case(
        "--share is {} and --at-least is {}; accepted:", f"{LOCALISE} a.csv --share 0", f"{LOCALISE} a.csv --share 0.2"
    ),
    case(
        "--smooth is {}; accepted: 0 for none, up to 0", f"{LOCALISE} a.csv --smooth 2", f"{LOCALISE} a.csv --smooth 0"
    ),
    case(
        "--out {} holds files that xplain did not writ",
        EXPLAIN.replace("--out out", "--out pictures"),
        EXPLAIN,
        EXPLAIN.replace("--out out", "--out pictures --force"),
    ),
    case("--out {} is a file; give a folder, or a name", EXPLAIN.replace("--out out", "--out notes.txt"), EXPLAIN),
    case(
        "Cannot use --out {}: {}. Choose another folder.",
        EXPLAIN.replace("--out out", "--out notes.txt/deeper"),
        EXPLAIN,
    ),
    case("--hidden {} is not understood; accepted: COLU", f"{ROWS} --hidden a", f"{ROWS} --hidden a=0"),
    case(
        "--labels {} is no file; accepted: a file with",
        f"{ROWS} --labels nowhere.txt",
        f"{ROWS} --labels labels.txt",
        f"{ROWS} --labels bright,dark,other --force",
    ),
    case(
        "drop the line, or leave the column out with --columns.",
        ROWS.replace("rows.csv", "gap.csv"),
        ROWS.replace("rows.csv", "dropped.csv"),
        f"{ROWS.replace('rows.csv', 'gap.csv')} --columns a,b,c,d",
    ),
    case("has {} in its first line; give each column its own name.", ROWS.replace("rows.csv", "twice.csv"), ROWS),
]
