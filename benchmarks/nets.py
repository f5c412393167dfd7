"""The architectures that benchmarks run on, with random weights: published shapes, written here without torchvision.

Weights follow He's initialisation and batch normalisation gets plausible statistics, so activations keep their scale
through the depth and nothing saturates. ``to_onnx`` exports with the batch normalisation folded, as deployments do.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

__all__ = ["NETS", "make", "to_onnx"]


def conv(
    inside: int, outside: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Sequential:
    parts = [
        nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outside),
    ]
    return nn.Sequential(*parts, *([nn.ReLU()] if act else []))


class Residual(nn.Module):
    def __init__(self, body: nn.Module, skip: nn.Module | None = None, act: bool = True) -> None:
        super().__init__()
        self.body, self.skip, self.act = body, skip or nn.Identity(), nn.ReLU() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.body(x) + self.skip(x))


class Branches(nn.ModuleList):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], dim=1)


class Dense(nn.Module):
    def __init__(self, inside: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inside), nn.ReLU(), conv(inside, 4 * growth, 1), nn.Conv2d(4 * growth, growth, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], dim=1)


def head(channels: int, classes: int = 1000) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def vgg16() -> nn.Module:
    layers: list[nn.Module] = []
    inside = 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        layers += [nn.Conv2d(inside, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2)]
        inside = width or inside
    tail = [nn.Flatten(), nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)]
    return nn.Sequential(*layers, *tail)


def resnet(blocks: tuple[int, ...], bottleneck: bool) -> nn.Module:
    layers: list[nn.Module] = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    inside = 64
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        outside = width * (4 if bottleneck else 1)
        for k in range(count):
            stride = 2 if stage and k == 0 else 1
            if bottleneck:
                body = [conv(inside, width, 1), conv(width, width, 3, stride), conv(width, outside, 1, act=False)]
            else:
                body = [conv(inside, width, 3, stride), conv(width, width, act=False)]
            skip = conv(inside, outside, 1, stride, act=False) if stride > 1 or inside != outside else None
            layers.append(Residual(nn.Sequential(*body), skip))
            inside = outside
    return nn.Sequential(*layers, *head(inside))


def googlenet() -> nn.Module:
    rows = [
        (192, 64, 96, 128, 16, 32, 32), (256, 128, 128, 192, 32, 96, 64), None,
        (480, 192, 96, 208, 16, 48, 64), (512, 160, 112, 224, 24, 64, 64), (512, 128, 128, 256, 24, 64, 64),
        (512, 112, 144, 288, 32, 64, 64), (528, 256, 160, 320, 32, 128, 128), None,
        (832, 256, 160, 320, 32, 128, 128), (832, 384, 192, 384, 48, 128, 128),
    ]  # fmt: skip
    layers: list[nn.Module] = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, ceil_mode=True), conv(64, 64, 1), conv(64, 192)]
    layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
    for row in rows:
        if row is None:
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            continue
        n, one, three_in, three, five_in, five, pool = row
        branches = [
            conv(n, one, 1),
            nn.Sequential(conv(n, three_in, 1), conv(three_in, three)),
            nn.Sequential(conv(n, five_in, 1), conv(five_in, five, 5)),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(n, pool, 1)),
        ]
        layers.append(Branches(branches))
    return nn.Sequential(*layers, *head(1024))


def mobilenet_v2() -> nn.Module:
    def relu6(inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
        return nn.Sequential(*conv(inside, outside, kernel, stride, groups, act=False), nn.ReLU6())

    layers: list[nn.Module] = [relu6(3, 32, 3, 2)]
    inside = 32
    for expand, width, count, first in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
    ):  # fmt: skip
        for k in range(count):
            stride, hidden = first if k == 0 else 1, inside * expand
            body = nn.Sequential(
                *([relu6(inside, hidden, 1)] if expand > 1 else []),
                relu6(hidden, hidden, 3, stride, hidden),
                conv(hidden, width, 1, act=False),
            )
            layers.append(Residual(body, act=False) if stride == 1 and inside == width else body)
            inside = width
    return nn.Sequential(*layers, relu6(320, 1280, 1), *head(1280))


def densenet121() -> nn.Module:
    layers: list[nn.Module] = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, count in enumerate((6, 12, 24, 16)):
        for _ in range(count):
            layers.append(Dense(channels, 32))
            channels += 32
        if stage < 3:
            layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels // 2, 1), nn.AvgPool2d(2)]
            channels //= 2
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(), *head(channels))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        share = torch.softmax(q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5, dim=-1)
        return self.out((share @ v).transpose(1, 2).reshape(n, t, c))


class Encoder(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.one, self.two, self.attention = nn.LayerNorm(width), nn.LayerNorm(width), Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.one(x))
        return x + self.mlp(self.two(x))


class VisionTransformer(nn.Module):
    def __init__(self, size: int = 224, patch: int = 16, width: int = 768, depth: int = 12, heads: int = 12) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*[Encoder(width, heads) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], dim=1) + self.places
        return self.head(self.norm(self.blocks(tokens))[:, 0])


NETS: dict[str, Callable[[], nn.Module]] = {
    "vgg16": vgg16,
    "resnet18": lambda: resnet((2, 2, 2, 2), bottleneck=False),
    "resnet50": lambda: resnet((3, 4, 6, 3), bottleneck=True),
    "googlenet": googlenet,
    "mobilenetv2": mobilenet_v2,
    "densenet121": densenet121,
    "vit_b16": VisionTransformer,
}


def make(name: str, seed: int = 0) -> nn.Module:
    """The net called ``name`` in eval mode, parameters frozen."""
    torch.manual_seed(seed)
    net = NETS[name]().eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, mode="fan_in")
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    for module in net.modules():  # a residual branch starts small, or the sum doubles its variance at every block
        if isinstance(module, Residual):
            last = [m for m in module.body.modules() if isinstance(m, nn.BatchNorm2d)][-1]
            last.weight.fill_(0.3)
        if isinstance(module, Encoder):
            for linear in (module.attention.qkv, module.attention.out, module.mlp[2]):
                linear.weight.mul_(0.3)
    return net


def to_onnx(net: nn.Module, path: Path, size: int = 224, channels: int = 3) -> Path:
    """Write the net as ONNX, opset 17, free batch, input ``x``, output ``logits``."""
    example = torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(0))
    names = {"input_names": ["x"], "output_names": ["logits"], "dynamic_axes": {"x": {0: "n"}, "logits": {0: "n"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that folds best announces its successor
        torch.onnx.export(net, (example,), str(path), dynamo=False, opset_version=17, **names)
    return path
