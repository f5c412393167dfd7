"""Raise a model to an opset for which every rule is written."""

from __future__ import annotations

from onnx import ModelProto, version_converter

from xplain.graph.tracer import opset_of

__all__ = ["TARGET", "raise_opset"]

TARGET = 18
"""Reductions take their axes as an input from here on, and scatters can add; widely read by runtimes and browsers."""

_IR = 8


def raise_opset(model: ModelProto, notes: list[str]) -> ModelProto:
    """The model at opset 18 or its own newer one; where the converter fails, the model as it is, and a note says so."""
    # first, because IR 3 wants initializers among the inputs, which breaks the converter
    model.ir_version = max(model.ir_version, _IR)
    have = opset_of(model)
    if have >= TARGET:
        return model
    try:
        raised = version_converter.convert_version(model, TARGET)
    except Exception as error:  # the converter raises RuntimeError and bare C++ errors alike
        reason = str(error).strip().splitlines()
        notes.append(
            f"The model stays at opset {have}: it could not be converted to {TARGET} "
            f"({(reason or [type(error).__name__])[-1][:200]})."
        )
        return model
    raised.ir_version = max(raised.ir_version, _IR)
    names = {tensor.name for tensor in raised.graph.initializer}
    keep = [v for v in raised.graph.input if v.name not in names]
    del raised.graph.input[:]
    raised.graph.input.extend(keep)
    return raised
