"""Results that older code saved still load, with the same values, labels, targets, facts and warnings.

``old/*.npz`` were written by the code of commit 2531783 (format 1), and ``expected.json`` says what it showed of them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from made import attribution

from xplain.core.caveat import Caveat
from xplain.core.errors import UsageError
from xplain.results.attribution import Attribution
from xplain.results.result import plain_values

OLD = Path(__file__).parent / "old"
EXPECTED = json.loads((OLD / "expected.json").read_text(encoding="utf-8"))
KEPT = ("card", "columns", "cost", "labels", "layout", "method", "model", "names", "notes", "options", "resolution")
KEPT += ("seed", "signed", "target", "texts", "unit", "versions", "warnings")


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_of_before_says_what_it_said(name, tmp_path):
    told, found = EXPECTED[name], Attribution.load(OLD / f"{name}.npz")
    for array, digest in told["arrays"].items():
        assert hashlib.sha256(np.ascontiguousarray(getattr(found, array)).tobytes()).hexdigest() == digest, array
    again = Attribution.load(found.save(tmp_path / "again.npz"))
    for one in (found, again):
        meta = one.meta()
        assert {field: meta[field] for field in KEPT} == {field: told["meta"][field] for field in KEPT}
        for item, was in zip(one, told["each"], strict=True):
            assert (item.target, list(item.labels), item.said) == (was["target"], was["labels"], was["warnings"])
            assert plain_values(item.notes) == was["notes"]
    assert again.meta() == found.meta()


def test_every_file_is_looked_at():
    assert {path.stem for path in OLD.glob("*.npz")} == set(EXPECTED)


def before(tmp_path, target, labels, notes=None, drop=()):
    """A file of format 1."""
    a = attribution(np.zeros((len(labels), 2, 2)), labels=labels)
    with np.load(a.save(tmp_path / "a.npz")) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays["meta"]))
    for name in ("what", "each", "rows_per_call", "source", "targets", *drop):
        del meta[name]
    meta |= {"format": 1, "target": target, "notes": notes or {}}
    np.savez(tmp_path / "a.npz", **{**arrays, "meta": np.array(json.dumps(meta))})
    return Attribution.load(tmp_path / "a.npz")


def test_targets_of_a_file_that_has_them_in_one_text(tmp_path):
    old = before(tmp_path, "per item: cat | dog", (3, 5, 3), drop=["warnings"])
    assert old.targets == ("cat", "dog", "cat")
    honest = before(tmp_path, "per item: cat | x | dog", (3, 5))
    assert honest.targets == ("class 3", "class 5")
    assert before(tmp_path, "cat", (3, 3)).target_of(1) == "cat"


def test_a_file_without_a_target(tmp_path):
    before(tmp_path, "cat", (3,))
    with np.load(tmp_path / "a.npz") as file:
        arrays = dict(file)
    meta = json.loads(str(arrays["meta"]))
    del meta["target"]
    np.savez(tmp_path / "a.npz", **{**arrays, "meta": np.array(json.dumps(meta))})
    with pytest.raises(UsageError, match="it has no field 'target'"):
        Attribution.load(tmp_path / "a.npz")


def test_warnings_that_were_notes(tmp_path):
    notes = {"warning": ["", "zero"], "warning: more": "all", "fallback": "on the CPU", "kept": [1, 2], "all": (3,)}
    old = before(tmp_path, "cat", (0, 0), notes)
    assert old.warnings == (Caveat("zero", item=1), Caveat("all"), Caveat("on the CPU", "model"))
    assert (old.each, old.facts["all"]) == ({"kept": [1, 2]}, [3])


def test_rows_per_call_that_were_a_note(tmp_path):
    old = before(tmp_path, "cat", (0, 0), {"rows per call": {"scores": [1, 9], "sweeps": 4, "odd": "x"}})
    assert old.provenance.rows_per_call == {"scores": [1, 9], "sweeps": [4]}
    assert old.notes["rows per call"] == {"scores": [1, 9], "sweeps": 4}
