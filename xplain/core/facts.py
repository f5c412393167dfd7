"""What is known of an operator besides its backward rule: the one place for such facts.

Passes and rules ask what an operator does, not what it is called: ``facts_of(node).elementwise`` in the graph room,
``Where(fact="rectifier")`` in a table of rules. The facts stand beside the operator's backward rule in
``xplain.graph.ops``, so an operator that is added there is known everywhere at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Across", "Axes", "Fact", "Facts", "Linear", "Link"]

Across: TypeAlias = Literal["", "axes", "axis", "input"]
Axes: TypeAlias = Literal["", "same", "last", "channels", "moved"]
Linear: TypeAlias = Literal["", "first", "all", "either"]
Link: TypeAlias = Literal["", "softmax", "sigmoid"]
Fact: TypeAlias = Literal["", "rectifier", "gate", "composite"]
"""Facts that a rule may ask for by name."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about an operator type; what is not stated is not known to be so.

    Args:
        elementwise: Each element of the output depends on the elements at its own place alone; inputs broadcast as in
            numpy.
        axes: Where the axes of the first input (of every input of an element-wise operator, or a Concat) are in the
            output: ``same`` places, extents may change; ``last``: the same, but the last axis is mixed and may become
            another; ``channels``: the same, and axis 1 is the channels; ``moved``: elsewhere, split or joined; empty
            where that is not known. An operator that may drop axes keeps them where the rank is the same.
        repacks: The output holds the numbers of the first input, each once and in the same order.
        rounds: The output holds the numbers of the first input in another type.
        steps: The first of the inputs, and one behind the last (None: all), whose elements the output holds or chooses
            from, so that integers stand for the same real numbers before and after; None for operators that compute.
        linear: An affine function of the ``first`` input while the others are constant, of ``all`` at once, or of
            ``either`` of the first two while the other is constant.
        adds: A sum, with weights of its own that are never negative, of elements of its first input, or of all inputs
            where it is element-wise.
        weighted: Multiplies by learned weights.
        learnt: Inputs that are what a layer has learnt, its weights and biases, where they are constants.
        rises: An increasing function of its first input, element by element, wherever it is not flat.
        low: No element of the output is below this.
        high: No element of the output is above this.
        homogeneous: Twice the input is twice the output, also where it is not linear.
        partial: Not defined, or not finite, for every real number.
        rectifier: An activation that clips, or damps, what is below a bound.
        gate: Makes the factor of a product that says how much of the other is let through.
        composite: Defined by simpler operators, for which rules are exact where none for the whole is.
        link: What turns scores into probabilities.
        classifier: A model of its own (trees, support vectors, a linear one) with classes and their scores.
        random: Draws random numbers.
        control: Holds graphs of its own.
        flat: Its derivative is zero almost everywhere, or it does not compute with its input's values.
        recurrent: Reads steps of time: ``[time, batch, features]``, or ``[batch, time, features]`` where its attribute
            ``layout`` is 1.
        across: What says along which axes it puts elements together: its setting ``axes`` (all, where it is not set),
            its attribute ``axis``, or its second ``input``; empty for those that do not, or along axes of their own.
        batch: What it writes for one item depends on the other items of the batch.
        integer: Computes with quantised integers, or writes them.
        scale: Which input is the scale of the integers that it writes; the zero point follows it. None for others.
        whole: Reads integers as the whole numbers that they are, also where they stand for real ones.
        ageless: Stands for others, and these are written in one form in every opset.
        free: Costs next to nothing: runtimes fuse it with what comes before, or only rename.
        grows: How much it makes follows from values that it reads or is given, not from the extents of its inputs.
        last: Reads and writes channels on the last axis.
        placed: Adds up, or computes, in an order or by instructions that follow where in memory a row begins, so that
            the last bits of a row follow its place in a batch unless rows fill whole vectors (measured: onnxruntime).
        like: The standard operator that it computes, on integers, in another layout or fused with what follows it.
    """

    elementwise: bool = False
    axes: Axes = ""
    repacks: bool = False
    rounds: bool = False
    steps: tuple[int, int | None] | None = None
    linear: Linear = ""
    adds: bool = False
    weighted: bool = False
    learnt: tuple[int, ...] = ()
    rises: bool = False
    low: float = -math.inf
    high: float = math.inf
    homogeneous: bool = False
    partial: bool = False
    rectifier: bool = False
    gate: bool = False
    composite: bool = False
    link: Link = ""
    classifier: bool = False
    random: bool = False
    control: bool = False
    flat: bool = False
    recurrent: bool = False
    across: Across = ""
    batch: bool = False
    integer: bool = False
    scale: int | None = None
    whole: bool = False
    ageless: bool = False
    free: bool = False
    grows: bool = False
    last: bool = False
    placed: bool = False
    like: str = ""

    @property
    def keeps_axes(self) -> bool:
        """Whether every axis of the first input has its place in the output, as long as the rank is the same."""
        return self.axes in ("same", "last", "channels")
