"""A small net that learns a black box's classes, and gives the gradient that the black box does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from xplain.core.edits import Array

__all__ = ["Substitute", "trained"]

_RATE = 2e-3
_ROWS = 32


class Substitute:
    """A trained net: scores, and the gradient of a margin.

    Args:
        net: The module, of tensors scaled by ``mean`` and ``spread``.
        mean: Subtracted from items.
        spread: Divides them.
    """

    def __init__(self, net: torch.nn.Module, mean: float, spread: float) -> None:
        self.net, self.mean, self.spread = net, mean, spread

    def scores(self, x: Array) -> Array:
        """``[N, K]`` of items ``[N, *item]``."""
        with torch.no_grad():
            return np.asarray(self.net(self._scaled(x)).numpy())

    def slope(self, x: Array, own: Array, rivals: Array) -> tuple[Array, Array]:
        """The gradient of ``score[rival] - score[own]`` by the items, and the scores; of equal classes, of ``-own``."""
        given = self._scaled(x).requires_grad_()
        scores = self.net(given)
        rows = torch.arange(len(x))
        other = torch.where(torch.as_tensor(rivals != own), scores[rows, torch.as_tensor(rivals)], torch.zeros(()))
        (gradient,) = torch.autograd.grad((other - scores[rows, torch.as_tensor(own)]).sum(), given)
        return np.asarray(gradient.numpy() / self.spread), np.asarray(scores.detach().numpy())

    def _scaled(self, x: Array) -> Any:
        return (torch.from_numpy(np.array(x, np.float32)) - self.mean) / self.spread


def trained(x: Array, labels: Array, classes: int, epochs: int, seed: int) -> Substitute:
    """A net fitted to classes by cross-entropy: two convolutions of stride 2 for pictures, else a hidden layer.

    Args:
        x: Items ``[B, *item]``, pictures as ``[B, C, H, W]`` or ``[B, H, W, C]``.
        labels: int ``[B]``.
        classes: Number of classes.
        epochs: Passes over the items.
        seed: Of the weights and the order; nothing outside is changed by it.
    """
    mean, spread = float(x.mean()), float(x.std()) or 1.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _net(x.shape[1:], classes)
        net(torch.zeros(1, *x.shape[1:]))  # settles the lazy layers
        given = (torch.from_numpy(np.array(x, np.float32)) - mean) / spread
        wanted = torch.as_tensor(np.asarray(labels, np.int64))
        optimiser = torch.optim.Adam(net.parameters(), _RATE)
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(len(given)), _ROWS):
                loss = torch.nn.functional.cross_entropy(net(given[rows]), wanted[rows])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
    return Substitute(net.eval(), mean, spread)


def _net(item: tuple[int, ...], classes: int) -> torch.nn.Module:
    if len(item) != 3:
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.LazyLinear(64), torch.nn.ReLU(), torch.nn.Linear(64, classes)
        )
    turned = torch.nn.Identity() if item[0] <= item[-1] else _ChannelsFirst()
    return torch.nn.Sequential(
        turned,
        torch.nn.LazyConv2d(16, 3, 2, 1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 32, 3, 2, 1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(7),
        torch.nn.Flatten(),
        torch.nn.Linear(32 * 49, 64),
        torch.nn.ReLU(),
        torch.nn.Linear(64, classes),
    )


class _ChannelsFirst(torch.nn.Module):
    """``[N, H, W, C]`` as ``[N, C, H, W]``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 3, 1, 2)
