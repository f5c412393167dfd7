"""The one place of the graph room that runs anything: small probes with onnxruntime."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto

from xplain.core.errors import MissingDependency, ModelError
from xplain.graph.safety import Limits, has_loops

__all__ = ["TELEMETRY", "evaluate", "private"]

TELEMETRY = "ORT_DISABLE_TELEMETRY"
"""ONNX Runtime 1.31 and newer writes an id of the machine and a store of events below HOME when the first session
opens, and uploads it where it can, unless this is set before it is loaded; ``disable_telemetry_events`` comes
too late."""

_SECONDS = Limits().seconds
"""A probe with loops is stopped after so long; they may be endless."""


def private() -> bool:
    """Turn ONNX Runtime's telemetry off, unless the user has decided; to be called before it is loaded.

    Returns:
        Whether it is off.
    """
    return os.environ.setdefault(TELEMETRY, "1") not in ("", "0")


def evaluate(
    model: ModelProto,
    feeds: Mapping[str, np.ndarray[Any, Any]],
    outputs: Sequence[str] | None = None,
    folder: str = "",
    outside: Mapping[str, np.ndarray[Any, Any]] | None = None,
) -> list[Any]:
    """Run a model once on the CPU.

    Args:
        model: The model.
        feeds: Its inputs.
        outputs: Which outputs; None for all.
        folder: Where external data lie.
        outside: Weights that are marked external but are here, by name.

    Raises:
        MissingDependency: onnxruntime is not installed.
        ModelError: the model fails.
    """
    private()
    try:
        import onnxruntime as ort
    except ImportError:
        raise MissingDependency(
            "This model needs a probe run. Install onnxruntime: pip install 'xplain[cpu]'."
        ) from None
    options = ort.SessionOptions()
    options.log_severity_level = 4  # a failure is reported below, once
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # a second lock behind ``xplain.graph.visit``: a reference to a file that a check has missed leads nowhere
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder or os.devnull)
    names = [tensor.name for tensor in model.graph.initializer if tensor.name in (outside or {})]
    if names and outside is not None:
        values = [ort.OrtValue.ortvalue_from_numpy(outside[name]) for name in names]
        options.add_external_initializers(names, values)
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        run = ort.RunOptions()
        watch = threading.Timer(_SECONDS, setattr, (run, "terminate", True))
        watch.daemon = True
        if has_loops(model):
            watch.start()
        try:
            return list(session.run(list(outputs) if outputs is not None else None, dict(feeds), run))
        finally:
            watch.cancel()
    except Exception as error:  # onnxruntime raises many classes, all of them private
        raise ModelError(f"A probe run of the model failed: {str(error).splitlines()[0]}") from None
