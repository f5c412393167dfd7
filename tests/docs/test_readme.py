"""README's blocks run as they are printed: its commands against a tiny model, its Python line by line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli.test_rows import people, tokens
from cli.tiny import write_model, write_picture
from doors.test_text import tokenizer

import xplain
from xplain import api
from xplain.cli import VERBS
from xplain.core.card import Card

__all__ = ["people", "tokenizer", "tokens"]  # fixtures that this file uses

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- (?P<note>[^>]*) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
BLOCKS = [match.groupdict() for match in BLOCK.finditer(README)]


def blocks(language: str) -> list[str]:
    """Blocks without a note above them; those with one, such as the install commands, are run by .ci/run."""
    return [block["text"] for block in BLOCKS if block["language"] == language and not block["note"]]


def commands() -> list[str]:
    lines = [line.split("  #")[0].strip() for text in blocks("bash") for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture
def place(tmp_path, monkeypatch, people, tokens):
    """A folder with the files that README speaks of."""
    (people / "people.onnx").rename(tmp_path / "churn.onnx")
    tokens[0].rename(tmp_path / "sentiment.onnx")
    shutil.copy(tokens[2], tmp_path / "tokenizer.json")
    (tmp_path / "labels.txt").write_text("tabby\ndog\nother\n")
    model = write_model(tmp_path / "model.onnx", card=False)
    model.with_suffix(".card.toml").write_text('resize = [16, 16]\nlabels = ["tabby", "dog", "other"]\n')
    for folder, name in (("photos", "a.png"), ("labelled/tabby", "b.png"), (".", "cat.jpg")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        write_picture(tmp_path / folder / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def quicker(command: str) -> str:
    """The same command with less work: the tiny model needs no more."""
    # the tiny model's own card holds its labels and its size
    return re.sub(r" --card imagenet\b", "", re.sub(r"--samples \d+", "--samples 20 --cells 4", command))


def test_there_are_blocks():
    assert len(blocks("python")) >= 1
    assert len(commands()) >= 3


@pytest.mark.parametrize("command", commands())
def test_commands_run(place, command):
    program, _, words = quicker(command).partition(" ")
    assert program == "xplain", "commands that set up the machine carry a note above the block"
    line = f"{sys.executable} -c 'from xplain.cli import main; main()' {words}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's exporter warns of its own future
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("text", blocks("python"))
def test_python_runs(place, text):
    if "torch" in text:
        pytest.importorskip("onnxscript", reason="the block exports a module")
    # the tiny model is 16 pixels wide
    smaller = re.sub(r"patch=\d+, stride=\d+", "patch=4, stride=4", text).replace('card="imagenet"', "card=None")
    exec(compile(smaller, "README.md", "exec"), {})


@pytest.mark.parametrize("text", blocks("toml"))
def test_cards_are_cards(place, text):
    card = Card.from_toml(text, "README", place)
    assert set(tomllib.loads(text)) <= set(Card.__dataclass_fields__)
    assert card.labels == ("tabby", "dog", "other")


def test_every_verb_is_in_the_readme():
    for verb in VERBS:
        assert re.search(rf"\bxplain {verb.__name__}\b", README), f"README does not speak of xplain {verb.__name__}"


def test_methods_in_the_readme_exist():
    known = {name for entry in api.methods() for name in (entry.name, *entry.aliases)}
    named = re.findall(r"--method ([\w+-]+)", README) + re.findall(r'method="([\w+-]+)"', README)
    assert set(named) <= known


def test_public_names_in_the_readme_exist():
    for name in set(re.findall(r"\bxplain\.(\w+)\(", README)):
        assert name in xplain.__all__


def test_no_placeholder_is_left():
    assert re.findall(r"@@\w+@@|TODO|FIXME", README) == []
