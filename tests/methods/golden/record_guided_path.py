"""Writes the golden values of Guided IG: saliency 0.2.1 on ``smooth_net``.

python -m venv peer && peer/bin/pip install saliency==0.2.1 "numpy<2"
PYTHONPATH=tests/methods peer/bin/python tests/methods/golden/record_guided_path.py
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np

for name in ("onnx", "xplain"):  # smooth_net imports them for its file, which is not wanted here
    sys.modules[name] = types.ModuleType(name)
for name in ("TensorProto", "helper", "numpy_helper"):
    setattr(sys.modules["onnx"], name, None)
sys.modules["xplain"].Model = object

import smooth_net  # noqa: E402
from saliency.core import guided_ig  # noqa: E402
from saliency.core.base import INPUT_OUTPUT_GRADIENTS  # noqa: E402


def call(points, call_model_args=None, expected_keys=None):
    return {INPUT_OUTPUT_GRADIENTS: smooth_net.slope(np.asarray(points, dtype=np.float64))}


x = smooth_net.items().astype(np.float64)
method = guided_ig.GuidedIG()
found = [
    method.GetMask(one, call, {}, x_steps=40, x_baseline=np.zeros(one.shape), max_dist=0.1, fraction=0.25) for one in x
]
np.save(Path(__file__).parent / "guided_path.npy", np.stack(found).astype(np.float32))
