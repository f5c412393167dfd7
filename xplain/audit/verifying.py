"""``xplain.audit.verify``: every bit of an audit held against its name, every row against the plan, some made again.

| found | means |
|---|---|
| damaged | a seal or part that is missing, cut short, of other bits, or of another form than the plan says |
| doubled | an item that stands twice in a lane, or a seal that is the copy of another shard's |
| missing | a shard that is not sealed, and no damage: the audit has not come to its end |
| differing | a shard that was made again, and has other bits |
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xplain.audit.canonical import file_sha256
from xplain.audit.plans.lanes import Benches
from xplain.audit.plans.plan import Plan, Shard
from xplain.audit.shards.guarding import planned_audit, refuse_changed, versions_now
from xplain.audit.shards.progress import Progress
from xplain.audit.shards.reading import Data
from xplain.audit.shards.shard import Maker
from xplain.audit.sources import moved
from xplain.audit.stores.comparing import Difference, differences
from xplain.audit.stores.home import home_of
from xplain.audit.stores.schema import METRICS, RECORDS, Column, read_parquet, schema_of
from xplain.audit.stores.store import DamagedPart, Seal, Store
from xplain.core.declaring.wording import way
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted

__all__ = ["Damage", "Verified", "left", "status", "verify"]


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a shard, or with the audit itself where ``shard`` is None."""

    shard: int | None
    what: str

    def __str__(self) -> str:
        return self.what if self.shard is None else f"shard {self.shard}: {self.what}"


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found.

    Args:
        sealed: Shards that are sealed.
        of: Shards of the plan.
        damaged: What is wrong.
        missing: Shards without a seal.
        doubled: Shard, item and lane of rows that stand twice; the item is None for the copy of a seal.
        differing: What differs in shards that were made again.
        recomputed: Shards that were made again.
        repaired: Shards whose seals were taken away, so that a run makes them.
        told: Sentences, such as that other versions are installed than were planned.
        root: Hash of plan, items and seals.
    """

    sealed: int
    of: int
    damaged: tuple[Damage, ...] = ()
    missing: tuple[int, ...] = ()
    doubled: tuple[tuple[int, int | None, str], ...] = ()
    differing: tuple[Difference, ...] = ()
    recomputed: tuple[int, ...] = ()
    repaired: tuple[int, ...] = ()
    told: tuple[str, ...] = ()
    root: str = ""

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with what is sealed."""
        return not (self.damaged or self.doubled or self.differing)

    def __str__(self) -> str:
        lines = [f"{self.sealed:,} of {counted(self.of, 'shard')} sealed; root {self.root[:16]}"]
        lines += [f"damaged: {one}" for one in self.damaged]
        lines += [f"doubled: shard {shard}: {_doubled(item, lane)}" for shard, item, lane in self.doubled]
        lines += [f"differs: {one}" for one in self.differing]
        if self.recomputed:
            again = ", ".join(map(str, self.recomputed))
            same = "the same bits" if not self.differing else "see above"
            lines.append(f"made again: shards {again}: {same}")
        if self.repaired:
            lines.append(f"seals taken away: shards {', '.join(map(str, self.repaired))}; a run makes them again")
        return "\n".join([*lines, *self.told, "sound" if self.sound else "NOT sound"])


def status(out: str | os.PathLike[str]) -> Progress:
    """How far an audit is, also while it runs: sealed shards, rows and error rows in them.

    Raises:
        UsageError: the folder holds no audit.
    """
    home = home_of(out)
    plan, store = planned_audit(home.folder), home.store
    errors = rows = 0
    for seal in _readable(store):
        try:
            kinds = read_parquet(store.get(seal.parts["records"]), ("status",))["status"].value_counts().to_pylist()
        except (DamagedPart, KeyError, ValueError):
            continue  # what is wrong is what verify says
        counts = {one["values"]: one["counts"] for one in kinds}
        errors, rows = errors + counts.get("error", 0), rows + sum(counts.values())
    return Progress(len(store.sealed()), len(plan.shards), errors, rows)


def left(out: str | os.PathLike[str]) -> list[int]:
    """Numbers of the shards that are not sealed yet: what a driver hands to whoever makes them.

    Args:
        out: The audit's folder, or its URL.

    Raises:
        UsageError: no audit is there.
    """
    home = home_of(out)
    sealed = home.store.sealed()
    return [shard.number for shard in planned_audit(home.folder).shards if shard.number not in sealed]


