"""``xplain audit verify``: whether an audit is what it was when it was made."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from xplain import audit
from xplain.audit.reports.signing import SIGNATURE
from xplain.audit.stores.comparing import Difference
from xplain.cli.asking.flags import Seed
from xplain.cli.telling.console import FINDING, OK, PARTIAL, Outcome
from xplain.core.errors import UsageError
from xplain.core.keeping.files import there

__all__ = ["verify"]


def verify(
    out: Annotated[str, typer.Argument(metavar="AUDIT", help="The audit's folder or URL.", show_default=False)],
    recompute: Annotated[
        int, typer.Option(help="Make so many shards again, drawn by chance, and compare their bits.")
    ] = 0,
    repair: Annotated[
        bool, typer.Option("--repair", help="Take the seals of damaged shards away, so that a run makes them again.")
    ] = False,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="Where a model lies now.", metavar="NAME=FILE", show_default=False),
    ] = None,
    items: Annotated[
        str | None, typer.Option("--items", help="Where the items lie now, if they were moved.", show_default=False)
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="Of a report: the signer's public key (PEM).", metavar="FILE", show_default=False),
    ] = None,
    seed: Seed = 0,
) -> Outcome:
    """Hold AUDIT against its plan: every part against its name, every row against the plan, some shards made again.

    A report's folder in place of AUDIT is held against its signature file: files that were altered, and who signed.
    Exit code 0 where it is sound and whole, 1 where anything is damaged, stands twice or comes out otherwise, 4 where
    what there is is sound and shards are left to run.

    Raises:
        XplainError: the folder holds no audit, or a model is not the one that was planned.
    """
    if there(Path(out) / SIGNATURE) and not there(Path(out) / "plan.json"):
        return _report(Path(out), key)
    found = audit.verify(out, recompute, repair=repair, seed=seed, models=_named(model or []), items=items)
    code = FINDING if not found.sound else PARTIAL if found.missing else OK
    document: dict[str, Any] = {
        "sealed": found.sealed,
        "of": found.of,
        "root": found.root,
        "sound": found.sound,
        "damaged": [{"shard": one.shard, "what": one.what} for one in found.damaged],
        "missing": list(found.missing),
        "doubled": [{"shard": shard, "item": item, "lane": lane} for shard, item, lane in found.doubled],
        "differing": [_plain(one) for one in found.differing],
        "recomputed": list(found.recomputed),
        "repaired": list(found.repaired),
        "notes": list(found.told),
    }
    return Outcome(document, str(found), code)


def _report(folder: Path, key: Path | None) -> Outcome:
    """A report against its signature file."""
    found = audit.check(folder, key)
    return Outcome(
        {"report": str(folder), "whole": found.whole, **asdict(found)}, found.said(), OK if found.whole else FINDING
    )


def _named(given: list[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in given]
    if not all(name and equals and place for name, equals, place in pairs):
        raise UsageError(option="model", got=" ".join(given), accepted="NAME=FILE, once for each model")
    return {name: place for name, _, place in pairs}


def _plain(one: Difference) -> dict[str, Any]:
    """A difference as JSON tells it: no number that is none."""
    largest = one.largest if one.largest is not None and one.largest < float("inf") else None
    told = {"shard": one.shard, "part": one.kind, "what": one.what, "count": one.count, "item": one.item}
    return {**told, "largest": largest, "was": str(one.was), "now": str(one.now)}
