"""What is written of tables and texts: an ``.npz`` per explanation with the items that are done, and a page of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from xplain.cli.keeping.output import Folder, file_stem
from xplain.cli.keeping.pages import PAGE
from xplain.cli.telling.notes import about
from xplain.core.keeping.files import RECORD
from xplain.core.keeping.plain import counted
from xplain.results.attribution import Attribution
from xplain.results.join import joined
from xplain.session import Explained
from xplain.session.predictions import in_words

__all__ = ["Lines", "text_of"]


class Lines:
    """Gathers explanations of rows or texts as they come, and writes them with their page.

    Args:
        folder: Where.
        stem: What the files are called.
        title: Heading of the page.
        command: The command line, for the page.
    """

    def __init__(self, folder: Folder, stem: str, title: str, command: str) -> None:
        self._folder, self._title, self._command = folder, title, command
        self._stem = file_stem(stem, set())
        self._found: dict[str, list[Attribution]] = {}
        self._written: dict[str, Attribution] = {}

    @property
    def found(self) -> list[Attribution]:
        """The explanations that are written, each of all items that it has."""
        return list(self._written.values())

    def keep(self, item: str, explained: Explained) -> list[dict[str, Any]]:
        """Take the explanations of one item by one method; what is told of each."""
        several = len(explained.results) > 1
        told = []
        for rank, result in enumerate(explained.results, 1):
            name = f"{self._stem}.{explained.method}{f'.top{rank}' if several else ''}.npz"
            self._found.setdefault(name, []).append(replace(result, names=(item,)))
            told.append({**about(result), "features": _features(result), "files": {"npz": name}})
        return told

    def flush(self) -> None:
        """Write what came since it was last written."""
        if not self._found:
            return
        self._folder.announce(self._found)
        for name, parts in self._found.items():
            had = self._written.get(name)
            if had is None or len(had) < len(parts):
                self._written[name] = joined(parts)
                self._written[name].save(self._folder.path / name)

    def page(self) -> None:
        """Write the page of what is written."""
        from xplain import report

        if not self._written:
            return
        self._folder.announce([PAGE])
        report.write(self.found, self._folder.path / PAGE, title=self._title, command=self._command)


def _features(one: Attribution) -> list[dict[str, Any]]:
    """What each word or column of one item is worth."""
    if one.texts:
        text, spans = one.texts[0].text, one.texts[0].spans
        parts: list[dict[str, Any]] = [{"feature": text[a:b], "start": a, "end": b} for a, b in spans]
    else:
        assert one.columns is not None
        pairs = zip(one.columns.names, one.columns.values[0], strict=True)
        parts = [{"feature": name, "value": value} for name, value in pairs]
    for k, part in enumerate(parts):
        part["attribution"] = float(one.values[0, k])
        part["error"] = None if one.error is None else float(one.error[0, k])
    return parts


def text_of(document: Mapping[str, Any], found: Sequence[Attribution], folder: Folder) -> str:
    """What a person is told of tables and texts."""
    said = [f"{one['item']}: {in_words(one['predictions'])}" for one in document["items"]]
    cost = document["cost"]
    spent = f"{counted(cost['queries'], 'evaluation')}" + (
        f", {counted(cost['sweeps'], 'sweep')}" if cost["sweeps"] else ""
    )
    spent += f", {counted(cost['calls'], 'call')}" if "calls" in cost else ""
    spent += f" for {cost['money']} {cost['currency']}".rstrip() if "money" in cost else ""
    failed = f", {len(document['failures'])} failed" if document["failures"] else ""
    return "\n".join(
        [
            *said,
            "",
            *[part for one in found for part in (str(one), "")],
            f"{counted(len(said), 'item')}{failed}; {spent}, {cost['seconds']:.1f} s.",
            *([f"Open {folder.path / PAGE}; {RECORD} tells how it was made."] if found else []),
        ]
    )
