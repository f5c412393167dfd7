"""Whether a stream of items stays flat: peak memory and processor time per item, for more and more of them.

    python benchmarks/methods/stream.py [COUNT ...]

The items are made as they are taken, 4 KB each, and explained by ``ablation`` of a linear function. Ten of them are
held against ``xplain.explain`` of each alone. Every count is measured in a process of its own, imports and all.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np

import xplain

COUNTS = (500, 4000, 32000)
SIZE = 1000
WEIGHTS = np.random.default_rng(0).normal(size=(SIZE, 2)).astype(np.float32)


def items(count: int) -> Iterator[np.ndarray]:
    """Items ``[SIZE]``, made one by one."""
    for number in range(count):
        yield item(number)


def item(number: int) -> np.ndarray:
    """One of them."""
    return np.random.default_rng(number).normal(size=SIZE).astype(np.float32)


def measure(count: int) -> None:
    """Print the count, the processor time per item in ms, and the peak memory in MiB."""
    model = xplain.load(lambda rows: rows @ WEIGHTS, layout="NS")
    started, seen = time.process_time(), 0
    for one in xplain.explain_stream(model, items(count), "ablation", features="grid:10"):
        if seen % (count // 10) == 0:
            alone = xplain.explain(model, item(seen)[None], "ablation", features="grid:10")
            np.testing.assert_array_equal(one.values, alone.values)
        seen += 1
    assert seen == count
    spent = (time.process_time() - started) / count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{count:>9,} items: {1e3 * spent:.2f} ms each, peak {peak} MiB")


def main() -> None:
    """Measure each count in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=COUNTS, help="numbers of items")
    counts = parser.parse_args().counts
    if len(counts) == 1:
        measure(counts[0])
        return
    for count in counts:
        subprocess.run([sys.executable, __file__, str(count)], check=True)


if __name__ == "__main__":
    main()
