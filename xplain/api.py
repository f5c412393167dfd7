"""The public face: load a model, explain items, get attributions. Names only; the functions stand in the session.

model = xplain.load("model.onnx")
a = xplain.explain(model, "cat.jpg", method="occlusion", patch=16, stride=8)
a.overlay(0).save("cat.png")
"""

from xplain.core.items import Items
from xplain.session.items import items_of
from xplain.session.lenses.see import lenses, see
from xplain.session.public import (
    attack,
    attacks,
    explain,
    explain_many,
    explain_stream,
    load,
    methods,
    plan,
    plan_look,
    predict,
    probe,
)
from xplain.session.synthesis.made import make, recipes

__all__ = [
    "Items",
    "attack",
    "attacks",
    "explain",
    "explain_many",
    "explain_stream",
    "items_of",
    "lenses",
    "load",
    "make",
    "methods",
    "plan",
    "plan_look",
]
__all__ += ["predict", "probe", "recipes", "see"]
