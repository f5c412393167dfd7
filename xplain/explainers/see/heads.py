"""The heads of an attention layer, each as a map of what one token attends to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.positions.grid import Tokens, tokens_of
from xplain.core.query import View

__all__ = ["Heads", "heads_of"]


@dataclass(frozen=True, slots=True)
class Heads:
    """A layer of attention ``[N, heads, tokens, tokens]``, seen from one token.

    Args:
        name: The layer.
        token: Whose attention is shown.
        lies: How the tokens that are attended to lie on the item.
    """

    name: str
    token: int
    lies: Tokens

    def maps(self, values: Array) -> Array:
        """The layer's values as ``[N, heads, *cells]``."""
        rows = values.reshape(len(values), -1, *values.shape[-2:])[:, :, self.token]
        inside = rows[..., self.lies.lead : self.lies.lead + math.prod(self.lies.cells)]
        return np.asarray(inside.reshape(*inside.shape[:2], *self.lies.cells))


def heads_of(view: View, layer: str, token: int) -> Heads | None:
    """The heads of a layer; None for one that is no attention.

    Raises:
        UsageError: its tokens do not lie on one grid, or it has no such token.
    """
    lineage = view.lineage
    if lineage is None or layer in ("auto", "all") or lineage.tensor(layer) not in lineage.mixing:
        return None
    axes = lineage.axes_of(layer)
    lies = None if axes is None else tokens_of(axes[-1], view.layout)
    if lies is None:
        raise UsageError(
            f"Layer {layer!r} is attention between tokens that do not lie on one grid, as windows do not, so a head is "
            "no map of the item. The method attention-rollout follows such attention through the model."
        )
    if token >= lies.count:
        accepted = f"a token of layer {layer!r}, 0 to {lies.count - 1}"
        raise UsageError(option="token", got=token, accepted=accepted)
    return Heads(layer, token, lies)
