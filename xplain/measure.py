"""Ask the model whether an explanation is true, and what it does over all rows of a table.

    curve = xplain.measure.curve(model, "cat.jpg", attribution, "deletion")
    curve.area, curve.shares, curve.scores

    print(xplain.measure.judge(model, "cat.jpg", attribution))     # several metrics, each beside chance
    print(xplain.measure.agreement([attribution, another]))        # do two methods say the same?
    print(xplain.measure.randomisation(model, "cat.jpg", "lrp"))   # does the map depend on what was learnt?
    print(xplain.measure.conservation(model, "cat.jpg", "lrp"))    # which node kept the relevance
    print(xplain.measure.effect(model, rows, "age"))               # how the score depends on one column
    print(xplain.measure.importance(model, rows, truth))           # what each column is worth to the loss

The work is done in ``xplain.session``: ``measuring``, ``judgements``, ``randomising``, ``effects``.
"""

from xplain.session.measures.effects import Effect, Importance, effect, importance
from xplain.session.measures.judgements import Agreed, agreement, judge
from xplain.session.measures.measuring import Conservation, Curve, conservation, curve, metrics
from xplain.session.measures.randomising import Randomisation, Relearned, randomisation, relearned

__all__ = ["Agreed", "Conservation", "Curve", "Effect", "Importance", "Randomisation", "Relearned", "agreement"]
__all__ += ["conservation", "curve", "effect", "importance", "judge", "metrics", "randomisation", "relearned"]
