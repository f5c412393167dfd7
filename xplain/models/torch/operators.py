"""What is known of torch's functions and operators, by name: the one table that the torch door asks.

Functions come by the names they have in Python (``log_softmax``), operators by those of the dispatcher
(``_log_softmax``), steps of autograd's graph by theirs (``ClampBackward1``). What torch tells itself, such as that an
operator is pointwise, is not repeated here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

__all__ = ["Facts", "facts_at", "facts_of", "known"]


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a function or an operator; what is not stated is not known to be so.

    Args:
        axes: Results have the axes of the arguments, though torch does not tag the operator as pointwise.
        repacks: Every number of the first argument is in the result.
        selects: The result holds some of the numbers of the first argument.
        joins: The result holds the numbers of all arguments.
        computes: A step that scores may go through behind a softmax or a sigmoid, and that can be followed back.
        within: Results lie within the bounds of the first argument.
        link: What turns scores into probabilities.
        negates: A link that takes the negative of its argument.
        level: Whether a link gives probabilities or their logarithms.
        low: No element of the result is below this.
        high: No element of the result is above this.
        reshapes: Gives other extents to the same numbers in the same order.
        resizes: Gives other extents to the positions of a tensor whose axes stay.
        recurrent: Reads steps of time.
        activation: The activation that it is, by its name in ONNX, of which guided rules know the backward pass.
        clamps: An activation only where it is given a lower bound. The dispatcher sees a plain ``where`` backwards, so
            rules take hold of the step in autograd's graph.
        clips_back: The backward pass of an activation that clips or damps; the cotangent is its first argument.
        misreads: Of a batch of one it takes a gradient's strides for others than they are.
    """

    axes: bool = False
    repacks: bool = False
    selects: bool = False
    joins: bool = False
    computes: bool = False
    within: bool = False
    link: Literal["", "softmax", "sigmoid"] = ""
    negates: bool = False
    level: Literal["p", "log p"] = "p"
    low: float = -math.inf
    high: float = math.inf
    reshapes: bool = False
    resizes: bool = False
    recurrent: bool = False
    activation: str = ""
    clamps: bool = False
    clips_back: bool = False
    misreads: bool = False

    @property
    def bounded(self) -> bool:
        """Whether results have bounds of their own on both sides."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def followed(self) -> bool:
        """Whether scores are followed back through it."""
        return bool(self.link) or self.repacks or self.selects or self.joins or self.computes or self.bounded


_FACTS: dict[str, Facts] = {}
_NOTHING = Facts()


def facts_of(name: str) -> Facts:
    """What is known of a function or an operator."""
    return _FACTS.get(name, _NOTHING)


def facts_at(operator: Any) -> Facts:
    """What is known of an operator of the dispatcher, in place or not; nothing of another overload than its first."""
    if operator.namespace != "aten" or operator._overloadname != "default":  # noqa: SLF001 - torch shows it nowhere else
        return _NOTHING
    return facts_of(operator.overloadpacket.__name__.rstrip("_"))


def known() -> frozenset[str]:
    """All names of which something is known."""
    return frozenset(_FACTS)


def _facts(names: str, **stated: Any) -> None:
    for name in names.split():
        _FACTS[name] = replace(_FACTS.get(name, _NOTHING), **stated)


_facts("softmax", link="softmax", low=0.0, high=1.0)
_facts("softmin", link="softmax", negates=True, low=0.0, high=1.0)
_facts("log_softmax", link="softmax", level="log p", high=0.0)
_facts("sigmoid special_expit expit", link="sigmoid", low=0.0, high=1.0)
_facts("logsigmoid log_sigmoid", link="sigmoid", level="log p", high=0.0)
_facts("hardsigmoid", low=0.0, high=1.0)
_facts("relu6", low=0.0, high=6.0)
_facts("tanh", low=-1.0, high=1.0)

_facts("squeeze unsqueeze view reshape flatten unflatten ravel view_as reshape_as", repacks=True, within=True)
_facts("transpose permute t movedim swapaxes contiguous clone detach cpu", repacks=True, within=True)
_facts("to type type_as float double half bfloat16", repacks=True, within=True)
_facts("getitem select narrow slice index_select gather take_along_dim expand", selects=True, within=True)
_facts("chunk split unbind tensor_split", selects=True, within=True)
_facts("cat concat concatenate stack hstack vstack column_stack", joins=True)
_facts("mul div true_divide rdiv add sub rsub neg reciprocal exp log sum logsumexp tanh", computes=True)
_facts("clamp clip clamp_min clamp_max", computes=True)
_facts("mean amax max topk sort", computes=True, within=True)

_facts("reshape view unflatten flatten", reshapes=True)
_facts("pad interpolate", resizes=True)
_facts("lstm gru rnn_tanh rnn_relu", recurrent=True)

_facts("clone _to_copy alias detach lift_fresh contiguous copy fill zero masked_fill index_fill where", axes=True)
_facts("native_dropout dropout threshold hardswish mish log_sigmoid_forward", axes=True)
_facts("_prelu_kernel prelu rrelu_with_noise", axes=True)
_facts("native_layer_norm layer_norm native_group_norm group_norm _fused_rms_norm rms_norm", axes=True)
_facts("_native_batch_norm_legit instance_norm local_response_norm renorm", axes=True)
_facts("_softmax _log_softmax _safe_softmax softmax log_softmax cumsum scatter triu tril", axes=True)
_facts("channel_shuffle native_channel_shuffle", axes=True)
_facts("_transformer_encoder_layer_fwd _native_multi_head_attention", axes=True)

_facts("relu", activation="Relu")
_facts("threshold", activation="ThresholdedRelu")
_facts("hardtanh", activation="Clip")
_facts("leaky_relu rrelu_with_noise", activation="LeakyRelu")
_facts("elu", activation="Elu")
_facts("celu", activation="Celu")
_facts("_prelu_kernel prelu", activation="PRelu")  # the first is what nn.PReLU dispatches to
_facts("clamp clamp_min clip", activation="Clip", clamps=True)
_facts("relu6", activation="Clip")
_facts("rrelu", activation="LeakyRelu")
_facts("ClampBackward1 ClampMinBackward0", clamps=True)
_facts("threshold_backward hardtanh_backward leaky_relu_backward elu_backward", clips_back=True)
_facts("_prelu_kernel_backward rrelu_with_noise_backward", clips_back=True)
_facts("native_batch_norm_backward batch_norm_backward", misreads=True)
