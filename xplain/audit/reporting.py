"""``xplain.audit.report``: a folder with the page, the same numbers as JSON and CSV, and the signature file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from xplain.audit.readers import Reads
from xplain.audit.signing import SIGNATURE, Statement, is_report, read_private, signed
from xplain.audit.telling import told
from xplain.core.errors import UnknownName, UsageError
from xplain.core.finding import Finding
from xplain.core.folders import write_folder
from xplain.core.registry import METRICS
from xplain.report.audit import audit_page, csv_of, json_of

__all__ = ["PAGE", "known_metric", "written"]

PAGE, TWIN = "index.html", "audit.json"
_LONGEST_NAME = 200
_JUDGED = ("answers", "curve", "maps", "truth")
"""What a metric must need for its value to speak of truth: one that reads a map alone says how it looks."""


def written(
    audit: Reads,
    to: str | os.PathLike[str],
    findings: Sequence[Finding] | None,
    sealed: tuple[int, int],
    *,
    reviewer: str = "",
    key: str | os.PathLike[str] | None = None,
) -> list[Path]:
    """Write the report of an audit; its files, the page first.

    Args:
        audit: The audit.
        to: The folder, which appears whole or not at all; a report that stands there is replaced.
        findings: What the analyses found; None where they were not run on this root.
        sealed: Shards that are sealed, and shards of the plan.
        reviewer: Who reviews it, for the page's last block and the signature file.
        key: File of an Ed25519 private key (PEM); None for digests alone.

    Raises:
        UsageError: nothing is sealed, or the key is none.
        OutputError: the folder cannot be written, or holds something else.
    """
    if len(reviewer) > _LONGEST_NAME or not reviewer.isprintable():
        raise UsageError(option="reviewer", got=reviewer, accepted=f"a name of at most {_LONGEST_NAME} characters")
    private = None if key is None else read_private(key)  # before the work, which takes a while
    said = told(audit, findings, sealed, known_metric, reviewer)
    files: dict[str, bytes] = {TWIN: json_of(said), **csv_of(said)}
    page = audit_page(said, sorted(files)).encode()
    whole = {PAGE: page, **files}
    statement = Statement(audit.root, audit.plan.identity, reviewer, version("xplain"))
    return write_folder(to, {**whole, SIGNATURE: signed(whole, statement, private)}, is_report)


def known_metric(name: str) -> tuple[str, str] | None:
    """Which direction of a metric is better, and its question; no direction where it says nothing of truth."""
    try:
        metric = METRICS.find(name)
    except UnknownName:
        return None
    needs = str(getattr(metric, "needs", ""))
    better = str(metric.better) if needs in _JUDGED else ""
    return {"small": "lower", "large": "higher"}.get(better, ""), metric.summary
