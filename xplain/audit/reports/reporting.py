"""``xplain.audit.report`` and ``diff``: a folder with a page, its numbers as JSON and CSV, and a signature file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from xplain.audit.findings.finding_store import kept
from xplain.audit.opening import Audit, open_audit
from xplain.audit.plans.items import ItemTable
from xplain.audit.reports.differing import compared
from xplain.audit.reports.exports import EXPORTS
from xplain.audit.reports.exports import export as exported
from xplain.audit.reports.signing import SIGNATURE, Key, Statement, is_report, read_private, signed
from xplain.audit.reports.telling import told
from xplain.audit.stores.where import Where
from xplain.core.declaring.registry import METRICS
from xplain.core.errors import UnknownName, UsageError, unknown
from xplain.core.keeping.folders import write_folder
from xplain.report.audit import (
    Compared,
    Told,
    audit_page,
    compared_csv,
    compared_json,
    compared_page,
    csv_of,
    json_of,
)

__all__ = ["PAGE", "diff", "export", "known_metric", "report"]

PAGE, TWIN = "index.html", "audit.json"
_LONGEST_NAME = 200
_JUDGED = ("answers", "curve", "maps", "truth")
"""What a metric must need for its value to speak of truth: one that reads a map alone says how it looks."""


def report(
    out: str | os.PathLike[str],
    to: str | os.PathLike[str],
    *,
    reviewer: str = "",
    key: str | os.PathLike[str] | None = None,
    items: object = None,
) -> list[Path]:
    """Write the report of an audit: a page for people, ``audit.json`` and CSV files for programs, ``signature.json``.

    What is sealed now is told; of a part the page says that it is one. Findings are those of ``xplain.audit.analyse``
    on the same root; where it was not run, the page says that nothing was looked for. The same audit gives the same
    bytes.

    Args:
        out: The audit's folder.
        to: The report's folder, which appears whole or not at all; a report that stands there is replaced.
        reviewer: Who reviews it: stands in the page's last block and in the signature file.
        key: File of an Ed25519 private key (PEM), which signs the digests of all files; None for digests alone.
        items: Another place of the same items, where they were moved.

    Returns:
        The files, the page first.

    Cost:
        No question to a model. Some 10 s for a million items in two lanes, and memory for none of them.

    Raises:
        UsageError: nothing is sealed, or the key is none.
        OutputError: the folder cannot be written, or holds something else.
    """
    private = _signer(reviewer, key)  # before the work, which takes a while
    with open_audit(out, items) as audit:
        said = _told(audit, reviewer)
        files: dict[str, bytes] = {TWIN: json_of(said), **csv_of(said)}
        page = audit_page(said, sorted(files)).encode()
        statement = Statement(audit.root, audit.plan.identity, reviewer, version("xplain"))
    return _written(to, {PAGE: page, **files}, statement, private)


def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    to: str | os.PathLike[str] | None = None,
    *,
    key: str | os.PathLike[str] | None = None,
) -> Compared:
    """What changed from audit ``a`` to audit ``b``: answers, explanations, metrics, per class, and which items.

    Items are the same where their content is; lanes where their names are, else where one of each side is left with
    the same method and target.

    Args:
        a: Folder of the earlier audit.
        b: Folder of the later one.
        to: A folder for the page, JSON, CSV and signature file; None to write nothing.
        key: As of ``report``.

    Cost:
        No question to a model.

    Raises:
        UsageError: an audit has nothing sealed, or the key is none.
        OutputError: the folder cannot be written, or holds something else.
    """
    private = _signer("", key)
    with open_audit(a) as before, open_audit(b) as after:
        said = compared(before, after, (a, b))
        plans = f"{before.plan.identity} {after.plan.identity}"
    if to is not None:
        files = {TWIN: compared_json(said), **compared_csv(said)}
        page = compared_page(said, sorted(files)).encode()
        statement = Statement(" ".join(said.roots), plans, "", version("xplain"))
        _written(to, {PAGE: page, **files}, statement, private)
    return said


def export(out: str | os.PathLike[str], kind: str, to: str | os.PathLike[str], *, items: object = None) -> str:
    """Write an audit for another tool, by that tool's library; a sentence that says how to look at it.

    Args:
        out: The audit's folder.
        kind: ``tensorboard``, ``mlflow`` or ``fiftyone``.
        to: The folder to write into.
        items: Another place of the same items, where they were moved.

    Raises:
        UnknownName: no such tool.
        MissingDependency: its library is not installed.
        UsageError: nothing is sealed.
        OutputError: the folder cannot be written.
    """
    if kind not in EXPORTS:
        raise unknown("export", kind, EXPORTS)
    with open_audit(out, items) as audit:
        return exported(audit, _told(audit, ""), kind, Path(to), _files_of(audit))


def _told(audit: Audit, reviewer: str) -> Told:
    done = len(audit.seals), len(audit.plan.shards)
    return told(audit, kept(audit.folder, audit.root), done, known_metric, reviewer)


def _signer(reviewer: str, key: str | os.PathLike[str] | None) -> Key | None:
    if not isinstance(reviewer, str) or len(reviewer) > _LONGEST_NAME or not reviewer.isprintable():
        raise UsageError(option="reviewer", got=reviewer, accepted=f"a name of at most {_LONGEST_NAME} characters")
    return None if key is None else read_private(key)


def _written(
    to: str | os.PathLike[str], files: Mapping[str, bytes], statement: Statement, key: Key | None
) -> list[Path]:
    """Sign the files and write them as a folder."""
    return write_folder(to, {**files, SIGNATURE: signed(files, statement, key)}, is_report)


def _files_of(audit: Audit) -> Callable[[int], Path | None]:
    """Where the pictures of items lie as files, for tools that show them; nowhere for tables, archives and arrays."""
    try:
        root = Where.read(audit.folder).source.get("root")
    except UsageError:  # an audit that was moved without what says where its items are
        return lambda _: None
    table = ItemTable(audit.folder / "items.parquet")

    def file_of(item: int) -> Path | None:
        path = Path(str(root)) / table.rows([item], ["name"])["name"][0]
        return path if root is not None and path.is_file() else None

    return file_of


def known_metric(name: str) -> tuple[str, str] | None:
    """Which direction of a metric is better, and its question; no direction where it says nothing of truth."""
    try:
        metric = METRICS.find(name)
    except UnknownName:
        return None
    needs = str(getattr(metric, "needs", ""))
    better = str(metric.better) if needs in _JUDGED else ""
    return {"small": "lower", "large": "higher"}.get(better, ""), metric.summary.replace("``", "")
