"""Does the finder find a planted shortcut, does it stay silent on a clean set, does the drift test see 5 % of items?

    python benchmarks/audit/finder.py                    # 20 seeds of each, some fifteen minutes of an idle core
    python benchmarks/audit/finder.py --only corner      # one of them; what is done is kept, the table comes last

For each seed a small net is trained on textures in noise (``shortcut.py``): one class carries a mark in half of its
pictures, in a corner or anywhere, or nobody does. 700 test pictures are explained with LRP for the predicted class, and
the finder is given pictures, maps, channel relevance and the net, as an ONNX file; never which pictures carry the mark.

* corner: *found* where the first confirmed finding is of the marked class, from a place that overlaps the mark's, and
  at least 9 of 10 of its first 20 members carry the mark.
* anywhere: *found* where one of the first three findings is of the marked class and 9 of 10 of its first 20 carry it.
* none: *silent* where nothing is confirmed.
* drift: two samples of 2,000 explained pictures of one net, of which the second has 5 % items with a mark in the corner
  that it did not have before (or none); p at most 0.01 over all items and classes (Holm) is an alarm.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from shortcut import CLASSES, SIDE, Where, as_onnx, pictures, trained

import xplain
from xplain.analyses.drift import drift
from xplain.analyses.shares import shares
from xplain.core.finding import Finding
from xplain.core.query import Sweep
from xplain.core.rules import Rules
from xplain.core.target import label
from xplain.session.request import Request
from xplain.session.run import Session
from xplain.session.shortcuts.finder import shortcuts
from xplain.session.shortcuts.pasting import Paster

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "results"
TRAINED, TESTED = 1600, 700


def channels(model: Any, x: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Relevance of each channel of the last convolution: value times gradient, summed over positions, ``[N, 32]``."""
    layer = [one.name for one in model.outline.layers if one.shape and len(one.shape) == 4][-1]
    found = []
    for k in range(0, len(x), 64):
        answer = model.answer(Sweep(x[k : k + 64, None], label(classes[k : k + 64].tolist()), Rules(), (layer,)))
        value, slope = answer[layer]
        found.append((np.asarray(value) * np.asarray(slope)).sum(axis=(2, 3)))
    return np.concatenate(found)


def session_of(net: Any, x: np.ndarray) -> tuple[Paster, np.ndarray, np.ndarray]:
    """A paster of pictures, their LRP maps, and their channels."""
    model = xplain.load(as_onnx(net))
    session = Session(model, Request(methods={"lrp": {}}, layout="NCHW"))
    part = session.read(x)
    paster = Paster.of(session, part)
    (made,) = session.explain(part, "lrp")
    return paster, np.asarray(made.values), channels(model, x, paster.predicted)


def found_of(where: Where, seed: int) -> dict[str, Any]:
    """One seed of one condition."""
    net = trained(pictures(TRAINED, where, seed, 0), seed)
    test = pictures(TESTED, where, seed, 1)
    paster, maps, relevance = session_of(net, test.x)
    findings = shortcuts(paster, maps, relevance=relevance, names=CLASSES, seed=seed)
    own = paster.predicted == 0
    row = {
        "seed": seed,
        "accuracy": float((paster.predicted == test.label).mean()),
        "share marked": float(test.marked[own].mean()),
        "evaluations": paster.session.spent.queries,
        "findings": [said(one, test.marked) for one in findings if one.standing != "too few"],
    }
    row["good"] = judged(where, row["findings"])
    return row


def said(one: Finding, marked: np.ndarray) -> dict[str, Any]:
    """What is kept of a finding, and how many of its first 20 members carry the mark."""
    return {
        "kind": one.kind,
        "group": one.group,
        "standing": one.standing,
        "effect": round(float(one.effect or 0), 3),
        "p": one.p,
        "pure": float(marked[one.members[:20]].mean()),
        "box": np.asarray(one.evidence["box"]).tolist() if "box" in one.evidence else None,
        "way": {k: round(v, 2) for k, v in one.evidence.items() if k.startswith("way, ")},
    }


def judged(where: Where, findings: list[dict[str, Any]]) -> bool:
    """Whether the condition's bar is met."""
    confirmed = [one for one in findings if one["standing"] == "confirmed"]
    if where == "none":
        return not confirmed
    if where == "anywhere":
        return any(one["group"] == CLASSES[0] and one["pure"] >= 0.9 for one in findings[:3])
    place = [one for one in confirmed if one["kind"] == "scan" and one["group"] == CLASSES[0] and one["pure"] >= 0.9]
    corner = [one for one in place if one["box"][2] > (SIDE - 10) / SIDE and one["box"][1] < 22 / SIDE]
    return bool(corner) and all(one["group"] == CLASSES[0] for one in confirmed[:1])


def drifts(repeats: int) -> dict[str, Any]:
    """The share of repeats in which the test alarms, with and without 5 % of items that changed."""
    net = trained(pictures(TRAINED, "corner", 0, 0), 0)
    model = xplain.load(as_onnx(net))
    count = 2000
    pool, changed = pictures(6000, "none", 900, 1), pictures(2000, "corner", 901, 1, share=1.0)
    both = np.concatenate([pool.x, changed.x[changed.marked][:500]])
    session = Session(model, Request(methods={"lrp": {}}, layout="NCHW"))
    cells, scores = [], []
    for k in range(0, len(both), 500):
        part = session.read(both[k : k + 500])
        scores.append(session.look(part))
        cells.append(shares(np.asarray(session.explain(part, "lrp")[0].values)))
    known, given = np.concatenate(cells), np.concatenate(scores)
    told: dict[str, Any] = {"items a side": count, "repeats": repeats}
    for what, values in (("explanations", known), ("scores", given)):
        for planted in (0.05, 0.0):
            alarms = 0
            for seed in range(repeats):
                rng = np.random.default_rng([seed, int(planted * 100)])
                order = rng.permutation(6000)[: 2 * count]
                some = order[count:].copy()
                moved = int(planted * count)
                some[:moved] = 6000 + rng.permutation(len(both) - 6000)[:moved]
                names = (given[order[:count]].argmax(axis=1), given[some].argmax(axis=1))
                made = drift(values[order[:count]], values[some], names, what=what, seed=seed)  # type: ignore[arg-type]
                alarms += any((one.p or 1) <= 0.01 for one in made if one.p is not None)
            told[f"{what}, {planted:.0%} moved"] = alarms / repeats
    return told


