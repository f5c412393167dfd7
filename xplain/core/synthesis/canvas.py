"""Canvases: what is moved when a picture is made, and how it becomes a picture. Data, with one function of arrays.

    canvas.paint(state, views)      state [N, *canvas.state] -> pictures [N * V, C, H, W] in 0..1

``paint`` is written in the array API: numpy draws with it, torch differentiates it, and the graph room traces it into
the graph of the model, so every door sees the same picture and the exact gradient.

| canvas | state | picture |
|---|---|---|
| ``Pixels`` | the colours themselves | read bilinearly where a view lies |
| ``Cosines`` | cosine coefficients, weighted as photographs are | evaluated where a view lies, exactly |
| ``Phases`` | phases of a Fourier transform whose magnitudes are given | read bilinearly where a view lies |

More stand in ``xplain.core.synthesis.canvas_within``: a canvas in a region of a picture, a patch laid into pictures,
and the code of a generator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from xplain.core.arrays import constant, namespace, sigmoid
from xplain.core.edits import Array
from xplain.core.errors import CapabilityError
from xplain.core.synthesis.views import Views, positions, tents, turned

__all__ = ["COLOURS", "Canvas", "Cosines", "Phases", "Pixels", "as_logits", "both", "digest"]

COLOURS = ((-0.90, -0.44, 0.05), (-0.85, 0.07, -0.12), (-0.79, 0.42, 0.07))
"""Colours of photographs along three directions that vary independently (light, blue to red, green to purple).

The columns are the principal axes of the covariance of ``logit(RGB)`` of scikit-image's chelsea, coffee, astronaut and
rocket, scaled so that the longest row has length 1; ``python benchmarks/methods/colours.py`` prints them.
"""

_EDGE = 0.02  # how near to black and white a picture may be that becomes coefficients: their logits would be infinite


def digest(*arrays: Array) -> str:
    """What arrays are told apart by."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


@dataclass(frozen=True, eq=False)
class Canvas:
    """What every canvas has.

    Args:
        size: Height and width of a painted picture, which is what the model takes.
        channels: 3 for RGB, 1 for grey.
    """

    size: tuple[int, int]
    channels: int = 3

    PER_ITEM: ClassVar[tuple[str, ...]] = ()
    turns_pictures: ClassVar[bool] = True

    @property
    def state(self) -> tuple[int, ...]:
        """Shape of the state of one canvas."""
        return (self.channels, *self.size)

    @property
    def extent(self) -> tuple[int, int]:
        """Height and width of the canvas in its own pixels, which views are placed in."""
        return self.size

    @cached_property
    def structure(self) -> Hashable:
        """What a graph that paints depends on; arrays with an entry per item are not in it, but their shapes are."""
        told: list[Hashable] = [type(self).__name__]
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in self.PER_ITEM:
                told.append(value.shape[1:])
            else:
                told.append(digest(value) if isinstance(value, np.ndarray) else value)
        return tuple(told)

    @property
    def given(self) -> dict[str, Array]:
        """Arrays with an entry per canvas, by name."""
        return {name: getattr(self, name) for name in self.PER_ITEM}

    @property
    def pictures(self) -> int:
        """Pictures that one canvas paints without views."""
        return 1

    def take(self, items: Array) -> Canvas:
        """The canvas for some of the states."""
        return replace(self, **{name: getattr(self, name)[items] for name in self.PER_ITEM})

    def paint(self, state: Any, where: Any = None, noise: Any = None, given: Mapping[str, Any] | None = None) -> Any:
        """Pictures ``[N * V, C, H, W]`` in 0..1 of states ``[N, *state]``, of any kind of array.

        Args:
            state: The states.
            where: ``Views.where``; None for the whole canvas, once.
            noise: ``Views.noise``.
            given: The arrays of ``given``, of the kind of ``state``.
        """
        xp = namespace(state)
        picture = self.seen(state, where, given or {})
        if self.turns_pictures and where is not None and where.shape[2] > 3:
            picture = turned(picture, xp.reshape(where[:, :, 3:4], (picture.shape[0],)))
        return picture if noise is None else picture + xp.reshape(noise, picture.shape)

    def seen(self, state: Any, where: Any, given: Mapping[str, Any]) -> Any:
        """The pictures before they are turned and before noise is added."""
        raise NotImplementedError

    def drawn(self, state: Array, views: Views | None = None, exact: bool = True) -> Array:
        """The pictures as float32 arrays of numpy; ``exact``: computed in float64, else in float32, for a look."""
        real = np.float64 if exact else np.float32
        given = {name: np.asarray(value, real) for name, value in self.given.items()}
        drawn = []
        for n in range(len(state)):  # by themselves: a product's last bits depend on how many there are
            one = slice(n, n + 1)
            where = None if views is None else np.asarray(views.where[one], real)
            noise = None if views is None or views.noise is None else views.noise[one]
            own = {name: value[one] for name, value in given.items()}
            drawn.append(np.asarray(self.paint(np.asarray(state[one], real), where, noise, own), np.float32))
        return np.concatenate(drawn)

    def resized(self, size: tuple[int, int]) -> Canvas:
        """The same canvas painted in another size."""
        return replace(self, size=size)

    def start(self, pictures: Array) -> Array:
        """The states that paint pictures ``[N, C, H, W]`` of the canvas's own extent, float32.

        Raises:
            CapabilityError: no state does.
        """
        raise CapabilityError(f"{type(self).__name__} cannot begin from a picture. Use Pixels or Cosines.")


