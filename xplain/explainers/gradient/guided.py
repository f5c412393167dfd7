"""Guided backpropagation and the deconvnet: the gradient with other rules at the rectifiers."""

from __future__ import annotations

from xplain.core.arrays import collapse
from xplain.core.caveat import Caveat
from xplain.core.declaring.registry import Paper, method
from xplain.core.query import Flow, Reading, Sweep, View
from xplain.core.rules import Rules
from xplain.rules.guided import DECONVNET, GUIDED

__all__ = ["deconvnet", "guided_backprop"]


@method(
    "guided-backprop",
    needs=Sweep,
    paper=Paper("Springenberg 2014", "arXiv:1412.6806, section 3.4"),
    unit="guided delta {score} per input unit",
    aliases=("guided-backpropagation",),
)
def guided_backprop(view: View, *, layer: str = "input", channels: bool = False) -> Flow:
    """The gradient along paths on which every rectifier is open and every signal argues for the score.

    At each ReLU with input z: ``g_in = g_out * [z > 0] * [g_out > 0]``. Elsewhere the plain gradient.

    Args:
        layer: Tensor to attribute to; ``input`` is the item itself.
        channels: Keep channels instead of summing over them.

    Returns:
        ``[N, H, W]``, signed. Does not sum to anything; sharp, but hardly depends on the class (Adebayo 2018).

    Cost:
        1 sweep per item.

    Source:
        Springenberg et al., Striving for Simplicity: The All Convolutional Net, 2014.
    """
    return (yield from _swept(view, GUIDED, layer, channels))


@method(
    "deconvnet",
    needs=Sweep,
    paper=Paper("Zeiler & Fergus 2014", "arXiv:1311.2901, section 2.1"),
    unit="deconvnet signal per input unit",
    aliases=("deconvolution",),
)
def deconvnet(view: View, *, layer: str = "input", channels: bool = False) -> Flow:
    """The score sent back through the net run in reverse: rectify what comes back, whatever went forward.

    At each ReLU: ``g_in = max(g_out, 0)``; max-pooling sends to its switches, convolutions are transposed.

    Args:
        layer: Tensor to attribute to; ``input`` is the item itself.
        channels: Keep channels instead of summing over them.

    Returns:
        ``[N, H, W]``, signed. Does not sum to anything.

    Cost:
        1 sweep per item.

    Source:
        Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014.
    """
    return (yield from _swept(view, DECONVNET, layer, channels))


def _swept(view: View, rules: Rules, layer: str, channels: bool) -> Flow:
    answer = yield Sweep(view.x[:, None], view.target, rules, (layer,))
    gradient = answer[layer][1]
    values = gradient if channels else collapse(gradient, view.layout_of(layer, gradient))
    return Reading(values, warnings=_unchanged(view, rules))


def _unchanged(view: View, rules: Rules) -> tuple[Caveat, ...]:
    """Says so when the model has none of the operators that the rules are about (GELU and SiLU nets)."""
    if view.outline.rectifies is not False:
        return ()
    text = (
        f"The model has no Relu, LeakyRelu, PRelu or other clipping activation, so the {rules.name} "
        "rules change nothing: this is the plain gradient."
    )
    return (Caveat(text, "unchanged"),)
