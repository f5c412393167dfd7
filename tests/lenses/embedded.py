"""A small net as a torch module and as a file, and pictures whose classes are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nets
import numpy as np
import pytest
from onnx import helper
from PIL import Image

CARD = {"mode": "RGB", "resize": [16, 16], "labels": ["dark", "red", "green", "blue"]}


def module(seed: int = 0) -> Any:
    """Convolution, ReLU, mean over positions, dense: ``[N, 3, 16, 16]`` to ``[N, 4]``."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(seed)
    parts = [torch.nn.Conv2d(3, 12, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*parts, torch.nn.Linear(12, 4)).eval()


def exported(net: Any) -> bytes:
    """The same as an ONNX file."""
    weights = {name.replace(".", "_"): values.numpy() for name, values in net.state_dict().items()}
    nodes = [
        helper.make_node("Conv", ["x", "0_weight", "0_bias"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "4_weight", "4_bias"], ["scores"], transB=1),
    ]
    inputs = {"x": (nets.FLOAT, ["n", 3, 16, 16])}
    return nets.model(nodes, inputs, {"scores": (nets.FLOAT, ["n", 4])}, weights).SerializeToString()


def folder(path: Path, each: int = 8, seed: int = 0) -> list[str]:
    """Pictures of three colours, a folder per colour: noise around it."""
    rng = np.random.default_rng(seed)
    files = []
    for place, name in enumerate(("red", "green", "blue")):
        (path / name).mkdir(parents=True)
        for n in range(each):
            pixels = rng.integers(0, 90, (20, 20, 3))
            pixels[..., place] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(path / name / f"{n}.png")
            files.append(str(path / name / f"{n}.png"))
    return files
