from __future__ import annotations

import pytest
from servers import Server


@pytest.fixture
def serve():
    """Start servers that end with the test."""
    running = []

    def start(handler, **options):
        server = Server(handler, **options)
        running.append(server)
        return server

    yield start
    for server in running:
        server.stop()
