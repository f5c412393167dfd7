"""Layer-wise relevance propagation: the target's value is shared among inputs, operator by operator.

Every rule for a linear operator z = x w + b has one form (Bach et al. 2015, doi:10.1371/journal.pone.0130140; Montavon
et al. 2019, doi:10.1007/978-3-030-28954-6_10, table 10.1): change x and w, divide, pull back, multiply,

    R_in = sum over parts  x' * VJP_{x', w'}(R / (z' + eps sign(z'))),

so every linear operator has every rule. Elsewhere relevance goes on unchanged (activations, normalisations), along with
its elements (reshapes), to the winner (max pooling), in proportion (sums), or to what a gate lets through (products).
Batch norms are folded first. What a bias takes is lost to the inputs, as in every implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xplain.core.rules import Call, Cotangents, Value
from xplain.rules.shares import alike, by_sign, for_data, negative, positive, spread, stabilised

__all__ = [
    "AlphaBeta",
    "Epsilon",
    "Flat",
    "Gamma",
    "Gates",
    "Sums",
    "Through",
    "WSquare",
    "ZBox",
    "gate_of",
    "is_gate",
]

_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Through:
    """Relevance goes on unchanged; an operator that changes the shape shares it as ``Epsilon`` does.

    Activations, normalisations and softmax: Bach et al. 2015; Achtibat et al. 2024, arXiv:2402.05602, identity rule.
    """

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """R for the first active input."""
        if _reshaped(call.x.shape, call.y.shape):
            return Epsilon()(call, g)
        first = list(call.active).index(True)
        return [g[0] if k == first else None for k in range(len(call.inputs))]


def _reshaped(x: Sequence[Any] | None, y: Sequence[Any] | None) -> bool:
    """Whether shapes are known to differ; a free extent may have two names."""
    if x is None or y is None:
        return False
    numbers = [(a, b) for a, b in zip(x, y, strict=False) if isinstance(a, int) and isinstance(b, int)]
    return len(x) != len(y) or any(a != b for a, b in numbers)


@dataclass(frozen=True, slots=True)
class Epsilon:
    """R_i = x_i sum_j w_ij R_j / (z_j + eps sign(z_j)): proportional to contributions; also for sums and averages.

    Args:
        eps: Stabiliser; larger values absorb weak and contradicting contributions.
        bias: Whether a bias takes its part.
    """

    eps: float = _EPS
    bias: bool = True

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """The rule for each active input."""
        z = call.y if self.bias or call.kind != "linear" or call.b is None else call.forward(call.x, call.w).y
        shares = call.vjp(g[0] / stabilised(z, self.eps, call.xp))
        return [
            None if share is None or not active else call.inputs[k] * share
            for k, (share, active) in enumerate(zip(shares, call.active, strict=False))
        ]


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums of signals share in proportion; a constant that is added takes nothing, unless it is a layer's bias.

    An added constant is a bias where a weighted operator comes before it: MatMul and Add then share as Gemm does.

    Args:
        bias: Whether a bias takes its part.
        eps: Stabiliser.
    """

    bias: bool = True
    eps: float = _EPS

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """The rule for Add, Sub, Sum and Mean."""
        if sum(call.active) == 1:
            maker = call.producer(list(call.active).index(True))
            if not self.bias or maker is None or not maker.weighted:
                return Through()(call, g)
        return Epsilon(self.eps)(call, g)


@dataclass(frozen=True, slots=True)
class AlphaBeta:
    """Positive and negative contributions apart: alpha times the one, minus beta times the other; alpha - beta = 1.

    alpha = 1, beta = 0 is z+. Bach et al. 2015, eq. 60, with inputs of both signs: x+ w+ and x- w- are positive.

    Args:
        alpha: Weight of what speaks for the output.
        beta: Weight of what speaks against it.
        bias: Whether a bias takes its part. Folded batch norms leave large biases, which can take nearly everything.
        eps: Stabiliser.
    """

    alpha: float = 2.0
    beta: float = 1.0
    bias: bool = True
    eps: float = _EPS

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """The rule for a weighted linear operator."""
        xp, w, b = call.xp, call.w, call.b if self.bias else None
        wp, wn = positive(w, xp), negative(w, xp)
        out = spread(call, by_sign(call, wp, wn, positive(b, xp)), g[0], self.eps, 1)
        out = out if self.alpha == 1.0 else out * self.alpha
        if self.beta:
            against = by_sign(call, wn, wp, negative(b, xp))
            out = out - spread(call, against, g[0], self.eps, -1) * self.beta
        return for_data(call, out)


