"""Holds `see craft` against its authors' package, craft-xai 0.0.3 (MIT), on the same net and pictures.

    pip install --no-deps --target PEER craft-xai && PYTHONPATH=PEER python benchmarks/methods/craft_peer.py

Its sampler imports tensorflow and asks it for nothing that is used here: an empty module stands in. A small net, made
here in a moment to tell pictures of two textures from others, so that its class is made of both. Prints the cosines
between the two banks, what of the crops each leaves out, and importance beside the exact one.
"""

from __future__ import annotations

import sys
import types

import numpy as np
import torch
from scipy.stats import spearmanr
from torch.nn import functional

import xplain
from xplain.analyses.factorisation import encoded

sys.modules["tensorflow"] = types.ModuleType("tensorflow")
from craft.craft_torch import Craft

del sys.modules["tensorflow"]

SIDE, PATCH, CONCEPTS = 48, 12, 6


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with patches of stripes and dots; class 1 has stripes, and every second one dots too."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    textures = np.stack([np.sin(x * 1.6), np.sin(x * 1.2) * np.sin(y * 1.2), np.sin(y * 1.6)])
    made = 0.15 * rng.normal(size=(count, 3, SIDE, SIDE))
    labels = np.arange(count) % 2
    for n in range(count):
        for kind in (0, 1) if labels[n] and n % 4 == 1 else (0,) if labels[n] else (2,):
            top, left = rng.integers(0, SIDE - 16, 2)
            made[n, kind, top : top + 16, left : left + 16] += textures[kind]
    return made.astype(np.float32), labels


def trained() -> torch.nn.Sequential:
    """A net that has learnt them."""
    torch.manual_seed(0)
    body = [torch.nn.Conv2d(3, 16, 5, 2, 2), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3, 2, 1), torch.nn.ReLU()]
    head = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 2)]
    net = torch.nn.Sequential(*body, *head)
    x, labels = (torch.tensor(one) for one in pictures(200, 1))
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        optimiser.zero_grad()
        functional.cross_entropy(net(x), labels).backward()
        optimiser.step()
    return net.eval()


def main() -> None:
    net = trained()
    x, labels = pictures(48, 2)
    own = x[labels == 1]
    peer = Craft(net[:4], net[4:], number_of_concepts=CONCEPTS, patch_size=PATCH, batch_size=64, device="cpu")
    with torch.no_grad():
        crops, theirs_u, theirs = peer.fit(torch.tensor(own))
        indices = np.asarray(peer.estimate_importance(torch.tensor(own), 1, nb_design=128))
        pooled = net[:4](functional.interpolate(crops, (SIDE, SIDE), mode="bilinear")).mean((2, 3)).numpy()
    found = xplain.see(
        net, "craft", own, label="1", of="all", layer="3", concepts=CONCEPTS, patch=PATCH, stride=9, designs=128
    )
    with torch.no_grad():  # behind the layer all is linear, so that the indices are known: shares of squared effects
        maps = net[:4](torch.tensor(own)).permute(0, 2, 3, 1).numpy()
    weights = found.bank @ net[6].weight.detach().numpy()[1]
    effects = np.stack([encoded(one.reshape(-1, 32), found.bank.astype(float)).mean(0) for one in maps]) * weights
    exact = (effects**2 / (effects**2).sum(axis=1, keepdims=True)).mean(axis=0)
    unit = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    cosines = found.bank @ unit.T
    match = cosines.argmax(axis=1)
    lost = ((pooled - theirs_u @ theirs) ** 2).sum() / (pooled**2).sum()
    print("cosine of each concept with the nearest of theirs:", cosines.max(axis=1).round(4))
    print("each has a partner of its own:", len(set(match.tolist())) == CONCEPTS)
    print("left out of crops, ours and theirs:", found.facts["share of squares not in the concepts, of crops"], lost)
    print("importance, exact:", exact.round(3))
    print("importance, ours:", found.importance.round(3), "+-", (1.96 * found.error).round(3))
    print("importance, theirs:", indices[match].round(3))
    for name, one in (("ours", found.importance), ("theirs", indices[match])):
        told = f"rank correlation with exact {spearmanr(one, exact)[0]:.3f}"
        print(f"{name}: {told}, sum of errors {np.abs(one - exact).sum():.3f}")


if __name__ == "__main__":
    main()
