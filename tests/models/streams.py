"""A device of the mind: streams whose work is done late, early or in any order that the events allow.

It stands in for ``xplain.native.device`` and for the runtime's asynchronous runs. Every upload, fill, run and copy is
queued in its stream and done when a policy says so, at the latest when somebody waits for it. Memory starts as NaN. So
whatever reads before it may, or overwrites what is still read, gives other numbers than the plain way.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from xplain import native

POLICIES = ("late", "early", "fills first", "runs first", 0, 1, 2, 3, 4)


class Machine:
    """Streams with queues, and a policy; ``deaf`` names a pair of streams whose event is lost, to plant a race."""

    def __init__(self, policy, deaf=None):
        self.policy, self.deaf = policy, deaf
        self.rng = np.random.default_rng(policy if isinstance(policy, int) else 0)
        self.names, self.queues, self.total, self.done = [], [], [], []
        self.log, self.waited = [], defaultdict(int)

    def stream(self, device=0):
        number = len(self.queues)
        self.names.append(["fill", "run", "read 0", "read 1"][number % 4])
        self.queues.append([])
        self.total.append(0)
        self.done.append(0)
        return Stream(self, number + 1)

    def queue(self, handle, what, work):
        self.queues[handle - 1].append((what, work))
        self.total[handle - 1] += 1
        self.log.append((self.names[handle - 1], what))
        self._progress()

    def event(self, waiting, other):
        pair = self.names[waiting - 1].split()[0], self.names[other - 1]
        if pair == self.deaf:
            return
        self.queues[waiting - 1].append(("wait", (other - 1, self.total[other - 1])))
        self.total[waiting - 1] += 1

    def finish(self, handle, why):
        """What a host does that waits for a stream."""
        self.waited[why] += 1
        self._until(handle - 1, self.total[handle - 1])

    def _until(self, stream, count):
        while self.done[stream] < count:
            what, work = self.queues[stream][0]
            if what == "wait":
                self._until(*work)
            if self.queues[stream] and self.done[stream] < count:
                self._step(stream)

    def _step(self, stream):
        what, work = self.queues[stream].pop(0)
        self.done[stream] += 1
        if what != "wait":
            work()

    def _ready(self, stream):
        if not self.queues[stream]:
            return False
        what, work = self.queues[stream][0]
        return what != "wait" or self.done[work[0]] >= work[1]

    def _progress(self):
        while self.policy != "late":
            ready = [k for k in range(len(self.queues)) if self._ready(k)]
            if self.policy in ("fills first", "runs first"):
                ready = [k for k in ready if self.names[k] == self.policy.split()[0][:-1]]
            if not ready or (isinstance(self.policy, int) and self.rng.random() < 0.4):
                return
            self._step(ready[self.rng.integers(len(ready))])

    # ------------------------------------------------------------------ what xplain.native.device has

    def device_array(self, shape, dtype, device=0):
        return Memory(self, shape, dtype)

    def DeviceEdits(self, edits, shape, layout, *, device=0, stream=0):  # noqa: N802
        return Described(self, edits, layout)


class Stream:
    def __init__(self, machine, handle):
        self.machine, self.handle = machine, handle

    def synchronize(self):
        self.machine.finish(self.handle, "settle")

    def wait_for(self, other):
        self.machine.event(self.handle, other)


class Memory:
    def __init__(self, machine, shape, dtype):
        self.machine, self.array = machine, np.empty(shape, dtype)
        self.array.view(np.uint8).reshape(-1)[...] = 0xFF
        self.pointer = self.array.ctypes.data

    def copy_from(self, host, stream=0):
        staged = np.array(host)
        self.machine.queue(stream, "upload", lambda: np.copyto(self.array, staged))

    def copy_to(self, host, stream=0):
        self.machine.queue(stream, "copy out", lambda: np.copyto(host, self.array))
        self.machine.finish(stream, "copy out")


class Described:
    def __init__(self, machine, edits, layout):
        self.machine, self.edits, self.layout = machine, edits, layout

    def fill(self, x, start, stop, out, *, stream=0):
        def work():
            native.fill(x.array, self.edits, start, stop, out.array[: stop - start], self.layout)

        self.machine.queue(stream, "fill", work)


def launch_in(machine, lanes, session):
    """``Session.launch`` as a device would do it: queued in the run stream when it need not wait."""
    honest = type(session).launch

    def launch(binding, wait=True):
        if wait:
            machine.finish(lanes.run.handle, "first run")
            return honest(session, binding)
        return machine.queue(lanes.run.handle, "run", lambda: honest(session, binding))

    return launch
