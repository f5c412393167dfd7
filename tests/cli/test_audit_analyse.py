"""``xplain audit analyse`` says what the analyses say, as lines and as JSON."""

from __future__ import annotations

import pytest

pytest.importorskip("pyarrow")

from audit.sealed import write_audit


def test_findings_are_lines_and_json_and_only_what_is_asked(xplain, tmp_path):
    out = write_audit(tmp_path)
    told = xplain("audit", "analyse", out, "--only", "mass,duplicates")
    assert told.code == 0
    assert "too few: mass of tiny/occlusion:patch=4:stride=4: 2 classes have fewer than 10 items (" in told.out
    assert "measured: duplicates: " in told.out
    findings = xplain("audit", "analyse", out, "--only", "duplicates", "--json").document["findings"]
    assert {one["kind"] for one in findings} == {"duplicates"}
    assert all(one["limits"] for one in findings)
    assert xplain("audit", "analyse", out, "--only", "magic").code not in (0, 1)
