"""What can be explained of a model: any number that follows from its outputs, its layers and its input, as data."""

from xplain.core.target import Target, channel, inner, label, neuron
from xplain.core.targets.class_wishes import Above, Finer, Margin
from xplain.core.targets.detections import Box
from xplain.core.targets.output_wishes import Anomaly, Horizon, Point, Region, Similar, Words
from xplain.core.targets.writing import (
    Read,
    distance,
    exp,
    input,  # noqa: A004 - what it is
    iou,
    log,
    logit,
    output,
    sigmoid,
    similarity,
    softmax,
)

__all__ = ["Read", "Target", "channel", "distance", "exp", "inner", "input", "iou", "label", "log", "logit", "neuron"]
__all__ += ["Above", "Anomaly", "Box", "Finer", "Horizon", "Margin", "Point", "Region", "Similar", "Words"]
__all__ += ["output", "sigmoid", "similarity", "softmax"]