def _glimpsed(pictures: Any, where: Any, size: tuple[int, int]) -> Any:
    """Pictures ``[N, C, H, W]`` read bilinearly where V views lie, ``[N * V, C, *size]``; borders repeat."""
    if where is None:
        return pictures
    items, channels, *extent = pictures.shape
    rows, columns = (tents(positions(where, k, size[k], extent[k]), extent[k]) for k in (0, 1))
    return both(pictures, rows, columns, (items, channels, *size))


def both(planes: Any, rows: Any, columns: Any, shape: tuple[int, ...]) -> Any:
    """``rows @ planes @ columns^T`` for every view, ``[N * V, *shape[1:]]``.

    Rows are ``[N, V, H, K]``, planes ``[N, C, K, L]``.

    The first product takes all views of an item at once, so that its derivative adds them up by itself.
    """
    xp = namespace(planes)
    items, channels, height, width = shape
    views, high, wide = rows.shape[1], planes.shape[2], planes.shape[3]
    if views == 1:  # nothing has to be moved about
        found = xp.matmul(xp.matmul(rows, planes), xp.permute_dims(columns, (0, 1, 3, 2)))
        return xp.reshape(found, (items, channels, height, width))
    left = xp.matmul(xp.reshape(rows, (items, 1, views * height, high)), planes)  # [N, C, V * H, L]
    left = xp.permute_dims(xp.reshape(left, (items, channels, views, height, wide)), (0, 2, 1, 3, 4))
    right = xp.expand_dims(xp.permute_dims(columns, (0, 1, 3, 2)), axis=2)  # [N, V, 1, L, W]
    return xp.reshape(xp.matmul(left, right), (items * views, channels, height, width))


def _coloured(planes: Any, colours: Any) -> Any:
    """Planes ``[R, C, H, W]`` along the colours' directions as logits of RGB, and those as colours in 0..1."""
    xp = namespace(planes)
    if planes.shape[1] == 1:
        return sigmoid(planes)
    rows, channels, height, width = planes.shape
    mixed = xp.matmul(constant(np.asarray(colours)[None], planes), xp.reshape(planes, (rows, channels, height * width)))
    return sigmoid(xp.reshape(mixed, (rows, channels, height, width)))


