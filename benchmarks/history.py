"""How the benchmarks' figures moved from commit to commit, as one page that needs no network.

    python benchmarks/history.py [-o build/history.html] [--json build/history.json]

Every table under ``benchmarks/results`` is committed as JSON with the commit and the machine that it was measured on,
so the history is git's own: each version of each file is a point. A line per row and column that holds numbers; points
of another machine, or other versions of the libraries, are hollow, since only those of one machine can be compared.
What was measured once stands in the JSON alone.
"""

from __future__ import annotations

import argparse
import html
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = "benchmarks/results"
WIDE, HIGH, EDGE = 260, 64, 8


def git(root: Path, *words: str) -> str:
    """What git says."""
    return subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True, text=True).stdout


def versions(root: Path, file: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Commit, day and content of every version of a file that can be read, oldest first."""
    told = git(root, "log", "--format=%h %cs", "--reverse", "--", file).split()
    for commit, day in zip(told[::2], told[1::2], strict=True):
        try:
            yield commit, day, json.loads(git(root, "show", f"{commit}:{file}"))
        except (subprocess.CalledProcessError, ValueError):  # the commit removed it, or it was none yet
            continue


def history(root: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Table to line to its points: ``{commit, day, measured, value, machine}``."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for path in sorted((root / RESULTS).glob("*.json")):
        lines: dict[str, list[dict[str, Any]]] = {}
        for commit, day, content in versions(root, f"{RESULTS}/{path.name}"):
            machine = dict(content.get("machine", {}))
            measured = machine.pop("commit", commit)
            for row in content.get("rows", ()):
                words = " | ".join(str(value) for value in row.values() if isinstance(value, str))
                for column, value in row.items():
                    if isinstance(value, (int, float)) and not isinstance(value, bool):
                        point = {"commit": commit, "day": day, "measured": measured, "value": value, "machine": machine}
                        lines.setdefault(f"{words}: {column}" if words else column, []).append(point)
        found[path.stem] = lines
    return found


def drawn(points: list[dict[str, Any]]) -> str:
    """A line of points from left to right in order of commits, zero at the bottom unless something is below it."""
    values = [point["value"] for point in points]
    low, high = min(0.0, *values), max(0.0, *values)
    span, step = (high - low) or 1.0, (WIDE - 2 * EDGE) / max(1, len(points) - 1)
    places = [(EDGE + k * step, HIGH - EDGE - (v - low) / span * (HIGH - 2 * EDGE)) for k, v in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = []
    for (x, y), point in zip(places, points, strict=True):
        same = point["machine"] == points[-1]["machine"]
        told = html.escape(f"{point['value']:g}, {point['day']}, measured at {point['measured']}")
        dots.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="{"" if same else "other"}"><title>{told}</title></circle>'
        )
    return f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img"><polyline points="{line}"/>{"".join(dots)}</svg>'


def page(found: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    """All tables, each with its lines."""
    once, parts = sum(len(points) == 1 for lines in found.values() for points in lines.values()), []
    for table, lines in found.items():
        cells = "".join(
            f"<figure>{drawn(points)}<figcaption>{html.escape(name)}<b>{points[-1]['value']:g}</b></figcaption></figure>"
            for name, points in lines.items()
            if len(points) > 1
        )
        if cells:
            parts.append(f"<h2>{html.escape(table)}</h2><div>{cells}</div>")
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Benchmarks, commit by commit</title><style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 2rem; color-scheme: light dark }}
div {{ display: grid; grid-template-columns: repeat(auto-fill, minmax({WIDE}px, 1fr)); gap: 1rem }}
figure {{ margin: 0 }} figcaption {{ display: flex; gap: 1rem; justify-content: space-between; font-size: 12px }}
polyline {{ fill: none; stroke: #0072b2; stroke-width: 1.5 }} circle {{ fill: #0072b2; stroke: #0072b2 }}
circle.other {{ fill: Canvas }}
</style><h1>Benchmarks, commit by commit</h1>
<p>A point per committed version of a table. Hollow: another machine or other versions than the last.
{once} figures were measured once and are not drawn.</p>
{"".join(parts)}</html>"""


def main() -> None:
    """Write the page, and the numbers if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("build/history.html"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = history(Path(__file__).parents[1])
    for path, text in ((given.out, page(found)), (given.json, json.dumps(found, indent=1))):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"{path}: {sum(map(len, found.values()))} lines of {len(found)} tables")


if __name__ == "__main__":
    main()
