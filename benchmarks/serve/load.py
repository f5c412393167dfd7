"""``xplain serve`` under load: a closed loop of clients, cheap and dear requests mixed.

    python benchmarks/serve/load.py MODEL.onnx CARD.toml PICTURE [--clients 64] [--seconds 60]

Told: answers a second beside what a session alone makes of Grad-CAMs of the same picture; the median and the 99th
percentile of a Grad-CAM request in units of its time alone, in a closed loop and at 80 % of its throughput; answers
that were neither 200 nor 429 (none may be); memory before and after. The clients run in a process of their own; on two
cores they share them with the server.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import bench

DEAR_OF = 400  # every so many requests one of RISE, which takes as long as some hundred others
DEAR = "?method=rise&options=" + urllib.request.quote('{"samples": 200}')


def ask(url: str, picture: bytes, dear: bool = False) -> tuple[int, float]:
    """Status and seconds of one request."""
    where = f"{url}/api/explain{DEAR if dear else '?method=grad-cam'}&encoding=base64"
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(
            urllib.request.Request(where, picture, {"Content-Type": "image/jpeg"}), timeout=300
        ) as answer:
            answer.read()
            return answer.status, time.perf_counter() - began
    except urllib.error.HTTPError as error:
        error.read()
        return error.code, time.perf_counter() - began


def loop(url: str, picture: bytes, clients: int, seconds: float, rate: float, out: multiprocessing.Queue) -> None:
    """Clients that ask again once they were answered; with a rate, no sooner than their turn in it comes."""
    began, told, lock = time.monotonic(), [], threading.Lock()

    def one(number: int) -> None:
        turn = number
        while time.monotonic() < began + seconds:
            if rate:
                time.sleep(max(0.0, began + turn / rate - time.monotonic()))
            dear = turn % DEAR_OF == DEAR_OF - 1
            found = ask(url, picture, dear)
            with lock:
                told.append((*found, dear))
            turn += clients
            if found[0] == 429:
                time.sleep(0.2)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out.put(told)


def loaded(url: str, picture: bytes, clients: int, seconds: float, rate: float = 0.0) -> list:
    """What a loop was told, from a process of its own."""
    out: multiprocessing.Queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=loop, args=(url, picture, clients, seconds, rate, out))
    process.start()
    told = out.get()
    process.join()
    return told


def memory(pid: int) -> float:
    """MiB that a process holds."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def session_alone(model: str, card: str, picture: bytes, seconds: float) -> float:
    """Grad-CAMs a second of the same picture, decoded each time, by one session in this process, 16 at once."""
    import xplain

    loaded_model = xplain.load(model, card=card)
    xplain.explain(loaded_model, [picture] * 16, "grad-cam")
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        xplain.explain(loaded_model, [picture] * 16, "grad-cam")
        count += 16
    return count / (time.perf_counter() - began)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("card")
    parser.add_argument("picture")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--port", type=int, default=8765)
    given = parser.parse_args()
    picture, url = Path(given.picture).read_bytes(), f"http://127.0.0.1:{given.port}"
    session = session_alone(given.model, given.card, picture, min(20.0, given.seconds))
    command = [sys.executable, "-m", "xplain", "serve", f"m={given.model}", "--card", given.card]
    server = subprocess.Popen(
        [*command, "--port", str(given.port), "--queue", str(4 * given.clients)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
    )
    try:
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{url}/v2/health/ready"):
                    break
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
        alone = float(np.median([ask(url, picture)[1] for _ in range(20)]))
        before = memory(server.pid)
        told = loaded(url, picture, given.clients, given.seconds)
        full = sum(status == 200 for status, _, _ in told) / given.seconds
        cheap_only = [(s, t) for s, t, dear in told if not dear and s == 200]
        relaxed = loaded(url, picture, given.clients, given.seconds, 0.8 * full)
        calm = np.array([t for s, t, dear in relaxed if not dear and s == 200])
        after = memory(server.pid)
    finally:
        server.terminate()
        server.wait()
    wrong = sorted({status for status, _, _ in (*told, *relaxed)} - {200, 429})
    seconds = np.array([t for _, t in cheap_only])
    rows = {
        "answers a second": full,
        "of a session alone": session,
        "ratio": full / session,
        "grad-cam alone, ms": 1000 * alone,
        "median under full load, times alone": float(np.median(seconds)) / alone,
        "p99 under full load, times alone": float(np.percentile(seconds, 99)) / alone,
        "median at 80 % of that, times alone": float(np.median(calm)) / alone,
        "p99 at 80 % of that, times alone": float(np.percentile(calm, 99)) / alone,
        "answers that were neither 200 nor 429": len(wrong),
        "memory before, MiB": before,
        "memory after, MiB": after,
        "requests": len(told) + len(relaxed),
    }
    note = f"{given.clients} clients, {given.seconds:g} s each; every {DEAR_OF}th request is RISE of 200 masks."
    bench.save("serve", [{"question": name, "value": round(value, 3)} for name, value in rows.items()], note)


if __name__ == "__main__":
    main()