def as_logits(pictures: Array, colours: Any) -> Array:
    """Pictures ``[N, C, H, W]`` in 0..1 as planes that ``_coloured`` makes them of, float64."""
    clipped = np.clip(np.asarray(pictures, np.float64), _EDGE, 1 - _EDGE)
    logits: Array = np.log(clipped / (1 - clipped))
    if pictures.shape[1] == 1:
        return logits
    mixed: Array = np.einsum("ab,nbhw->nahw", np.linalg.inv(np.asarray(colours, np.float64)), logits)
    return mixed


@dataclass(frozen=True, eq=False)
class Pixels(Canvas):
    """The state is the picture, ``[N, C, *board]``: 0..1, kept there by whoever moves it.

    Args:
        board: Height and width of the state where it is not that of the picture, which then needs views.
    """

    board: tuple[int, int] | None = None

    @property
    def extent(self) -> tuple[int, int]:
        """Height and width of the state."""
        return self.board or self.size

    @property
    def state(self) -> tuple[int, ...]:
        """``(C, *extent)``."""
        return (self.channels, *self.extent)

    def seen(self, state: Any, where: Any, given: Mapping[str, Any]) -> Any:
        """The state itself, or what views show of it."""
        if where is None and self.extent != self.size:
            xp = namespace(state)
            steps = [(np.arange(s) + 0.5) * k / s - 0.5 for s, k in zip(self.size, self.extent, strict=True)]
            rows, columns = (constant(tents(p, k), state) for p, k in zip(steps, self.extent, strict=True))
            return xp.matmul(xp.matmul(rows, state), xp.permute_dims(columns, (1, 0)))
        return _glimpsed(state, where, self.size)

    def start(self, pictures: Array) -> Array:
        """The pictures."""
        return np.ascontiguousarray(pictures, np.float32)


@dataclass(frozen=True, eq=False)
class Cosines(Canvas):
    """Real orthonormal cosines, weighted as the spectra of photographs fall, in colours that vary independently.

    ``RGB(p) = sigmoid(L sum over k of w_k z_k c_k cos(pi (p + 1/2) k / K))`` along both axes, with
    ``w_k = f^-decay``, f cycles per pixel, scaled so that a unit z gives planes of variance 1. The canvas is its own
    mirror image beyond its borders. Olah 2017, with cosines for Fourier coefficients: real, and evaluated at real
    positions, so jitter, scale and crops need no interpolation.

    Args:
        waves: Coefficients along each axis; those of the picture's own size if not given.
        decay: How fast weights fall; 0 is a plain change of basis.
        colours: ``[3, 3]``, L.
    """

    waves: tuple[int, int] | None = None
    decay: float = 1.0
    colours: tuple[tuple[float, ...], ...] = COLOURS

    @property
    def extent(self) -> tuple[int, int]:
        """Coefficients along each axis, which is as many pixels."""
        return self.waves or self.size

    @property
    def state(self) -> tuple[int, ...]:
        """``(C, *extent)``."""
        return (self.channels, *self.extent)

    @property
    def weights(self) -> Array:
        """``w``, ``[K, L]``."""
        high, wide = self.extent
        y, x = np.meshgrid(np.arange(high) / high, np.arange(wide) / wide, indexing="ij")
        cycles = np.sqrt(y**2 + x**2) / 2
        weights = np.maximum(cycles, 1 / (2 * max(high, wide))) ** -self.decay
        found: Array = weights / np.sqrt((weights**2).mean())
        return found

    @staticmethod
    def _scale(count: int) -> Array:
        scale = np.full(count, np.sqrt(2 / count))
        scale[0] = np.sqrt(1 / count)
        return scale

    def _basis(self, axis: int, pixels: int) -> Array:
        """The cosines at the pixels of the whole canvas, ``[pixels, K]``."""
        count = self.extent[axis]
        at = (np.arange(pixels) + 0.5) * count / pixels
        return np.cos(np.pi * at[:, None] * np.arange(count) / count) * self._scale(count)

    @cached_property
    def _whole(self) -> tuple[Array, Array, Array]:
        """Weights and cosines along both axes of the whole canvas, which is drawn again and again."""
        return self.weights, self._basis(0, self.size[0]), self._basis(1, self.size[1])

    def seen(self, state: Any, where: Any, given: Mapping[str, Any]) -> Any:
        """The planes at the pixels of the views, coloured."""
        xp = namespace(state)
        if where is None:
            weights, rows, columns = (constant(one, state) for one in self._whole)
            z = state * weights
            return _coloured(xp.matmul(xp.matmul(rows, z), xp.permute_dims(columns, (1, 0))), self.colours)

        def basis(axis: int) -> Any:
            count = self.extent[axis]
            at = xp.expand_dims(positions(where, axis, self.size[axis], count) + 0.5, axis=-1)
            return xp.cos(at * constant(np.pi * np.arange(count) / count, state))

        high, wide = self.extent
        z = state * constant(self.weights * np.outer(self._scale(high), self._scale(wide)), state)
        return _coloured(both(z, basis(0), basis(1), (state.shape[0], self.channels, *self.size)), self.colours)

    def start(self, pictures: Array) -> Array:
        """The coefficients of pictures ``[N, C, *extent]``; colours at the very ends of the range are pulled in."""
        planes = as_logits(pictures, self.colours)
        rows, columns = (self._basis(k, self.extent[k]) for k in (0, 1))
        return np.asarray(rows.T @ planes @ columns / self.weights, np.float32)


