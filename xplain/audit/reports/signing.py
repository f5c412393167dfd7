"""A report's signature file: digests of its files and of the audit, and who vouches for them where a key is given.

``signature.json`` holds a statement (format, audit, plan, files with their sha256, reviewer), the sha256 of its
canonical JSON, and, where a key was given, an Ed25519 signature (RFC 8032) of those bytes with the public key. Digests
find what was altered; a signature finds it also where the digests were altered with it, for whoever knows the signer's
public key from elsewhere: a key that comes along with what it signs vouches for nothing.

    openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout -out public.pem
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from xplain.audit.canonical import canonical, needed, sha256_of
from xplain.core.declaring.wording import option
from xplain.core.errors import UsageError
from xplain.core.keeping.files import read_text
from xplain.core.keeping.strict import strict

__all__ = ["PASSWORD", "SIGNATURE", "Checked", "Key", "Statement", "check", "is_report", "read_private", "signed"]

SIGNATURE = "signature.json"
PASSWORD = "XPLAIN_KEY_PASSWORD"
"""Variable of the environment that holds the password of an encrypted key."""
_FORMAT = "xplain report signature 1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
_MOST_KEY = 64 * 1024
_STATED = {"format", "audit", "plan", "files", "reviewer", "written_by"}

Verdict: TypeAlias = Literal["valid", "invalid", "of another key", "none"]
Key: TypeAlias = Any
"""A key of ``cryptography``, private or public."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a look at a report found.

    Args:
        root: Root hash of the audit that it is about.
        reviewer: Who is named as its reviewer.
        altered: Files whose digest is another one.
        missing: Files that are not there.
        strange: Files that the signature file does not name.
        statement: Whether the statement is that whose digest stands beside it.
        signature: Whether it is signed, and rightly; ``of another key`` than the one that was given.
        signer: sha256 of the signer's public key; empty where it is not signed.
        vouched: Whether the signer's public key was given by the caller.
    """

    root: str
    reviewer: str
    altered: tuple[str, ...]
    missing: tuple[str, ...]
    strange: tuple[str, ...]
    statement: bool
    signature: Verdict
    signer: str
    vouched: bool

    @property
    def whole(self) -> bool:
        """Nothing was altered, and a signature, if there is one or one was asked for, holds."""
        good = ("valid",) if self.vouched else ("valid", "none")
        return self.statement and self.signature in good and not (self.altered or self.missing or self.strange)

    def said(self) -> str:
        """The same in sentences."""
        parts = [
            f"altered: {', '.join(self.altered)}" if self.altered else "",
            f"missing: {', '.join(self.missing)}" if self.missing else "",
            f"not part of the report: {', '.join(self.strange)}" if self.strange else "",
            "" if self.statement else "the statement is not the one that was digested",
        ]
        found = "; ".join(filter(None, parts)) or "every file is as it was written"
        who = {
            "valid": f"Signed by the key {self.signer[:16]}",
            "invalid": "The signature does not hold",
            "of another key": f"Signed by another key ({self.signer[:16]}) than the one given",
            "none": "Not signed",
        }[self.signature]
        if self.signature == "valid" and not self.vouched:
            who += ", which nobody vouches for here: give the signer's public key to know whose it is"
        return f"{found[0].upper()}{found[1:]}. {who}."


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said of a report beside its files.

    Args:
        root: Root hash of the audit; of a comparison those of both, with a blank between.
        plan: Identity of its plan, likewise.
        reviewer: Who is named.
        version: Of xplain.
    """

    root: str
    plan: str
    reviewer: str
    version: str


def signed(files: Mapping[str, bytes], said: Statement, key: Key | None) -> bytes:
    """The signature file of a report.

    Args:
        files: Its other files.
        said: What is stated of them.
        key: A private key from ``read_private``, or None.
    """
    statement = {
        "format": _FORMAT,
        "audit": said.root,
        "plan": said.plan,
        "files": {name: sha256_of(content) for name, content in files.items()},
        "reviewer": said.reviewer,
        "written_by": f"xplain {said.version}",
    }
    content = canonical(statement)
    signature = None
    if key is not None:
        public = key.public_key().public_bytes_raw()
        signature = {"kind": "ed25519", "public_key": _text(public), "value": _text(key.sign(content))}
    return canonical({"statement": statement, "digest": sha256_of(content), "signature": signature}) + b"\n"


