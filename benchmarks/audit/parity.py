"""Metrics beside Quantus on the same maps, as a table: benchmarks/results/metrics-parity.md.

python benchmarks/audit/parity.py        # after parity_oracle.py, which writes tests/metrics/quantus.json
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from metrics import parity_case as case
from metrics.parity import pairs

NOT_COMPARED = {
    "efficient-mprt": "theirs stops with '{}'; ours is held against its formula (tests/metrics/test_randomisation.py)",
    "irof": "superpixels of another setting; ours is held against its formula on a linear model",
    "focus": "theirs reads where a tile lies from a list; ours is relevance-mass in masks",
    "relative-representation-stability": "layers have other names; the quotients of relative-input-stability",
}


def main() -> None:
    """Write the table."""
    told = case.golden()
    head = ", ".join(f"{name} {number}" for name, number in told["versions"].items())
    lines = [
        "# Metrics against an independent implementation",
        "",
        f"On {case.N} items of {case.SIDE} x {case.SIDE}, the same maps for both ({head}; it is LGPL, runs in an",
        "environment of its own, and no line of it was read for this). Commands: `oracle/bin/python",
        "benchmarks/audit/parity_oracle.py`, then `python benchmarks/audit/parity.py`; `tests/metrics/test_parity.py`",
        "holds every row. Differences are the largest, relative to the largest number.",
        "",
        "| metric | difference | how it is brought to the same quantity, or why it differs |",
        "|---|---|---|",
    ]
    for pair in pairs():
        apart = f"{pair.apart:.1e}" if pair.equal else f"**{pair.apart:.1e}**, by design"
        lines.append(f"| {pair.name} | {apart} | {pair.how} |")
    for name, why in NOT_COMPARED.items():
        lines.append(f"| {name} | not compared | {why.format(told['failed'].get(name, ''))} |")
    lines += ["", "Faults of the oracle that ours does not have, as it answered here:", ""]
    lines += [f"* {what}: {answer}" for what, answer in told["faults"].items()]
    lines += [
        "* effective complexity scales by the largest value of a batch: an item's number depends on those beside it",
        "* infidelity never puts a patch back; completeness compares floats by ==",
        "",
    ]
    path = ROOT / "benchmarks" / "results" / "metrics-parity.md"
    path.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
