"""The operators into which ONNX Runtime fuses several (com.microsoft) as the standard operators they stand for.

A file that the runtime optimised and saved, or that its transformer optimiser or its quantisers wrote, then has every
rule table: a guided rule finds the ReLU inside ``FusedConv``, LRP and DeepLIFT see the softmax in ``Attention``. The
emitted file is standard again. Operators that stay are those of one machine's memory layout (com.microsoft.nchwc),
which no other machine can run either; those that generate text; and forms that are not known.

| file | operators |
|---|---|
| ``activations`` | Gelu, BiasGelu, FastGelu, QuickGelu, BiasSplitGelu, ScaledSiLU, BiasSoftmax, BiasAdd, GatedAdd |
| ``products`` | FusedConv, FusedGemm, FusedMatMul, TransposeMatMul, FusedMatMulActivation, GemmFastGelu |
| ``products``, channels last | NhwcConv, NhwcFusedConv, NhwcMaxPool |
| ``norms`` | SkipLayerNormalization, SimplifiedLayerNormalization, SkipSimplifiedLayerNormalization |
| ``norms`` | GatedRMSNorm, GroupNorm, SkipGroupNorm |
| ``attention`` | Attention, MultiHeadAttention: every mask, biases, a past, packed tensors |
| ``tokens`` | EmbedLayerNormalization, QEmbedLayerNormalization, RotaryEmbedding |
| ``tokens`` | RelativePositionBias, GatedRelativePositionBias |
| ``integers`` | DynamicQuantizeMatMul, MatMulIntegerToFloat, QAttention |
| ``blocks`` | MatMulNBits and GatherBlockQuantized of 2, 4 and 8 bits, MatMulBnb4 |
| ``renamed`` | CDist, ExpandDims, GatherND, GridSample, Pad, Range, Trilu |
| ``passes.dequantise`` | QLinear operators and QGemm |
| ``passes.recurrent`` | DynamicQuantizeLSTM |
| declined | GroupQueryAttention and all that keep a cache or search; PackedAttention, RemovePadding; QOrdered ones |
| declined | MoE, sparse and linear attention, Inverse; a buffer shared with a past, rotation inside Attention |

Declining means an error that names node, operator and opset, and lists the methods that still work.
"""

from __future__ import annotations

from onnx import NodeProto

from xplain.graph.operators import facts_of
from xplain.graph.passes.fused import activations, attention, blocks, integers, norms, products, renamed, tokens
from xplain.graph.passes.fused.form import Opener

__all__ = ["opener_of", "openers", "outline_of"]

_OPEN: dict[str, Opener] = {
    **activations.OPENERS,
    **attention.OPENERS,
    **blocks.OPENERS,
    **integers.OPENERS,
    **norms.OPENERS,
    **products.OPENERS,
    **renamed.OPENERS,
    **tokens.OPENERS,
}


def opener_of(node: NodeProto, old: bool = False) -> Opener | None:
    """What decomposes a fused node into standard ones; None where the node is standard, or has no known decomposition.

    Args:
        node: The node.
        old: Whether the model could not be raised to the opset of the rules: only decompositions that need no newer
            operators are given then.
    """
    if old and not facts_of(node).ageless:
        return None
    if node.domain == "com.microsoft" or node.op_type == "SimplifiedLayerNormalization":
        return _OPEN.get(node.op_type)
    return None


def outline_of(node: NodeProto) -> Opener | None:
    """A decomposition for shapes alone where there is one, which is cheaper; else that of ``opener_of``."""
    found = opener_of(node)
    return found and blocks.OUTLINES.get(node.op_type, found)


def openers() -> frozenset[str]:
    """All operators that are written as others, by name."""
    return frozenset(_OPEN)
