"""A small picture laid into a large one at a place, size and angle: bilinear, with its exact adjoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xplain.core.edits import Array

__all__ = ["Placement", "drawn_placement"]


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Which patch pixels, with which weights, make each pixel that the patch covers.

    A covered pixel is ``sum over 4 corners of weight * patch[corner]``, times ``light``; the gradient by the patch is
    the same sum the other way round, so it is exact.

    Args:
        rows: Rows of the covered pixels in the large picture, int ``[P]``.
        columns: Their columns.
        corners: The patch's pixels that each is made of, flat, int ``[P, 4]``.
        weights: How much of each, ``[P, 4]``.
        light: Factor on the patch's values.
    """

    rows: Array
    columns: Array
    corners: Array
    weights: Array
    light: float

    def laid(self, picture: Array, patch: Array, low: float, high: float) -> Array:
        """The picture ``[C, H, W]`` with the patch ``[C, h, w]`` on it."""
        flat = patch.reshape(len(patch), -1)
        out = picture.copy()
        covered = (flat[:, self.corners] * self.weights).sum(axis=2) * self.light
        out[:, self.rows, self.columns] = np.clip(covered, low, high)
        return out

    def back(self, gradient: Array, shape: tuple[int, ...]) -> Array:
        """The gradient by the patch, ``[C, h, w]``, of one by the picture, ``[C, H, W]``."""
        out = np.zeros((len(gradient), int(np.prod(shape[1:]))))
        given = gradient[:, self.rows, self.columns][..., None] * self.weights * self.light
        for channel, own in enumerate(given):
            out[channel] = np.bincount(self.corners.reshape(-1), own.reshape(-1), minlength=out.shape[1])
        return out.reshape(shape)


def drawn_placement(
    rng: np.random.Generator, plane: tuple[int, int], side: int, scale: float, angle: float, light: float
) -> Placement:
    """A random placement of a patch of ``side x side`` pixels that lies wholly inside the plane.

    Args:
        rng: Draws it.
        plane: Height and width of the large picture.
        side: Pixels of the patch.
        scale: The size is between ``1 - scale`` and ``1 + scale`` of that.
        angle: It is turned by up to so many degrees, either way.
        light: Its values are multiplied by between ``1 - light`` and ``1 + light``.
    """
    size = side * rng.uniform(1 - scale, 1 + scale)
    turn = np.deg2rad(rng.uniform(-angle, angle))
    reach = size / 2 * (abs(np.cos(turn)) + abs(np.sin(turn)))
    cy, cx = (rng.uniform(reach, extent - reach) if extent > 2 * reach else extent / 2 for extent in plane)
    if not scale and not angle:
        cy, cx = round(cy - side / 2) + side / 2, round(cx - side / 2) + side / 2  # pixel on pixel
    top, left = max(0, int(cy - reach)), max(0, int(cx - reach))
    bottom, right = min(plane[0], int(np.ceil(cy + reach)) + 1), min(plane[1], int(np.ceil(cx + reach)) + 1)
    y, x = np.meshgrid(np.arange(top, bottom) + 0.5 - cy, np.arange(left, right) + 0.5 - cx, indexing="ij")
    v = (np.cos(turn) * y - np.sin(turn) * x) * side / size + side / 2 - 0.5
    u = (np.sin(turn) * y + np.cos(turn) * x) * side / size + side / 2 - 0.5
    inside = (v >= -0.5) & (v <= side - 0.5) & (u >= -0.5) & (u <= side - 0.5)
    v, u = np.clip(v[inside], 0, side - 1), np.clip(u[inside], 0, side - 1)
    v0, u0 = np.minimum(v.astype(int), max(side - 2, 0)), np.minimum(u.astype(int), max(side - 2, 0))
    dv, du = v - v0, u - u0
    v1, u1 = np.minimum(v0 + 1, side - 1), np.minimum(u0 + 1, side - 1)
    corners = np.stack([v0 * side + u0, v0 * side + u1, v1 * side + u0, v1 * side + u1], axis=1)
    weights = np.stack([(1 - dv) * (1 - du), (1 - dv) * du, dv * (1 - du), dv * du], axis=1)
    rows, columns = (one[inside] for one in np.meshgrid(np.arange(top, bottom), np.arange(left, right), indexing="ij"))
    return Placement(rows, columns, corners, weights, float(rng.uniform(1 - light, 1 + light)))
