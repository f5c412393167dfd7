"""How a detector's answers are read: which tensors hold boxes and scores, and what their numbers are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xplain.core.targets.parts import Part

__all__ = ["Boxes"]


@dataclass(frozen=True, slots=True)
class Boxes:
    """How a detector's answers are read: M rows, each a box and its scores.

    Args:
        boxes: ``[M, 4]``.
        scores: ``[M, C]``, the scores of each row's classes; ``[M, 1]`` where a row has one class, see ``kinds``.
        objectness: ``[M]``: that there is anything at all; None where no tensor says.
        kinds: ``[M]``: the class of each row as a number; None where each row has scores of every class.
        format: ``xyxy``, ``xywh`` or ``cxcywh``; empty where nothing says which.
        link: What makes probabilities of the scores: ``softmax``, ``sigmoid``, or ``none`` where they are.
        before: Classes before the first that has a label: a background.
        behind: Classes behind the last: "no object".
        spare: Whether a class that is none may be among them, first or last: what most rows are, at the items.
        why: One sentence on how that is known.
    """

    boxes: Part
    scores: Part
    objectness: Part | None = None
    kinds: Part | None = None
    format: str = ""
    link: Literal["softmax", "sigmoid", "none"] = "none"
    before: int = 0
    behind: int = 0
    spare: bool = False
    why: str = ""

    @property
    def tensors(self) -> tuple[str, ...]:
        """All that is read."""
        parts = (self.boxes, self.scores, self.objectness, self.kinds)
        return tuple(dict.fromkeys(part.tensor for part in parts if part is not None))
