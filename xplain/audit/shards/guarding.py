"""What must be as it was planned before a run goes on: versions, the list of items, compiled files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from xplain.audit.canonical import file_sha256
from xplain.audit.plans.plan import Plan
from xplain.core.errors import UsageError
from xplain.core.keeping.files import there
from xplain.core.versions import versions
from xplain.render.pictures import decoders

__all__ = ["planned_audit", "refuse_changed", "versions_now"]


def versions_now(kinds: Iterable[str]) -> dict[str, str]:
    """Versions of what decides bits, for models of these kinds."""
    found = versions()
    found["python"] = ".".join(found["python"].split(".")[:2])  # a patch of Python moves no bits
    found.pop("torch", None)  # named where a module is explained, not where something else has imported it
    needed = ["pyarrow", "pillow", *(["torch"] if "torch" in set(kinds) else [])]
    for name in needed:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {**found, **decoders()}


def planned_audit(folder: Path) -> Plan:
    """The plan in an audit's folder.

    Raises:
        UsageError: there is none, or it is damaged or of a newer version.
    """
    path = folder / "plan.json"
    if there(path) != "file":
        raise UsageError(f"{str(folder)[:300]} holds no audit: 'xplain audit plan' makes one.", option="out")
    return Plan.from_json(path.read_bytes())


def refuse_changed(plan: Plan, folder: Path, now: Mapping[str, str] | None = None) -> None:
    """Refuse to go on where something that decides bits is no longer what was planned.

    Models are held against their digests where they are opened, items where they are read.

    Args:
        plan: The plan.
        folder: The audit's folder.
        now: Versions that are installed; None to look.

    Raises:
        UsageError: versions differ, or files of the audit were changed; the message says which.
    """
    now = versions_now(model.kind for model in plan.models) if now is None else now
    names = sorted({*plan.versions, *now})
    moved = [name for name in names if plan.versions.get(name) != now.get(name)]
    if moved:
        told = "; ".join(
            f"{name} was {plan.versions.get(name, 'absent')}, is {now.get(name, 'absent')}" for name in moved
        )
        raise UsageError(
            f"This audit was planned with other versions: {told}. Bits may differ, so they do not mix: install "
            "those, or plan another audit."
        )
    items = folder / "items.parquet"
    if there(items) != "file" or file_sha256(items) != plan.items.sha256:
        raise UsageError(f"{items} is missing or was changed. Take it from a copy, or plan again.")
    truth = folder / "truth.parquet"
    if plan.truth is not None and (there(truth) != "file" or file_sha256(truth) != plan.truth.sha256):
        raise UsageError(f"{truth} is missing or was changed. Take it from a copy, or plan again.")
    for lane in plan.lanes:
        path = folder / "lanes" / f"{lane.file}.onnx"
        if lane.file and (there(path) != "file" or file_sha256(path) != lane.file):
            raise UsageError(f"{path} is missing or was changed. Take it from a copy, or plan again.")
