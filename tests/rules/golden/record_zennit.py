"""Record what zennit 0.5.1 gives for the reference net. It is LGPL and no dependency: run it in its own environment,

    pip install --no-deps --target /tmp/zennit zennit==0.5.1
    PYTHONPATH=/tmp/zennit:tests/rules python tests/rules/golden/record_zennit.py

with torch installed. zennit imports torchvision for its canonisers only; empty modules stand in for it.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import torch
from reference_net import CLASSES, items, weights
from torch import nn

for name, classes in {
    "torchvision": (),
    "torchvision.models": (),
    "torchvision.models.resnet": ("Bottleneck", "BasicBlock", "ResNet"),
    "torchvision.models.vgg": ("VGG",),
}.items():
    sys.modules[name] = types.ModuleType(name)
    for one in classes:
        setattr(sys.modules[name], one, type(one, (nn.Module,), {}))

from zennit.attribution import Gradient  # noqa: E402
from zennit.composites import (  # noqa: E402
    EpsilonAlpha2Beta1Flat,
    EpsilonGammaBox,
    EpsilonPlusFlat,
    LayerMapComposite,
    SpecialFirstLayerMapComposite,
)
from zennit.rules import AlphaBeta, Epsilon, Flat, Gamma, Norm, Pass, WSquare, ZBox, ZPlus  # noqa: E402
from zennit.types import Activation, AvgPool, Convolution, Linear  # noqa: E402


def net() -> nn.Module:
    made = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 7),
        nn.ReLU(),
        nn.Linear(7, 5),
    )
    parameters = [torch.tensor(v) for v in weights().values()]
    for slot, value in zip(made.parameters(), parameters, strict=True):
        slot.data = value
    return made.double().eval()


def relevance(composite: object) -> np.ndarray:
    x = torch.tensor(items(), dtype=torch.float64, requires_grad=True)
    chosen = nn.functional.one_hot(torch.tensor(CLASSES), 5)
    with Gradient(model=net(), composite=composite) as attribute:
        return attribute(x, lambda y: y * chosen)[1].detach().numpy()


def everywhere(rule: object) -> object:
    return LayerMapComposite([(Activation, Pass()), (AvgPool, Norm()), ((Convolution, Linear), rule)])


def first(rule: object) -> object:
    layers = [(Activation, Pass()), (AvgPool, Norm()), ((Convolution, Linear), Epsilon())]
    return SpecialFirstLayerMapComposite(layers, [((Convolution, Linear), rule)])


if __name__ == "__main__":
    low, high = (torch.full((1, 3, 14, 14), v, dtype=torch.float64) for v in (-4.0, 4.0))
    composites = {
        "epsilon": everywhere(Epsilon()),
        "epsilon-0.25": everywhere(Epsilon(0.25)),
        "zplus": everywhere(ZPlus()),
        "alpha2-beta1": everywhere(AlphaBeta(2, 1)),
        "gamma": everywhere(Gamma(0.25)),
        "first-flat": first(Flat()),
        "first-wsquare": first(WSquare()),
        "first-zbox": first(ZBox(low, high)),
        "epsilon-plus-flat": EpsilonPlusFlat(),
        "epsilon-alpha2-beta1-flat": EpsilonAlpha2Beta1Flat(),
        "epsilon-gamma-box": EpsilonGammaBox(low, high),
    }
    found = {name: relevance(composite).astype(np.float32) for name, composite in composites.items()}
    np.savez_compressed(Path(__file__).parent / "zennit.npz", **found)
