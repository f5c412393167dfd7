"""Ask the model whether an explanation is true, and what it does over all rows of a table.

    curve = xplain.measure.curve(model, "cat.jpg", attribution, "deletion")
    curve.area, curve.shares, curve.scores

    print(xplain.measure.conservation(model, "cat.jpg", "lrp"))    # which node kept the relevance
    print(xplain.measure.effect(model, rows, "age"))               # how the score depends on one column
    print(xplain.measure.importance(model, rows, truth))           # what each column is worth to the loss

The work is done in ``xplain.session.measuring`` and ``xplain.session.effects``.
"""

from xplain.session.effects import Effect, Importance, effect, importance
from xplain.session.measuring import Conservation, Curve, conservation, curve, metrics

__all__ = ["Conservation", "Curve", "Effect", "Importance", "conservation", "curve", "effect", "importance", "metrics"]
