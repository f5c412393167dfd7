"""A private tool: ONNX Runtime keeps and sends nothing unless the user wants it to, and HOME stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nets
import pytest

USE = """
import sys, numpy as np, xplain
model = xplain.load(sys.argv[1])
x = np.ones((1, 3, 16, 16), np.float32)
for method in ("occlusion", "saliency", "lrp"):
    xplain.explain(model, x, method, **({"patch": 8, "stride": 8} if method == "occlusion" else {}))
xplain.compile(model, "saliency")
import os
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""


def alone(code, tmp_path, *args, **env):
    home = tmp_path / "home"
    home.mkdir()
    left = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    base = {name: value for name, value in os.environ.items() if name not in left}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={**base, "HOME": str(home), **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, sorted(path.relative_to(home).as_posix() for path in home.rglob("*"))


@pytest.fixture
def path(tmp_path) -> Path:
    (tmp_path / "net.onnx").write_bytes(nets.cnn().SerializeToString())
    return tmp_path / "net.onnx"


def test_nothing_is_written_below_home(path, tmp_path):
    said, written = alone(USE, tmp_path, path)
    assert said.strip() == "1"
    assert written == []


def test_the_users_own_choice_is_kept(path, tmp_path):
    said, _ = alone(USE, tmp_path, path, ORT_DISABLE_TELEMETRY="0")
    assert said.strip() == "0"


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({}, "ONNX Runtime's is off (ORT_DISABLE_TELEMETRY=1)"),
        ({"ORT_DISABLE_TELEMETRY": "0"}, "ONNX Runtime's is on: ORT_DISABLE_TELEMETRY='0' is set"),
    ],
)
def test_doctor_says_so(choice, said, tmp_path):
    code = "from xplain.cli.verbs.doctor import doctor; print(doctor().text)"
    out, written = alone(code, tmp_path, **choice)
    assert said in out
    assert written == [] or choice
