"""``xplain compare``: where methods agree on an item, and which one stands apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from xplain.cli.asking.flags import Force, OutFolder
from xplain.cli.keeping.output import Folder, file_stem
from xplain.cli.telling.console import Outcome, table
from xplain.core.errors import UsageError
from xplain.report.agreement import TOP, Pair, pairs, votes
from xplain.results.attribution import Attribution

__all__ = ["compare"]

_APART = 0.2
"""Mean correlation below which methods are said not to agree."""


def compare(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT", help="Folders of runs, or .npz files of results.")],
    out: OutFolder = Path("xplain-compare"),
    force: Force = False,
) -> Outcome:
    """Tell where methods agree: on the order of positions, and on the most important tenth; and draw where.

    RESULTS of the same item and target are held against each other, whatever run they come from. Agreement says that
    methods see alike, not that they are right.

    Raises:
        UsageError: nothing that can be compared.
    """
    groups = _grouped([one for path in results for one in _loaded(path)])
    if not groups:
        raise UsageError(
            "There is nothing to compare: no item and target is explained by two methods. Explain with several, as in "
            "'xplain explain MODEL PICTURE -m grad-cam,occlusion'."
        )
    told, taken = [], set[str]()
    with Folder(out, force) as folder:
        for (name, target), found in groups.items():
            stem = file_stem(name, taken)
            drawn = _drawn(found, folder, f"{stem}.agreement.png")
            told.append({"item": name, "target": target, **_document(found), **({"png": drawn} if drawn else {})})
        document = {"out": str(folder.path), "items": told}
        folder.record({"state": "finished", "compared": document})
    return Outcome(document, "\n\n".join([_text(one, folder) for one in told]))


def _loaded(path: Path) -> list[Attribution]:
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{path} holds no results (.npz). Name the folder that --out of 'xplain explain' named.")
    return [part for file in files for one in Attribution.load(file) for part in _parts(one)]


def _parts(one: Attribution) -> list[Attribution]:
    """A result of one item, or of several inputs that of each."""
    parts = one.by_input()
    return [replace(part, names=(f"{one.name_of(0)}: {name}",)) for name, part in parts.items()] or [one]


def _grouped(found: Sequence[Attribution]) -> dict[tuple[str, str], list[Attribution]]:
    """Items and targets that several methods explain, the first result of each method."""
    groups: dict[tuple[str, str], dict[str, Attribution]] = {}
    for one in found:
        groups.setdefault((one.name_of(0), one.target_of(0)), {}).setdefault(one.method, one)
    kept = {key: list(methods.values()) for key, methods in groups.items()}
    return {key: methods for key, methods in kept.items() if pairs(methods)}


def _document(found: Sequence[Attribution]) -> dict[str, Any]:
    held = pairs(found)
    apart = [one.method for one in found if _stands_apart(held, one.method)]
    return {
        "pairs": [
            {"first": one.first, "second": one.second, "correlation": one.correlation, "shared": one.shared}
            for one in held
        ],
        "mean": float(np.mean([one.correlation for one in held])),
        "apart": apart,
    }


def _stands_apart(held: Sequence[Pair], method: str) -> bool:
    """Whether a method agrees with none of the others, while these agree among themselves."""
    own = [one.correlation for one in held if method in (one.first, one.second)]
    rest = [one.correlation for one in held if method not in (one.first, one.second)]
    return bool(own and rest) and float(np.mean(own)) < _APART <= float(np.mean(rest))


def _drawn(found: Sequence[Attribution], folder: Folder, name: str) -> str:
    """Where methods look: each position's share of methods that have it among their most important ones."""
    first = found[0]
    if first.values.ndim < 3 or len({one.values.shape for one in found}) != 1:
        return ""
    told = f"share of {len(found)} methods that have it among their top {TOP:.0%}"
    seen = replace(
        first, values=votes(found)[None].astype(np.float32), unit=told, signed=False, error=None, warnings=()
    )
    folder.announce([name])
    folder.write_picture(name, seen.with_provenance(method="agreement").overlay(0, line=False, limit=1.0))
    return name


def _text(one: dict[str, Any], folder: Folder) -> str:
    rows = [(p["first"], p["second"], f"{p['correlation']:+.2f}", f"{p['shared']:.0%}") for p in one["pairs"]]
    said = f"{one['item']}, {one['target']!r}: mean correlation {one['mean']:+.2f}"
    apart = f"{', '.join(one['apart'])} stands apart from the others." if one["apart"] else ""
    lines = [said, table(rows, ("method", "method", "same order", "same top tenth")), apart]
    return "\n".join([*filter(None, lines), *([str(folder.path / one["png"])] if "png" in one else [])])
