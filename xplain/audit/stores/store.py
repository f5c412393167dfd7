"""The store of an audit: parts that are called by their content, and one seal per shard, which alone says it is done.

| name | is |
|---|---|
| ``parts/<sha256>.<ext>`` | bytes that its name follows from; writing them twice changes nothing |
| ``seals/<shard>.json`` | ``{audit, shard, first, rows, parts: {kind: name}}``; created last, and only if absent |

So a shard may be made by anyone, anywhere, any number of times: what is made is lost, or counted once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from xplain.audit.canonical import canonical, sha256_of
from xplain.audit.stores.place import Block, Growing, LocalFolder, Place
from xplain.core.errors import OutputError, UsageError, XplainError
from xplain.core.keeping.files import hold, holder, let_go
from xplain.core.keeping.strict import strict

__all__ = ["DamagedPart", "OtherBits", "Part", "Seal", "Store"]

_SEAL = re.compile(r"([0-9]{8})\.json")
_ENDING = re.compile(r"[a-z0-9]{1,10}")
_PART = re.compile(rf"([0-9a-f]{{64}})\.({_ENDING.pattern})")
_LOCK = ".xplain.lock"


class DamagedPart(XplainError, RuntimeError):
    """A part or seal that is missing, cut short, or holds other bits than its name says."""


class OtherBits(XplainError, RuntimeError):
    """A shard that was made twice with different bits: something that the plan does not name decides them."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What a finished shard consists of.

    Args:
        audit: The plan's identity.
        shard: Its number.
        first: Number of its first item.
        rows: How many items it has.
        parts: Kind (``records``, ``metrics``, ``maps/<lane>`` ...) to the name of a part.
    """

    audit: str
    shard: int
    first: int
    rows: int
    parts: Mapping[str, str]

    def to_json(self) -> bytes:
        """The seal's bytes, canonical."""
        told = {"audit": self.audit, "shard": self.shard, "first": self.first, "rows": self.rows}
        return canonical({**told, "parts": dict(self.parts)})

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """The seal that bytes hold.

        Raises:
            ValueError: they hold none.
        """
        raw = strict(content)
        if not isinstance(raw, dict) or set(raw) != {"audit", "shard", "first", "rows", "parts"}:
            raise ValueError("it is no seal")
        whole = all(type(raw[one]) is int and raw[one] >= 0 for one in ("shard", "first", "rows"))
        parts = raw["parts"]
        named = isinstance(parts, dict) and all(isinstance(n, str) and _PART.fullmatch(n) for n in parts.values())
        if not whole or not named or not isinstance(raw["audit"], str):
            raise ValueError("its values are of other kinds")
        return cls(raw["audit"], raw["shard"], raw["first"], raw["rows"], dict(sorted(parts.items())))


class Part:
    """A part that is written block by block, so that nobody need hold all of it; its name follows from them.

    Args:
        growing: Where the bytes go.
        ext: How its name ends.
    """

    def __init__(self, growing: Growing, ext: str) -> None:
        self._growing, self._ext, self._sha = growing, ext, hashlib.sha256()

    def write(self, block: Block) -> None:
        """Some more bytes.

        Raises:
            OutputError: they cannot be written.
        """
        self._sha.update(block)
        self._growing.write(block)

    def end(self) -> str:
        """All are there: the part's name, under which it is kept from here on.

        Raises:
            OutputError: it cannot be written.
        """
        name = f"{self._sha.hexdigest()}.{self._ext}"
        self._growing.take(f"parts/{name}")
        return name

    def drop(self) -> None:
        """Let go of what was not ended."""
        self._growing.drop()


