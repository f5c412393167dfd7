"""The output folder: ours alone, and every file in it whole."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from xplain.cli.keeping.whole import whole
from xplain.cli.telling.console import to_json
from xplain.core.errors import OutputError
from xplain.core.keeping.files import RECORD, hidden_part, hold, let_go, read_text, remove_stale, whole_file

__all__ = ["Folder", "file_stem"]

_LONGEST_STEM = 80
_LOCK = ".xplain.lock"


class Folder:
    """A folder that xplain writes into.

    As a context manager it is this run's alone, and it leaves no empty folder behind: one that it made and nothing was
    written into, because what was asked is refused, is removed again.

    Args:
        path: Where; made if absent, with its parents.
        force: Use a folder that holds other files too; one of the same name is overwritten.

    Raises:
        OutputError: a file stands there, it holds files that xplain did not write, or it cannot be written.
    """

    def __init__(self, path: Path, force: bool = False) -> None:
        self.path = path
        self._made: list[Path] = []
        self._held = -1
        self._run = ""  # what the record says of the run, as JSON
        try:
            with whole():
                self._files = self._begun(path, force)
        except BaseException:
            self._leave()
            raise

    def _begun(self, path: Path, force: bool) -> set[str]:
        """Make the folder, and look whose files are in it: the names of those that xplain wrote."""
        try:
            self._made = [place for place in (path, *path.parents) if not place.exists()]
            path.mkdir(parents=True, exist_ok=True)
            present = {entry.name for entry in path.iterdir()}
        except FileExistsError:
            raise OutputError(f"--out {path} is a file; give a folder, or a name that is free.") from None
        except OSError as error:
            raise OutputError(f"Cannot use --out {path}: {error.strerror or error}. Choose another folder.") from None
        if not os.access(path, os.W_OK | os.X_OK):
            raise OutputError(f"Cannot write into --out {path}: permission denied. Choose another folder.")
        earlier = self._earlier()
        strangers = sorted(name for name in present - earlier if not name.startswith("."))
        if strangers and not force:
            listed = ", ".join(strangers[:3]) + (f" and {len(strangers) - 3} more" if len(strangers) > 3 else "")
            raise OutputError(
                f"--out {path} holds files that xplain did not write ({listed}). Choose another folder, or add --force "
                "to write among them."
            )
        return earlier & present - {RECORD}

    def __enter__(self) -> Folder:
        try:
            with whole():  # an interruption finds the folder held, or as it was
                self._hold()
        except BaseException:
            self._leave()
            raise
        return self

    def _hold(self) -> None:
        held = hold(self.path / _LOCK)
        if held is None:
            raise OutputError(
                f"Another run of xplain is writing into --out {self.path}. Wait until it has ended, or choose another "
                "folder."
            )
        self._held = held
        for name in (*self._files, RECORD):  # what a killed run was writing
            remove_stale(hidden_part(self.path / Path(name).name))

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        """End what was begun: the lock, and folders that were made for nothing."""
        let_go(self.path / _LOCK, self._held)
        self._held = -1
        with suppress(OSError):  # the first that holds something, or went, ends it
            for place in self._made:
                place.rmdir()

    @property
    def files(self) -> list[str]:
        """Names that xplain wrote here besides the record, in this run or an earlier one."""
        return sorted(self._files)

    def announce(self, names: Iterable[str]) -> None:
        """Record names before the files are written: after an interruption the folder is still known as ours.

        What the record said of the run it says still.
        """
        self._files.update(names)
        self.record({"state": "unfinished"})

    def write(self, name: str, content: bytes) -> Path:
        """Write one file, whole or not at all."""
        self._files.add(name)
        with whole_file(self.path / name) as file:
            file.write(content)
        return self.path / name

    def write_picture(self, name: str, picture: Any) -> Path:
        """Write a PIL picture as PNG."""
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return self.write(name, buffer.getvalue())

    def record(self, run: dict[str, Any]) -> Path:
        """Write ``run.json``: what was done, and which files are ours."""
        from xplain import __version__

        head = {"written_by": f"xplain {__version__}", "files": self.files}
        head |= {name: value for name, value in run.items() if name != "run"}
        if "run" in run:
            self._run = to_json(run["run"])
        text = to_json(head)
        if self._run:
            text = f'{text[: text.rindex("}")].rstrip()},\n  "run": {self._run}\n}}'
        with whole_file(self.path / RECORD) as file:
            file.write(text.encode())
        return self.path / RECORD

    def _earlier(self) -> set[str]:
        """Names that an earlier run recorded; empty where there is no record of ours."""
        try:
            record = json.loads(read_text(self.path / RECORD, OutputError, RECORD))
            ours = str(record["written_by"]).startswith("xplain ") and isinstance(record["files"], list)
            return {name for name in record["files"] if isinstance(name, str)} | {RECORD} if ours else set()
        except (OutputError, ValueError, KeyError, TypeError, RecursionError):
            return set()


def file_stem(name: str, taken: set[str]) -> str:
    """A safe, free file name for a picture's or label's name: letters, digits, ``.``, ``_`` and ``-`` alone."""
    plain = re.sub(r"[^\w.-]+", "-", Path(name.rpartition(":")[2]).stem).strip("-.")[:_LONGEST_STEM] or "item"
    stem, n = plain, 2
    while stem.casefold() in taken:  # some file systems do not tell A from a
        stem, n = f"{plain}-{n}", n + 1
    taken.add(stem.casefold())
    return stem
