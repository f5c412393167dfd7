"""A compiled file explains itself in the runtime that browsers use: onnxruntime-web, run by node."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import xplain
from xplain.demo import demo_model_path

SCRIPT = Path(xplain.__file__).parents[1] / "benchmarks" / "methods" / "web" / "web.py"


@pytest.fixture(scope="module")
def web():
    """The benchmark's script, which knows how to run node."""
    spec = importlib.util.spec_from_file_location("xplain_benchmarks_web", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = path
    if not module.installed():
        pytest.skip(f"node or onnxruntime-web is missing: npm install in {SCRIPT.parent}, or XPLAIN_WEB_MODULES")
    return module


def test_the_same_values_and_a_class_that_the_page_chooses(web, tmp_path):
    model = xplain.load(demo_model_path())
    x = np.random.default_rng(0).normal(size=(1, 3, 160, 160)).astype(np.float32)
    classes = model.outline.scores.classes
    chosen = (int(xplain.predict(model, x)[0].argmax()) + 1) % classes
    jobs, expected = [], []
    asked = {"saliency": {}, "grad-cam": {"signed": True}, "integrated-gradients": {"steps": 3}, "recipro-cam": {}}
    for method, options in asked.items():
        made = xplain.compile(model, method, target_input="required", **options).SerializeToString()
        for target, name in ((-1, None), (chosen, chosen)):
            feeds = {model.outline.input: x, "target": np.array([target], np.int64)}
            jobs.append({"model": made, "feeds": feeds, "rounds": 1})
            fixed = {"tolerance": None} if method == "integrated-gradients" else {}
            expected.append(xplain.explain(model, x, method, target=name, **options, **fixed).values)
    answers = web.in_web(jobs, tmp_path)["answers"]
    for answer, values in zip(answers, expected, strict=True):
        assert "error" not in answer, answer
        assert answer["inputs"] == [model.outline.input, "target"]
        assert np.abs(answer["attribution"] - values).max() <= 1e-4 * np.abs(values).max()
    assert not np.allclose(expected[0], expected[1], atol=1e-3 * np.abs(expected[0]).max())


def test_an_optional_target_takes_its_default_there(web, tmp_path):
    """The reason for ``target_input="required"``: this runtime does not feed inputs that have a default."""
    model = xplain.load(demo_model_path())
    x = np.random.default_rng(0).normal(size=(1, 3, 160, 160)).astype(np.float32)
    made = xplain.compile(model, "saliency").SerializeToString()
    feeds = {model.outline.input: x}
    jobs = [{"model": made, "feeds": f, "rounds": 1} for f in (feeds, feeds | {"target": np.array([0], np.int64)})]
    plain, fed = web.in_web(jobs, tmp_path)["answers"]
    expected = xplain.explain(model, x, "saliency").values
    assert np.abs(plain["attribution"] - expected).max() <= 1e-4 * expected.max()
    assert "invalid input 'target'" in fed["error"]
