"""What torch makes of modules: traced, scripted, frozen, exported. Right, or refused with what works."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

import xplain
from xplain.core.errors import XplainError

X = np.random.default_rng(0).random((1, 3, 12, 12)).astype(np.float32)


def plain() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    return nn.Sequential(*layers).eval()


FORMS = {
    "traced": lambda net: torch.jit.trace(net, torch.rand(2, 3, 12, 12)),
    "scripted": torch.jit.script,
    "frozen": lambda net: torch.jit.freeze(torch.jit.script(net)),
    "exported": lambda net: torch.export.export(
        net, (torch.rand(2, 3, 12, 12),), dynamic_shapes=({0: torch.export.Dim("n")},)
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["occlusion", "saliency", "lrp"])
def test_a_form_gives_the_plain_modules_map_or_says_what_works(form, method):
    options = {"patch": 4, "stride": 4} if method == "occlusion" else {}
    made = FORMS[form](plain())
    try:
        found = xplain.explain(made, X, method, target=1, **options).values
    except XplainError as error:
        advised = re.search(r"(?:still work|that fit|such as): ?([a-z0-9+, -]+)", str(error))
        assert method != "occlusion"
        assert advised is None or "occlusion" in advised[1]
        return
    truth = xplain.explain(plain(), X, method, target=1, **options).values
    np.testing.assert_allclose(found, truth, atol=1e-4 * np.abs(truth).max())
