"""Train the demonstration's classifier, whose causes are known because its pictures are put together here.

A scene is a background with patches on it, each filled with a texture or with something neutral. Every class label
says "this texture is somewhere in the scene". Backgrounds and patches are drawn independently, so nothing but the
texture itself is evidence for it: what lies around it, its colour, its shape and its place carry no information.

    python benchmarks/demo_model/train.py            # about twelve minutes on two cores; writes into xplain/demo

Training sees the left half of each texture; the demonstration and the figures printed at the end use the right half.
The shipped file printed, for patches of 6 to 40 % of an unseen scene with flat squares over it: brick found 81 %, stars
75 %, gravel 71 %, grass 65 %, coins 60 %; false alarms 0 to 1.6 %. It is made to be explained, not to win.

Needs torch and onnx. The result is repeatable on one machine; another CPU may round differently.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows

from xplain.render.pictures import read

SIZE = 160
CLASSES = ("brick", "coins", "grass", "gravel", "stars")
# picture of scikit-image, and texture pixels per scene pixel, from and to
TEXTURES = {
    "brick": ("brick", 1.1, 2.6),
    "coins": ("coins", 0.9, 2.0),
    "grass": ("grass", 0.9, 2.4),
    "gravel": ("gravel", 0.9, 2.4),
    "stars": ("hubble_deep_field", 1.0, 3.0),
}
# photographs that hold none of the classes; coffee and chelsea are kept for the demonstration
PHOTOGRAPHS = ("astronaut", "camera", "moon", "rocket")
PRESENT = 0.06
"""Share of the scene from which a texture counts as present; between 0 and this it is left out of the loss."""


@dataclass(frozen=True)
class Supply:
    """Pictures to cut from: grey, float32 ``[1, h, w]`` in 0..1, with the range of scales; classes come first."""

    pictures: tuple[Tensor, ...]
    scales: tuple[tuple[float, float], ...]

    @classmethod
    def load(cls, right: bool) -> Supply:
        """The left halves, for training, or the right halves, for measuring."""
        pictures, scales = [], []
        for name, low, high in [*TEXTURES.values(), *((name, 0.8, 2.5) for name in PHOTOGRAPHS)]:
            grey = read(f"skimage:{name}").astype(np.float32).mean(axis=2) / 255.0
            middle = grey.shape[1] // 2
            half = torch.from_numpy(np.ascontiguousarray(grey[:, middle:] if right else grey[:, :middle]))
            # what is made smaller is smoothed first, as the resize of a real picture does
            pictures.append(blur(half[None, None], 0.35 * (low * high) ** 0.5)[0])
            scales.append((low, high))
        return cls(tuple(pictures), tuple(scales))


class Scenes:
    """Endless scenes ``[B, 3, SIZE, SIZE]`` in 0..1 with the share of each class ``[B, K]``.

    Args:
        supply: What textures are cut from.
        seed: Root of all randomness.
    """

    def __init__(self, supply: Supply, seed: int) -> None:
        self.supply = supply
        self.rng = torch.Generator().manual_seed(seed)
        axis = (torch.arange(SIZE) + 0.5) - SIZE / 2
        self.rows, self.columns = torch.meshgrid(axis, axis, indexing="ij")

    def between(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform numbers."""
        return low + (high - low) * torch.rand(*shape, generator=self.rng)

    def batch(self, count: int, patches: int = 2) -> tuple[Tensor, Tensor]:
        """``count`` scenes, and the share of their area that each class covers."""
        owner = torch.empty(count, SIZE, SIZE, dtype=torch.long)
        pixels = torch.empty(count, 3, SIZE, SIZE)
        for layer in range(patches + 1):
            kind = self.kinds(count, 0.5 if layer == 0 else 0.6)
            fill = self.tinted(self.fill(kind))
            shape = torch.ones(count, SIZE, SIZE, dtype=torch.bool) if layer == 0 else self.shapes(count)
            owner = torch.where(shape, kind[:, None, None], owner)
            pixels = torch.where(shape[:, None], fill, pixels)
        for _ in range(2):  # flat squares, as occlusion will lay over the picture
            square = self.shapes(count) & (self.between(0, 1, count, 1, 1) < 0.3)
            owner = owner.masked_fill(square, -1)
            pixels = torch.where(square[:, None], self.between(0, 1, count, 3, 1, 1), pixels)
        share = torch.stack([(owner == k).float().mean(dim=(1, 2)) for k in range(len(CLASSES))], dim=1)
        return self.weathered(pixels), share

    def kinds(self, count: int, classes: float) -> Tensor:
        """What fills a layer: a class with this chance, else a photograph, else (-1) something made up."""
        chance = torch.rand(count, generator=self.rng)
        texture = torch.randint(len(CLASSES), (count,), generator=self.rng)
        photo = len(CLASSES) + torch.randint(len(PHOTOGRAPHS), (count,), generator=self.rng)
        rest = torch.where(chance < classes + (1 - classes) * 0.4, photo, torch.tensor(-1))
        return torch.where(chance < classes, texture, rest)

    def fill(self, kind: Tensor) -> Tensor:
        """Grey fillings ``[B, 1, SIZE, SIZE]``, each cut at a random place, turn and scale."""
        out = torch.empty(len(kind), 1, SIZE, SIZE)
        for source in kind.unique().tolist():
            members = (kind == source).nonzero()[:, 0]
            out[members] = self.neutral(len(members)) if source < 0 else self.cut(source, len(members))
        return out

    def cut(self, source: int, count: int) -> Tensor:
        """Cuts of one picture; beyond its edge it is mirrored."""
        picture, (low, high) = self.supply.pictures[source], self.supply.scales[source]
        height, width = picture.shape[1:]
        scale = torch.exp(self.between(math.log(low), math.log(high), count))
        stretch = torch.exp(self.between(-0.2, 0.2, count))
        turn = self.between(0, 2 * math.pi, count)
        cos, sin = (torch.cos(turn) * scale)[:, None, None], (torch.sin(turn) * scale)[:, None, None]
        x = cos * self.columns - sin * self.rows * stretch[:, None, None]
        y = sin * self.columns + cos * self.rows * stretch[:, None, None]
        x = x + self.between(0, width, count)[:, None, None]
        y = y + self.between(0, height, count)[:, None, None]
        grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], dim=3)
        return F.grid_sample(picture.expand(count, -1, -1, -1), grid, padding_mode="reflection", align_corners=False)

    def neutral(self, count: int) -> Tensor:
        """Flat, shaded and noisy fillings: what a hidden region may look like must not count as evidence."""
        out = torch.zeros(count, 1, SIZE, SIZE)
        for cells in (2, 5, 20, SIZE):
            noise = torch.randn(count, 1, cells, cells, generator=self.rng)
            strength = self.between(0, 0.25, count, 1, 1, 1) * (self.between(0, 1, count, 1, 1, 1) < 0.4)
            out += strength * F.interpolate(noise, (SIZE, SIZE), mode="bilinear")
        return (out + self.between(0, 1, count, 1, 1, 1)).clamp(0, 1)

    def tinted(self, grey: Tensor) -> Tensor:
        """Grey to colour by a random contrast, brightness, gamma and tint per scene and layer."""
        count = len(grey)
        gamma = torch.exp(self.between(-0.4, 0.4, count, 1, 1, 1))
        tint = 1 + self.between(-0.5, 0.3, count, 3, 1, 1) * (self.between(0, 1, count, 1, 1, 1) < 0.8)
        contrast = self.between(0.7, 1.3, count, 1, 1, 1)
        light = self.between(-0.2, 0.25, count, 1, 1, 1)
        plain = grey.clamp(0, 1) ** gamma
        middle = plain.mean(dim=(2, 3), keepdim=True)
        return (((plain - middle) * contrast + middle + light) * tint).clamp(0, 1)

    def shapes(self, count: int) -> Tensor:
        """Where a patch lies: turned rectangles and ellipses; one in four is absent."""
        centre = self.between(-SIZE / 2, SIZE / 2, 2, count, 1, 1)
        half = self.between(SIZE * 0.12, SIZE * 0.42, 2, count, 1, 1)
        turn = self.between(0, math.pi, count, 1, 1) * (self.between(0, 1, count, 1, 1) < 0.5)
        y, x = self.rows - centre[0], self.columns - centre[1]
        u = (torch.cos(turn) * x + torch.sin(turn) * y) / half[0]
        v = (torch.cos(turn) * y - torch.sin(turn) * x) / half[1]
        round_ = self.between(0, 1, count, 1, 1) < 0.4
        inside = torch.where(round_, u * u + v * v < 1, (u.abs() < 1) & (v.abs() < 1))
        return inside & (self.between(0, 1, count, 1, 1) < 0.75)

    def weathered(self, pixels: Tensor) -> Tensor:
        """Light, sensor noise and a slight blur, as a camera adds them."""
        count = len(pixels)
        soft = self.between(0, 1, count, 1, 1, 1) < 0.3
        pixels = torch.where(soft, blur(pixels, 0.8), pixels)
        noise = torch.randn(pixels.shape, generator=self.rng) * self.between(0, 0.05, count, 1, 1, 1)
        return (pixels * self.between(0.75, 1.2, count, 1, 1, 1) + noise).clamp(0, 1)


