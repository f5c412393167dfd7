"""Every page under docs/ runs as it is printed: its Python and its commands, in order, in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .blocks import Block, blocks_of, run
from .reader import people, place, tokenizer, tokens

__all__ = ["people", "place", "tokenizer", "tokens"]  # fixtures that this file uses

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {page.relative_to(DOCS).as_posix(): blocks_of(page) for page in sorted(DOCS.rglob("*.md"))}
RUN = {name: [one for one in found if one.language in ("python", "bash")] for name, found in PAGES.items()}
LEFT_OUT = [block for found in RUN.values() for block in found if block.left_out]
PICTURES = [page for kind in ("png", "jpg", "webp", "svg") for page in sorted(DOCS.rglob(f"*.{kind}"))]


def test_there_are_pages():
    assert "index.md" in PAGES
    assert any(RUN.values())


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's exporter warns of its own future
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [name for name, found in RUN.items() if any(not one.left_out for one in found)])
def test_a_page_runs(place, name, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    place((DOCS / name).read_text(encoding="utf-8"))
    names: dict[str, Any] = {"__name__": "page"}
    for block in RUN[name]:
        if not block.left_out:
            run(block, names)


@pytest.mark.parametrize("block", LEFT_OUT, ids=str)
def test_a_block_is_left_out_for_a_reason(block: Block):
    pytest.skip(block.left_out)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_one_title_and_says_what_it_answers(name):
    lines = [line for line in (DOCS / name).read_text(encoding="utf-8").splitlines() if line.strip()]
    assert lines[0].startswith("# "), "a page begins with its title; the menu shows it"
    assert not lines[1].startswith(("#", "```", "|")), "the first paragraph says what the page answers"


@pytest.mark.parametrize("picture", PICTURES, ids=lambda p: p.name)
def test_a_picture_is_small(picture):
    assert picture.stat().st_size < 150_000, "a page is read on a telephone too"