def table(told: dict[str, Any]) -> str:
    """The page of results."""
    lines = [
        "# The finder of shortcuts, on planted truth",
        "",
        f"`python benchmarks/audit/finder.py`, commit {told['commit']}, "
        + ", ".join(f"{name} {version}" for name, version in told["versions"].items())
        + f"; {told['seconds']:,.0f} s of processor time.",
        "",
        "| set | asked | met | nets' accuracy | evaluations for pasting and looking, a set |",
        "|---|---|---|---|---|",
    ]
    asked = {
        "corner": ("mark in a corner", "confirmed, the right class, place and pictures: 19 of 20"),
        "anywhere": ("mark anywhere", "among the first three findings: 15 of 20"),
        "none": ("no mark", "nothing confirmed: 19 of 20"),
    }
    for where, (name, bar) in asked.items():
        rows = told.get(where, [])
        if not rows:
            continue
        good, accuracy = sum(one["good"] for one in rows), np.mean([one["accuracy"] for one in rows])
        spent = int(np.median([one["evaluations"] for one in rows]))
        lines.append(f"| {name} | {bar} | {good} of {len(rows)} | {accuracy:.2f} | {spent:,} |")
    lines += ["", "How far pasting went above the strongest control (0.1 and p <= 0.01 confirm), over all leads:", ""]
    lines += ["| set | class | lead | leads | confirmed | effect: least, median, most |", "|---|---|---|---|---|---|"]
    for where in asked:
        for group in ("brick (marked)" if where != "none" else "brick", "others"):
            for kind in ("scan", "again", "channel", "clusters"):
                some = [
                    one
                    for row in told.get(where, [])
                    for one in row["findings"]
                    if one["kind"] == kind and (one["group"] == CLASSES[0]) == group.startswith("brick")
                ]
                if some:
                    sure = sum(one["standing"] == "confirmed" for one in some)
                    least, middle, most = np.quantile([one["effect"] for one in some], [0, 0.5, 1])
                    numbers = f"{least:.2f}, {middle:.2f}, {most:.2f}"
                    lines.append(f"| {where} | {group} | {kind} | {len(some)} | {sure} | {numbers} |")
    if "drift" in told:
        drifted = told["drift"]
        sizes = f"{drifted['items a side']:,} items a side, {drifted['repeats']} repeats"
        lines += ["", f"Drift, {sizes}, alarm at p <= 0.01 (Holm over all items and classes):", ""]
        lines += ["| tested on | items that moved | alarms |", "|---|---|---|"]
        for name, share in drifted.items():
            if "moved" in name:
                what, moved = name.split(", ")
                lines.append(f"| {what} | {moved.split()[0]} | {share:.1%} |")
    return "\n".join(lines) + "\n"


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """What a file holds; made and kept where there is none, so that an interruption loses one seed."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        start = time.process_time()
        made = make()
        path.write_text(json.dumps({"seconds": time.process_time() - start, "made": made}), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    """Make what is asked, and write the table of what is kept beside the numbers."""
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--seeds", type=int, default=20)
    read.add_argument("--only", choices=["corner", "anywhere", "none", "drift"], help="make this, write no table")
    read.add_argument("--repeats", type=int, default=100)
    read.add_argument("--work", type=Path, default=Path("build/audit-finder"), help="where what is done is kept")
    read.add_argument("--table", action="store_true", help="make nothing: the table of what is kept")
    given = read.parse_args()
    for where in () if given.table else ("corner", "anywhere", "none"):
        for seed in range(given.seeds if given.only in (None, where) else 0):
            row = kept(given.work / f"{where}-{seed}.json", partial(found_of, where, seed))  # type: ignore[arg-type]
            print(where, seed, row["made"]["good"], row["made"]["findings"][:3], flush=True)
    if given.only in (None, "drift") and not given.table:
        print(kept(given.work / "drift.json", partial(drifts, given.repeats))["made"])
    if given.only is None:
        write(given.work)


def write(work: Path) -> None:
    """The table and the numbers of what is kept."""
    import onnxruntime
    import torch

    told: dict[str, Any] = {"seconds": 0.0}
    for where in ("corner", "anywhere", "none"):  # as many seeds as are kept
        rows = [json.loads(one.read_text(encoding="utf-8")) for one in work.glob(f"{where}-*.json")]
        told[where] = sorted((row["made"] for row in rows), key=lambda made: made["seed"])
        told["seconds"] += sum(row["seconds"] for row in rows)
    if (work / "drift.json").exists():
        row = json.loads((work / "drift.json").read_text(encoding="utf-8"))
        told["drift"], told["seconds"] = row["made"], told["seconds"] + row["seconds"]
    head = ["git", "rev-parse", "--short", "HEAD"]
    told["commit"] = subprocess.run(head, capture_output=True, text=True, check=True, cwd=HERE).stdout.strip()
    told["versions"] = {"numpy": np.__version__, "torch": torch.__version__, "onnxruntime": onnxruntime.__version__}
    path = OUT / "audit-finder.json"
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(table(told), encoding="utf-8")


if __name__ == "__main__":
    main()