class Store:
    """The parts and seals of an audit's folder.

    Args:
        folder: The audit's folder, or another place that answers as ``Place`` does.
    """

    def __init__(self, folder: str | os.PathLike[str] | Place) -> None:
        self.place: Place = LocalFolder(folder) if isinstance(folder, (str, os.PathLike)) else folder

    # ------------------------------------------------------------------ parts

    def put(self, content: bytes, ext: str) -> str:
        """Keep a part; its name.

        Raises:
            OutputError: it cannot be written.
        """
        name = f"{sha256_of(content)}.{ext}"
        _refuse_ending(ext)
        self.place.put(f"parts/{name}", content)
        return name

    def begin(self, ext: str) -> Part:
        """A part that is written block by block.

        Raises:
            OutputError: it cannot be written.
        """
        _refuse_ending(ext)
        return Part(self.place.grow("parts"), ext)

    def get(self, name: str) -> bytes:
        """A part's bytes, compared with its name.

        Raises:
            DamagedPart: it is missing, or holds other bits.
        """
        found = _PART.fullmatch(name)
        content = self.place.get(f"parts/{name}") if found else None
        if found is None or content is None:
            raise DamagedPart(f"Part {name[:80]} is missing. {_REPAIR}")
        if sha256_of(content) != found[1]:
            raise DamagedPart(f"Part {name} holds other bits than its name says. {_REPAIR}")
        return content

    def fault(self, name: str) -> str:
        """What is wrong with a part, in words; empty where its bytes are those of its name. It is read in blocks."""
        found, sha = _PART.fullmatch(name), hashlib.sha256()
        try:
            for block in self.place.blocks(f"parts/{name}"):
                sha.update(block)
        except FileNotFoundError:
            return "is missing"
        except OSError as error:
            return f"cannot be read: {error.strerror or error}"
        return "" if found is not None and sha.hexdigest() == found[1] else "holds other bits"

    def path(self, name: str) -> Path:
        """Where a part lies as a file, for readers that map it; from an object store it is fetched."""
        return self.place.file(f"parts/{name}")

    def parts(self) -> Iterator[str]:
        """Names of all parts, sealed or not, in any order."""
        return (name for name in self.place.names("parts") if _PART.fullmatch(name))

    # ------------------------------------------------------------------ seals

    def seal(self, shard: int, mapping: Seal | Mapping[str, Any]) -> bool:
        """Say that a shard is done; False if it was, with the same bits.

        Args:
            shard: Its number.
            mapping: The seal, or its fields by name.

        Raises:
            OtherBits: it was done with other bits, which is told and never written over.
            OutputError: it cannot be written.
        """
        seal = mapping if isinstance(mapping, Seal) else Seal.from_json(canonical(dict(mapping)))
        if seal.shard != shard:
            raise UsageError(f"The seal is of shard {seal.shard}, not {shard}.")
        content = seal.to_json()
        if self.place.create(_seal_name(shard), content):
            return True
        there = self.place.get(_seal_name(shard))
        if there != content:
            raise OtherBits(
                f"Shard {shard} was sealed with other bits before: {_which(there, seal)} differ. Nothing was changed. "
                "Look for what differs between the machines that made it, such as processors or library builds; "
                "'xplain audit verify --recompute' compares."
            )
        return False

    def sealed(self) -> set[int]:
        """Numbers of the shards that are done: names alone, nothing is read."""
        return {int(found[1]) for name in self.place.names("seals") if (found := _SEAL.fullmatch(name))}

    def blocked(self) -> set[int]:
        """Numbers of shards whose seal's name is taken by what is no file, so that they cannot be sealed."""
        return {int(found[1]) for name in self.place.strays("seals") if (found := _SEAL.fullmatch(name))}

    def seal_of(self, shard: int) -> Seal | None:
        """The seal of a shard; None where there is none.

        Raises:
            DamagedPart: it cannot be understood.
        """
        content = self.place.get(_seal_name(shard))
        if content is None:
            return None
        try:
            seal = Seal.from_json(content)
        except ValueError as error:
            raise DamagedPart(f"The seal of shard {shard} cannot be understood: {error}. {_REPAIR}") from None
        if seal.shard != shard:
            raise DamagedPart(f"The seal of shard {shard} is that of shard {seal.shard}. {_REPAIR}")
        return seal

    def seals(self) -> dict[int, Seal]:
        """All seals by shard, in order.

        Raises:
            DamagedPart: one cannot be understood.
        """
        found = ((shard, self.seal_of(shard)) for shard in sorted(self.sealed()))
        return {shard: seal for shard, seal in found if seal is not None}

    def unseal(self, shard: int) -> None:
        """Take a seal away, so that a run makes its shard again, and those of its parts that are damaged."""
        content = self.place.get(_seal_name(shard))
        self.place.remove(_seal_name(shard))
        try:
            parts = Seal.from_json(content or b"").parts
        except ValueError:
            return
        for name in parts.values():
            if self.fault(name):
                self.place.remove(f"parts/{name}")

    def root(self, *heads: bytes | str, seals: Mapping[int, Seal] | None = None) -> str:
        """sha256 over what the audit is and all that is sealed: ``heads`` (plan, items), then seals in order.

        Args:
            heads: Bytes of the plan and of the items, or their sha256.
            seals: Seals as they were read; None to read them.
        """
        sha = hashlib.sha256()
        for head in heads:
            sha.update((head if isinstance(head, str) else sha256_of(head)).encode())
        for _, seal in sorted((self.seals() if seals is None else seals).items()):
            sha.update(sha256_of(seal.to_json()).encode())
        return sha.hexdigest()

    # ------------------------------------------------------------------ housekeeping

    def gc(self) -> int:
        """Remove parts that no seal names and what was left half-written; how many. Only while ``hold`` is held.

        Raises:
            DamagedPart: a seal cannot be understood, so that it is not known which parts it names.
        """
        kept = {name for seal in self.seals().values() for name in seal.parts.values()}
        stale = [name for name in self.parts() if name not in kept]
        for name in stale:
            self.place.remove(f"parts/{name}")
        return len(stale) + self.place.sweep("parts") + self.place.sweep("seals")

    def tidy(self) -> int:
        """Remove what killed processes left half-written, and nothing that a living one holds; how many."""
        return self.place.sweep("parts", living=True) + self.place.sweep("seals", living=True)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """The right to run: one process at a time has it, and its workers work under it.

        It is a lock on a file, which the system ends with the process, however that ends: what a killed run leaves
        behind is a file that nobody holds. Where files cannot be locked, and in an object store, nobody is refused:
        seals alone decide there, and two runs at once make shards twice, with one outcome.

        Raises:
            OutputError: another run has it.
        """
        if not isinstance(self.place, LocalFolder):
            yield
            return
        lock = self.place.path / _LOCK
        held = hold(lock, f"process {os.getpid()} on {platform.node()}")
        if held is None:
            raise OutputError(
                f"Another run is at work on {self.place.called}: {holder(lock) or 'it does not say which'}. Wait until "
                "it has ended, or end it; 'xplain audit status' shows how far it is."
            )
        try:
            yield
        finally:
            let_go(lock, held)


_REPAIR = "'xplain audit verify --repair' takes the seals of damaged shards away, and a run makes them again."


def _seal_name(shard: int) -> str:
    return f"seals/{shard:08d}.json"


def _refuse_ending(ext: str) -> None:
    if not _ENDING.fullmatch(ext):
        raise UsageError(f"A part ends in up to ten small letters and digits, not {ext!r}.")


def _which(there: bytes | None, seal: Seal) -> str:
    """The parts in which two seals of one shard differ."""
    try:
        was = Seal.from_json(there or b"")
    except ValueError:
        return "all parts, for that seal is damaged,"
    if (was.audit, was.first, was.rows) != (seal.audit, seal.first, seal.rows):
        return "plan or rows"
    kinds = dict.fromkeys([*was.parts, *seal.parts])
    return ", ".join(kind for kind in kinds if was.parts.get(kind) != seal.parts.get(kind))
