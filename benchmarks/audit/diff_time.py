"""How long two synthetic audits take to be compared, and how much memory: it does not follow from their size.

for n in 100000 1000000; do
    python benchmarks/audit/synthetic.py /tmp/before-$n --items $n
    python benchmarks/audit/synthetic.py /tmp/after-$n --items $n --changed 3
    python benchmarks/audit/diff_time.py /tmp/before-$n /tmp/after-$n
done
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import xplain.audit

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    given = parser.parse_args()
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began, clock = time.process_time(), time.time()
    said = xplain.audit.diff(given.before, given.after)
    spent, waited = time.process_time() - began, time.time() - clock
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("; ".join(f"{one.name}: {one.text}" for one in said.facts))
    print(f"{spent:.1f} s of processor time, {waited:.1f} s by the clock, peak {peak:.0f} MiB, {idle:.0f} of it before")
