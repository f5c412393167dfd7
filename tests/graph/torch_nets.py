"""Small nets of the families that people export, with random weights; parameters small enough for quick exports."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import onnx
import torch
import torch.nn.functional as fn
from torch import nn

import xplain


def unit(i: int, o: int, k: int = 3, s: int = 1, g: int = 1, act: Any = nn.ReLU) -> nn.Sequential:
    layers = [nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, *([act()] if act else []))


class Residual(nn.Module):
    def __init__(self, i: int, o: int, s: int, wide: bool = False) -> None:
        super().__init__()
        mid = o // 4 if wide else o
        first = [unit(i, mid, 1), unit(mid, mid, 3, s)] if wide else [unit(i, mid, 3, s)]
        self.f = nn.Sequential(*first, unit(mid, o, 1 if wide else 3, act=None))
        self.short = unit(i, o, 1, s, act=None) if s > 1 or i != o else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return fn.relu(self.f(x) + self.short(x))


class Excite(nn.Module):
    def __init__(self, c: int, act: Any = nn.SiLU, gate: Any = nn.Sigmoid) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, 4, 1), act(), nn.Conv2d(4, c, 1), gate())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.f(x)


class Inverted(nn.Module):
    def __init__(self, i: int, o: int, s: int, t: int, act: Any, excite: Any = None) -> None:
        super().__init__()
        h = i * t
        gate = [excite(h)] if excite else []
        self.f = nn.Sequential(unit(i, h, 1, act=act), unit(h, h, 3, s, h, act), *gate, unit(h, o, 1, act=None))
        self.same = s == 1 and i == o

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.f(x) if self.same else self.f(x)


class Dense(nn.Module):
    def __init__(self, i: int, grow: int, n: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(i + k * grow), nn.ReLU(), nn.Conv2d(i + k * grow, grow, 3, 1, 1))
            for k in range(n)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            x = torch.cat([x, part(x)], 1)
        return x


class Mixed(nn.Module):
    def __init__(self, i: int) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = unit(i, 8, 1), unit(i, 8, 3), unit(i, 8, 5), unit(i, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = fn.avg_pool2d(x, 3, 1, 1)
        return torch.cat([self.a(x), self.b(x), self.c(x), self.d(pooled), fn.max_pool2d(x, 3, 1, 1)], 1)


class ChannelsLastNorm(nn.LayerNorm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Next(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv2d(c, c, 7, 1, 3, groups=c), ChannelsLastNorm(c), nn.Conv2d(c, 4 * c, 1), nn.GELU()
        )
        self.g, self.scale = nn.Conv2d(4 * c, c, 1), nn.Parameter(torch.full((c, 1, 1), 0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.scale * self.g(self.f(x))


class Attend(nn.Module):
    def __init__(self, d: int, h: int) -> None:
        super().__init__()
        self.qkv, self.out, self.h = nn.Linear(d, 3 * d), nn.Linear(d, d), h

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, d = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.h, d // self.h).permute(2, 0, 3, 1, 4)
        a = (q @ k.transpose(-1, -2) * (d // self.h) ** -0.5).softmax(-1)
        return self.out((a @ v).transpose(1, 2).reshape(n, t, d))


class Block(nn.Module):
    def __init__(self, d: int, h: int) -> None:
        super().__init__()
        self.n1, self.n2, self.attend = nn.LayerNorm(d), nn.LayerNorm(d), Attend(d, h)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attend(self.n1(x))
        return x + self.mlp(self.n2(x))


class ViT(nn.Module):
    def __init__(self, d: int = 24, p: int = 8, size: int = 32) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, d, p, p)
        self.cls = nn.Parameter(torch.randn(1, 1, d) * 0.2)
        self.place = nn.Parameter(torch.randn(1, (size // p) ** 2 + 1, d) * 0.2)
        self.blocks = nn.Sequential(Block(d, 3), Block(d, 3))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.place
        return self.head(self.norm(self.blocks(x))[:, 0])


class Shifted(nn.Module):
    """Windows of a Swin transformer, shifted by rolling, with a relative position bias."""

    def __init__(self, d: int, w: int, shift: int) -> None:
        super().__init__()
        self.block, self.w, self.shift = Block(d, 2), w, shift
        self.bias = nn.Parameter(torch.randn(7, d) * 0.2)
        self.register_buffer("index", torch.arange(w * w) % 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, h, width, d = x.shape
        w = self.w
        x = torch.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x
        parts = x.reshape(n, h // w, w, width // w, w, d).permute(0, 1, 3, 2, 4, 5).reshape(-1, w * w, d)
        parts = self.block(parts + self.bias[self.index])
        x = parts.reshape(n, h // w, width // w, w, w, d).permute(0, 1, 3, 2, 4, 5).reshape(n, h, width, d)
        return torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x


class Swin(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch, self.one, self.two = nn.Conv2d(3, 16, 4, 4), Shifted(16, 4, 0), Shifted(16, 4, 2)
        self.merge, self.three = nn.Linear(64, 24), Shifted(24, 4, 0)
        self.norm, self.head = nn.LayerNorm(24), nn.Linear(24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.two(self.one(self.patch(x).permute(0, 2, 3, 1)))
        x = torch.cat([x[:, a::2, b::2] for a in (0, 1) for b in (0, 1)], -1)
        return self.head(self.norm(self.three(self.merge(x))).mean((1, 2)))


def head(*layers: nn.Module, width: int) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def vgg() -> nn.Module:
    conv = [
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]
    dense = [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 10)]
    return nn.Sequential(*conv, *dense)


def resnet() -> nn.Module:
    stem = [unit(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1)]
    return head(*stem, Residual(8, 8, 1), Residual(8, 16, 2), Residual(16, 32, 2, wide=True), width=32)


def mobilenet_v2() -> nn.Module:
    body = [Inverted(8, 8, 1, 2, nn.ReLU6), Inverted(8, 16, 2, 3, nn.ReLU6), Inverted(16, 16, 1, 3, nn.ReLU6)]
    return head(unit(3, 8, 3, 2, act=nn.ReLU6), *body, width=16)


def mobilenet_v3() -> nn.Module:
    gate = partial(Excite, act=nn.ReLU, gate=nn.Hardsigmoid)
    body = [Inverted(8, 8, 1, 2, nn.ReLU, gate), Inverted(8, 16, 2, 3, nn.Hardswish, gate)]
    return head(unit(3, 8, 3, 2, act=nn.Hardswish), *body, width=16)


def efficientnet() -> nn.Module:
    body = [Inverted(8, 8, 1, 2, nn.SiLU, Excite), Inverted(8, 16, 2, 4, nn.SiLU, Excite)]
    return head(unit(3, 8, 3, 2, act=nn.SiLU), *body, width=16)


def densenet() -> nn.Module:
    return head(unit(3, 8, 3, 2), Dense(8, 6, 3), unit(26, 16, 1), nn.AvgPool2d(2), Dense(16, 6, 2), width=28)


def inception() -> nn.Module:
    return head(unit(3, 8, 3, 2), Mixed(8), nn.MaxPool2d(3, 2, ceil_mode=True), Mixed(36), width=64)


def convnext() -> nn.Module:
    down = [ChannelsLastNorm(12), nn.Conv2d(12, 16, 2, 2)]
    return head(nn.Conv2d(3, 12, 4, 4), ChannelsLastNorm(12), Next(12), *down, Next(16), width=16)


NETS: dict[str, Callable[[], nn.Module]] = {
    "vgg": vgg,
    "resnet": resnet,
    "mobilenet-v2": mobilenet_v2,
    "mobilenet-v3": mobilenet_v3,
    "efficientnet": efficientnet,
    "densenet": densenet,
    "inception": inception,
    "convnext": convnext,
    "vit": ViT,
    "swin": Swin,
}


def net(name: str) -> nn.Module:
    """A net in evaluation mode whose activations have a sensible size."""
    torch.manual_seed(0)
    made = NETS[name]()
    for part in made.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.uniform_(part.bias, -0.1, 0.1)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.0)
            nn.init.uniform_(part.bias, -0.1, 0.1)
            part.running_mean.uniform_(-0.1, 0.1)
            part.running_var.uniform_(0.8, 1.5)
    return made.eval().requires_grad_(False)


def export(made: nn.Module, x: torch.Tensor, dynamo: bool = False, **options: Any) -> onnx.ModelProto:
    """The net as ONNX with a free batch, through one of torch's two exporters."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if dynamo:
                shapes = (
                    {"x": {0: torch.export.Dim("N")}}
                    if not isinstance(made, nn.Sequential)
                    else ({0: torch.export.Dim("N")},)
                )
                program = torch.onnx.export(
                    made, (x,), dynamo=True, input_names=["x"], output_names=["y"], dynamic_shapes=shapes, verbose=False
                )
                return program.model_proto
            file = io.BytesIO()
            free = {"x": {0: "N"}, "y": {0: "N"}}
            torch.onnx.export(
                made, (x,), file, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes=free, **options
            )
            return onnx.load_from_string(file.getvalue())
    finally:
        logging.disable(logging.NOTSET)


def written(net, example, **options):
    """The net as an ONNX file of free batch."""
    example = example if isinstance(example, tuple) else (example,)
    names = options.setdefault("input_names", ["x"])
    options.setdefault("dynamic_axes", {name: {0: "n"} for name in names})
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, example, stream, dynamo=False, opset_version=17, **options)
    return stream.getvalue()


def exported(net, example, **options):
    """The same, loaded."""
    return xplain.load(written(net, example, **options))


def made(build):
    """What ``build`` makes, with the same random weights each time."""
    torch.manual_seed(3)
    return build().eval()
