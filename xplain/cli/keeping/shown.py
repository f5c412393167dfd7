"""A result that is no attribution as files: its numbers, and whatever its renderers draw of it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from xplain.cli.keeping.output import Folder
from xplain.core.declaring.registry import RENDERERS
from xplain.core.errors import UsageError
from xplain.report.pages import page_of
from xplain.results.result import Result

__all__ = ["keep_result"]


def keep_result(folder: Folder, stem: str, result: Result, command: str) -> dict[str, str]:
    """Write a result, each picture that a renderer of its kind draws, and its page; what was written, by name.

    Args:
        folder: Where.
        stem: What the files' names begin with.
        result: What was found.
        command: The command line that made it, for the page.
    """
    drawn: dict[str, Any] = {}
    for entry in RENDERERS:
        if entry.draws == result.what and len(result):
            with suppress(UsageError):  # a renderer that this result has nothing for, such as a film without frames
                drawn[entry.name] = result.render(entry.name)
    files = {} if result.kept else {"numbers": f"{stem}.npz"}
    files |= {name: f"{stem}.{name}.png" for name, one in drawn.items() if hasattr(one, "save")}
    files |= {name: f"{stem}.{name}.html" for name, one in drawn.items() if isinstance(one, str)}
    files |= {name: f"{stem}.{name}" for name, one in drawn.items() if isinstance(one, bytes)}
    page = page_of(result, command)
    files |= {} if page is None else {"page": "index.html"}
    folder.announce(files.values())
    if "numbers" in files:
        result.save(folder.path / files["numbers"])
    for name, one in drawn.items():
        if isinstance(one, str):
            folder.write(files[name], one.encode())
        elif isinstance(one, bytes):
            folder.write(files[name], one)
        elif name in files:
            folder.write_picture(files[name], one)
    if page is not None:
        folder.write(files["page"], page.encode())
    return files
