"""Saliency: the gradient of the score with respect to the input."""

from __future__ import annotations

from xplain.core.arrays import collapse
from xplain.core.declaring.registry import Paper, method
from xplain.core.query import Flow, Reading, Sweep, View
from xplain.core.rules import Rules

__all__ = ["input_x_gradient", "saliency"]


@method(
    "saliency",
    needs=Sweep,
    paper=Paper("Simonyan 2013", "arXiv:1312.6034, section 3"),
    unit="|delta {score}| per input unit",
    aliases=("gradient", "vanilla-gradient"),
    signed=False,
)
def saliency(view: View, *, layer: str = "input", channels: bool = False, signed: bool = False) -> Flow:
    """A position matters as much as the score changes when it changes a little.

    ``a[p] = max over c of | d f / d x[c, p] |``; signed: ``a[p] = sum over c of d f / d x[c, p]``.

    Args:
        layer: Tensor to attribute to; ``input`` is the item itself, any layer's name the layer.
        channels: Keep channels: the raw signed gradient in the tensor's own shape.
        signed: Sum over channels with sign, instead of the largest magnitude.

    Returns:
        ``[N, H, W]``, at least 0 unless ``signed``. Does not sum to anything.

    Cost:
        1 sweep per item.

    Source:
        Simonyan, Vedaldi and Zisserman, Deep Inside Convolutional Networks, 2013.
    """
    answer = yield Sweep(view.x[:, None], view.target, Rules(), (layer,))
    gradient = answer[layer][1]
    if channels:
        return Reading(gradient, signed=True, unit="delta {score} per input unit")
    how = "sum" if signed else "max-abs"
    unit = "delta {score} per input unit" if signed else None
    return Reading(collapse(gradient, view.layout_of(layer, gradient), how), signed=signed, unit=unit)


@method(
    "input-x-gradient",
    needs=Sweep,
    paper=Paper("Shrikumar 2016", "arXiv:1605.01713"),
    unit="delta {score}, first order",
    aliases=("gradient-x-input", "ixg"),
)
def input_x_gradient(view: View, *, layer: str = "input", channels: bool = False) -> Flow:
    """What each position contributes to the score's linear approximation around zero.

    ``a[p] = sum over c of x[c, p] * d f / d x[c, p]``.

    Args:
        layer: Tensor to attribute to; ``input`` is the item itself.
        channels: Keep channels instead of summing over them.

    Returns:
        ``[N, H, W]``, signed. Sums to f(x) for a net of linear and ReLU layers without biases.

    Cost:
        1 sweep per item.

    Source:
        Shrikumar et al., Not Just a Black Box, 2016.
    """
    answer = yield Sweep(view.x[:, None], view.target, Rules(), (layer,))
    value, gradient = answer[layer]
    product = value * gradient
    return Reading(product if channels else collapse(product, view.layout_of(layer, product)))
