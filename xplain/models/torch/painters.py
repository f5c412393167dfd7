"""Small nets that paint, trained here by torch and handed on as ONNX files: a decoder of features, a fast style.

Both are chains of the layers of ``xplain.graph.build.feedforward``; here stands the torch twin of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from xplain.core.edits import Array
from xplain.graph.build import feedforward as made_of

__all__ = ["Decoder", "Stylist"]

_RATE = 2e-3
_FEWEST = 4
"""Pixels of the plane that a code without positions becomes first."""


class _Norm(nn.Module):
    """Instance norm with a row of scales and shifts per style."""

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(styles, channels))
        self.shift = nn.Parameter(torch.zeros(styles, channels))
        self.mix: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.instance_norm(x, eps=1e-5)
        mix = torch.ones(1, 1) if self.mix is None else self.mix
        scale, shift = (torch.matmul(mix, one)[:, :, None, None] for one in (self.scale, self.shift))
        return x * scale + shift


class _Residual(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.chain = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = x + self.chain(x)
        return found


class _Scale(nn.Module):
    def __init__(self, gain: Array, shift: Array) -> None:
        super().__init__()
        self.gain, self.shift = (torch.from_numpy(np.array(one, np.float32)) for one in (gain, shift))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gain + self.shift


class _Up(nn.Module):
    def __init__(self, to: tuple[int, int] | int) -> None:
        super().__init__()
        self.extent = to

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if isinstance(self.extent, int):
            return nn.functional.interpolate(x, scale_factor=self.extent, mode="nearest")
        return nn.functional.interpolate(x, size=self.extent, mode="bilinear", align_corners=False)


class _Dense(nn.Module):
    def __init__(self, inputs: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.line = nn.Linear(inputs, int(np.prod(shape)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.line(x).reshape(-1, *self.shape)
        return found


class _Trained:
    """A chain in training."""

    def __init__(self, layers: Sequence[nn.Module], steps: int) -> None:
        self.net = nn.Sequential(*layers)
        self._optimiser = torch.optim.Adam(self.net.parameters(), _RATE)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimiser, max(1, steps))

    def _step(self) -> None:
        self._optimiser.step()
        self._schedule.step()

    @property
    def weights(self) -> int:
        """How many there are."""
        return sum(one.numel() for one in self.net.parameters())

    def file(self, name: str, shape: Sequence[int | str], **metadata: str) -> bytes:
        """The net as an ONNX file."""
        content: bytes = made_of.feed_forward(_data(self.net), name, shape, **metadata).SerializeToString()
        return content


class Decoder(_Trained):
    """Learns pictures from what a layer holds of them: enlarged and convolved, step by step, up to the picture.

    Args:
        features: What the layer holds of the pictures, ``[M, C]`` or ``[M, C, h, w]``.
        pictures: ``[M, 3, H, W]`` in 0..1.
        width: Channels of the last stage; each one before has up to twice as many, at most eight times.
        steps: How many steps there will be.
        seed: Of the weights and the batches; nothing outside is changed by it.
    """

    def __init__(self, features: Array, pictures: Array, width: int, steps: int, seed: int) -> None:
        self._given = torch.from_numpy(np.array(features, np.float32))
        self._wanted = torch.from_numpy(np.array(pictures, np.float32))
        self._batches = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__(_decoding(features, pictures.shape[1:], width), steps)

    def step(self, batch: int) -> float:
        """One step on some pictures: the mean squared error of their colours."""
        rows = torch.randint(len(self._given), (min(batch, len(self._given)),), generator=self._batches)
        with torch.enable_grad():
            loss = ((self.net(self._given[rows]) - self._wanted[rows]) ** 2).mean()
            self._optimiser.zero_grad()
            loss.backward()
        self._step()
        return float(loss.detach())


class Stylist(_Trained):
    """Paints pictures in one of several styles; what is good is said from outside, as a gradient by its colours.

    Args:
        channels: Of the pictures.
        styles: How many there are.
        width: Channels of the first stage.
        steps: How many steps there will be.
        seed: Of the weights; nothing outside is changed by it.
    """

    def __init__(self, channels: int, styles: int, width: int, steps: int, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__(_styling(channels, styles, width), steps)
        self._styles, self._made = styles, torch.zeros(0)

    def paint(self, pictures: Array, styles: Array) -> Array:
        """Pictures ``[N, C, H, W]`` in their styles int ``[N]``."""
        for one in self.net.modules():
            if isinstance(one, _Norm):
                one.mix = torch.eye(self._styles)[torch.as_tensor(np.asarray(styles, np.int64))]
        with torch.enable_grad():
            made = self.net(torch.from_numpy(np.array(pictures, np.float32)))
            self._made = made[:, :, : pictures.shape[2], : pictures.shape[3]]  # strides may make more of it
        return np.asarray(self._made.detach().numpy())

    def step(self, uphill: Array) -> None:
        """Move the weights so that what was painted last goes along a gradient."""
        self._optimiser.zero_grad()
        with torch.enable_grad():
            self._made.backward(torch.from_numpy(np.array(-uphill, np.float32)))  # type: ignore[no-untyped-call]
        self._step()


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Module:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, padding_mode="reflect")


def _decoding(features: Array, picture: tuple[int, ...], width: int) -> list[nn.Module]:
    axes = (0, *range(2, features.ndim))
    spread = features.std(axis=axes) + 1e-6 * float(np.abs(features).max()) + 1e-12
    wide = (-1, *(1,) * (features.ndim - 2))
    gain, shift = 1 / spread, -features.mean(axis=axes) / spread
    layers: list[nn.Module] = [_Scale(gain.reshape(wide), shift.reshape(wide))]
    plane = tuple(features.shape[2:])
    channels = 8 * width
    if len(plane) != 2:
        plane = (_FEWEST, _FEWEST)
        layers = [*layers, _Dense(features.shape[1], (channels, *plane)), nn.ReLU()]
    else:
        layers += [nn.Conv2d(features.shape[1], channels, 1), nn.ReLU()]
    while True:
        wanted = picture[1:]
        last = all(2 * have >= want for have, want in zip(plane, wanted, strict=True))
        fewer = max(width, channels // 2)
        plane = tuple(wanted) if last else tuple(min(2 * n, want) for n, want in zip(plane, wanted, strict=True))
        layers += [_Up((plane[0], plane[1])), _conv(channels, fewer), nn.ReLU()]
        channels = fewer
        if last:
            return [*layers, _conv(channels, picture[0]), nn.Sigmoid()]


def _styling(channels: int, styles: int, width: int) -> list[nn.Module]:
    def block(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> list[nn.Module]:
        return [_conv(inputs, outputs, size, stride), _Norm(outputs, styles), nn.ReLU()]

    deep = 3 * width
    layers = [*block(channels, width, 5), *block(width, 2 * width, 3, 2), *block(2 * width, deep, 3, 2)]
    for _ in range(3):
        layers.append(_Residual(*block(deep, deep), _conv(deep, deep), _Norm(deep, styles)))
    layers += [_Up(2), *block(deep, 2 * width), _Up(2), *block(2 * width, width)]
    return [*layers, _conv(width, channels, 5), nn.Sigmoid()]


def _data(net: nn.Sequential) -> list[made_of.Layer]:
    """The chain as data."""
    found: list[made_of.Layer] = []
    for one in net:
        if isinstance(one, nn.Conv2d):
            assert one.bias is not None
            found.append(made_of.Conv(_numpy(one.weight), _numpy(one.bias), int(one.stride[0])))
        elif isinstance(one, _Dense):
            found.append(made_of.Dense(_numpy(one.line.weight).T, _numpy(one.line.bias), one.shape))
        elif isinstance(one, _Norm):
            found.append(made_of.Norm(_numpy(one.scale), _numpy(one.shift)))
        elif isinstance(one, _Scale):
            found.append(made_of.Scale(one.gain.numpy(), one.shift.numpy()))
        elif isinstance(one, _Up):
            found.append(made_of.Up(one.extent))
        elif isinstance(one, _Residual):
            found.append(made_of.Residual(tuple(_data(one.chain))))
        else:
            found.append(made_of.Relu() if isinstance(one, nn.ReLU) else made_of.Sigmoid())
    return found


def _numpy(parameter: Any) -> Array:
    return np.asarray(parameter.detach().numpy())
