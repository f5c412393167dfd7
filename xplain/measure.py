"""Ask the model whether an explanation is true.

    curve = xplain.measure.curve(model, "cat.jpg", attribution, "deletion")
    curve.area, curve.shares, curve.scores

    print(xplain.measure.conservation(model, "cat.jpg", "lrp"))    # which node kept the relevance

The work is done in ``xplain.session.measuring``.
"""

from xplain.session.measuring import Conservation, Curve, conservation, curve, metrics

__all__ = ["Conservation", "Curve", "conservation", "curve", "metrics"]
