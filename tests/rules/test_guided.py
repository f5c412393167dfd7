"""Guided backpropagation and deconvnet against captum, on a net with max pooling."""

from __future__ import annotations

import numpy as np
import pytest
from finite import session
from reference_net import CLASSES, items, model
from test_deeplift import torch_net

from xplain.core.query import fingerprint
from xplain.core.rules import Rules, Where
from xplain.graph.seeds import Seed
from xplain.graph.sweep import build
from xplain.rules.guided import DECONVNET, GUIDED, RELUS, GuidedRelu
from xplain.rules.lrp import Epsilon, epsilon


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("rules", "name"), [(GUIDED, "GuidedBackprop"), (DECONVNET, "Deconvolution")])
def test_captum_agrees(rules: Rules, name: str) -> None:
    captum = pytest.importorskip("captum.attr")
    import torch

    built = build(model(), ["input"], [Seed("y")], rules)
    got = session(built.model).run(["cotangent/input"], {"x": items(), "target": CLASSES})[0]
    theirs = getattr(captum, name)(torch_net("max")).attribute(torch.tensor(items()), torch.tensor(CLASSES))
    np.testing.assert_allclose(got, theirs.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_tables_are_data() -> None:
    assert Rules("guided", changes=RELUS).on(Where(ops=RELUS), GuidedRelu()) == GUIDED
    assert hash(GUIDED) != hash(DECONVNET)
    assert epsilon(0.1) != epsilon(0.2)
    assert epsilon(0.1) == epsilon(0.1)
    assert fingerprint(epsilon(0.1)) == fingerprint(epsilon(0.1)) != fingerprint(epsilon(0.2))
    assert "eps=0.1" in repr(Epsilon(0.1))
