"""A store in an object store, or on any other file system that fsspec knows: the same verbs, answered over a network.

| file systems | a part or seal | a seal that is there already |
|---|---|---|
| ``s3 gs abfs`` | is whole or not there | is refused by the server (``If-None-Match: *`` on S3) |
| all others | is written beside, and moved | is looked for; of two writers in that moment the later stays |

What a server promises is tried and not believed: ``proved`` creates a name twice, and the second must be refused. Since
a shard's bits do not follow from who makes it, the later of two writers changes nothing; but that two machines round
otherwise is found for sure only where the server refuses.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from xplain.audit.canonical import needed, sha256_of
from xplain.audit.stores.place import BLOCK, Block, Growing
from xplain.core.errors import MissingDependency, OutputError, UsageError
from xplain.core.keeping.files import there, whole_file

__all__ = ["ObjectStore", "is_far", "local"]

_CONDITIONAL = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
"""Protocols whose drivers pass 'only if absent' on to the server."""
_WHOLE = _CONDITIONAL | {"memory"}
"""Protocols by which a name never stands for half of its bytes."""
_DRIVERS = {
    **dict.fromkeys(("s3", "s3a"), "'xplain[remote]'"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("abfs", "abfss", "az"), "adlfs"),
}
"""What is installed for a protocol."""
_SECRETS = frozenset({"key", "password", "secret", "sig", "signature", "token"})
"""Words of a URL's query behind which secrets stand."""


def is_far(out: Any) -> bool:
    """Whether a place is named by a URL of something else than a folder here."""
    return isinstance(out, str) and "://" in out and not out.startswith(_HERE)


def _refuse_secrets(url: str) -> None:
    """Refuse a URL that holds a password or a signature: it is printed, and others on a machine see command lines.

    Raises:
        UsageError: it does; the message does not repeat it.
    """
    kind, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    user = place.partition("/")[0].rpartition("@")[0]
    if ":" in user or any(word.partition("=")[0].casefold() in _SECRETS for word in query.split("&")):
        raise UsageError(
            f"The {kind} URL holds a secret, which would be printed and seen by others. Leave it out, and let the "
            "driver read it from its own environment or file, such as AWS_SECRET_ACCESS_KEY, "
            "GOOGLE_APPLICATION_CREDENTIALS or AZURE_STORAGE_CONNECTION_STRING.",
            option="out",
        )


def local(out: str | os.PathLike[str]) -> Path:
    """A folder of this machine by its path, or by a URL of it."""
    text = os.fspath(out)
    return Path(unquote(text.removeprefix(_HERE))) if text.startswith(_HERE) else Path(text)


_HERE = "file://"


