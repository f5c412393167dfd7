"""What mkdocs does beside turning Markdown into pages: the menu from the folders, and the reference from the registry.

A page needs no entry anywhere: its folder says which of the four kinds it is, its title is its first line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from notebooks import write
from reference import pages

DOCS = Path(__file__).resolve().parents[1]
KINDS = {"tutorials": "Tutorials", "how-to": "How to", "reference": "Reference", "explanation": "Explanation"}
FIRST = ("first-picture.md", "which-method.md")
"""Pages that stand first in their section; the others follow by title."""


def title_of(text: str) -> str:
    """A page's title: its first line."""
    return text.lstrip().split("\n", 1)[0].removeprefix("# ").strip()


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made, and lay out the menu."""
    made = pages()
    for name, text in made.items():
        files.append(File.generated(config, f"reference/{name}", content=text))
    config["nav"] = menu({f"reference/{name}": text for name, text in made.items()})
    return files


def menu(made: dict[str, str]) -> list[Any]:
    """The menu: the four kinds, each with its pages; a page that lies in no folder is a how-to."""
    texts = made | {
        page.relative_to(DOCS).as_posix(): page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md"))
    }
    parts: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name in texts:
        folder = name.split("/")[0] if "/" in name else "how-to"
        if name != "index.md":
            parts[folder].append(name)
    listed: list[Any] = ["index.md"]
    for kind, heading in KINDS.items():
        names = sorted(parts[kind], key=lambda name: (name.split("/")[-1] not in FIRST, title_of(texts[name]).lower()))
        listed.append({heading: _nested(kind, names, texts)})
    return [one for one in listed if one == "index.md" or next(iter(one.values()))]


def _nested(kind: str, names: list[str], texts: dict[str, str]) -> list[Any]:
    """The pages of one section; a folder below it becomes a part of its own, behind its index."""
    flat = [name for name in names if name.count("/") < 2]
    below: dict[str, list[str]] = {}
    for name in names:
        if name.count("/") == 2:
            below.setdefault(name.rsplit("/", 1)[0], []).append(name)
    inner = []
    for folder, found in below.items():
        index = f"{folder}/index.md"
        rest = [name for name in found if name != index]
        inner.append({title_of(texts.get(index, folder.split("/")[-1])): [index, *rest] if index in found else rest})
    return [*flat, *inner]


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """A tutorial leads to its notebook."""
    name = page.file.src_uri
    if not name.startswith("tutorials/"):
        return markdown
    notebook = Path(name).with_suffix(".ipynb").name
    return f'{markdown}\n\n<p><a href="../notebooks/{notebook}" download>This page as a notebook</a></p>\n'


def on_post_build(config: Any) -> None:
    """Notebooks of the tutorials, not executed; ``.ci/docs`` executes them."""
    write(Path(config["site_dir"]) / "notebooks")
