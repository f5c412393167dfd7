"""The site is built without a warning, says all that is registered, and sends its reader nowhere."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import xplain
from xplain.cli import GROUPS, VERBS
from xplain.core.declaring.registry import CATALOGUES

from .blocks import blocks_of

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.docs


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from the pages as they are: strict, so that a broken link fails."""
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    pytest.importorskip("material", reason="the extra docs is not installed")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-f", ".mkdocs.yml", "-d", str(out)]
    told = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=told)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def text_of(page: Path) -> str:
    article = re.search(r"<article.*</article>", page.read_text(encoding="utf-8"), re.DOTALL)
    assert article, f"{page} has no text"
    return html.unescape(re.sub(r"<[^>]+>", "", article[0]))


def test_every_page_is_in_the_site_and_in_its_menu(site):
    front = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        address = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert (site / address).is_file()
        assert f'href="{address}"' in front or address == "index.html", f"no menu leads to {address}"


def test_everything_that_is_registered_has_its_page(site):
    for catalogue in CATALOGUES:
        for entry in catalogue:
            if not entry.function.__module__.startswith("xplain."):
                continue
            folder = f"{catalogue.word.replace(' ', '-')[:-1]}*"  # methods, lenses, features
            (page,) = (site / "reference").glob(f"{folder}/{entry.name.replace('+', '-plus')}.html")
            said = text_of(page)
            for option in entry.options.values():
                assert option.name in said
                # the first words stand there as they stand in the docstring
                assert re.sub(r"[`*]", "", option.doc)[:40].strip() in re.sub(r"[`*]", "", said)


def test_every_verb_and_every_public_name_has_its_page(site):
    every = [*VERBS, *(verb for verbs in GROUPS.values() for verb in verbs)]
    for verb in every:
        name = verb.__name__.replace("_", "-")
        words = next((f"{word} {name}" for word, verbs in GROUPS.items() if verb in verbs), name)
        assert f"xplain {words}" in text_of(site / f"reference/command-line/{words.replace(' ', '-')}.html")
    named = text_of(site / "reference/python/index.html")
    assert [name for name in xplain.__all__ if f"xplain.{name}" not in named] == []


def test_a_reader_is_sent_nowhere(site):
    """Fonts, scripts, styles and pictures lie in the folder itself."""
    for page in site.rglob("*.html"):
        markup = page.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:script|img|iframe|source)[^>]*\bsrc="(?:https?:)?//[^"]*"', markup)
        fetched += re.findall(
            r'<link[^>]*rel="(?:stylesheet|preload|preconnect)"[^>]*href="(?:https?:)?//[^"]*"', markup
        )
        assert fetched == [], f"{page}: {fetched}"
    for style in site.rglob("*.css"):
        assert not re.findall(r"url\(['\"]?https?:|@import", style.read_text(encoding="utf-8"))


def test_every_tutorial_is_a_notebook_with_the_pages_code(site):
    nbformat = pytest.importorskip("nbformat", reason="the extra docs is not installed")
    for page in (ROOT / "docs" / "tutorials").glob("*.md"):
        found = nbformat.read(site / "notebooks" / f"{page.stem}.ipynb", as_version=4)
        nbformat.validate(found)
        code = [cell.source.removeprefix("%%bash\n") for cell in found.cells if cell.cell_type == "code"]
        run = [
            block.text.rstrip() for block in blocks_of(page) if block.language in ("python", "bash") and not block.note
        ]
        assert code == run
        assert f'href="../notebooks/{page.stem}.ipynb"' in (site / "tutorials" / f"{page.stem}.html").read_text()
