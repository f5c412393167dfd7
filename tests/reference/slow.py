"""Occlusion and RISE once more, slowly, straight from the papers: every mask is made, every sum is a loop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xplain import native

Scorer = Callable[[np.ndarray], float]


def occlusion(
    score: Scorer, x: np.ndarray, fill: np.ndarray, patch: tuple[int, int], stride: tuple[int, int]
) -> np.ndarray:
    """Zeiler and Fergus 4.2 as captum reads it: the mean fall over the windows that cover a position. x: [C, H, W]."""
    height, width = x.shape[1:]
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for top in range(0, -(-(height - patch[0]) // stride[0]) * stride[0] + 1, stride[0]):
        for left in range(0, -(-(width - patch[1]) // stride[1]) * stride[1] + 1, stride[1]):
            hidden = x.copy()
            rows, columns = slice(top, top + patch[0]), slice(left, left + patch[1])
            hidden[:, rows, columns] = fill[:, rows, columns]
            total[rows, columns] += score(x) - score(hidden)
            count[rows, columns] += 1
    return total / np.maximum(count, 1)


def rise_mask(grid: np.ndarray, shift: np.ndarray, plane: tuple[int, int]) -> np.ndarray:
    """Petsiuk 3.2: the (h + 1) x (w + 1) grid enlarged bilinearly to (h + 1) C_H x (w + 1) C_W, cut at the shift."""
    rows, columns = grid.shape[0] - 1, grid.shape[1] - 1
    size = -(-plane[0] // rows), -(-plane[1] // columns)
    mask = np.zeros(plane)
    for y in range(plane[0]):
        for x in range(plane[1]):
            at_y = min(max((y + shift[0] + 0.5) / size[0] - 0.5, 0), rows)
            at_x = min(max((x + shift[1] + 0.5) / size[1] - 0.5, 0), columns)
            i, j = min(int(at_y), rows - 1), min(int(at_x), columns - 1)
            dy, dx = at_y - i, at_x - j
            upper = (1 - dx) * grid[i, j] + dx * grid[i, j + 1]
            lower = (1 - dx) * grid[i + 1, j] + dx * grid[i + 1, j + 1]
            mask[y, x] = (1 - dy) * upper + dy * lower
    return mask


def rise(
    score: Scorer, x: np.ndarray, fill: np.ndarray, seed: int, samples: int, cells: tuple[int, int], keep: float
) -> tuple[np.ndarray, np.ndarray]:
    """Petsiuk equation 6, ``1 / (E[M] N) sum f(x * M_i) M_i``, less the mean score; and its jackknife error."""
    plane = x.shape[1], x.shape[2]
    grids, shifts = native.soft_grid_cells(seed, 0, samples, cells, keep, plane)
    masks = np.stack([rise_mask(grid, shift, plane) for grid, shift in zip(grids, shifts, strict=True)])
    scores = np.array([score((fill + mask * (x - fill)).astype(np.float32)) for mask in masks])

    def estimate(s: np.ndarray, m: np.ndarray) -> np.ndarray:
        return sum(a * b for a, b in zip(s - s.mean(), m, strict=True)) / ((len(s) - 1) * keep)

    without = np.stack([estimate(np.delete(scores, k), np.delete(masks, k, 0)) for k in range(samples)])
    jackknife = np.sqrt((samples - 1) / samples * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    return estimate(scores, masks), jackknife
