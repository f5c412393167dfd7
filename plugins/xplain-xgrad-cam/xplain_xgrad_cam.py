"""XGrad-CAM: Grad-CAM whose weights make the map sum to what the layer contributes. An example of a plugin."""

from __future__ import annotations

from xplain.plugins import Flow, Paper, Rules, Sweep, View, map_layer, map_reading, method, namespace

__all__ = ["xgrad_cam"]


@method(
    "xgrad-cam",
    needs=Sweep,
    paper=Paper("Fu 2020", "arXiv:2008.02312, equation 10"),
    unit="delta {score} through the layer, weighted by activation",
    signed=False,
)
def xgrad_cam(view: View, *, layer: str = "auto", signed: bool = False) -> Flow:
    """Each channel weighted by its gradient, averaged where the channel is active.

    ``w_k = sum over q of g_k[q] A_k[q] / sum over q of A_k[q]``; ``map[p] = max(0, sum over k of w_k A_k[p])``.

    Args:
        layer: A layer ``[N, C, h, w]`` or of tokens; ``auto`` takes the last one before the head.
        signed: Keep what argues against the target, instead of cutting it off at 0.

    Returns:
        ``[N, H, W]``, enlarged bilinearly; the small map sums to ``sum g * A`` if signed.

    Cost:
        1 sweep per item, backwards only as far as the layer.

    Source:
        Fu et al., Axiom-based Grad-CAM, BMVC 2020.
    """
    chosen = map_layer(view, layer)
    answer = yield Sweep(view.x[:, None], view.target, Rules(), (chosen.name,))
    values, gradient = (chosen.maps(one) for one in answer[chosen.name])
    xp = namespace(values)
    total = xp.sum(values, axis=chosen.places, keepdims=True)
    some = xp.abs(total) > 0
    one = xp.zeros_like(total) + 1
    weights = xp.sum(gradient * values, axis=chosen.places, keepdims=True) / xp.where(some, total, one)
    return map_reading(view, chosen, xp.sum(weights * values, axis=1), rectify=not signed)
