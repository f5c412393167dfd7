"""A result finds what shows it by name, and imports nothing of it before it is asked for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from made import attribution

from xplain.core.declaring.registry import renderer
from xplain.core.errors import UnknownName, UsageError
from xplain.results import Curve, Provenance

MAP = np.arange(6).reshape(1, 2, 3)


def test_a_result_is_shown_by_any_renderer_of_its_kind(undeclared):
    @renderer("as-sums")
    def sums(one, *, digits: int = 1):
        """The sum of each map."""
        return [round(float(values.sum()), digits) for values in one.values]

    @renderer("as-area", draws="curve")
    def area(one):
        """The area under each curve."""
        return one.area.tolist()

    one = attribution(MAP + 0.25)
    assert one.render("as-sums") == [16.5]
    assert one.render("as_sums", digits=0) == [16.0]
    curve = Curve(
        kind="deletion", shares=np.zeros(2), scores=np.zeros((1, 2)), area=np.ones(1), provenance=Provenance(method="m")
    )
    assert curve.render("as-area") == [1.0]
    with pytest.raises(UsageError, match="shows results of kind 'attribution'.* 'curve', which as-area can show"):
        curve.render("figure")
    with pytest.raises(UnknownName, match="nearest is 'as-sums'|as-sums"):
        one.render("as-sum")


def test_what_a_result_shows_itself_with_are_renderers():
    one = attribution(MAP, names=("cat.png",))
    assert np.array_equal(np.asarray(one.overlay(size=30)), np.asarray(one.render("figure", size=30)))
    assert one._repr_html_() == one.render("html")
    words = replace(attribution(np.ones((1, 2))), rows=np.ones((1, 2)))
    assert str(words) == repr(words)


def test_no_renderer_is_loaded_with_a_result():
    code = "import sys, xplain.results; print([name for name in sys.modules if 'render' in name or name == 'PIL'])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