class ObjectStore:
    """A place behind a URL, such as ``s3://bucket/audit``.

    Who may read and write there, and where the server is, fsspec's drivers are told by their own environment
    (``AWS_ACCESS_KEY_ID``, ``FSSPEC_S3_ENDPOINT_URL`` ...): no secret stands in an audit.

    Args:
        url: The place.
        kept: A folder for parts that are read as files.

    Raises:
        UsageError: the URL is of no kind that fsspec knows, or holds a secret.
        MissingDependency: fsspec, or its driver for it, is not installed.
    """

    def __init__(self, url: str, kept: Path | None = None) -> None:
        self.url, self.kept = url.rstrip("/"), kept
        core = needed("fsspec.core")
        _refuse_secrets(self.url)
        if not self.url.partition("://")[2]:
            raise UsageError(option="out", got=url, accepted="a folder, or a URL such as s3://bucket/audit")
        try:
            self._system, self._root = core.url_to_fs(self.url)
        except ImportError as error:
            driver = _DRIVERS.get(self.url.partition("://")[0])
            how = f" pip install {driver}." if driver else ""
            raise MissingDependency(
                f"{self.url[:300]} cannot be opened, for its driver is not installed: {str(error).rstrip('.')}.{how}"
            ) from None
        except Exception as error:  # drivers raise errors of many kinds
            raise UsageError(f"{self.url[:300]} cannot be opened: {str(error)[:200]}.", option="out") from None
        names = self._system.protocol
        self._protocols = frozenset((names,) if isinstance(names, str) else names)

    @property
    def called(self) -> str:
        """Its URL."""
        return self.url[:300]

    def put(self, name: str, content: bytes) -> None:
        """Put an object; one of its length that is there is not sent again.

        Raises:
            OutputError: it cannot be written.
        """
        with self._told("write", name):
            if self._size(name) != len(content):
                self._write(name, content)

    def grow(self, folder: str) -> Growing:
        """A temporary file of this machine, which is sent when its name is known."""
        return _Sent(self)

    def send(self, name: str, path: Path, again: bool = False) -> None:
        """Put a file of this machine; one of its length that is there is not sent again, unless that is asked.

        Raises:
            OutputError: it cannot be written.
        """
        with self._told("write", name):
            if again or self._size(name) != path.stat().st_size:
                self._beside(name, lambda to: self._system.put_file(str(path), to))

    def create(self, name: str, content: bytes) -> bool:
        """Put an object whose name is free; the server says whether it is.

        Raises:
            OutputError: it cannot be written.
        """
        with self._told("write", name):
            if self._protocols & _CONDITIONAL:
                try:
                    self._system.pipe_file(self._at(name), content, mode="create")
                except FileExistsError:
                    return False
                return True
            if self._system.exists(self._at(name)):
                return False
            self._write(name, content)
            return True

    def proved(self, name: str, content: bytes) -> None:
        """Hold the server to what ``create`` says, at a name that has these very bytes.

        Raises:
            OutputError: it writes over what is there.
        """
        if self.create(name, content):
            raise OutputError(
                f"{self.called} does not keep what is there: a name was created twice, so that it could not be trusted "
                "with seals. Use a server and a driver that know 'create only if absent' (If-None-Match), or a folder."
            )

    def get(self, name: str) -> bytes | None:
        """An object's bytes; None where there is none.

        Raises:
            OutputError: it cannot be read.
        """
        with self._told("read", name):
            try:
                found: bytes = self._system.cat_file(self._at(name))
            except (FileNotFoundError, IsADirectoryError):
                return None
            return found

    def fetch(self, name: str, to: Path) -> bool:
        """Copy an object to a file, which appears whole or not at all; False where there is none.

        Raises:
            OutputError: it cannot be read, or not be written here.
        """
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching.", dir=to.parent) as place, self._told("read", name):
            part = Path(place) / "part"
            try:
                self._system.get_file(self._at(name), str(part))
            except FileNotFoundError:
                return False
            part.replace(to)
        return True

    def blocks(self, name: str) -> Iterator[bytes]:
        """What the server has, whatever copy lies here."""
        with self._system.open(self._at(name), "rb") as file:
            while block := file.read(BLOCK):
                yield block

    def file(self, name: str) -> Path:
        """A copy of an object on this machine; a part that is there is held against its name, and not fetched again.

        Raises:
            OutputError: it cannot be read.
        """
        assert self.kept is not None
        path = self.kept / name
        if there(path) != "file":
            content = self.get(name)
            if content is not None and path.name.startswith(sha256_of(content)):
                path.parent.mkdir(parents=True, exist_ok=True)
                with whole_file(path) as file:
                    file.write(content)
        return path

    def names(self, folder: str) -> Iterator[str]:
        """Names of objects, as the server lists them now.

        Raises:
            OutputError: it does not.
        """
        return (name for name, kind in self._entries(folder) if kind == "file")

    def strays(self, folder: str) -> Iterator[str]:
        """Names that stand for further names."""
        return (name for name, kind in self._entries(folder) if kind != "file")

    def remove(self, name: str) -> None:
        """Remove an object.

        Raises:
            OutputError: it cannot be removed.
        """
        with self._told("remove", name), suppress(FileNotFoundError):
            self._system.rm_file(self._at(name))

    def sweep(self, folder: str, living: bool = False) -> int:
        """Remove what was being moved to its name; uploads that were cut off are the server's, and its to forget."""
        if self._protocols & _WHOLE or living:
            return 0
        stale = [name for name, _ in self._entries(folder, hidden=True) if name.startswith(_TEMPORARY)]
        for name in stale:
            self.remove(f"{folder}/{name}")
        return len(stale)

    # ------------------------------------------------------------------ the file system

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _size(self, name: str) -> int | None:
        try:
            return int(self._system.info(self._at(name))["size"])
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: bytes) -> None:
        self._beside(name, lambda to: self._system.pipe_file(to, content))

    def _beside(self, name: str, write: Any) -> None:
        """Write an object in one step: at once where the server does so, else under a name that nobody looks at."""
        folder, _, last = name.rpartition("/")
        if self._protocols & _WHOLE:
            write(self._at(name))
            return
        self._system.makedirs(self._at(folder).rstrip("/"), exist_ok=True)
        temporary = self._at(f"{folder}/{_TEMPORARY}{os.urandom(6).hex()}.{last}".lstrip("/"))
        write(temporary)
        self._system.mv(temporary, self._at(name))

    def _entries(self, folder: str, hidden: bool = False) -> list[tuple[str, str]]:
        with self._told("list", folder):
            self._system.invalidate_cache()
            try:
                found = self._system.ls(self._at(folder), detail=True)
            except FileNotFoundError:
                return []
            names = [(str(one["name"]).rstrip("/").rpartition("/")[2], str(one["type"])) for one in found]
            return [(name, kind) for name, kind in names if hidden or not name.startswith(".")]

    @contextmanager
    def _told(self, verb: str, name: str) -> Iterator[None]:
        """What the file system refuses, in words; drivers raise errors of many kinds."""
        try:
            yield
        except OutputError:
            raise
        except Exception as error:
            why = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise OutputError(f"Cannot {verb} {name[:100]} of {self.called}: {why}.") from None


_TEMPORARY = ".tmp."


class _Sent:
    """Bytes that gather in a file of this machine until their name is known."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        number, path = tempfile.mkstemp(prefix="xplain-part-")
        self._path, self._file = Path(path), os.fdopen(number, "wb")

    def write(self, block: Block) -> None:
        with self._store._told("write", "a part"):  # noqa: SLF001 - its own store
            self._file.write(block)

    def take(self, name: str) -> None:
        with self._store._told("write", name):  # noqa: SLF001
            self._file.close()
        self._store.send(name, self._path)

    def drop(self) -> None:
        with suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)
