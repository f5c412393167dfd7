"""Findings as files: what comes back is what was found, of that root alone."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.audit.findings.finding_store import keep, kept
from xplain.core.errors import UsageError
from xplain.core.finding import Finding

FULL = Finding(
    *("scan", "class ü", "It looks at the corner.", "confirmed", 0.5, "share", (0.4, float("inf")), 0.01, 90),
    members=np.array([7, 3]),
    evidence={"map": np.eye(3, dtype=np.float32), "power": 0.5, "none": None, "names": ["a", "b"], "bad": float("nan")},
    limits=("Not why.",),
)


def test_findings_come_back_as_they_were(tmp_path):
    keep(tmp_path, "ab", [FULL, Finding("drift", "", "Nothing.", "too few")])
    first, second = kept(tmp_path, "ab")
    for name in ("kind", "group", "statement", "standing", "effect", "unit", "interval", "p", "count", "limits"):
        assert getattr(first, name) == getattr(FULL, name)
    assert first.members.tolist() == [7, 3]
    np.testing.assert_array_equal(first.evidence["map"], np.eye(3))
    assert first.evidence["map"].dtype == np.float32
    assert (first.evidence["power"], first.evidence["none"], first.evidence["names"]) == (0.5, None, ["a", "b"])
    assert np.isnan(first.evidence["bad"])
    assert (second.effect, second.p, second.interval, len(second.members)) == (None, None, None, 0)


def test_another_root_has_none_and_no_findings_are_not_none(tmp_path):
    keep(tmp_path, "ab", [])
    assert kept(tmp_path, "ab") == []
    assert kept(tmp_path, "cd") is None


def test_an_archive_of_arrays_cut_in_half_is_refused_as_damaged(tmp_path):
    keep(tmp_path, "ab", [FULL])
    arrays = tmp_path / "findings" / "ab.npz"
    arrays.write_bytes(arrays.read_bytes()[:-30])
    with pytest.raises(UsageError, match="cannot be read.*xplain audit analyse"):
        kept(tmp_path, "ab")


@pytest.mark.parametrize("damage", ["cut", "standing", "array", "root"])
def test_damaged_findings_are_refused_with_what_to_do(tmp_path, damage):
    keep(tmp_path, "ab", [FULL])
    path = tmp_path / "findings" / "ab.json"
    text = path.read_text()
    changed = {
        "cut": text[:-9],
        "standing": text.replace('"confirmed"', '"proven"'),
        "array": text.replace('"array":"0/0"', '"array":"0/9"'),
        "root": text.replace('"root":"ab"', '"root":"cd"'),
    }[damage]
    assert changed != text
    path.write_text(changed)
    with pytest.raises(UsageError, match="cannot be read.*xplain audit analyse"):
        kept(tmp_path, "ab")
