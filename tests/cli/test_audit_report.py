"""``xplain audit report | diff | export``, and ``verify`` of a report: what they say, and with which exit codes."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("pyarrow")

from audit import synthetic
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return synthetic.write(tmp_path_factory.mktemp("audit") / "a", items=200, rows=100, sample=30, classes=4)


@pytest.fixture
def keys(tmp_path):
    key, pem = Ed25519PrivateKey.generate(), serialization.Encoding.PEM
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def test_a_report_is_written_signed_and_verified(xplain, out, keys, tmp_path):
    folder = tmp_path / "report"
    made = xplain("audit", "report", out, "--out", folder, "--reviewer", "A. Person", "--key", keys[0], "--json")
    assert made.code == 0
    assert (made.document["page"], made.document["signed"]) == (str(folder / "index.html"), True)
    whole = xplain("audit", "verify", folder, "--key", keys[1], "--json")
    assert (whole.code, whole.document["whole"], whole.document["reviewer"]) == (0, True, "A. Person")
    (folder / "lanes.csv").write_text("forged")
    altered = xplain("audit", "verify", folder)
    assert altered.code == 1
    assert "Altered: lanes.csv." in altered.out


def test_a_report_stands_beside_its_audit_where_no_place_is_named(xplain, out):
    assert xplain("audit", "report", out).code == 0
    assert (out.parent / "a-report" / "index.html").exists()


def test_a_comparison_says_what_changed(xplain, out, tmp_path):
    other = synthetic.write(tmp_path / "b", items=200, rows=100, sample=30, classes=4, changed=1)
    made = xplain("audit", "diff", out, other, "--out", tmp_path / "d", "--json")
    assert made.code == 0
    lane = made.document["lanes"][0]
    assert lane["newly wrong"] > 20 > lane["newly right"]
    assert any("Explanations of all items differ" in one["statement"] for one in made.document["moved"])
    assert (tmp_path / "d" / "index.html").exists()
    assert "are newly wrong" in xplain("audit", "diff", out, other).out


def test_an_export_names_the_tools_and_what_is_missing(xplain, out, monkeypatch):
    wrong = xplain("audit", "export", out, "tensorbord")
    assert wrong.code == 2
    assert "Did you mean 'tensorboard'?" in wrong.err
    monkeypatch.setitem(sys.modules, "mlflow", None)
    missing = xplain("audit", "export", out, "mlflow")
    assert "pip install mlflow" in missing.err