@dataclass(frozen=True, eq=False)
class Phases(Canvas):
    """MACO: the magnitudes of a Fourier transform are those of photographs and stay; the phases are moved.

    ``RGB = sigmoid(L standardised(Re IDFT(m e^(i phi))))``. Fel 2023, arXiv:2306.06805. The magnitudes are the
    caller's; nothing comes along.

    Args:
        magnitude: ``[C, K, K]``, from ``explainers.synthesis.spectra.magnitude_of``.
        contrast: Standard deviation of the planes.
        colours: ``[3, 3]``.
    """

    magnitude: Array = field(default_factory=lambda: np.ones((3, 1, 1)))
    contrast: float = 1.2
    colours: tuple[tuple[float, ...], ...] = COLOURS

    @property
    def extent(self) -> tuple[int, int]:
        """Of the magnitudes."""
        return (int(self.magnitude.shape[1]), int(self.magnitude.shape[2]))

    @property
    def state(self) -> tuple[int, ...]:
        """One phase for each magnitude."""
        return (self.channels, *self.extent)

    @cached_property
    def _waves(self) -> list[Array]:
        """Cosines and sines along both axes, symmetric matrices."""
        angles = [2 * np.pi * np.outer(np.arange(n), np.arange(n)) / n for n in self.extent]
        return [f(angle) / np.sqrt(len(angle)) for angle in angles for f in (np.cos, np.sin)]

    def seen(self, state: Any, where: Any, given: Mapping[str, Any]) -> Any:
        """The picture of the whole canvas, read where views lie."""
        xp = namespace(state)
        c, s, cx, sx = (constant(one, state) for one in self._waves)
        magnitude = constant(self.magnitude, state)
        real, imaginary = xp.cos(state) * magnitude, xp.sin(state) * magnitude
        left, right = xp.matmul(c, real) - xp.matmul(s, imaginary), xp.matmul(s, real) + xp.matmul(c, imaginary)
        planes = xp.matmul(left, cx) - xp.matmul(right, sx)
        planes = planes - xp.mean(planes, axis=(1, 2, 3), keepdims=True)
        spread = xp.sqrt(xp.mean(planes * planes, axis=(1, 2, 3), keepdims=True) + 1e-8)
        picture = _coloured(planes / spread * self.contrast, self.colours)
        if where is None and self.extent != self.size:
            return Pixels(self.size, self.channels, self.extent).seen(picture, None, {})
        return _glimpsed(picture, where, self.size)
