"""``import xplain`` is quick, and loads none of the large optional packages."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "shap", "sklearn", "matplotlib", "onnxruntime", "onnx", "skimage", "PIL", "httpx", "typer")
MOST_SECONDS = 0.3
# processor time: what else the machine does stretches the clock on the wall, and says nothing of the import
MEASURE = "import time; t = time.process_time(); import xplain; print(time.process_time() - t)"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_is_quick():
    quickest = min(float(run(MEASURE)) for _ in range(5))  # the first may have to compile
    assert quickest < MOST_SECONDS, f"import xplain took {quickest:.2f} s at best"


def test_import_loads_nothing_heavy():
    loaded = run(f"import sys, xplain; print(*sorted(set({HEAVY!r}) & set(sys.modules)))")
    assert loaded == ""


def test_naming_the_methods_loads_nothing_heavy():
    loaded = run(f"import sys, xplain; xplain.methods(); print(*sorted(set({HEAVY!r}) & set(sys.modules)))")
    assert loaded == ""


def test_a_server_needs_no_package_of_another_extra():
    """As in a container of ``xplain[cpu,serve]``, which has no client of endpoints."""
    others = ("httpx", "httpcore", "grpc", "tokenizers", "torch", "pandas", "sklearn", "pyarrow", "duckdb", "cv2")
    blocked = f"import sys; sys.modules.update(dict.fromkeys({others!r}))"
    run(f"{blocked}; import xplain.serve.app, xplain.serve.served, xplain.serve.tokens, xplain.cli.verbs.serve")


def test_nothing_is_imported_before_an_interruption_is_caught():
    """Until then Ctrl-C prints a traceback: ``signal``, with what it imports, stands before the handler alone.

    What finds an editable install imports ``importlib.util`` and others by itself, before the package is reached.
    """
    finder = "contextlib, importlib.util, importlib.machinery, warnings"
    before = f"import sys, signal, __future__, {finder}; known = set(sys.modules)"
    loaded = run(f"{before}; import xplain.__main__; print(*sorted(set(sys.modules) - known))")
    assert loaded == "xplain xplain.__main__"
