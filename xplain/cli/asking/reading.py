"""Tables and texts from a command line: which of them is given, the files, and the model that reads them."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from xplain.cli.asking.loading import Loading
from xplain.cli.asking.tables import TABLES, content_of, labels_of, read_table
from xplain.core.errors import UsageError, XplainError
from xplain.core.keeping.files import there

__all__ = ["Given", "RowOptions", "given", "pair"]

_PANEL = "Tables and texts"
_TEXTS = (".txt",)
_FOR_TABLES, _FOR_TEXTS = ("columns", "hidden"), ("text", "tokenizer", "split", "mask")
_NOT_HERE = ("card", "engine", "input", "fixed", "layout", "scores")


def _flag(name: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(name, help=text, metavar=metavar, rich_help_panel=_PANEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOptions:
    """How a table or texts are read."""

    text: Annotated[list[str] | None, _flag("--text", "A text to explain; repeat for several.")] = None
    tokenizer: Annotated[Path | None, _flag("--tokenizer", "For a model of token ids: its tokenizer.json.", "FILE")] = (
        None
    )
    split: Annotated[
        str | None,
        _flag("--split", "What of a text is hidden: words (default), marks, sentences, characters, tokens, ids."),
    ] = None
    mask: Annotated[
        str | None, _flag("--mask", "What takes a hidden word's place, such as '\\[MASK]'; else it is deleted.")
    ] = None
    columns: Annotated[
        str | None, _flag("--columns", "The table's columns that the model takes, in its order: a,b,c. Default: all.")
    ] = None
    hidden: Annotated[list[str] | None, _flag("--hidden", "What a hidden column becomes.", "COLUMN=VALUE")] = None


@dataclass(frozen=True, slots=True)
class Given:
    """Items that are no pictures.

    Args:
        kind: ``table`` or ``texts``.
        items: Columns by name, or texts.
        names: What each item is called.
        stem: What files about them are called.
        failed: Other rows of the table, or texts, which cannot be read, and why.
    """

    kind: str
    items: Any
    names: tuple[str, ...]
    stem: str
    reading: RowOptions
    failed: tuple[tuple[str, XplainError], ...] = ()

    @property
    def source(self) -> Any:
        """What a session reads: columns, or all texts in one chunk, so that their features line up."""
        return self.items if self.kind == "table" else [self.items]

    def open(self, model: str, loading: Loading) -> Any:
        """The model that reads these items.

        Raises:
            UsageError: it does not take such items, or an option that has no meaning for them.
            Unsafe: the file is refused.
            ModelError: the file cannot be loaded.
        """
        from xplain.models.table import table
        from xplain.models.text import text

        options = loading.options()
        for name in _NOT_HERE:
            if name in options:
                raise UsageError(f"--{name} is for pictures and tensors; a {self.kind.rstrip('s')} does without it.")
        how = self.reading
        if loading.labels is not None:
            options["labels"] = labels_of(loading.labels)
        if self.kind == "texts":
            texts: dict[str, Any] = {"split": how.split, "mask": how.mask, "tokenizer": how.tokenizer}
            return text(model, **options, **{name: value for name, value in texts.items() if value is not None})
        hidden = dict(pair(one) for one in how.hidden or ())
        return table(model, columns=tuple(self.items), hidden=hidden or None, **options)

    def arrays(self, options: Mapping[str, Any], reader: Any) -> dict[str, Any]:
        """A method's options, where the name of a table stands for its rows (``--baseline``, ``--background``)."""
        found = dict(options)
        for name, value in options.items():
            if self.kind == "table" and isinstance(value, str) and Path(value).suffix.lower() in TABLES:
                found[name] = reader.codes(read_table(Path(value), tuple(self.items), whole=True).columns)
        return found


def given(sources: Sequence[str], reading: RowOptions) -> Given | None:
    """The table or the texts that a command line names; None where it names pictures.

    Args:
        sources: Files and globs.
        reading: ``--text`` and how they are read.

    Raises:
        UsageError: pictures, tables and texts mixed, more than one table, a file that cannot be understood, or an
            option that does not fit.
    """
    paths = [path for source in sources for path in _found(source)]
    kinds = {_kind(path) for path in paths} | ({"texts"} if reading.text else set())
    if len(kinds) > 1:
        raise UsageError(f"The items mix {' and '.join(sorted(kinds))}; explain them one kind at a time.")
    kind = kinds.pop() if kinds else "pictures"
    _check(kind, reading)
    if kind == "pictures":
        return None
    if kind == "table":
        if len(paths) > 1:
            raise UsageError(f"{len(paths)} tables are given ({paths[0]}, {paths[1]}); explain one at a time.")
        path = Path(paths[0])
        wanted = None if reading.columns is None else [name.strip() for name in reading.columns.split(",")]
        table = read_table(path, wanted)
        return Given(kind, table.columns, table.names, path.stem, reading, table.failed)
    texts, called, failed = _texts(paths)
    texts += reading.text or ()
    called += [f"text {n}" for n in range(1, len(reading.text or ()) + 1)]
    if not texts:
        raise failed[0][1]
    stem = Path(paths[0]).stem if len(paths) == len(texts) == 1 else "texts"
    return Given(kind, texts, tuple(called), stem, reading, tuple(failed))


def _kind(path: str) -> str:
    suffix = Path(path).suffix.lower()
    return "table" if suffix in TABLES else "texts" if suffix in _TEXTS else "pictures"


def _found(source: str) -> list[str]:
    """The files behind a name of tables or texts; a name of pictures stays as it is, for the pictures' own rules."""
    path = Path(source)
    if any(c in source for c in "*?[") and not there(path):
        hits = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - Path.glob would give hidden files too
        return hits if hits and all(_kind(hit) == "texts" for hit in hits) else [source]
    if there(path) == "folder":
        hits = sorted(str(p) for p in path.rglob("*") if _kind(p.name) == "texts" and not p.name.startswith("."))
        others = any(p.is_file() and _kind(p.name) != "texts" for p in path.rglob("*"))
        return hits if hits and not others else [source]
    return [source]


def _check(kind: str, reading: RowOptions) -> None:
    wrong = {"pictures": (*_FOR_TABLES, *_FOR_TEXTS), "table": _FOR_TEXTS, "texts": _FOR_TABLES}[kind]
    for name in wrong:
        if getattr(reading, name):
            place = "tables (.csv, .tsv)" if name in _FOR_TABLES else "texts (--text, .txt)"
            raise UsageError(f"--{name} is for {place}, but the items are {kind if kind != 'table' else 'a table'}.")


def _texts(paths: Sequence[str]) -> tuple[list[str], list[str], list[tuple[str, XplainError]]]:
    """The texts in files, what each is called, and what cannot be read and why."""
    texts: list[str] = []
    called: list[str] = []
    failed: list[tuple[str, XplainError]] = []
    for path in paths:
        try:
            texts.append(_text(Path(path)))
            called.append(Path(path).name)
        except UsageError as error:
            failed.append((Path(path).name, error))
    return texts, called, failed


def _text(path: Path) -> str:
    content = content_of(path)
    if not content.strip():
        raise UsageError(f"{path} is empty; a text needs at least one word.")
    return content


def pair(one: str) -> tuple[str, str]:
    """``COLUMN=VALUE`` as a pair: what a hidden column becomes."""
    name, equals, value = one.partition("=")
    if not (name and equals and value):
        raise UsageError(f"--hidden {one} is not understood; accepted: COLUMN=VALUE.")
    return name, value
