"""Where an audit is: a folder; or a URL, of which what is small and never changes is kept in a folder here as well.

| name | of a folder | of a URL |
|---|---|---|
| ``plan.json items.parquet lanes/`` ... | lie there | lie there, and are fetched once, held against the plan |
| ``parts/ seals/`` | lie there | lie there; a part that is read as a file is fetched |
| ``log/ findings/`` | lie there | lie in the folder here |
| ``answers/``, which were paid for | lie there | nowhere: an audit that is billed is kept in a folder |
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xplain.audit.canonical import sha256_of
from xplain.audit.plans.budgeting import BUDGET
from xplain.audit.plans.plan import Plan, refuse_other
from xplain.audit.sources import KEPT, ROWS, SERIES
from xplain.audit.stores.far import ObjectStore, is_far, local
from xplain.audit.stores.store import Store
from xplain.core.errors import OutputError, UsageError
from xplain.core.keeping.files import there, whole_file

__all__ = ["Home", "beside", "home_of", "planned_in"]

_HEAD = ("items.parquet", "places.parquet", "truth.parquet", KEPT, ROWS, SERIES, BUDGET, "where.json")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Home:
    """Where an audit is.

    Args:
        folder: Its folder, or that which stands for it here.
        store: Its parts and seals.
        far: The place behind a URL; None for a folder.
    """

    folder: Path
    store: Store
    far: ObjectStore | None = None

    @property
    def out(self) -> str:
        """What opens it again, in any process."""
        return str(self.folder) if self.far is None else self.far.url

    @property
    def called(self) -> str:
        """What a person calls it."""
        return self.store.place.called

    def writable(self) -> None:
        """Hold a server to what seals need of it.

        Raises:
            OutputError: it writes over what is there.
        """
        if self.far is not None:
            self.far.proved("plan.json", (self.folder / "plan.json").read_bytes())


def home_of(out: str | os.PathLike[str]) -> Home:
    """Where an audit is; what a URL keeps of it that never changes is fetched.

    Raises:
        UsageError: a URL that holds no audit.
        OutputError: what is there cannot be read.
    """
    if not is_far(out):
        folder = local(out)
        return Home(folder, Store(folder))
    url = os.fspath(out)
    far = ObjectStore(url)
    content = far.get("plan.json")
    if content is None:
        raise UsageError(f"{far.called} holds no audit: 'xplain audit plan' makes one.", option="out")
    folder = _caches() / f"{sha256_of(far.url.encode())[:16]}-{sha256_of(content)[:16]}"
    _fetch(far, content, folder)
    far.kept = folder
    return Home(folder, Store(far), far)


@contextlib.contextmanager
def planned_in(out: str | os.PathLike[str], dry_run: bool) -> Iterator[Path]:
    """A folder to plan in; of a URL, what was planned there is sent when the block ends, unless it is a rehearsal.

    Raises:
        UsageError: another audit is there.
        OutputError: something else is there, or it cannot be written.
    """
    if not is_far(out):
        yield local(out)
        return
    far = ObjectStore(os.fspath(out))
    content = far.get("plan.json")
    if content is None and not dry_run and (strange := sorted({*far.names(""), *far.strays("")})):
        raise OutputError(f"{far.called} holds other files ({strange[0][:80]}). Choose another for the audit.")
    _caches().mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = Path(tempfile.mkdtemp(prefix="planning-", dir=_caches()))
    try:
        if content is not None:  # planned again: what differs is told, and what was chosen by the clock stays
            _fetch(far, content, folder)
        yield folder
        if not dry_run:
            _publish(far, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def beside(out: str, ending: str) -> Path:
    """The usual place of what is made of an audit: ``AUDIT-ending``, beside a folder; here, for a URL."""
    path = Path(out.rstrip("/").rpartition("/")[2]) if is_far(out) else local(out)
    return path.with_name(f"{path.name}-{ending}")


def _publish(far: ObjectStore, folder: Path) -> None:
    """Send what was planned: the plan first, which claims the place, so that two planners write among no other's files.

    Where the rest does not arrive, planning the same again sends it.
    """
    made = Plan.from_json((folder / "plan.json").read_bytes())
    if not far.create("plan.json", made.to_json()):
        refuse_other(Plan.from_json(far.get("plan.json") or b""), made, far.called)
    far.proved("plan.json", made.to_json())
    for name in (*_HEAD, *(f"lanes/{one.name}" for one in (folder / "lanes").glob("*.onnx"))):
        if there(folder / name) == "file":
            far.send(name, folder / name, again=name in (BUDGET, "where.json"))


def _fetch(far: ObjectStore, content: bytes, folder: Path) -> None:
    """Bring here what never changes, the plan last; what is here already stays."""
    for name in ("lanes", "log", "findings"):
        (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    if there(folder / "plan.json") == "file":
        far.fetch("where.json", folder / "where.json")
        return
    plan = Plan.from_json(content)
    lanes = [f"lanes/{one.file}.onnx" for one in plan.lanes if _DIGEST.fullmatch(one.file)]
    for name in (*_HEAD, *lanes):
        far.fetch(name, folder / name)
    if there(folder / "items.parquet") != "file" or there(folder / "where.json") != "file":
        raise OutputError(f"{far.called} was planned, and not all of it arrived there. Plan the same into it again.")
    with whole_file(folder / "plan.json") as file:
        file.write(content)


def _caches() -> Path:
    """The folder of folders that stand for URLs."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if given and Path(given).is_absolute():
        return Path(given) / "xplain" / "audits"
    try:
        return Path.home() / ".cache" / "xplain" / "audits"
    except RuntimeError:
        raise OutputError("There is no home folder to keep copies in. Set XDG_CACHE_HOME to a folder.") from None
