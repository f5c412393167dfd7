"""The items of an attack that can be read, as one part; the others are told, and stop none."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from xplain.core.errors import XplainError
from xplain.session.part import Part
from xplain.session.run import Session
from xplain.session.stream import Failed, Stream

__all__ = ["readable"]


def readable(session: Session, given: Any, target: Any, failed: Failed | None) -> tuple[Part, Any]:
    """The items that can be read, and the target of these.

    Args:
        session: Reads them.
        given: What ``xplain.attack`` takes as items.
        target: As it takes it; of a list, which has an entry per item, those of the items that can be read are left.
        failed: Called for each file that cannot be read; None raises the error.

    Raises:
        XplainError: they cannot be read, or do not go together.
    """
    files = isinstance(given, (list, tuple)) and all(isinstance(one, (str, os.PathLike)) for one in given)
    if failed is None or not files or len(given) < 2:
        return session.read(given), target
    lost: dict[int, XplainError] = {}

    def told(place: int, one: Any, error: XplainError) -> None:
        lost[place] = error
        failed(place, one, error)

    parts = [read.part for read in Stream(session, list(given), at_once=len(given), failed=told).parts()]
    if not parts:
        raise lost[min(lost)]
    kept = [place for place in range(len(given)) if place not in lost]
    # several parts do not go together, which reading them together says
    part = session.part(parts[0].model, parts[0].items) if len(parts) == 1 else session.read([given[k] for k in kept])
    if isinstance(target, (list, tuple, np.ndarray)) and len(target) == len(given):
        target = [target[place] for place in kept]
    return part, target
