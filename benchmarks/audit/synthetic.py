"""A store of many synthetic records, in the form that an audit writes, without a model: for what reads stores.

Two lanes (a model and its int8 twin, Grad-CAM on 7 x 7 cells), 1,000 classes, labels, metadata, metrics on a sample.
What is planted is known: half the items of class 7 have their mass in the bottom right corner; in the last of twelve
months maps are moved by two cells and answers are worse; site E is worse than the others; int8 answers otherwise on 1.5
% of items.

    python benchmarks/audit/synthetic.py OUT --items 1000000        # about 0.5 GB

The same arguments give the same bits.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from xplain.audit.plans.plan import Grading, ItemFacts, Lane, ModelFacts, Plan
from xplain.audit.stores.schema import ITEMS, METRICS, RECORDS, parquet_bytes, schema_of, table_of
from xplain.audit.stores.store import Seal, Store

LANES = ("fp32/grad-cam/predicted", "int8/grad-cam/predicted")
SIDE = 7
SHORTCUT, MONTHS = 7, 12
SITES = np.array(["A", "B", "C", "D", "E"])
METRIC_NAMES = ("deletion", "insertion")
_REASONS = (
    "PictureError: the picture ends early (byte {k})",
    "PictureError: it is no picture",
    "NonFinite: the scores hold NaN",
)


@dataclass(frozen=True)
class Wished:
    """What is written.

    Args:
        items: How many.
        classes: How many.
        rows: Items of a shard.
        sample: Items that metrics were asked for.
        seed: Of all draws.
        errors: Share of items that could not be explained.
        changed: A class whose items are all answered with the next one, with maps in the top left corner; None for
            none. It changes nothing else, so that two audits differ in it alone.
    """

    items: int = 1_000_000
    classes: int = 1000
    rows: int = 16_384
    sample: int = 2000
    seed: int = 0
    errors: float = 3e-4
    changed: int | None = None


@dataclass(frozen=True)
class Drawn:
    """What the items are, before any lane: arrays with an entry per item."""

    label: np.ndarray
    site: np.ndarray
    age: np.ndarray
    month: np.ndarray
    failed: np.ndarray


def write(out: str | Path, wished: Wished = Wished(), *, shards: int | None = None) -> Plan:
    """Write the store; ``shards`` alone are sealed where it is given, as by a run that was stopped."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    store, items = Store(folder), _items(wished)
    content = _items_file(items, wished)
    (folder / "items.parquet").write_bytes(content)
    plan = _plan(wished, hashlib.sha256(content).hexdigest())
    (folder / "plan.json").write_bytes(plan.to_json())
    sample = np.asarray(plan.grading.sample, np.int64)
    for shard in plan.shards[: len(plan.shards) if shards is None else shards]:
        store.seal(shard.number, _seal(store, plan, shard, items, sample, wished))
    return plan


