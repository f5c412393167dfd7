"""README's blocks run as they are printed: its commands against a tiny model, its Python line by line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import xplain
from xplain import api
from xplain.cli import GROUPS, VERBS
from xplain.core.card import Card

from .blocks import Block, blocks_of, commands_of, run, run_command, smaller
from .reader import people, place, tokenizer, tokens

__all__ = ["people", "place", "tokenizer", "tokens"]  # fixtures that this file uses

PAGE = Path(__file__).resolve().parents[2] / "README.md"
CARD = PAGE.parent / "docs" / "how-to" / "card.md"
README = PAGE.read_text(encoding="utf-8")
BLOCKS = blocks_of(PAGE)


def blocks(language: str) -> list[Block]:
    """Blocks that run here; those with a note above them, such as the install commands, are run by .ci/run."""
    return [block for block in BLOCKS if block.language == language and not block.left_out]


COMMANDS = [command for block in blocks("bash") for command in commands_of(block)]


def test_there_are_blocks():
    assert len(blocks("python")) >= 1
    assert len(COMMANDS) >= 3


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(place, command):
    place(README)
    assert command.startswith("xplain "), "commands that set up the machine carry a note above the block"
    run_command(smaller(command), PAGE.name)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's exporter warns of its own future
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_runs(place, block):
    place(README)
    if "torch" in block.text:
        pytest.importorskip("onnxscript", reason="the block exports a module")
    # the tiny model is 16 pixels wide
    text = re.sub(r"patch=\d+, stride=\d+", "patch=4, stride=4", block.text)
    run(Block(block.page, block.line, block.language, text, block.note), {})


CARDS = [block for block in blocks_of(CARD) if block.language == "toml"]


@pytest.mark.parametrize("block", CARDS, ids=str)
def test_cards_are_cards(place, block):
    card = Card.from_toml(block.text, CARD.name, place(README))
    assert set(tomllib.loads(block.text)) <= set(Card.__dataclass_fields__)
    assert card.labels == ("tabby", "dog", "other")


def test_every_verb_is_in_the_readme():
    for name in (*[verb.__name__.replace("_", "-") for verb in VERBS], *GROUPS):
        assert re.search(rf"\bxplain {name}\b", README), f"README does not speak of xplain {name}"


def test_methods_in_the_readme_exist():
    known = {name for entry in api.methods() for name in (entry.name, *entry.aliases)}
    named = re.findall(r"--method ([\w+-]+)", README) + re.findall(r'method="([\w+-]+)"', README)
    assert set(named) <= known


def test_public_names_in_the_readme_exist():
    for name in set(re.findall(r"\bxplain\.(\w+)\(", README)):
        assert name in xplain.__all__


def test_no_placeholder_is_left():
    assert re.findall(r"@@\w+@@|TODO|FIXME", README) == []
