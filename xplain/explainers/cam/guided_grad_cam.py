"""Guided Grad-CAM: where the class is, times what is fine there."""

from __future__ import annotations

from xplain.core.arrays import collapse, namespace
from xplain.core.declaring.options import Cells, Natural
from xplain.core.declaring.registry import Paper, method
from xplain.core.query import Flow, Reading, Sweep, View
from xplain.explainers.cam.grad_cam import grad_cam
from xplain.rules.guided import GUIDED

__all__ = ["guided_grad_cam"]


@method(
    "guided-grad-cam",
    needs=Sweep,
    paper=Paper("Selvaraju 2016", "arXiv:1610.02391, section 3.2"),
    unit="guided delta {score} times grad-cam",
    aliases=("guided-gradcam",),
)
def guided_grad_cam(
    view: View, *, layer: str = "auto", grid: Cells | None = None, tokens: Natural = 0, channels: bool = False
) -> Flow:
    """Guided backpropagation, kept where Grad-CAM sees the class.

    ``a = guided(x) * enlarged Grad-CAM``, position by position.

    Args:
        layer: Layer of the Grad-CAM; ``auto`` takes the last one with positions before the head.
        grid: Rows and columns of the layer, such as ``8x18``, where they could not be followed from the input.
        tokens: Tokens in front of that grid that are no positions, such as 1 class token.
        channels: Keep channels instead of summing over them.

    Returns:
        ``[N, H, W]``, signed. Does not sum to anything.

    Cost:
        2 sweeps per item.

    Raises:
        UnknownName: no such layer.
        UsageError: the layer has no positions.

    Source:
        Selvaraju et al., Grad-CAM, ICCV 2017.
    """
    coarse = yield from grad_cam(view, layer=layer, grid=grid, tokens=tokens)
    answer = yield Sweep(view.x[:, None], view.target, GUIDED)
    fine = answer["input"][1]
    axis = view.layout.channel_axis
    where = coarse.values if axis is None else namespace(coarse.values).expand_dims(coarse.values, axis=axis)
    product = fine * namespace(where).astype(where, fine.dtype)  # half precision in a compiled file of such a model
    values = product if channels else collapse(product, view.layout)
    return Reading(values, notes=coarse.notes, each=coarse.each, warnings=coarse.warnings)
