"""Hiding by hand: an item as it is and without some of its positions, and what the model says of both.

What takes the place of a hidden position is what takes it in a method that hides: 0, in a model's own units, for
pictures, series and bare numbers; nothing for a word; what is typical for a column of a table.
"""

from __future__ import annotations

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.edits import Array, Coalitions
from xplain.core.items import Items
from xplain.core.query import Flow, Model, Reading, Score
from xplain.core.target import every_score
from xplain.engine import Plan
from xplain.engine import plan as plan_flows
from xplain.session.part import Part, look
from xplain.session.run import Session
from xplain.session.wishes import refuse_without_classes

__all__ = ["plan_hidden", "plane_of", "scores_hidden"]


def plane_of(model: Model, items: Items) -> tuple[int, int]:
    """The positions of items: rows and columns of a picture, one row of words, columns or numbers."""
    return look(items).layout_in(model.outline).plane


def scores_hidden(session: Session, part: Part, hidden: Array) -> Array:
    """Scores ``[N, 2, K]`` of the items as they are, and without what is hidden; two evaluations an item.

    Args:
        session: Who asks.
        part: The items.
        hidden: Which positions are hidden, bool of ``plane_of`` the items.

    Raises:
        ModelError: the model has no scores of classes.
        UsageError: it is not known what a hidden column becomes.
    """
    refuse_without_classes(part.model.outline)
    (reading,), _ = session.ask([_asked(part, hidden)], part.model, session.settings(part))
    return np.asarray(reading.values, np.float64)


def plan_hidden(part: Part, hidden: Array) -> Plan:
    """What ``scores_hidden`` costs; raises as it does."""
    refuse_without_classes(part.model.outline)
    return plan_flows([_asked(part, hidden)], part.model, None, None)


def _asked(part: Part, hidden: Array) -> Flow:
    items, codes = part.items, abilities_of(part.model).codes
    fill = np.zeros((1,) * items.x.ndim, np.float32) if codes is None else codes.typical(items.x)[0]
    labels = np.where(hidden, 0, -1).astype(np.int32)
    edits = Coalitions(labels, np.array([[1], [0]], np.uint8), fill)
    layout = look(items).layout_in(part.model.outline)
    return Reading((yield Score(items.x, edits, every_score, layout=layout)))