@dataclass(frozen=True, slots=True)
class Gamma:
    """Contributions that agree with the output's sign weigh (1 + gamma) times; large gamma tends to z+.

    Montavon et al. 2019, section 10.2.3, extended to inputs and outputs of both signs.

    Args:
        gamma: How much agreement is favoured.
        bias: Whether a bias takes its part; without it a unit whose sign a bias decides makes relevance unstable.
        eps: Stabiliser.
    """

    gamma: float = 0.25
    bias: bool = True
    eps: float = _EPS

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """The rule for a weighted linear operator."""
        xp, x, w, b = call.xp, call.x, call.w, call.b if self.bias else None

        def more(v: Value, part: Callable[..., Value]) -> Value:
            return None if v is None else v + part(v, xp) * self.gamma

        # the sign of what is shared: with the bias's help alone, shares would be divided by nearly nothing
        z = call.y if self.bias or call.b is None else call.forward(x, w).y
        over, under = z > 0.0, z < 0.0
        above = by_sign(call, more(w, positive), more(w, negative), more(b, positive))
        below = by_sign(call, more(w, negative), more(w, positive), more(b, negative))
        out = spread(call, above, xp.where(over, g[0], 0.0), self.eps)
        return for_data(call, out + spread(call, below, xp.where(under, g[0], 0.0), self.eps))


@dataclass(frozen=True, slots=True)
class Flat:
    """Every input of an output gets the same, whatever it is: for a first layer, to see where rather than what.

    Lapuschkin et al. 2019, doi:10.1038/s41467-019-08987-4: w' = 1, x' = 1.
    """

    eps: float = _EPS

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """The rule for a linear operator."""
        return alike(call, g[0], None if call.w is None else call.xp.ones_like(call.w), None, self.eps)


@dataclass(frozen=True, slots=True)
class WSquare:
    """Inputs get in proportion to squared weights, whatever they are: w' = w^2, x' = 1.

    Montavon et al. 2017, doi:10.1016/j.patcog.2016.11.008, section 4.1: for a first layer with unbounded inputs.

    Args:
        bias: Whether the squared bias takes its part, as in some implementations; not in the paper.
        eps: Stabiliser.
    """

    bias: bool = False
    eps: float = _EPS

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """The rule for a linear operator."""
        weight = None if call.w is None else call.w * call.w
        shift = call.b * call.b if self.bias and call.b is not None else None
        return alike(call, g[0], weight, shift, self.eps)


@dataclass(frozen=True, slots=True)
class ZBox:
    """For a first layer whose inputs lie in a box [low, high]: z = x w - low w+ - high w-.

    Montavon et al. 2017, section 4.2.

    Args:
        low: Smallest input, one number or one per channel, in the units of the model's tensor.
        high: Largest input.
        eps: Stabiliser.
    """

    low: float | tuple[float, ...] = 0.0
    high: float | tuple[float, ...] = 1.0
    eps: float = _EPS

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """The rule for a weighted linear operator."""
        xp, x, w = call.xp, call.x, call.w
        low, high = (self._filled(bound, x, xp) for bound in (self.low, self.high))
        parts = [(x, w), (low, positive(w, xp)), (high, negative(w, xp))]
        calls = [call.forward(*part) for part in parts]
        s = g[0] / stabilised(calls[0].y - calls[1].y - calls[2].y, self.eps, xp)
        pulled = [part[0] * again.back(s) for part, again in zip(parts, calls, strict=True)]
        return for_data(call, pulled[0] - pulled[1] - pulled[2])

    @staticmethod
    def _filled(bound: float | tuple[float, ...], x: Value, xp: Any) -> Value:
        if not isinstance(bound, tuple):
            return xp.full_like(x, bound)
        column = xp.reshape(xp.asarray(list(bound), dtype=x.dtype), [1, len(bound), *[1] * (x.rank - 2)])
        return xp.zeros_like(x) + column


@dataclass(frozen=True, slots=True)
class Gates:
    """Products of two signals: what is let through takes all, the gate nothing; without a gate each takes half.

    A gate is what a sigmoid, softmax, erf or clip makes: squeeze-and-excitation, SiLU, GELU and attention. Arras et al.
    2017, arXiv:1706.07206 (signal-take-all); Ali et al. 2022, arXiv:2202.07304 (attention as a gate); halves as in
    Achtibat et al. 2024, arXiv:2402.05602, eq. 13. A divisor is a gate.

    Args:
        eps: Stabiliser.
        signal_takes_all: Whether gates take nothing; else every factor takes its equal part, and only divisors nothing.
    """

    eps: float = _EPS
    signal_takes_all: bool = True

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """The rule for each active operand."""
        gates = [k == 1 if call.op == "Div" else active and self._gate(call, k) for k, active in enumerate(call.active)]
        signals = [active and not gate for active, gate in zip(call.active, gates, strict=True)]
        takers = signals if any(signals) else list(call.active)
        share = 1.0 / sum(takers)
        pulled = call.vjp(g[0] * share / stabilised(call.y, self.eps, call.xp))
        return [
            call.inputs[k] * v if taker and v is not None else None
            for k, (v, taker) in enumerate(zip(pulled, takers, strict=False))
        ]

    def _gate(self, call: Call, index: int) -> bool:
        return self.signal_takes_all and is_gate(call, index)


def gate_of(call: Call, index: int) -> Call | None:
    """The gating function that an operand comes from, perhaps by way of scaling, shifting or reshaping, if any."""
    maker = call.producer(index)
    for _ in range(5):
        if maker is None or maker.facts.gate:
            return maker
        if maker.kind not in ("scale", "move", "sum") or sum(maker.active) != 1:
            return None
        maker = maker.producer(list(maker.active).index(True))
    return None


def is_gate(call: Call, index: int) -> bool:
    """Whether an operand comes from a gating function."""
    return gate_of(call, index) is not None
