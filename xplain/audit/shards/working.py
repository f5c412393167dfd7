"""A worker: a process of its own that makes one shard after another and dies with who started it.

    python -m xplain.audit.shards.working FOLDER THREADS
        reads {"make": 3}, {"make": 3, "careful": true, "refused": {...}}
        says {"ready": pid}, {"item": 17}, {"sealed": 3, ...}

It says before it touches an item which one it is, if it is told to be careful; so whoever outlives it knows at what it
died. Only a death that was seen is evidence against an item: a run that is killed from outside leaves none.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Self, TextIO

from xplain.audit.plans.lanes import Benches
from xplain.audit.shards.guarding import planned_audit, refuse_changed
from xplain.audit.shards.reading import Data
from xplain.audit.shards.shard import Maker
from xplain.audit.sources import moved
from xplain.audit.stores.home import home_of
from xplain.core.errors import UsageError, XplainError

__all__ = ["Shop", "main"]


class Shop:
    """What makes and seals the shards of an audit in this process; a driver of any cluster is a loop around it.

        with Shop("audit") as shop:
            shop.make(3)                                     # in any process, in any order, as often as one likes

    Args:
        out: The audit's folder, or its URL.
        models: Models by name, where they can only be given, or lie elsewhere here.
        threads: Threads that read ahead; 0 reads in this one.
        items: Another place of the items, where they were moved.

    Raises:
        UsageError: there is no audit, or it is not as it was planned.
        XplainError: a model cannot be loaded.
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        models: Mapping[str, Any] | None = None,
        threads: int = 2,
        items: Any = None,
    ) -> None:
        self._home, self._threads = home_of(out), threads
        folder, self._store = self._home.folder, self._home.store
        self.plan = planned_audit(folder)
        refuse_changed(self.plan, folder)
        self._home.writable()
        self._benches = Benches(folder, self.plan, models)
        self._data = Data(folder, None if items is None else moved(items, folder))

    def __enter__(self) -> Self:
        self._benches.__enter__()
        if self._benches.billed and self._home.far is not None:
            self._benches.__exit__()
            raise UsageError(
                f"{self._home.called} keeps no answers that were paid for, so a shard that is made again would be paid "
                "again. Plan an audit of a model that is billed in a folder."
            )
        self._maker = Maker(self.plan, self._benches, self._data, self._threads)
        return self

    def __exit__(self, *raised: Any) -> None:
        self._maker.__exit__(*raised)
        self._benches.__exit__(*raised)

    def make(
        self,
        number: int,
        refused: Mapping[int, str] | None = None,
        told: Callable[[int], None] | None = None,
        most: int | None = None,
    ) -> dict[str, Any]:
        """Make a shard, seal it, and say what it took: ``sealed, rows, errors, wrong, first, seconds, money, asked``.

        Args:
            number: Its number.
            refused: Items that are not touched, and why.
            told: Called with the number of each item before anything is done with it; see ``Maker.make``.
            most: Evaluations that it may ask for; None for no limit.

        Raises:
            BudgetError: it would ask for more.
            OtherBits: it was sealed with other bits.
            OutputError: it cannot be written.
        """
        began, spent = time.perf_counter(), self._maker.spent
        made = self._maker.seal(number, self._store, refused, told, most)
        cost = self._maker.spent.since(spent)
        took = {"seconds": time.perf_counter() - began, "money": cost.money, "asked": cost.queries + cost.sweeps}
        return {
            "sealed": number,
            "rows": made.rows,
            "errors": made.errors,
            "wrong": made.wrong,
            "first": made.first,
            **took,
        }

    def price(self, number: int) -> tuple[float, int]:
        """The most money that a shard can cost, and evaluations that it can ask for, without what is known already."""
        return self._maker.price(number)


def main(folder: str, threads: str) -> None:
    """Make what is asked for on the standard input, until it says that this is all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it decides, and lets the shard be finished
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "w")  # what libraries print must not be taken for an answer
    os.dup2(2, 1)
    waiting: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin, waiting), daemon=True).start()

    def say(**told: Any) -> None:
        out.write(json.dumps(told) + "\n")
        out.flush()

    try:
        with Shop(folder, threads=int(threads)) as shop:
            say(ready=os.getpid())
            while asked := waiting.get():
                if "price" in asked:
                    say(price=shop.price(int(asked["price"])))
                    continue
                refused = {int(item): why for item, why in asked.get("refused", {}).items()}
                told = (lambda item: say(item=item)) if asked.get("careful") else None
                say(**shop.make(int(asked["make"]), refused, told, asked.get("most")))
    except XplainError as error:
        say(failed=str(error), kind=type(error).__name__)


def _listen(given: TextIO, waiting: queue.Queue[dict[str, Any]]) -> None:
    """Pass on what is asked; where the asker is gone, so is this process: nobody would count what it does."""
    for line in given:
        asked = json.loads(line)
        waiting.put(asked)
        if not asked:
            return
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
