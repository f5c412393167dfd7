"""A real server of explanations on loopback, in a thread."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

from xplain.serve.app import Options, application, server_of
from xplain.serve.served import served_as


class Running:
    """A server that listens; ``house`` is what stands behind it."""

    def __init__(self, models, options, ready=True):
        self.app = application([served_as(name, model) for name, model in models.items()], options)
        self.house = self.app.state.house
        self.server = server_of(self.app, options)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        until = time.monotonic() + 30
        while not self.server.started and time.monotonic() < until:
            time.sleep(0.005)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        while ready and any(self.house.ready.values()) and time.monotonic() < until:
            time.sleep(0.005)

    def stop(self):
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()


@contextmanager
def running(models, ready=True, **options):
    server = Running(models, Options(**{"port": 0, "grace": 5.0, **options}), ready)
    try:
        yield server
    finally:
        server.stop()
