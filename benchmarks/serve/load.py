"""``xplain serve`` under load: a closed loop of clients, cheap and dear requests mixed.

    python benchmarks/serve/load.py MODEL.onnx CARD.toml PICTURE [--clients 64] [--seconds 60] [--rounds 1]

Told: answers a second beside what a session alone makes of the same mix; processor time of an answer, of both; the
median and the 99th percentile of a Grad-CAM request in units of its time alone, in a closed loop and at 80 % of its
throughput; answers that were neither 200 nor 429 (none may be); memory before, after the first loop and after the last.
The clients run in a process of their own; on two cores they share them with the server. Rounds go session, server,
session, server, so that a drift of the machine meets both; each figure is the median over rounds.

What 80 % load is: requests come in equal steps, 0.8 times as many a second as the closed loop was answered, and every
400th is RISE, whose share of the work is told. A client that waits for an answer sends its next late, at once after it.
The server's model runs have one thread each (``--threads``): callers fill the cores, and a run of two threads waits at
each of its operators for the slower one, which shares its core with other requests.

Beside them stands what is reachable: the same percentile of the clients against a server that answers the same bytes at
once, and of a queue with the same arrivals and times by three rules of whose turn it is (``arrivals``; computed).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))
import bench
from arrivals import POLICIES, Work, echoing, equal, poisson, waits

DEAR_OF = 400  # every so many requests one of RISE, which takes as long as some hundred others


MASKS = 200
CALL = 4  # rows of 224 pixels in one model call on two cores


def ask(url: str, picture: bytes, dear: bool = False) -> tuple[int, float]:
    """Status and seconds of one request."""
    how = f"rise&options={urllib.parse.quote(json.dumps({'samples': MASKS}))}" if dear else "grad-cam"
    where = f"{url}/api/explain?method={how}&encoding=base64"
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


def processor(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


class Alone:
    """A session in this process: the same mix of questions about the same picture, decoded each time, 16 at once."""

    def __init__(self, model: str, card: str, picture: bytes) -> None:
        import xplain

        self._explain, self._model, self._picture = xplain.explain, xplain.load(model, card=card), picture
        self._done = 0
        self.answers(16)

    def answers(self, count: int) -> None:
        """So many answers, one of so many a dear one."""
        for _ in range(0, count, 16):
            self._explain(self._model, [self._picture] * 16, "grad-cam")
            before, self._done = self._done, self._done + 16
            if before // DEAR_OF < self._done // DEAR_OF:
                self.dear()

    def dear(self) -> float:
        """A dear answer; the seconds that it took."""
        began = time.perf_counter()
        self._explain(self._model, [self._picture], "rise", samples=MASKS)
        return time.perf_counter() - began

    def rate(self, seconds: float) -> tuple[float, float]:
        """Answers a second, and processor seconds of each, over whole turns of the mix."""
        began, used, count = time.perf_counter(), time.process_time(), 0
        self._done = 0
        while time.perf_counter() - began < seconds or count % DEAR_OF:
            self.answers(16)
            count += 16
        return count / (time.perf_counter() - began), (time.process_time() - used) / count


def size_of(url: str, picture: bytes) -> int:
    """Bytes of one answer."""
    where = f"{url}/api/explain?method=grad-cam&encoding=base64"
    with urllib.request.urlopen(urllib.request.Request(where, picture, {"Content-Type": "image/jpeg"})) as answer:
        return len(answer.read())


def reachable(full: float, dear: float, lone: float, count: int) -> dict[str, float]:
    """The 99th percentile at 80 % of ``full`` answers a second, times alone, by queues of the same arrivals and times.

    A cheap request takes of the server what is left of a second when the dear ones have had their part, and its wait
    goes before the time that it takes alone.
    """
    work = Work(max(1e-4, 1 / full - dear / DEAR_OF), dear, dear / (MASKS / CALL), DEAR_OF)
    told = {}
    for called, arrivals in (("equal steps", equal), ("at random", poisson)):
        for policy in POLICIES:
            waited = waits(arrivals(0.8 * full, count), work, policy)
            told[f"computed p99, {called}, {policy}"] = (lone + float(np.percentile(waited, 99))) / lone
    return told


def measured(alone: Alone, url: str, picture: bytes, given: argparse.Namespace, pid: int) -> dict[str, float]:
    """One round: the session, the server in a closed loop, the server at 80 % of that; each in figures."""
    clients, seconds = given.clients, given.seconds
    session, own = alone.rate(seconds / 2)
    dear = float(np.median([alone.dear() for _ in range(3)]))
    lone = [ask(url, picture)[1] for _ in range(20)]
    used = processor(pid)
    told = loaded(url, picture, clients, seconds)
    each = (processor(pid) - used) / len(told)
    full = sum(status == 200 for status, _, _ in told) / seconds
    relaxed = loaded(url, picture, clients, seconds, 0.8 * full)
    lone = float(np.median([*lone, *(ask(url, picture)[1] for _ in range(20))]))
    with echoing(given.port + 1, size_of(url, picture)) as echo:
        time.sleep(0.5)
        echoed = np.array([t for _, t, _ in loaded(echo, picture, clients, seconds / 3, 0.8 * full)]) / lone
    busy, calm = (np.array([t for s, t, dear in one if not dear and s == 200]) / lone for one in (told, relaxed))
    return {
        "answers a second": full,
        "of a session alone, the same mix": session,
        "ratio": full / session,
        "processor ms of an answer": 1000 * each,
        "of a session alone": 1000 * own,
        "grad-cam alone, ms": 1000 * lone,
        "a dear one in a session alone, ms": 1000 * dear,
        "share of dear ones in the work": dear * full / DEAR_OF,
        "median under full load, times alone": float(np.median(busy)),
        "p99 under full load, times alone": float(np.percentile(busy, 99)),
        "median at 80 % of that, times alone": float(np.median(calm)),
        "p99 at 80 % of that, times alone": float(np.percentile(calm, 99)),
        "p99 of the clients alone at 80 %, times alone": float(np.percentile(echoed, 99)),
        "median of a dear one at 80 %, times alone": float(
            np.median([t for s, t, d in relaxed if d and s == 200]) / dear
        ),
        **reachable(full, dear, lone, 20 * DEAR_OF),
        "dear answers": sum(dear and s == 200 for one in (told, relaxed) for s, _, dear in one),
        "answers that were neither 200 nor 429": sum(s not in (200, 429) for s, _, _ in (*told, *relaxed)),
        "requests": len(told) + len(relaxed),
        "memory after, MiB": memory(pid),
    }


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("card")
    parser.add_argument("picture")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--threads", type=int, default=1, help="of a model run of the server; 0 for all cores")
    parser.add_argument("--dry", action="store_true", help="print the table and do not keep it")
    given = parser.parse_args()
    picture, url = Path(given.picture).read_bytes(), f"http://127.0.0.1:{given.port}"
    alone = Alone(given.model, given.card, picture)
    command = [sys.executable, "-m", "xplain", "serve", f"m={given.model}", "--card", given.card]
    command += ["--threads", str(given.threads)] if given.threads else []
    server = subprocess.Popen(
        [*command, "--port", str(given.port), "--queue", str(4 * given.clients)],
        stdout=subprocess.DEVNULL,
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
        before = memory(server.pid)
        rounds = [measured(alone, url, picture, given, server.pid) for _ in range(given.rounds)]
    finally:
        server.terminate()
        server.wait()
    rows = {name: float(np.median([one[name] for one in rounds])) for name in rounds[0]}
    for name in ("dear answers", "answers that were neither 200 nor 429", "requests"):
        rows[name] = sum(one[name] for one in rounds)
    rows |= {"memory before, MiB": before, "memory after the first round, MiB": rounds[0]["memory after, MiB"]}
    rows["memory after, MiB"] = rounds[-1]["memory after, MiB"]
    note = (
        f"{given.clients} clients, {given.rounds} rounds of twice {given.seconds:g} s; "
        f"every {DEAR_OF}th request is RISE of {MASKS} masks; "
        f"threads of the server's model runs: {given.threads or 'all cores'}."
    )
    told = [{"question": name, "value": round(value, 3)} for name, value in rows.items()]
    if given.dry:
        print(bench.table(told))
    else:
        bench.save("serve", told, note)


if __name__ == "__main__":
    main()
