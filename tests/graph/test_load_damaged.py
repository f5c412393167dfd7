"""Damaged and rearranged files: whatever the bytes, loading ends in a model or in one of our errors, soon."""

from __future__ import annotations

import contextlib

import nets
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xplain.core.errors import XplainError
from xplain.graph.intake.inputs import inputs_of
from xplain.graph.intake.load import read
from xplain.graph.outline.layers import layers_of
from xplain.graph.outline.logits import find_scores

WHOLE = {
    name: make().SerializeToString()
    for name, make in {"cnn": nets.cnn, "table": nets.forest, "QDQ": nets.quantised, "bomb": nets.doubling_bomb}.items()
}


def load(content):
    """Everything that is done before a runtime sees the model."""
    with contextlib.suppress(XplainError):
        loaded = read(content)
        inputs_of(loaded)
        layers_of(loaded)
        find_scores(loaded)


@pytest.mark.parametrize("name", WHOLE)
def test_text_that_is_no_text_is_known_to_no_operator(name):
    model = onnx.load_from_string(WHOLE[name])
    for attribute in (one for node in model.graph.node for one in node.attribute):
        if attribute.type == onnx.AttributeProto.STRING:
            attribute.s = b"\x80" + attribute.s
        attribute.strings[:] = [b"\x80" + one for one in attribute.strings]
    load(model.SerializeToString())


@pytest.mark.parametrize("name", WHOLE)
@settings(max_examples=100, deadline=5000)
@given(data=st.data())
def test_changed_bytes(name, data):
    content = bytearray(WHOLE[name])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    load(bytes(content))


@pytest.mark.parametrize("name", WHOLE)
@settings(max_examples=60, deadline=5000)
@given(data=st.data())
def test_pieces_cut_out_and_doubled(name, data):
    content = WHOLE[name]
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 200)))
    times = data.draw(st.integers(0, 3))
    load(content[:start] + content[start:stop] * times + content[stop:])
