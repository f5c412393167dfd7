"""A small audit, planned by hand: pictures whose answer is known, two models of one card, a few lanes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nets
import numpy as np
import onnx
from PIL import Image

import xplain
from xplain.audit.plans.items import write_items
from xplain.audit.plans.labels import joined
from xplain.audit.plans.plan import ItemFacts, ModelFacts, Plan
from xplain.audit.shards.guarding import versions_now
from xplain.audit.sources import source_of
from xplain.audit.stores.where import Where
from xplain.core.known_classes import known_classes
from xplain.session import Request, Session
from xplain.session.lanes.lane import planned

CARD = {"mode": "RGB", "resize": [16, 16], "scale": 1 / 255, "mean": [0.5] * 3, "std": [0.25] * 3,
        "labels": ["a", "b", "c", "d", "e"]}  # fmt: skip
METHODS: dict[str, dict[str, Any]] = {"grad-cam": {}, "rise": {"samples": 8, "cells": 4}}


def pictures(folder: Path, count: int = 11, size: int = 20) -> Path:
    """PNG files ``c/007.png``: noise, each of its own; the folder is a label."""
    rng = np.random.default_rng(3)
    for k in range(count):
        place = folder / "abcde"[k % 5]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(place / f"{k:03d}.png")
    return folder


def audit(folder: Path, data: Path, methods: Any = None, rows: int = 4, shard_rows: int = 6, **more: Any) -> Plan:
    """An audit in ``folder`` of the pictures in ``data``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.parent / "net.onnx"
    onnx.save(nets.cnn(), path)
    model = xplain.load(str(path), card=CARD, threads=1)
    source = source_of(data, folder / "kept")
    listed = write_items(source, joined("folders", None), folder / "items.parquet", folder / "places.parquet")
    known, unknown = known_classes(model.outline, listed.labels)
    trial = Session(model, Request()).read([str(one) for one in sorted(data.rglob("*.png"))[:2]]).items
    lanes = []
    for method, options in (methods or METHODS).items():
        lane, content = planned(model, trial, method, options, called="net", rows=rows, **more)
        lanes.append(lane)
        if content is not None:
            (folder / "lanes").mkdir(exist_ok=True)
            (folder / "lanes" / f"{lane.file}.onnx").write_bytes(content)
    outline = model.outline
    facts = ModelFacts(
        "net", outline.digest, "onnx", outline.input, trial.layout.axes, tuple(trial.x.shape[1:]), "float32",
        {**CARD, "labels": []}, {"tensor": outline.scores.tensor, "classes": 5}, tuple(CARD["labels"]),
        known=known, unknown=unknown,
    )  # fmt: skip
    plan = Plan(
        ItemFacts(listed.sha256, listed.count, "folder"), (facts,), tuple(lanes),
        shard_rows=shard_rows, versions=versions_now(["onnx"]),
    )  # fmt: skip
    (folder / "plan.json").write_bytes(plan.to_json())
    Where(source.recipe(), {"net": {"source": str(path), "options": {"card": CARD}}}).write(folder)
    return plan
