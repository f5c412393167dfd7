"""Audits: a plan, its shards, what judges them, and a report: a door on ``session`` for a million items.

    xplain.audit.plan("model.onnx", "photos/", out="audit", methods="grad-cam", labels="folders")
    xplain.audit.run("audit", workers=2)      # as often as it takes: what is sealed is done
    xplain.audit.verify("audit", recompute=3)
    xplain.audit.open("audit").sql("select predicted_name, avg(border) from records group by 1 order by 2 desc")

An audit is a folder. Its plan names every choice and is known by its hash; a shard of it is a function of that plan and
of a number, so that whoever makes it, and how often, the same bits come out; its seal, created once, is the only truth.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xplain.audit.findings.analysing import analyse
    from xplain.audit.opening import Audit
    from xplain.audit.opening import open_audit as open  # noqa: A004 - what it is called behind xplain.audit
    from xplain.audit.plans.planning import plan
    from xplain.audit.reports.reporting import diff, export, report
    from xplain.audit.reports.signing import check
    from xplain.audit.shards.progress import Progress
    from xplain.audit.shards.running import run
    from xplain.audit.shards.working import Shop
    from xplain.audit.verifying import Verified, left, status, verify

_HOMES = {
    "Audit": ("xplain.audit.opening", "Audit"),
    "analyse": ("xplain.audit.findings.analysing", "analyse"),
    "Progress": ("xplain.audit.shards.progress", "Progress"),
    "check": ("xplain.audit.reports.signing", "check"),
    "diff": ("xplain.audit.reports.reporting", "diff"),
    "export": ("xplain.audit.reports.reporting", "export"),
    "left": ("xplain.audit.verifying", "left"),
    "open": ("xplain.audit.opening", "open_audit"),
    "plan": ("xplain.audit.plans.planning", "plan"),
    "report": ("xplain.audit.reports.reporting", "report"),
    "run": ("xplain.audit.shards.running", "run"),
    "status": ("xplain.audit.verifying", "status"),
    "verify": ("xplain.audit.verifying", "verify"),
    "Shop": ("xplain.audit.shards.working", "Shop"),
    "Verified": ("xplain.audit.verifying", "Verified"),
}
"""Where each public name stands, and what it is called there. No file here has such a name: it would take its place."""


__all__ = [
    "Audit",
    "Progress",
    "Shop",
    "Verified",
    "analyse",
    "check",
    "diff",
    "export",
    "left",
    "open",
    "plan",
    "report",
    "run",
    "status",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'xplain.audit' has no attribute {name!r}")
    home, called = _HOMES[name]
    value = getattr(import_module(home), called)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
