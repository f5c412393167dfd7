"""``kill -9``, of the server and of a client, in the middle of a request: what is left, and who is told what."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest
from PIL import Image

import xplain
from xplain.demo import SCENES, demo_model_path, demo_picture

LONG = {"method": "rise", "options": {"samples": 50_000}}  # minutes
SHORT = {"method": "rise", "options": {"samples": 100}}
CLIENT = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1] + '/api/explain', sys.stdin.buffer.read())"


@pytest.fixture
def started(tmp_path):
    """``xplain serve`` as a process of its own, with a home and a folder for temporary files that are its alone."""
    home = tmp_path / "home"
    (home / "tmp").mkdir(parents=True)
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home / "tmp"), "OMP_NUM_THREADS": "1"}
    environment.pop("XDG_CACHE_HOME", None)
    processes = []

    def start(port=0):
        command = [sys.executable, "-m", "xplain", "serve", str(demo_model_path()), "--port", str(port)]
        one = subprocess.Popen(command, cwd=home, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        processes.append(one)
        said = one.stderr.readline().decode()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", said)
        assert found, said + one.stderr.read().decode()
        return one, int(found[1])

    yield start
    for one in processes:
        one.kill()
        one.communicate()


@pytest.fixture(scope="module")
def picture():
    out = io.BytesIO()
    Image.fromarray(demo_picture(next(iter(SCENES)))[0]).save(out, "PNG")
    return out.getvalue()


def asked(kind, picture):
    return kind | {"instances": [{"b64": base64.b64encode(picture).decode()}]}


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_killed_server_leaves_nothing_and_says_so_when_it_is_back(started, picture, tmp_path):
    server, port = started()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        job = client.post("/api/jobs", json=asked(LONG, picture)).headers["location"]
        until(lambda: client.get(job).json()["done"] > 0)
        with client.stream("GET", f"{job}/events") as events:
            lines = events.iter_lines()
            assert "progress" in next(lines)
            server.send_signal(signal.SIGKILL)
            with pytest.raises(httpx.TransportError):  # who waits is not left waiting
                list(lines)
    assert server.wait(20) == -signal.SIGKILL
    assert [one for one in (tmp_path / "home").rglob("*") if one.is_file()] == []
    _, again = started(port)
    assert again == port
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        lost = client.get(job)
        assert lost.status_code == 404
        assert "none outlives the server: ask again" in lost.json()["error"]
        told = client.post("/api/explain", json=asked(SHORT, picture)).json()
    values = np.asarray(told["items"][0]["explanations"][0]["values"], np.float32)
    expected = xplain.explain(demo_model_path(), picture, "rise", samples=100)
    assert np.array_equal(values, expected.values[0])


def test_a_killed_client_takes_its_request_along(started, picture):
    _, port = started()
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, timeout=60) as client:
        until(lambda: client.get("/v2/health/ready").status_code == 200)
        body = json.dumps(asked(LONG, picture)).encode()
        others = [subprocess.Popen([sys.executable, "-c", CLIENT, url], stdin=subprocess.PIPE) for _ in range(4)]
        for other in others:
            other.stdin.write(body)
            other.stdin.close()
        until(lambda: 'preprocess_seconds_count{model_name="textures"} 4.0' in client.get("/metrics").text)
        for other in others:
            other.send_signal(signal.SIGKILL)
            other.wait(20)
        # dear too: it waits until one of four workers is free, and nothing else would free one for minutes
        assert client.post("/api/explain", json=asked(SHORT, picture)).status_code == 200
