"""XGrad-CAM: Grad-CAM whose weights make the map sum to what the layer contributes. An example of a plugin."""

from __future__ import annotations

from typing import Any

from xplain.plugins import Paper, cam, namespace

__all__ = ["xgrad_cam"]


@cam(
    "xgrad-cam",
    paper=Paper("Fu 2020", "arXiv:2008.02312, equation 10"),
    unit="delta {score} through the layer, weighted by activation",
)
def xgrad_cam(activations: Any, gradients: Any, places: tuple[int, ...]) -> Any:
    """Each channel weighted by its gradient, averaged where the channel is active.

    ``w_k = sum over q of g_k[q] A_k[q] / sum over q of A_k[q]``; ``map[p] = max(0, sum over k of w_k A_k[p])``.

    Returns:
        ``[N, H, W]``, enlarged bilinearly; the small map sums to ``sum g * A`` if signed.

    Source:
        Fu et al., Axiom-based Grad-CAM, BMVC 2020.
    """
    xp = namespace(activations)
    total = xp.sum(activations, axis=places, keepdims=True)
    some = xp.abs(total) > 0
    weighted = xp.sum(gradients * activations, axis=places, keepdims=True)
    return weighted / xp.where(some, total, xp.ones_like(total))
