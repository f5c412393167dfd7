"""Options of a door are declared once; an option of another door is refused with the doors that take it."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import get_type_hints

import numpy as np
import pytest
from nets import cnn

import xplain
from xplain.core.errors import UnknownName, UsageError
from xplain.models import options as declared
from xplain.models.endpoint import open_endpoint
from xplain.models.options import EndpointOptions, OnnxOptions, described, summary

KINDS = [getattr(declared, name) for name in declared.__all__ if name.endswith("Options")]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_option_is_described_in_its_class(kind):
    told = described(kind)
    assert set(told) == {field.name for field in fields(kind)}
    assert all(text and not text.startswith("As for") for text in told.values())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"price": 3}, "price: only for functions and endpoints; got ModelProto. The options of an ONNX model: output"),
        ({"graphs": True}, "graphs: only for torch modules"),
        ({"max_cost": 1, "precision": "float16"}, "max_cost: only for endpoints; precision: only for torch modules"),
    ],
)
def test_an_option_of_another_door_is_named_with_it(given, message):
    with pytest.raises(UsageError, match=message):
        xplain.load(cnn(), **given)


def test_an_option_that_no_door_has_names_the_nearest_of_this_one():
    with pytest.raises(UnknownName, match=r"Unknown option of an ONNX model: 'provders'. Did you mean 'providers'\?"):
        xplain.load(cnn(), provders="cpu")
    with pytest.raises(UnknownName, match=r"Unknown option of an ONNX model of texts.*'thread'.*'threads'"):
        xplain.text(cnn(), thread=1)


def test_what_is_left_at_another_doors_default_says_nothing():
    model = xplain.load(cnn(), graphs=False, precision="float32", price=None, version="")
    assert model.outline.kind == "onnx"


def test_a_model_that_is_loaded_takes_no_more_options():
    loaded = xplain.load(lambda rows: np.asarray(rows).sum(1))
    for door in (xplain.load, xplain.table, xplain.text):
        with pytest.raises(UsageError, match="version: of no use to a model that is loaded already"):
            door(loaded, version="2")
    assert xplain.load(loaded) is loaded


def test_doors_take_few_arguments():
    for door in (xplain.load, xplain.table, xplain.text, open_endpoint):
        assert len(inspect.signature(door).parameters) < 8


def test_flags_say_what_the_option_says():
    from xplain.cli.asking.loading import Loading

    hints = get_type_hints(Loading, include_extras=True).values()
    told = {hint.__metadata__[0].help for hint in hints}
    for kind, names in ((OnnxOptions, ("card", "engine", "threads", "layout")), (EndpointOptions, ("max_cost",))):
        assert {summary(kind, name) for name in names} <= told
    assert summary(OnnxOptions, "threads") == "Threads of one run."