def verify(
    out: str | os.PathLike[str],
    recompute: int = 0,
    *,
    repair: bool = False,
    seed: int = 0,
    models: Mapping[str, Any] | None = None,
    items: Any = None,
) -> Verified:
    """Hold an audit against its plan, bit by bit.

    Args:
        out: The audit's folder, or its URL.
        recompute: Shards that are drawn by chance and made again; their bits are compared.
        repair: Take the seals of damaged shards away, so that a run makes them again. Refused while a run is at work.
        seed: Of the draw.
        models: Models by name, where they were given as objects or lie elsewhere now.
        items: Another place of the items.

    Raises:
        UsageError: the folder holds no audit, or a model is not the one that was planned.
        OutputError: another run is at work, and seals are to be taken away.
    """
    home = home_of(out)
    folder, store = home.folder, home.store
    if isinstance(recompute, bool) or not isinstance(recompute, int) or recompute < 0:
        raise UsageError(option="recompute", got=recompute, accepted="a whole number of at least 0")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UsageError(option="seed", got=seed, accepted="a whole number of at least 0")
    plan = planned_audit(folder)
    wired = [model.name for model in plan.models if model.kind == "endpoint" and model.name not in (models or {})]
    if recompute and wired:
        raise UsageError(
            f"Model {wired[0]!r} is asked over a wire, so that making shards again sends items, money and secrets to "
            "the address that this folder names. Say that it is meant: ",
            way("model", python=f"models={{{wired[0]!r}: address}}", shell=f"--model {wired[0]}=URL"),
            ".",
        )
    told: list[str] = []
    damaged = [Damage(None, one) for one in _of_audit(plan, folder, told)]
    doubled: list[tuple[int, int | None, str]] = []
    good: list[int] = []
    sealed, blocked = store.sealed(), store.blocked()
    damaged += [Damage(number, "its seal's name is taken by something that is no file") for number in sorted(blocked)]
    for number in sorted(sealed):
        wrong, twice = _of_shard(plan, store, number)
        damaged += [Damage(number, one) for one in wrong]
        doubled += [(number, item, lane) for item, lane in twice]
        if not wrong and not twice:
            good.append(number)
    bad = sorted((sealed - set(good)) | blocked)
    if repair and bad:
        with store.hold():
            for number in bad:
                store.unseal(number)
    chosen = _drawn(good, recompute, plan, seed)
    differing = tuple(_made_again(plan, folder, store, chosen, models, items)) if chosen else ()
    missing = tuple(sorted(set(range(len(plan.shards))) - sealed))
    root = store.root(plan.to_json(), _items(folder / "items.parquet"), seals={n: _seal(store, n) for n in good})
    repaired = tuple(bad) if repair else ()
    return Verified(
        len(sealed), len(plan.shards), tuple(damaged), missing, tuple(doubled), differing, chosen, repaired,
        tuple(told), root,
    )  # fmt: skip


def _of_audit(plan: Plan, folder: Path, told: list[str]) -> Iterator[str]:
    """What is wrong with the audit itself."""
    now = versions_now(model.kind for model in plan.models)
    moved = [name for name in sorted({*plan.versions, *now}) if plan.versions.get(name) != now.get(name)]
    if moved:
        told.append(f"other versions are installed than were planned ({', '.join(moved)}): bits made here may differ")
    try:
        refuse_changed(plan, folder, plan.versions)
    except UsageError as error:
        yield str(error)


def _of_shard(plan: Plan, store: Store, number: int) -> tuple[list[str], list[tuple[int | None, str]]]:
    """What is wrong with a sealed shard, and which of its rows stand twice."""
    try:
        seal = store.seal_of(number)
    except DamagedPart as error:
        copy = "is that of shard" in str(error)
        return [str(error)], [(None, "")] if copy else []
    if seal is None:
        return ["its seal is gone"], []
    if number >= len(plan.shards):
        return [f"the plan has {counted(len(plan.shards), 'shard')}"], []
    if seal.audit != plan.identity:
        return ["its seal is of another audit"], []
    shard = plan.shards[number]
    if (seal.first, seal.rows) != (shard.first, shard.rows):
        return [f"its seal says items {seal.first} to {seal.first + seal.rows - 1}, the plan otherwise"], []
    kinds = ["records", "metrics", *(f"{kind}/{lane.name}" for lane in plan.lanes for kind in ("maps", "relevance"))]
    wrong = [f"it has no {kind}" for kind in kinds if kind not in seal.parts]
    for kind, name in seal.parts.items():
        fault = store.fault(name)
        wrong += [f"{kind} ({name[:12]}) {fault}"] if fault else []
    if wrong:
        return wrong, []
    return _of_rows(plan, store, seal, shard)


