"""A small audit whose shards are sealed: seven pictures, one of them bad, two lanes, two shards of three."""

from __future__ import annotations

from pathlib import Path

from cli.tiny import write_model, write_picture

import xplain
from xplain.audit.plans.lanes import Benches
from xplain.audit.shards.reading import Data
from xplain.audit.shards.shard import make
from xplain.audit.stores.store import Store

LANE = "tiny/occlusion:patch=4:stride=4"
OTHER = "tiny/saliency"


def write_audit(base: Path, analyses: str = "standard") -> Path:
    """Write it, with its model and pictures beside it; the last shard is left open."""
    base.mkdir(exist_ok=True)
    write_model(base / "tiny.onnx")
    for k in range(7):
        path = base / "photos" / ("bright" if k % 2 else "dark") / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, bool(k % 2))
    (base / "photos" / "dark" / "2.png").write_bytes(b"no picture")
    (base / "site.csv").write_text("file,site\nbright/1.png,A\ndark/0.png,B\n")
    out, how = base / "audit", {"methods": ["occlusion:patch=4,stride=4", "saliency"], "metrics": "", "shard_rows": 3}
    labels = {"labels": "folders", "metadata": base / "site.csv", "analyses": analyses}
    xplain.audit.plan(base / "tiny.onnx", base / "photos", out=out, **how, **labels)
    seal(out, (0, 1))
    return out


def seal(out: Path, shards: tuple[int, ...]) -> None:
    """Make and seal shards, in this process."""
    plan = xplain.audit.open(out).plan
    with Benches(out, plan) as benches:
        for number in shards:
            make(plan, benches, number, Store(out), Data(out))
