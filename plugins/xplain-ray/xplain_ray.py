"""Audits on a Ray cluster: the shards that are left are a data set of numbers, which a pool of actors makes.

    shards left --> ray.data --> actors, each an xplain.audit.Shop --> parts and seals in the audit's folder

Ray decides who makes which shard, restarts what dies, and moves nothing but numbers. That a shard is done says its seal
alone, which is created once; so a shard that Ray makes twice is counted once, and the store is the same, bit for bit,
as that of ``xplain.audit.run``. The folder must be visible to every node under the same path; or it is a URL.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from xplain import XplainError, audit

__all__ = ["Attempts", "Maker", "main", "run"]

RETRIES = 5
"""How often a shard is made again whose actor died: spot machines go, but an item that ends processes would end them
for ever. Ray itself starts actors anew without end; versions differ in how it can be told not to."""


class RayFailed(XplainError, RuntimeError):
    """Shards that could not be made."""


class Attempts:
    """An actor that outlives those that make shards, and knows how often each was begun and not brought to an end."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begun(self, number: int) -> int:
        """A shard is begun; for the how manyth time without an end."""
        self._begun[number] += 1
        return self._begun[number]

    def ended(self, number: int) -> None:
        """It was made, or said why not."""
        del self._begun[number]


class Maker:
    """An actor: opens the audit once, then makes one shard after another.

    Args:
        out: The audit's folder, as this node sees it, or its URL.
        attempts: A handle of ``Attempts``.
    """

    def __init__(self, out: str, attempts: Any) -> None:
        self._shop, self._attempts = audit.Shop(out).__enter__(), attempts

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Make the shards of a batch; an error is an answer, for Ray repeats deaths alone."""
        import ray

        found: dict[str, list[Any]] = {"shard": [], "rows": [], "errors": [], "failed": []}
        for number in batch["shard"].tolist():
            told: dict[str, Any] = {"shard": number, "rows": 0, "errors": 0, "failed": ""}
            if ray.get(self._attempts.begun.remote(number)) > RETRIES + 1:
                told["failed"] = f"its actor died {RETRIES + 1} times"
            else:
                try:
                    told |= {name: value for name, value in self._shop.make(number).items() if name in found}
                except Exception as error:
                    told["failed"] = f"{type(error).__name__}: {error}"
            self._attempts.ended.remote(number)  # not waited for: were it lost, a shard would count as begun once more
            for name, values in found.items():
                values.append(told[name])
        return found


def run(
    out: str | os.PathLike[str],
    *,
    workers: int = 2,
    shards: Iterable[int] | None = None,
    told: Callable[[int, int], None] | None = None,
    resources: Mapping[str, float] | None = None,
) -> audit.Progress:
    """Make the shards of an audit that are not sealed yet, on the Ray cluster that this process is connected to.

    Call ``ray.init`` before, with what your cluster needs; without it Ray starts one on this machine.

    Args:
        out: The audit's folder, visible to every node under this path; or its URL, which every node can reach.
        workers: Actors.
        shards: Numbers of the shards to make; None for all.
        told: Called with (shards done, shards asked) after every shard.
        resources: What an actor needs, as ``map_batches`` takes it: ``{"num_gpus": 1}``, ``{"memory": 4e9}``,
            ``{"accelerator_type": "A100"}`` ...; one processor by default.

    Returns:
        How far the audit is.

    Raises:
        UsageError: there is no audit, or it is not as it was planned.
        RayFailed: shards could not be made, or their actors died again and again; the others are sealed.
    """
    import ray
    from ray.exceptions import RayError

    place = os.fspath(out)
    place = place if "://" in place else str(Path(place).resolve())
    wanted = None if shards is None else set(shards)
    left = [number for number in audit.left(place) if wanted is None or number in wanted]
    if not left:
        return audit.status(place)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    asked = ray.data.from_items([{"shard": number} for number in left], override_num_blocks=len(left)).map_batches(
        Maker,
        fn_constructor_args=[place, ray.remote(num_cpus=0)(Attempts).remote()],
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(left))),
        **(resources or {"num_cpus": 1}),
    )
    failed, done = [], 0
    try:
        for batch in asked.iter_batches(batch_size=None):
            done += len(batch["shard"])
            failed += [f"shard {n}: {why}" for n, why in zip(batch["shard"], batch["failed"], strict=True) if why]
            if told is not None:
                told(done, len(left))
    except RayError as error:
        raise RayFailed(
            f"Ray failed: {str(error).strip().splitlines()[0][:300]}. What is sealed stays; run it again to go on."
        ) from error
    if failed:
        raise RayFailed(
            f"Of {len(left)} shards that were left {len(failed)} could not be made: {'; '.join(failed[:3])}. What is "
            "sealed stays. Where actors died, 'xplain audit run' finds the item that ends processes, and makes it an "
            "error row."
        )
    return audit.status(place)


def main() -> None:
    """``xplain-ray AUDIT [--workers N] [--address A]``: ends with 0 where all shards are sealed, with 4 where not."""
    parser = argparse.ArgumentParser(prog="xplain-ray", description="Run an audit of xplain on a Ray cluster.")
    parser.add_argument("out", metavar="AUDIT", help="the audit's folder, visible to every node, or its URL")
    parser.add_argument("--workers", type=int, default=2, help="actors")
    parser.add_argument("--address", help="a cluster to connect to; left out, one is started here")
    asked = parser.parse_args()
    import ray

    ray.init(address=asked.address, log_to_driver=False)
    try:
        found = run(asked.out, workers=asked.workers, told=lambda n, of: print(f"{n} of {of} shards", file=sys.stderr))
    except XplainError as error:
        sys.exit(f"xplain-ray: {error}")
    finally:
        ray.shutdown()
    print(found)
    sys.exit(0 if found.done else 4)


if __name__ == "__main__":
    main()
