"""What a notebook shows of an error: where the reader asked, and the message; all frames where asked for."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import numpy as np
import pytest

import xplain


def test_an_error_in_a_notebook_is_the_readers_line_and_the_message(monkeypatch):
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell.instance()
    code = "import xplain\nxplain.explain(lambda x: x, [[1.0]], 'occlusoin')"
    out = io.StringIO()
    with redirect_stdout(out):
        shell.run_cell(code)
    said = out.getvalue()
    assert "Did you mean 'occlusion'" in said
    assert len(said.splitlines()) <= 4
    assert "xplain.explain(lambda x: x, [[1.0]], 'occlusoin')" in said
    monkeypatch.setenv("XPLAIN_TRACEBACK", "full")
    out = io.StringIO()
    with redirect_stdout(out):
        shell.run_cell(code)
    assert len(out.getvalue().splitlines()) > 20


def test_a_model_says_what_it_is():
    model = xplain.load(lambda x: x @ np.ones((4, 2), np.float32))
    assert "function" in repr(model)
    assert repr(xplain.table(lambda t: t["a"], columns={"a": [1.0]})).startswith("<Table ")
    assert repr(xplain.text(lambda texts: [[1.0]])).startswith("<Text")
    assert "(onnx): picture [?, 3, 160, 160], NCHW -> 5 logits" in repr(xplain.load(xplain.demo.demo_model_path()))
