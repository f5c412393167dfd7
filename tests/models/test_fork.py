"""A process that is forked while a thread explains, explains too; in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

FORK = """
import os, signal, sys, threading
import numpy as np, torch, xplain
sys.path.insert(0, sys.argv[1])
from test_threads import onnx_net, torch_net

class Waits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.waits = torch_net(), False

    def forward(self, x):
        if self.waits and threading.current_thread() is not threading.main_thread():
            inside.set()
            assert go.wait(60)
        return self.body(x)

inside, go = threading.Event(), threading.Event()
net = Waits()
model, graph = xplain.load(net), xplain.load(onnx_net())
x = np.random.default_rng(4).normal(size=(1, 3, 32, 32)).astype(np.float32)
ask = lambda: [xplain.explain(one, x, "occlusion", patch=8, stride=8).values for one in (model, graph)]
expected = ask()
net.waits = True
worker = threading.Thread(target=xplain.explain, args=(model, x, "grad-cam"))
worker.start()
assert inside.wait(60)
child = os.fork()
if child == 0:
    signal.alarm(120)  # a lock that nobody holds any more would never be given back
    close = all(np.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(ask(), expected))
    os._exit(0 if close else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
go.set()
worker.join()
sys.exit(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_forked_process_explains_though_a_thread_was_explaining(threads: str) -> None:
    """In a process of its own, where nothing else has started threads; torch's own do not survive a fork."""
    here = str(Path(__file__).parent)
    surroundings = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONWARNINGS": "ignore::DeprecationWarning"}
    done = subprocess.run([sys.executable, "-c", FORK, here], env=surroundings, timeout=300, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
