"""Which preset a model without a card most likely needs, by what its file says; proposed, never taken."""

from __future__ import annotations

from xplain.core.outline import Outline

__all__ = ["likely_card"]

_IMAGENET, _WITH_BACKGROUND = 1000, 1001


def likely_card(outline: Outline) -> tuple[str, str] | None:
    """The name of a preset and why it is likely; None where nothing speaks for one more than for others.

    Wrong preprocessing is silent, so this is for a message that asks: whoever knows the model decides, or
    ``xplain check`` by labelled pictures.
    """
    spec, classes = outline.explained, outline.scores.classes
    producer, author = (str(outline.facts.get(name, "")).lower() for name in ("producer", "author"))
    layout = outline.layout
    if spec is None or layout is None or not layout.is_picture:
        return None
    if spec.dtype == "uint8" and layout.channels in (1, 3):
        return ("raw" if layout.channels == 3 else "raw-grey"), "its input is uint8, as a picture's own numbers are"
    if layout.channels != 3:  # of one channel, 0 to 1 is as likely as 0 to 255
        return None
    if "ultralytics" in author:
        return "ultralytics", "its metadata names Ultralytics as author"
    if "caffe" in producer:
        return "imagenet-caffe", f"it was written by {producer}"
    if classes == _WITH_BACKGROUND:
        return (
            "imagenet-pm1",
            "its 1001 classes are ImageNet's with a background, as in TensorFlow's models",
        )
    if classes == _IMAGENET and "pytorch" in producer:
        return "imagenet", "its 1000 classes and PyTorch's exporter are those of torchvision's models"
    return None
