"""A tiny classifier with a known cause, and pictures for it."""

from __future__ import annotations

import json
from pathlib import Path

import nets
import numpy as np
import onnx
from onnx import helper
from PIL import Image

SIDE = 16
CAUSE = (slice(4, 8), slice(8, 12))
"""Rows and columns that class ``bright`` reads; ``dark`` reads their negative, ``other`` nothing."""
LABELS = ("bright", "dark", "other")


def write_model(path: Path, *, card: bool = True) -> Path:
    """``softmax(W x + b)`` on [N, 3, 16, 16]: ``bright`` is 10 times the mean of the cause, less 5."""
    weights = np.zeros((3, SIDE, SIDE, len(LABELS)), np.float32)
    weights[:, CAUSE[0], CAUSE[1], 0] = 10.0 / (3 * 4 * 4)
    weights[:, CAUSE[0], CAUSE[1], 1] = -10.0 / (3 * 4 * 4)
    nodes = [
        helper.make_node("Flatten", ["picture"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    proto = nets.model(
        nodes,
        {"picture": (nets.FLOAT, ["N", 3, SIDE, SIDE])},
        {"probabilities": (nets.FLOAT, ["N", len(LABELS)])},
        {"w": weights.reshape(-1, len(LABELS)), "b": np.array([-5.0, 5.0, 0.5], np.float32)},
    )
    onnx.save(proto, path)
    if card:
        path.with_suffix(".card.toml").write_text(f"resize = [{SIDE}, {SIDE}]\nlabels = {json.dumps(LABELS)}\n")
    return path


def write_picture(path: Path, bright: bool = True) -> Path:
    """A dark picture, bright in the cause if asked."""
    pixels = np.full((SIDE, SIDE, 3), 40, np.uint8)
    if bright:
        pixels[CAUSE] = 250
    Image.fromarray(pixels).save(path)
    return path