def _of_rows(plan: Plan, store: Store, seal: Seal, shard: Shard) -> tuple[list[str], list[tuple[int | None, str]]]:
    """What is wrong with the rows of a shard whose bits are those that were sealed."""
    wrong: list[str] = []
    tables = {}
    for kind, columns in (("records", RECORDS), ("metrics", METRICS)):
        tables[kind] = _table(store, seal.parts[kind], columns)
        if tables[kind] is None:
            wrong.append(f"its {kind} have other columns than records of this version")
    if wrong:
        return wrong, []
    twice: list[tuple[int | None, str]] = []
    items, lanes = tables["records"]["item"].to_numpy(), tables["records"]["lane"].to_pylist()
    named = np.asarray(lanes, dtype=object)
    for lane in plan.lanes:
        own = items[named == lane.name]
        numbers, counts = np.unique(own, return_counts=True)
        twice += [(int(n), lane.name) for n in numbers[counts > 1]]
        lost = set(shard.items) - set(numbers.tolist())
        if lost:
            wrong.append(f"lane {lane.name} lacks {counted(len(lost), 'item')}, such as {min(lost)}")
        for kind, shape in (("maps", lane.native_shape), ("relevance", (lane.relevance,))):
            wrong += _of_array(store, seal, f"{kind}/{lane.name}", shape)
    strange = set(items.tolist()) - set(shard.items)
    if strange:
        wrong.append(f"it holds items of other shards, such as {min(strange)}")
    other = set(lanes) - {lane.name for lane in plan.lanes}
    return [*wrong, *(f"it holds lane {name}, which is not planned" for name in sorted(other))], twice


def _of_array(store: Store, seal: Seal, kind: str, shape: tuple[int, ...]) -> list[str]:
    try:
        found = np.load(store.path(seal.parts[kind]), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return [f"{kind} is no array"]
    want = (seal.rows, *shape)
    same = found.dtype == np.float16 and found.shape == want
    return [] if same else [f"{kind} holds {found.dtype} {list(found.shape)}, planned is float16 {list(want)}"]


def _table(store: Store, name: str, columns: tuple[Column, ...]) -> Any:
    """A part as a table; None where it is none of these columns."""
    try:
        table = read_parquet(store.get(name))
    except Exception:  # whatever a reader raises on bytes that were sealed by another hand
        return None
    return table if table.schema.equals(schema_of(columns)) else None


def _drawn(good: list[int], count: int, plan: Plan, seed: int) -> tuple[int, ...]:
    """Shards drawn by chance, of the plan's identity and a seed: whoever draws again draws the same."""
    draw = np.random.Generator(np.random.Philox(key=(int(plan.identity[:16], 16) ^ seed) % 2**128))
    return tuple(sorted(int(n) for n in draw.permutation(good)[:count]))


def _made_again(
    plan: Plan, folder: Path, store: Store, chosen: tuple[int, ...], models: Mapping[str, Any] | None, items: Any
) -> Iterator[Difference]:
    data = Data(folder, None if items is None else moved(items, folder))
    with Benches(folder, plan, models) as benches, Maker(plan, benches, data) as maker:
        for number in chosen:
            made, seal = maker.make(number), _seal(store, number)
            for kind, (content, _) in made.parts.items():
                yield from differences(plan.shards[number], kind, store.get(seal.parts[kind]), content)


def _readable(store: Store) -> Iterator[Seal]:
    for number in sorted(store.sealed()):
        try:
            seal = store.seal_of(number)
        except DamagedPart:
            continue
        if seal is not None:
            yield seal


def _seal(store: Store, number: int) -> Seal:
    seal = store.seal_of(number)
    assert seal is not None
    return seal


def _items(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError:
        return "absent"


def _doubled(item: int | None, lane: str) -> str:
    return "its seal is the copy of another's" if item is None else f"item {item} stands twice in lane {lane}"
