"""Which of a model's classes the labels of data are."""

from __future__ import annotations

from collections.abc import Mapping

from xplain.core.errors import UsageError
from xplain.core.outline import Outline

__all__ = ["known_classes"]


def known_classes(
    outline: Outline, labels: Mapping[str, int], classes: int = 0
) -> tuple[dict[str, int], dict[str, int]]:
    """Which class each label is, as the model names its classes, and the labels that it does not know.

    Args:
        outline: What is known of the model.
        labels: Label to the number of items that have it.
        classes: How many there are, where the outline does not say.

    Returns:
        Label to class, and unknown label to number of items.
    """
    known: dict[str, int] = {}
    classes = classes or outline.scores.classes or 0
    for label in labels:
        if classes and not label.startswith("-"):  # -1 is no class of data, though it is the last in Python
            try:
                known[label] = outline.label_index(label, classes)
            except UsageError:
                continue
    return known, {label: count for label, count in labels.items() if label not in known}
