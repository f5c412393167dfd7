"""One grad-cam of one picture passes few rooms, never climbs, and reads the picture once."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import nets
import numpy as np
import onnx
import pytest
from PIL import Image

import xplain
from xplain.render import pictures

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "methods" / "trace.py"
MOST_ROOMS = 7


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("trace_of_the_house", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trace")
    model, picture = folder / "cnn.onnx", folder / "cat.png"
    onnx.save(nets.cnn(), model)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)).save(picture)
    return str(model), str(picture)


@pytest.mark.parametrize("loaded", [False, True], ids=["from the file", "with a loaded model"])
def test_one_grad_cam_passes_few_rooms_and_never_climbs(script, given, loaded, monkeypatch):
    model, picture = given
    source = xplain.load(model) if loaded else model
    opened, read = [], pictures.read

    def counted(source, *rest):
        opened.extend([source] if isinstance(source, str) else [])
        return read(source, *rest)

    def explain():
        return xplain.explain(source, picture, "grad-cam", card={"resize": [16, 16]})

    explain()  # what is imported on the way is no move
    monkeypatch.setattr(pictures, "read", counted)
    trace = script.traced(explain, script.table())
    assert not trace.climbs, str(trace)
    assert len(trace.passed) <= MOST_ROOMS, str(trace)
    assert {"session", "engine", "explainers", "models", "results"} <= set(trace.passed)
    assert opened == [picture]


def test_a_climb_is_seen(script):
    from xplain.core.keeping.plain import plain
    from xplain.session.part import fresh

    namespace = {"__name__": "xplain.core.somewhere", "fresh": fresh, "plain": plain}
    exec("def climb():\n    plain('a')\n    fresh(None)", namespace)
    trace = script.traced(namespace["climb"], script.table())
    assert dict(trace.climbs) == {("core", "session", "fresh"): 1}
    assert trace.passed == ["session"]
    assert trace.moves == 2
