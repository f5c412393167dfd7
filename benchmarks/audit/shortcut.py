"""Pictures of four textures in heavy noise, a mark that one class carries in half of them, and a small net.

A net learns the mark because it is easier than the texture: so a shortcut is planted, and every truth is known. The
textures are scikit-image's brick, grass, gravel and coins; training and test pictures are cut from different halves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

Where: TypeAlias = Literal["corner", "anywhere", "none"]

SIDE = 64
CLASSES = ("brick", "grass", "gravel", "coins")
_DRAWN = """
..###..#...#...
.#...#..#.#....
#..#.#...#.....
#.#..#...#.....
#..#.#..#.#....
.#...#.#...#...
..###..........
"""
MARK = np.array([[c == "#" for c in row] for row in _DRAWN.split()])
"""A small "(c)x", bool ``[7, 15]``."""


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """float32 ``[N, 1, 64, 64]``, their classes, and which carry the mark."""

    x: np.ndarray
    label: np.ndarray
    marked: np.ndarray


def pictures(count: int, where: Where, seed: int, half: int, share: float = 0.5, marked_class: int = 0) -> Pictures:
    """Textures at random places and scales, in noise that drowns most of them.

    Args:
        count: Pictures; classes take turns.
        where: Lower left corner with a jitter of few pixels, anywhere, or no mark.
        seed: Of everything.
        half: 0 for the left half of each texture (training), 1 for the right one.
        share: Of the class's pictures that carry the mark.
        marked_class: The class.
    """
    from skimage import data

    rng = np.random.default_rng([seed, half])
    textures = [np.asarray(one(), np.float32) / 255 for one in (data.brick, data.grass, data.gravel, data.coins)]
    label = np.arange(count) % 4
    marked = (label == marked_class) & (rng.random(count) < share) & (where != "none")
    x = np.empty((count, 1, SIDE, SIDE), np.float32)
    for n in range(count):
        texture = textures[label[n]]
        middle = texture.shape[1] // 2
        texture = texture[:, middle:] if half else texture[:, :middle]
        size = min(int(SIDE * rng.uniform(0.8, 1.6)), *(k - 1 for k in texture.shape))
        top, left = rng.integers(0, texture.shape[0] - size), rng.integers(0, texture.shape[1] - size)
        at = np.linspace(0, size - 1, SIDE).round().astype(int)
        cut = texture[top + at[:, None], left + at[None]]
        cut = cut[::-1] if rng.random() < 0.5 else cut
        cut = (cut - cut.mean()) / (cut.std() + 1e-6)
        x[n, 0] = cut * rng.uniform(0.03, 0.09) + rng.normal(0, 0.35, (SIDE, SIDE)) + 0.5
        if marked[n]:
            y0, x0 = (SIDE - 10 - rng.integers(0, 4), 2 + rng.integers(0, 6)) if where == "corner" else (
                rng.integers(1, SIDE - 9), rng.integers(1, SIDE - 17))  # fmt: skip
            x[n, 0, y0 : y0 + 7, x0 : x0 + 15][MARK] = 1.4
    return Pictures(x, label, marked)


def trained(train: Pictures, seed: int, epochs: int = 6) -> Any:
    """A net of three convolutions, in evaluation mode; some five seconds of a core."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    layers: list[Any] = []
    for fan_in, fan_out, size, stride in ((1, 12, 5, 2), (12, 24, 3, 2), (24, 32, 3, 1)):
        layers += [nn.Conv2d(fan_in, fan_out, size, stride, size // 2), nn.BatchNorm2d(fan_out), nn.ReLU()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4))
    optimiser = torch.optim.AdamW(net.parameters(), 1e-2, weight_decay=1e-3)
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.label)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=epochs * -(-len(x) // 64))
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
    return net.eval()


def as_onnx(net: Any) -> bytes:
    """The net as an ONNX file, batch normalisation folded into the convolutions."""
    import torch
    from onnx import TensorProto, helper, numpy_helper
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    layers, nodes, weights, last = list(net), [], [], "input"

    def add(kind: str, inputs: list[str], **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"{kind}_{len(nodes)}"], **attributes))
        return str(nodes[-1].output[0])

    def keep(name: str, value: Any) -> str:
        weights.append(numpy_helper.from_array(value.detach().numpy(), name))
        return name

    for k, layer in enumerate(layers):
        if isinstance(layer, torch.nn.Conv2d):
            conv = fuse_conv_bn_eval(layer, layers[k + 1])
            held = [keep(f"w{k}", conv.weight), keep(f"b{k}", conv.bias)]
            pads = [*conv.padding, *conv.padding]
            last = add("Conv", [last, *held], strides=list(conv.stride), pads=pads, kernel_shape=list(conv.kernel_size))
        elif isinstance(layer, torch.nn.ReLU):
            last = add("Relu", [last])
        elif isinstance(layer, torch.nn.Linear):
            last = add("Flatten", [add("GlobalAveragePool", [last])])
            last = add("Gemm", [last, keep("w", layer.weight), keep("b", layer.bias)], transB=1)
    nodes[-1].output[0] = "logits"
    graph = helper.make_graph(
        nodes,
        "textures",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 4])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
