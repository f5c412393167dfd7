"""A report's signature file: what was altered is found, and a key vouches only for whoever knows it from elsewhere."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from xplain.audit.canonical import canonical, sha256_of
from xplain.audit.reports import signing
from xplain.core.errors import OutputError, UsageError
from xplain.core.keeping.folders import write_folder

FILES = {"index.html": b"<p>page", "audit.json": b"{}", "tests.csv": b"a,b\r\n"}
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


def pem(key, password: bytes | None = None) -> bytes:
    how = serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
    return key.private_bytes(PEM, PKCS8, how)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private key and its public one."""
    key = Ed25519PrivateKey.generate()
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    private.write_bytes(pem(key))
    public.write_bytes(key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def report(folder: Path, key: Path | None = None, files=FILES) -> Path:
    private = None if key is None else signing.read_private(key)
    said = signing.Statement("ab" * 32, "cd" * 32, "A. Person", "0.1.0")
    write_folder(folder, {**files, signing.SIGNATURE: signing.signed(files, said, private)}, signing.is_report)
    return folder


def test_a_report_as_it_was_written_is_whole(tmp_path, keys):
    unsigned = signing.check(report(tmp_path / "a"))
    assert (unsigned.whole, unsigned.signature, unsigned.root, unsigned.reviewer) == (
        True,
        "none",
        "ab" * 32,
        "A. Person",
    )
    signed = signing.check(report(tmp_path / "b", keys[0]), keys[1])
    assert (signed.whole, signed.signature, signed.vouched) == (True, "valid", True)
    assert "nobody vouches" in signing.check(tmp_path / "b").said()


@pytest.mark.parametrize("name", FILES)
def test_one_letter_that_was_altered_is_found(tmp_path, name):
    folder = report(tmp_path / "a")
    content = bytearray((folder / name).read_bytes())
    content[0] ^= 1
    (folder / name).write_bytes(content)
    found = signing.check(folder)
    assert (found.whole, found.altered) == (False, (name,))
    assert found.said().startswith(f"Altered: {name}")


def test_files_that_are_missing_linked_or_strange_are_found(tmp_path):
    folder = report(tmp_path / "a")
    (folder / "tests.csv").unlink()
    (tmp_path / "elsewhere").write_bytes(FILES["audit.json"])
    (folder / "audit.json").unlink()
    (folder / "audit.json").symlink_to(tmp_path / "elsewhere")
    (folder / "more.html").write_text("<p>")
    found = signing.check(folder)
    assert (found.missing, found.strange, found.whole) == (("audit.json", "tests.csv"), ("more.html",), False)


def test_digests_that_were_altered_with_a_file_are_found_by_the_signature(tmp_path, keys):
    folder = report(tmp_path / "a", keys[0])
    (folder / "tests.csv").write_bytes(b"forged")
    document = json.loads((folder / signing.SIGNATURE).read_bytes())
    document["statement"]["files"]["tests.csv"] = sha256_of(b"forged")
    document["digest"] = sha256_of(canonical(document["statement"]))
    (folder / signing.SIGNATURE).write_bytes(canonical(document))
    found = signing.check(folder, keys[1])
    assert (found.altered, found.statement, found.signature, found.whole) == ((), True, "invalid", False)
    document["signature"] = None  # a signature that was taken away is missed by whoever brings the key
    (folder / signing.SIGNATURE).write_bytes(canonical(document))
    assert signing.check(folder).whole
    assert not signing.check(folder, keys[1]).whole


def test_a_report_that_another_key_signed_is_not_taken_for_the_signers(tmp_path, keys):
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(pem(Ed25519PrivateKey.generate()))
    found = signing.check(report(tmp_path / "a", stranger), keys[1])
    assert (found.signature, found.whole) == ("of another key", False)


def test_the_signature_is_what_openssl_would_verify(tmp_path, keys):
    """RFC 8032 over the statement's canonical JSON: recomputed here with the library alone."""
    folder = report(tmp_path / "a", keys[0])
    document = json.loads((folder / signing.SIGNATURE).read_bytes())
    public = serialization.load_pem_public_key(keys[1].read_bytes())
    text = json.dumps(document["statement"], sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    public.verify(signing._bytes(document["signature"]["value"]), text)


def test_keys_that_cannot_sign_are_refused_with_what_to_do(tmp_path, keys, monkeypatch):
    with pytest.raises(UsageError, match="public one, which can check and not sign"):
        signing.read_private(keys[1])
    other = tmp_path / "other.pem"
    other.write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(UsageError, match="openssl genpkey -algorithm ed25519"):
        signing.read_private(other)
    other.write_text("no key")
    with pytest.raises(UsageError, match="no Ed25519 key"):
        signing.read_private(other)
    with pytest.raises(UsageError, match="no such file"):
        signing.read_private(tmp_path / "none.pem")
    other.write_bytes(pem(Ed25519PrivateKey.generate(), b"secret"))
    with pytest.raises(UsageError, match=signing.PASSWORD):
        signing.read_private(other)
    monkeypatch.setenv(signing.PASSWORD, "wrong")
    with pytest.raises(UsageError, match="no Ed25519 key|password"):
        signing.read_private(other)
    monkeypatch.setenv(signing.PASSWORD, "secret")
    assert signing.read_private(other).sign(b"")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"audit.json"', '"../audit.json"'),
        lambda text: text.replace("xplain report signature 1", "xplain report signature 2"),
        lambda text: text.replace('"reviewer":"A. Person"', '"reviewer":7'),
        lambda text: "[" * 5000,
    ],
)
def test_a_signature_file_that_is_none_is_refused(tmp_path, damage):
    folder = report(tmp_path / "a")
    path = folder / signing.SIGNATURE
    path.write_text(damage(path.read_text()))
    with pytest.raises(UsageError, match="is no signature file"):
        signing.check(folder)


def test_a_report_replaces_a_report_and_nothing_else(tmp_path):
    folder = report(tmp_path / "a")
    report(folder, files={"index.html": b"new"})
    assert sorted(one.name for one in folder.iterdir()) == ["index.html", signing.SIGNATURE]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="no report of xplain's"):
        report(folder)
    assert (folder / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        report(tmp_path / "file")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "file"]


def test_a_disk_that_is_full_leaves_the_earlier_report_and_nothing_half_written(tmp_path, monkeypatch):
    folder = report(tmp_path / "a")

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        report(folder, files={"index.html": b"new"})
    with pytest.raises(OutputError, match="No space left"):
        report(tmp_path / "b")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a"]
    assert signing.check(folder).whole


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where nobody may write")
def test_a_place_where_nobody_may_write_is_named():
    with pytest.raises(OutputError, match="Cannot write /proc/report"):
        report(Path("/proc/report"))