def _items(w: Wished) -> Drawn:
    draw = np.random.default_rng([w.seed, 1])
    share = 1 / (np.arange(w.classes) + 20.0)  # some classes are rare, none is a handful
    label = draw.choice(w.classes, w.items, p=share / share.sum()).astype(np.int32)
    site = draw.choice(len(SITES), w.items, p=[0.4, 0.25, 0.2, 0.1, 0.05])
    age = draw.normal(45, 18, w.items).clip(0, 99).round()
    age[draw.random(w.items) < 0.02] = np.nan
    month = (np.arange(w.items) * MONTHS // w.items).astype(np.int8)
    return Drawn(label, site, age, month, draw.random(w.items) < w.errors)


def _names(first: int, last: int) -> list[str]:
    return [f"{k // 1000:04d}/{k:07d}.jpg" for k in range(first, last)]


def _digests(names: list[str]) -> list[str]:
    return [hashlib.sha256(name.encode()).hexdigest() for name in names]


def _items_file(d: Drawn, w: Wished) -> bytes:
    names, n = _names(0, w.items), w.items
    start = date(2025, 1, 1)
    days = d.month.astype(int) * 30 + np.arange(n) % 30
    values = {
        "number": np.arange(n),
        "name": names,
        "bytes": 20_000 + np.arange(n) % 9999,
        "sha256": _digests(names),
        "label": np.array([f"class {k:04d}" for k in range(w.classes)], object)[d.label],
        "split": np.where(np.arange(n) % 10 == 0, "train", "test"),
        "site": SITES[d.site],
        "age": pa.array(d.age, pa.float32(), from_pandas=True),
        "taken": pa.array([start + timedelta(int(k)) for k in range(MONTHS * 31)]).take(pa.array(days)),
    }
    metadata = {"site": "string", "age": "float", "taken": "date32[day]"}
    schema = pa.schema(
        [
            *schema_of(ITEMS),
            *(pa.field(k, pa.date32() if k == "taken" else pa.type_for_alias(v)) for k, v in metadata.items()),
        ]
    )
    return parquet_bytes(pa.table([pa.array(values[f.name], f.type) for f in schema], schema=schema))


def _plan(w: Wished, items_sha256: str) -> Plan:
    classes = tuple(f"class {k:04d}" for k in range(w.classes))
    card = {"resize_short": 256, "crop": [224, 224], "scale": 1 / 255}
    models = tuple(
        ModelFacts(
            *(name, hashlib.sha256(name.encode()).hexdigest(), "onnx", "input", "NCHW", (3, 224, 224), "float32"),
            *(card, {"tensor": "logits", "kind": "logit", "classes": w.classes}, classes),
            known={name: k for k, name in enumerate(classes)},
        )
        for name in ("fp32", "int8")
    )
    lanes = tuple(
        Lane(
            *(name, one.name, one.sha256, "grad-cam", {"layer": "last"}),
            engine="graph",
            rows=64,
            item=(3, 224, 224),
            native_shape=(SIDE, SIDE),
            classes=w.classes,
            relevance=16,
            layout="NCHW",
            unit="score",
        )
        for name, one in zip(LANES, models, strict=True)
    )
    sample = np.sort(np.random.default_rng([w.seed, 2]).choice(w.items, min(w.sample, w.items), replace=False))
    return Plan(
        ItemFacts(items_sha256, w.items, "folder", "the folders' names"),
        models,
        lanes,
        Grading(METRIC_NAMES, tuple(map(int, sample))),
        ("all",),
        seed=w.seed,
        shard_rows=w.rows,
        versions={"xplain": "synthetic", "numpy": np.__version__},
    )


def _seal(store: Store, plan: Plan, shard, d: Drawn, sample: np.ndarray, w: Wished) -> Seal:
    own = slice(shard.first, shard.first + shard.rows)
    names = _names(own.start, own.stop)
    common = {"name": names, "sha256": _digests(names), "seed": np.arange(own.start, own.stop).astype(np.uint64)}
    parts, tables, graded = {}, [], []
    shared = _answers(shard.number, d, own, w)
    for k, lane in enumerate(plan.lanes):
        draw = np.random.default_rng([w.seed, 3, shard.number, k])
        answers = dict(shared) if k == 0 else _twin(shared, draw, w)
        maps = _maps(draw, answers, d, own, w.changed)
        maps[d.failed[own]] = np.nan
        tables.append(_records(plan, lane.name, common, answers, maps, d, own))
        parts[f"maps/{lane.name}"] = store.put(_npy(maps.astype(np.float16)), "npy")
        parts[f"relevance/{lane.name}"] = store.put(_npy(draw.normal(size=(shard.rows, 16)).astype(np.float16)), "npy")
        here = sample[(sample >= own.start) & (sample < own.stop) & ~d.failed[sample]]
        graded.append(_metrics(draw, lane.name, here))
    parts["records"] = store.put(parquet_bytes(pa.concat_tables(tables)), "parquet")
    parts["metrics"] = store.put(parquet_bytes(pa.concat_tables(graded)), "parquet")
    return Seal(plan.identity, shard.number, shard.first, shard.rows, parts)


def _answers(number: int, d: Drawn, own: slice, w: Wished) -> dict[str, np.ndarray]:
    draw = np.random.default_rng([w.seed, 4, number])
    label, n = d.label[own], len(d.label[own])
    skill = np.random.default_rng([w.seed, 5]).beta(9, 2, w.classes)[label]
    skill = skill - 0.25 * (SITES[d.site[own]] == "E") - 0.2 * (d.month[own] == MONTHS - 1)
    right = (draw.random(n) < skill) & (label != w.changed)
    predicted = np.where(right, label, (label + 1 + draw.integers(0, 30, n)) % w.classes).astype(np.int32)
    predicted = np.where(label == w.changed, (label + 1) % w.classes, predicted).astype(np.int32)
    margin = draw.gamma(np.where(right, 3.0, 1.3), 1.0).astype(np.float32)
    score = (8 + margin + draw.normal(0, 1, n)).astype(np.float32)
    second = (predicted + 1 + draw.integers(0, 5, n)).astype(np.int32) % w.classes
    return {"predicted": predicted, "second": second, "score": score, "margin": margin}


def _twin(a: dict[str, np.ndarray], draw: np.random.Generator, w: Wished) -> dict[str, np.ndarray]:
    """What the int8 model says: the second class where the decision was close enough to turn."""
    turned = a["margin"] < np.quantile(a["margin"], 0.015)
    score = a["score"] + draw.normal(0, 0.1, len(turned)).astype(np.float32)
    return {
        "predicted": np.where(turned, a["second"], a["predicted"]).astype(np.int32),
        "second": np.where(turned, a["predicted"], a["second"]).astype(np.int32),
        "score": score,
        "margin": np.abs(a["margin"] + draw.normal(0, 0.05, len(turned))).astype(np.float32),
    }


def _maps(draw: np.random.Generator, a: dict[str, np.ndarray], d: Drawn, own: slice, changed: int | None) -> np.ndarray:
    """A blob where the class has its own, float32 [n, 7, 7], of at most 1."""
    predicted, n = a["predicted"], len(a["predicted"])
    y = 2 + (predicted % 3) + draw.normal(0, 0.6, n)
    x = 2 + (predicted // 3 % 3) + draw.normal(0, 0.6, n) + 2 * (d.month[own] == MONTHS - 1)
    marked = (predicted == SHORTCUT) & (np.arange(own.start, own.stop) % 2 == 0)
    y, x = np.where(marked, 6, y), np.where(marked, 6, x)
    moved = d.label[own] == changed
    y, x = np.where(moved, 0, y), np.where(moved, 0, x)
    rows = np.arange(SIDE)
    blob = np.exp(-((rows - y[:, None]) ** 2) / 2)[:, :, None] * np.exp(-((rows - x[:, None]) ** 2) / 2)[:, None, :]
    maps = (blob + np.abs(draw.normal(0, 0.05, blob.shape))).astype(np.float32)
    return maps / maps.max(axis=(1, 2), keepdims=True)


def _records(plan: Plan, lane: str, common, a, maps: np.ndarray, d: Drawn, own: slice) -> pa.Table:
    n, failed = own.stop - own.start, d.failed[own]
    names = np.array(plan.models[0].classes, object)
    ok = {key: pa.array(value, mask=failed) for key, value in {**a, **_geometry(maps)}.items()}
    reasons = [_REASONS[k % len(_REASONS)].format(k=k) if bad else None for k, bad in enumerate(failed)]
    return table_of(RECORDS, {
        "item": np.arange(own.start, own.stop), "lane": [lane] * n, "status": np.where(failed, "error", "ok"),
        "error": reasons, **common, "label": names[d.label[own]], "label_class": d.label[own],
        **ok, "predicted_name": pa.array(names[a["predicted"]], mask=failed),
        "second_name": pa.array(names[a["second"]], mask=failed),
        "entropy": pa.array((1 / (1 + a["margin"])).astype(np.float32), mask=failed),
        "correct": pa.array(a["predicted"] == d.label[own], mask=failed),
        "target": ok["predicted"], "target_name": pa.array(names[a["predicted"]], mask=failed), "value": ok["score"],
    })  # fmt: skip


def _geometry(maps: np.ndarray) -> dict[str, np.ndarray]:
    """The numbers that records hold of a map, float32 per item."""
    flat = np.abs(maps.reshape(len(maps), -1)) + 1e-9
    share = flat / flat.sum(1, keepdims=True)
    ranked = np.sort(flat, axis=1)
    n = ranked.shape[1]
    gini = ((2 * np.arange(1, n + 1) - n - 1) * ranked).sum(1) / (n * ranked.sum(1))
    best = flat.argmax(1)
    cells = share.reshape(maps.shape)
    ring = np.ones((SIDE, SIDE), bool)
    ring[1:-1, 1:-1] = False
    half = SIDE // 2
    corners = [
        cells[:, y, x].sum((1, 2)) for y in (slice(half), slice(-half, None)) for x in (slice(half), slice(-half, None))
    ]
    told = {
        "scale": flat.max(1), "total": flat.sum(1), "positive": np.ones(len(maps)), "gini": gini,
        "complexity": -(share * np.log(share)).sum(1), "peak_y": (best // SIDE + 0.5) / SIDE,
        "peak_x": (best % SIDE + 0.5) / SIDE, "border": cells[:, ring].sum(1),
        **{f"corner{k}": one for k, one in enumerate(corners)},
    }  # fmt: skip
    return {name: np.nan_to_num(value).astype(np.float32) for name, value in told.items()}


def _metrics(draw: np.random.Generator, lane: str, items: np.ndarray) -> pa.Table:
    n, tables = len(items), []
    for metric, better in (("deletion", -1), ("insertion", 1)):
        base = draw.beta(5, 5, n)
        others = {name: base - better * gap + draw.normal(0, 0.1, n) for name, gap in
                  (("random", 0.15), ("centre", 0.06), ("edge", 0.12), ("gradient", 0.1))}  # fmt: skip
        values = {"item": items, "lane": [lane] * n, "metric": [metric] * n, "value": base, **others}
        tables.append(table_of(METRICS, values))
    return pa.concat_tables(tables)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--shards", type=int, help="seal these many alone, as if the run had been stopped")
    parser.add_argument("--changed", type=int, help="a class that is answered otherwise; see Wished")
    given = parser.parse_args()
    began = time.process_time()
    wished = Wished(items=given.items, classes=given.classes, changed=given.changed)
    made = write(given.out, wished, shards=given.shards)
    size = sum(one.stat().st_size for one in given.out.rglob("*") if one.is_file())
    print(
        f"{given.items:,} items, {len(made.lanes)} lanes: {size / 2**20:.0f} MiB, {time.process_time() - began:.1f} s"
    )
