"""The tables of LRP: one rule for all weighted layers, or one each for dense, convolutional and first layers.

    TABLES.read("gamma:gamma=0.5")          # as the option ``rule`` of the method ``lrp`` does

A composite uses epsilon for dense layers, a second rule for convolutions and a third for the first layer (Montavon et
al. 2019, section 10.2; named as in zennit).
"""

from __future__ import annotations

from typing import TypeAlias

from xplain.core.declaring.options import AtLeastOne, Bounds, NonNegative, PositiveReal
from xplain.core.declaring.registry import Paper, table
from xplain.core.errors import UsageError
from xplain.core.rules import Rule, Rules, Where
from xplain.rules.lrp import AlphaBeta, Epsilon, Flat, Gamma, Gates, Sums, Through, WSquare, ZBox
from xplain.rules.shares import CONVOLUTIONS

__all__ = ["alpha_beta", "epsilon", "epsilon_alpha2_beta1_flat", "epsilon_gamma_box", "epsilon_plus_flat", "flat"]
__all__ += ["gamma", "relevance", "w_square", "z_box", "z_plus"]

_EPSILON = 1e-6
_BACH = Paper("Bach 2015", "doi:10.1371/journal.pone.0130140")
_MONTAVON = Paper("Montavon 2019", "doi:10.1007/978-3-030-28954-6_10")
_TAYLOR = Paper("Montavon 2017", "doi:10.1016/j.patcog.2016.11.008")

_Bound: TypeAlias = Bounds | None


def relevance(name: str, linear: Rule, bias: bool = True) -> Rules:
    """A table of relevance that uses one rule for all weighted operators; what every table here is built on.

    Elsewhere relevance goes on unchanged (activations, normalisations), in proportion (sums), or to what a gate lets
    through (products).

    Args:
        name: What a person reads.
        linear: The rule of weighted operators.
        bias: Whether biases that are added take their share.
    """
    made = Rules(name, meaning="relevance", fold_norms=True)
    made = made.on(Where(kinds=("slope", "scale", "joint")), Through())
    made = made.on(Where(kinds=("sum",)), Sums(bias)).on(Where(kinds=("product",)), Gates())
    return made.on(Where(kinds=("linear",)), Epsilon()).on(Where(kinds=("linear",), weighted=True), linear)


def _composite(name: str, dense: float, convolutions: Rule, first: Rule, bias: bool) -> Rules:
    """Epsilon for dense layers, another rule for convolutions, a third for the first layer."""
    made = relevance(name, Epsilon(dense, bias), bias)
    made = made.on(Where(ops=CONVOLUTIONS, kinds=("linear",)), convolutions)
    return made.on(Where(kinds=("linear",), place="first"), first)


def _box(low: float | tuple[float, ...] | None, high: float | tuple[float, ...] | None) -> ZBox:
    if low is None or high is None:
        raise UsageError("A box rule needs low and high, the least and largest value that an input can have.")
    return ZBox(low, high)


@table("epsilon", method="lrp", paper=_BACH)
def epsilon(*, epsilon: PositiveReal = _EPSILON, bias: bool = True) -> Rules:
    """Shares go by ``x w``, the stabiliser absorbs what is weak: ``R_in = x w^T (R / (z + epsilon sign z))``.

    Args:
        epsilon: Stabiliser, in units of the layer's output.
        bias: Whether biases take their share.
    """
    return relevance("lrp-epsilon", Epsilon(epsilon, bias), bias)


@table("z-plus", method="lrp", paper=_TAYLOR, aliases=("zplus",))
def z_plus(*, bias: bool = True) -> Rules:
    """Only what argues for an output gets relevance: shares go by the positive parts of ``x w``.

    Args:
        bias: Whether biases take their share.
    """
    return relevance("lrp-zplus", AlphaBeta(1.0, 0.0, bias), bias)