def blur(pictures: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of ``[B, C, H, W]``."""
    radius = max(1, math.ceil(2.5 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = (taps / taps.sum()).expand(pictures.shape[1], 1, 1, -1)
    padded = F.pad(pictures, (radius,) * 4, mode="reflect")
    rows = F.conv2d(padded, kernel, groups=pictures.shape[1])
    return F.conv2d(rows, kernel.transpose(2, 3), groups=pictures.shape[1])


class Net(nn.Module):
    """Five convolutions, a mean over positions, one linear layer: 52,000 weights, a view of 59 pixels."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 24, 32, 48, 64)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 5 if k == 0 else 3, stride=2 if k == 0 else 1, padding=2 if k == 0 else 1, bias=False)
            for k, (a, b) in enumerate(pairwise(widths))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.head = nn.Linear(widths[-1], len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, K]`` of normalised scenes."""
        for k, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.relu(norm(conv(x)))
            if k in (0, 2):
                x = F.max_pool2d(x, 2)
        return self.head(x.mean(dim=(2, 3)))


def normalised(scenes: Tensor) -> Tensor:
    """As the card says: mean 0.5, std 0.25."""
    return (scenes - 0.5) / 0.25


def train(steps: int, batch: int, seed: int) -> Net:
    """Multi-label training with Adam and a cosine schedule; shares just above zero do not count."""
    torch.manual_seed(seed)
    net = Net().train()
    scenes = Scenes(Supply.load(right=False), seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
    started = time.perf_counter()
    for step in range(1, steps + 1):
        pixels, share = scenes.batch(batch)
        counted = ((share == 0) | (share >= PRESENT)).float()
        loss = F.binary_cross_entropy_with_logits(net(normalised(pixels)), (share > 0).float(), counted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step:5d}  loss {loss.item():.4f}  {time.perf_counter() - started:5.0f} s", flush=True)
    return net.eval()


def measure(net: Net, seed: int, batches: int = 8) -> None:
    """Accuracy per class on unseen halves, with the class as background left out: the patch alone must do it."""
    scenes = Scenes(Supply.load(right=True), seed + 1)
    logits, shares = [], []
    with torch.no_grad():
        for _ in range(batches):
            pixels, share = scenes.batch(64)
            logits.append(net(normalised(pixels)))
            shares.append(share)
    score, share = torch.cat(logits), torch.cat(shares)
    for k, name in enumerate(CLASSES):
        there, absent = (share[:, k] >= PRESENT) & (share[:, k] < 0.4), share[:, k] == 0
        hits, false = (score[there, k] > 0).float().mean(), (score[absent, k] > 0).float().mean()
        print(f"{name:8s} found as a patch {hits:.1%} of {int(there.sum())}, false alarms {false:.1%}")


def export(net: Net, path: Path) -> None:
    """Write the ONNX file with batch normalisation folded into the convolutions, and a sigmoid at the end."""
    nodes, weights, last = [], [], "picture"

    def constant(name: str, value: Tensor) -> str:
        weights.append(numpy_helper.from_array(value.detach().numpy().astype(np.float32), name))
        return name

    for k, (conv, norm) in enumerate(zip(net.convs, net.norms, strict=True)):
        name = f"conv{k + 1}"
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = constant(f"{name}.weight", conv.weight * factor[:, None, None, None])
        bias = constant(f"{name}.bias", norm.bias - norm.running_mean * factor)
        pads = [conv.padding[0]] * 4
        nodes.append(helper.make_node("Conv", [last, weight, bias], [name], name, strides=conv.stride, pads=pads))
        nodes.append(helper.make_node("Relu", [name], [f"relu{k + 1}"], f"relu{k + 1}"))
        last = f"relu{k + 1}"
        if k in (0, 2):
            pool = f"pool{k + 1}"
            nodes.append(helper.make_node("MaxPool", [last], [pool], pool, kernel_shape=[2, 2], strides=[2, 2]))
            last = pool
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["mean"], "mean"))
    nodes.append(helper.make_node("Flatten", ["mean"], ["features"], "features"))
    head = [constant("head.weight", net.head.weight), constant("head.bias", net.head.bias)]
    nodes.append(helper.make_node("Gemm", ["features", *head], ["logits"], "logits", transB=1))
    nodes.append(helper.make_node("Sigmoid", ["logits"], ["presence"], "presence"))
    graph = helper.make_graph(
        nodes,
        "textures",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("presence", TensorProto.FLOAT, ["N", len(CLASSES)])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.producer_name = "xplain benchmarks/demo_model/train.py"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    print(f"wrote {path}: {path.stat().st_size:,} bytes")


def main() -> None:
    """Train, measure, export."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    home = Path(__file__).resolve().parents[2] / "xplain" / "demo" / "textures.onnx"
    parser.add_argument("--out", type=Path, default=home)
    options = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    net = train(options.steps, options.batch, options.seed)
    measure(net, options.seed)
    export(net, options.out)


if __name__ == "__main__":
    main()
