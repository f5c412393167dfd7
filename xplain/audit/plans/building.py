"""The folder of an audit while it is planned: built beside its place, moved there whole, the plan last."""

from __future__ import annotations

import contextlib
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from xplain.audit.plans.budgeting import ANSWERS, BUDGET
from xplain.audit.plans.estimate import Estimate
from xplain.audit.plans.items import columns_apart
from xplain.audit.plans.plan import Plan, refuse_other
from xplain.audit.shards.guarding import planned_audit
from xplain.audit.sources import KEPT, ROWS, SERIES
from xplain.audit.stores.where import Where
from xplain.core.errors import OutputError, UsageError, XplainError
from xplain.core.keeping.files import there, whole_file

__all__ = ["building_in", "keep"]


@contextlib.contextmanager
def building_in(folder: Path, dry_run: bool) -> Iterator[Path]:
    """A place to build in: beside what it becomes, or nowhere near it for a rehearsal; gone at the end."""
    if there(folder) not in ("folder", ""):
        raise OutputError(f"{str(folder)[:300]} is no folder. Choose another for the audit.")
    made = not folder.exists() and not dry_run
    try:
        if not dry_run:
            folder.mkdir(parents=True, exist_ok=True)
            _refuse_foreign(folder)
        place = Path(tempfile.mkdtemp(prefix=".planning.", dir=None if dry_run else folder))
    except XplainError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        why = getattr(error, "strerror", None) or error
        raise OutputError(f"Cannot plan in {str(folder)[:300]!r}: {why}.") from None
    try:
        yield place
    except OSError as error:
        if isinstance(error, XplainError):
            raise
        raise OutputError(f"Cannot plan in {str(folder)[:300]}: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if made and not there(folder / "plan.json"):
            for one in (*(folder / name for name in _MADE), folder):
                with contextlib.suppress(OSError):
                    one.rmdir()  # stays where something was kept in it


def _refuse_foreign(folder: Path) -> None:
    """A folder that holds something else than an audit is nobody's to write among."""
    if there(folder / "plan.json"):
        return
    strange = sorted(one.name for one in folder.iterdir() if not one.name.startswith(".") and one.name not in _OWN)
    if strange:
        raise OutputError(f"{str(folder)[:300]} holds other files ({strange[0][:80]}). Choose another for the audit.")


_MADE = ("lanes", "parts", "seals", "log")
_HELD = ("items.parquet", "places.parquet", "truth.parquet", KEPT, ROWS, SERIES)
_OWN = (*_HELD, ANSWERS, BUDGET, "where.json", "lanes", "log", "parts", "seals", "findings")


def keep(
    building: Path,
    folder: Path,
    made: Plan,
    where: Where,
    files: Sequence[Mapping[str, bytes]],
    estimate: Estimate,
    called: str,
) -> None:
    """Move what was built to its place; the plan itself comes last, and says that the audit is there."""
    if there(folder / "plan.json"):
        try:
            refuse_other(planned_audit(folder), made, called)
        except UsageError as error:
            apart = columns_apart(*(one / "items.parquet" for one in (folder, building)))
            if apart:
                error.advise(f"Of the items, {apart}.")
            raise
    for one in _MADE:
        (folder / one).mkdir(exist_ok=True)
    for several in files:
        for name, content in several.items():
            with whole_file(folder / "lanes" / f"{name}.onnx") as file:
                file.write(content)
    for name in _HELD:
        if there(building / name):
            (building / name).replace(folder / name)
    where.write(folder)
    about = {"time": time.time(), "host": platform.node(), "machine": platform.machine()}
    with whole_file(folder / "log" / "planned.json") as log:
        log.write(json.dumps({**about, "estimate": estimate.to_dict()}, indent=1).encode())
    with whole_file(folder / "plan.json") as last:
        last.write(made.to_json())