@table("alpha-beta", method="lrp", paper=_BACH)
def alpha_beta(*, alpha: AtLeastOne = 2.0, bias: bool = True) -> Rules:
    """What argues for and what argues against share apart: alpha times the first less beta times the second.

    Args:
        alpha: Weight of what argues for; beta is alpha - 1, so that relevance is kept.
        bias: Whether biases take their share.
    """
    return relevance("lrp-alpha-beta", AlphaBeta(alpha, alpha - 1, bias), bias)


@table("gamma", method="lrp", paper=_MONTAVON)
def gamma(*, gamma: NonNegative = 0.25, bias: bool = True) -> Rules:
    """Shares go by ``x (w + gamma max(w, 0))``: what argues for counts more.

    Args:
        gamma: Weight of positive weights.
        bias: Whether biases take their share.
    """
    return relevance("lrp-gamma", Gamma(gamma, bias), bias)


@table("flat", method="lrp", paper=_MONTAVON)
def flat(*, bias: bool = True) -> Rules:
    """Everything that an output is computed from gets the same share, whatever its value and weight.

    Args:
        bias: Whether biases that are added take their share.
    """
    return relevance("lrp-flat", Flat(), bias)


@table("w-square", method="lrp", paper=_MONTAVON)
def w_square(*, bias: bool = True) -> Rules:
    """Shares go by the squares of the weights, whatever the values.

    Args:
        bias: Whether biases that are added take their share.
    """
    return relevance("lrp-w-square", WSquare(), bias)


@table("z-box", method="lrp", paper=_TAYLOR)
def z_box(*, low: _Bound = None, high: _Bound = None, bias: bool = True) -> Rules:
    """Deep Taylor decomposition: z-plus, and for the first layer shares by how far values lie inside their box.

    Args:
        low: Least value that an input can have.
        high: Largest value that an input can have.
        bias: Whether biases take their share.
    """
    made = relevance("lrp-z-box", AlphaBeta(1.0, 0.0, bias), bias)
    return made.on(Where(kinds=("linear",), place="first"), _box(low, high))


@table("epsilon-plus-flat", method="lrp", paper=_MONTAVON)
def epsilon_plus_flat(*, epsilon: PositiveReal = _EPSILON, bias: bool = True) -> Rules:
    """Epsilon for dense layers, z-plus for convolutions, flat for the first layer; the usual choice for pictures.

    Args:
        epsilon: Stabiliser of the epsilon rule.
        bias: Whether biases take their share.
    """
    return _composite("lrp-epsilon-plus-flat", epsilon, AlphaBeta(1.0, 0.0, bias), Flat(), bias)


@table("epsilon-alpha2-beta1-flat", method="lrp", paper=_MONTAVON)
def epsilon_alpha2_beta1_flat(*, epsilon: PositiveReal = _EPSILON, bias: bool = True) -> Rules:
    """Epsilon for dense layers, alpha 2 beta 1 for convolutions, flat for the first layer.

    Args:
        epsilon: Stabiliser of the epsilon rule.
        bias: Whether biases take their share.
    """
    return _composite("lrp-epsilon-alpha2-beta1-flat", epsilon, AlphaBeta(2.0, 1.0, bias), Flat(), bias)


@table("epsilon-gamma-box", method="lrp", paper=_MONTAVON)
def epsilon_gamma_box(
    *,
    low: _Bound = None,
    high: _Bound = None,
    epsilon: PositiveReal = _EPSILON,
    gamma: NonNegative = 0.25,
    bias: bool = True,
) -> Rules:
    """Epsilon for dense layers, gamma for convolutions, the box rule for the first layer.

    Args:
        low: Least value that an input can have.
        high: Largest value that an input can have.
        epsilon: Stabiliser of the epsilon rule.
        gamma: Weight of positive weights in the gamma rule.
        bias: Whether biases take their share.
    """
    return _composite("lrp-epsilon-gamma-box", epsilon, Gamma(gamma, bias), _box(low, high), bias)
