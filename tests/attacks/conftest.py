"""Linear classifiers of pictures, whose least change is known, and the shared real models with plain runs of them."""

from __future__ import annotations

import json
from pathlib import Path

import nets
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import xplain

SIDE = 8


def linear(weights: np.ndarray, bias: np.ndarray, link: bool = False) -> onnx.ModelProto:
    """``scores = x W + b`` of pictures [N, 3, 8, 8]; with a softmax behind where asked."""
    nodes = [
        helper.make_node("Flatten", ["picture"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["scores"]),
    ]
    nodes += [helper.make_node("Softmax", ["scores"], ["shares"], axis=1)] if link else []
    name = "shares" if link else "scores"
    return nets.model(
        nodes,
        {"picture": (nets.FLOAT, ["N", 3, SIDE, SIDE])},
        {name: (nets.FLOAT, ["N", len(bias)])},
        {"w": weights.astype(np.float32), "b": bias.astype(np.float32)},
    )


@pytest.fixture
def weights() -> np.ndarray:
    """Of two classes; the second is the negative of the first, and a grey picture gives both the same."""
    one = np.random.default_rng(4).normal(size=3 * SIDE * SIDE)
    one -= one.mean()
    return np.stack([one, -one], axis=1)


@pytest.fixture
def pictures() -> list[np.ndarray]:
    """Three grey pictures with noise, far from black and white, so that no border is in the way."""
    rng = np.random.default_rng(6)
    return [rng.integers(90, 160, (SIDE, SIDE, 3)).astype(np.uint8) for _ in range(3)]


class Plain:
    """A real file in plain ONNX Runtime, asked about uint8 pictures [N, H, W, 3] by arithmetic of its own."""

    def __init__(self, folder: Path, file: str) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        entry = next(one for one in manifest["models"] if one["file"] == file)
        pre, self.path = entry["pre"], folder / file
        self.pre = pre
        self.session = onnxruntime.InferenceSession(str(self.path), providers=["CPUExecutionProvider"])
        labels = [line.strip() for line in (folder / entry["labels"]).read_text().splitlines() if line.strip()]
        self.card = {
            "mode": pre["channels"],
            "resize_short": pre["resize_short"],
            "crop": [pre["crop"], pre["crop"]],
            "scale": pre["scale"],
            "mean": pre["mean"],
            "std": pre["std"],
            "labels": labels,
        }

    def scores(self, pictures: np.ndarray) -> np.ndarray:
        assert pictures.dtype == np.uint8
        seen = pictures[..., ::-1] if self.pre["channels"] == "BGR" else pictures
        x = (seen.astype(np.float32) * np.float32(self.pre["scale"]) - np.float32(self.pre["mean"])) / np.float32(
            self.pre["std"]
        )
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32)
        name = self.session.get_inputs()[0].name
        return np.concatenate([self.session.run(None, {name: one[None]})[0].reshape(1, -1) for one in x])


@pytest.fixture(scope="session")
def mobilenet(real_models: Path) -> Plain:
    """MobileNetV2 in float32."""
    return Plain(real_models, "imagenet/mobilenetv2_imagenet1001_fp32.onnx")


@pytest.fixture(scope="session")
def photographs(real_models: Path) -> list[Path]:
    """The nine shared pictures."""
    found = sorted((real_models / "images").iterdir())
    assert len(found) == 9
    return found


def loaded(plain: Plain) -> object:
    """The same file for xplain."""
    return xplain.load(plain.path, card=plain.card, threads=1)