def check(folder: str | os.PathLike[str], key: str | os.PathLike[str] | None = None) -> Checked:
    """Hold a report against its signature file.

    Args:
        folder: The report's folder.
        key: File of the signer's public key (PEM), known from elsewhere; None to take the one that comes along.

    Raises:
        UsageError: there is no signature file, it cannot be understood, or the key is none.
    """
    place = Path(folder)
    known = None if key is None else _public(read_key(key))
    document = _document(place)
    statement, signature = document["statement"], document["signature"]
    content = canonical(statement)
    altered, missing = [], []
    for name, digest in statement["files"].items():
        found = _digest(place / name)
        if found is None:
            missing.append(name)
        elif found != digest:
            altered.append(name)
    strange = {one.name for one in place.iterdir()} - {*statement["files"], SIGNATURE}
    verdict, signer = _judged(signature, content, known)
    return Checked(
        root=str(statement["audit"]),
        reviewer=str(statement["reviewer"]),
        altered=tuple(altered),
        missing=tuple(missing),
        strange=tuple(sorted(strange)),
        statement=sha256_of(content) == document["digest"],
        signature=verdict,
        signer=signer,
        vouched=known is not None,
    )


def is_report(folder: Path) -> bool:
    """Whether a folder is a report as it was written, and nothing else."""
    try:
        found = check(folder)
    except (UsageError, OSError):
        return False
    return found.statement and not (found.altered or found.missing or found.strange)


def read_key(path: str | os.PathLike[str]) -> Key:
    """An Ed25519 key from a PEM file, private or public.

    Raises:
        UsageError: it cannot be read, or is no such key.
    """
    serialization = needed("cryptography.hazmat.primitives.serialization")
    text = read_text(path, UsageError, f"The key {path}", _MOST_KEY).encode()
    given = os.environ.get(PASSWORD)
    try:
        if b"PRIVATE KEY" in text:
            key = serialization.load_pem_private_key(text, None if given is None else given.encode())
        else:
            key = serialization.load_pem_public_key(text)
    except TypeError:
        raise UsageError(
            f"The key {path} is encrypted, or {PASSWORD} is set and it is not: give the password of an encrypted key "
            f"in the environment variable {PASSWORD}.",
            option="key",
        ) from None
    except (ValueError, needed("cryptography.exceptions").UnsupportedAlgorithm):
        raise _no_key(path) from None
    if not isinstance(key, (_kinds().Ed25519PrivateKey, _kinds().Ed25519PublicKey)):
        raise _no_key(path)
    return key


def read_private(path: str | os.PathLike[str]) -> Key:
    """A private key to sign with.

    Raises:
        UsageError: it is a public one, or none.
    """
    key = read_key(path)
    if not isinstance(key, _kinds().Ed25519PrivateKey):
        raise UsageError(
            f"The key {path} is a public one, which can check and not sign. Give the private key to ",
            option("key"),
            ".",
            option="key",
        )
    return key


def _kinds() -> Any:
    return needed("cryptography.hazmat.primitives.asymmetric.ed25519")


def _no_key(path: str | os.PathLike[str]) -> UsageError:
    return UsageError(
        f"{path} is no Ed25519 key in PEM form",
        option="key",
        accepted="what 'openssl genpkey -algorithm ed25519 -out key.pem' writes",
    )


def _public(key: Key) -> bytes:
    public = key.public_key() if isinstance(key, _kinds().Ed25519PrivateKey) else key
    raw: bytes = public.public_bytes_raw()
    return raw


def _judged(signature: Mapping[str, str] | None, content: bytes, known: bytes | None) -> tuple[Verdict, str]:
    """Whether a signature holds, and the sha256 of the key that it names."""
    if signature is None:
        return "none", ""
    raw = _bytes(signature["public_key"])
    signer = sha256_of(raw)
    try:
        _kinds().Ed25519PublicKey.from_public_bytes(raw).verify(_bytes(signature["value"]), content)
    except (ValueError, needed("cryptography.exceptions").InvalidSignature):
        return "invalid", signer
    return ("valid" if known is None or known == raw else "of another key"), signer


def _document(place: Path) -> dict[str, Any]:
    """The signature file, with every field of the kind that it must be."""
    text = read_text(place / SIGNATURE, UsageError, f"The signature file {place / SIGNATURE}", 2**20)
    try:
        found = strict(text.encode())
        statement, signature = found["statement"], found["signature"]
        files = statement["files"]
        whole = set(found) == {"statement", "digest", "signature"} and set(statement) == _STATED
        whole &= statement["format"] == _FORMAT and all(isinstance(statement[n], str) for n in _STATED - {"files"})
        whole &= all(_NAME.fullmatch(name) and isinstance(digest, str) for name, digest in files.items())
        if signature is not None:
            whole &= signature["kind"] == "ed25519" and all(isinstance(one, str) for one in signature.values())
            whole &= {"kind", "public_key", "value"} == set(signature)
    except (ValueError, TypeError, KeyError, AttributeError):
        whole, found = False, {}
    if not whole:
        raise UsageError(
            f"{place / SIGNATURE} is no signature file of this xplain, or was altered beyond reading. Take the report "
            "from a copy, or make it again."
        )
    return dict(found)


def _digest(path: Path) -> str | None:
    """sha256 of a regular file, read in pieces; None where there is none."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
