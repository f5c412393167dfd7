"""Excitation backprop: where a winner-takes-all walk down from the class ends."""

from __future__ import annotations

from xplain.core.arrays import collapse, doubled, namespace
from xplain.core.declaring.options import Cells, Natural
from xplain.core.declaring.registry import Paper, method
from xplain.core.query import Flow, Reading, Sweep, View
from xplain.explainers.cam.layers import map_layer, reading
from xplain.rules.excitation import CONTRASTIVE, EXCITATION

__all__ = ["excitation_backprop"]


@method(
    "excitation-backprop",
    needs=Sweep,
    paper=Paper("Zhang 2016", "arXiv:1608.00507"),
    unit="probability of being reached",
    aliases=("ebp",),
    signed=False,
)
def excitation_backprop(
    view: View, *, layer: str = "auto", grid: Cells | None = None, tokens: Natural = 0, contrastive: bool = False
) -> Flow:
    """The probability that a walk from the class, down to whatever excited each neuron most, comes by.

    ``P(j) = sum over parents i of P(i) * x_j max(0, w_ij) / sum over j' of x_j' max(0, w_ij')``.

    Args:
        layer: Where to read, summed over channels; ``auto`` is the last layer with positions before the head, ``input``
            the item itself.
        grid: Rows and columns of the layer, such as ``8x18``, where they could not be followed from the input.
        tokens: Tokens in front of that grid that are no positions, such as 1 class token.
        contrastive: Subtract what the same walk says for everything that speaks against the class.

    Returns:
        ``[N, H, W]``, at least 0, enlarged bilinearly from the layer; a small map that is not contrastive sums to 1 in
        nets without biases.

    Cost:
        1 sweep per item; 2 if contrastive.

    Raises:
        UnknownName: no such layer.
        UsageError: the layer has no positions.

    Source:
        Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016, equations 1 to 5.
    """
    chosen = None if layer == "input" else map_layer(view, layer, grid, tokens)
    tap = "input" if chosen is None else chosen.name
    answer = yield Sweep(view.x[:, None], view.target, EXCITATION, (tap,))
    found = doubled(answer[tap][1])
    if contrastive:
        against = yield Sweep(view.x[:, None], view.target, CONTRASTIVE, (tap,))
        found = found - against[tap][1]
    if chosen is None:
        xp = namespace(found)
        summed = collapse(found, view.layout)
        return Reading(xp.where(summed > 0, summed, xp.zeros_like(summed)))
    return reading(view, chosen, namespace(found).sum(chosen.maps(found), axis=1), rectify=True)
