"""Raise a model to an opset for which every rule is written."""

from __future__ import annotations

from onnx import ModelProto, NodeProto, defs, helper, version_converter

from xplain.graph.tracer import opset_of

__all__ = ["TARGET", "raise_opset"]

TARGET = 18
"""Reductions take their axes as an input from here on, and scatters can add; widely read by runtimes and browsers."""

_IR = 8

_APART = "xplain.apart"
"""The domain of operators that are not converted, while the others are."""


def raise_opset(model: ModelProto, notes: list[str]) -> ModelProto:
    """The model at opset 18 or its own newer one; where the converter fails, the model as it is, and a note says so."""
    # first, because IR 3 wants initializers among the inputs, which breaks the converter
    model.ir_version = max(model.ir_version, _IR)
    have = opset_of(model)
    if have >= TARGET:
        return model
    early = ModelProto()
    early.CopyFrom(model)
    strange = _strange(early, have)
    for node in strange:
        node.domain = _APART
    if strange:
        early.opset_import.append(helper.make_opsetid(_APART, 1))
    try:
        raised = version_converter.convert_version(early, TARGET)
    except Exception as error:  # the converter raises RuntimeError and bare C++ errors alike
        reason = str(error).strip().splitlines()
        notes.append(
            f"The model stays at opset {have}: it could not be converted to {TARGET} "
            f"({(reason or [type(error).__name__])[-1][:200]})."
        )
        return model
    raised.ir_version = max(raised.ir_version, _IR)
    for node in raised.graph.node:
        node.domain = "" if node.domain == _APART else node.domain
    kept = [entry for entry in raised.opset_import if entry.domain != _APART]
    del raised.opset_import[:]
    raised.opset_import.extend(kept)
    names = {tensor.name for tensor in raised.graph.initializer}
    keep = [v for v in raised.graph.input if v.name not in names]
    del raised.graph.input[:]
    raised.graph.input.extend(keep)
    return raised


def _strange(model: ModelProto, opset: int) -> list[NodeProto]:
    """Nodes of the standard domain that its opset does not have yet, or that onnxruntime puts there at any opset.

    The converter gives up at them: files that the runtime saved have LayerNormalization at opset 14. They mean the same
    at the newer one.
    """
    return [
        node
        for node in model.graph.node
        if node.domain in ("", "ai.onnx")
        and not defs.has(node.op_type, opset, "")
        and (defs.has(node.op_type, TARGET, "") or node.op_type == "SimplifiedLayerNormalization")
    ]
