"""Plugins: found by their metadata, imported when used, held to the contract, blamed by name."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

import xplain
from xplain import plugins
from xplain.core import catalogue
from xplain.core.errors import ModelError, UnknownName, UsageError
from xplain.testing import check_method

from .contract.conftest import small_network

SOURCE = Path(__file__).parents[1] / "plugins" / "xplain-xgrad-cam"


@pytest.fixture
def site(tmp_path, monkeypatch, undeclared):
    """Installs distributions into a folder on the path, and forgets them afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(distribution: str, entry: str, module: str = "", code: str = "") -> None:
        info = tmp_path / f"{distribution.replace('-', '_')}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{entry}\n")
        if module:
            (tmp_path / f"{module}.py").write_text(code)
            monkeypatch.delitem(sys.modules, module, raising=False)

    return install


@pytest.fixture
def xgrad_cam(site):
    code = (SOURCE / "xplain_xgrad_cam.py").read_text()
    entry = next(line for line in (SOURCE / "pyproject.toml").read_text().splitlines() if line.startswith("xgrad-cam"))
    site("xplain-xgrad-cam", entry.replace('"', ""), "xplain_xgrad_cam", code)


def test_the_shipped_plugin_keeps_the_contract_and_its_formula(xgrad_cam):
    assert "xplain_xgrad_cam" not in sys.modules
    assert "xgrad-cam" in plugins.installed()
    assert "xplain_xgrad_cam" not in sys.modules  # listing imports nothing
    x = np.random.default_rng(0).normal(size=(3, 2, 12, 12)).astype(np.float32)
    model = small_network()
    found = check_method("xgrad-cam", model, x)
    assert found.values.min() >= 0
    signed = xplain.explain(model, x, "xgrad_cam", target=0, signed=True)
    hires = xplain.explain(model, x, "hires-cam", target=0, signed=True)
    # the layer has the picture's size, so nothing is enlarged and both maps sum to the sum of g * A
    np.testing.assert_allclose(signed.values.sum(axis=(1, 2)), hires.values.sum(axis=(1, 2)), rtol=1e-4, atol=1e-6)
    assert "xgrad-cam" in [m.name for m in xplain.methods()]


def test_a_plugin_that_fails_is_named_with_the_cause(site):
    site("broken-plugin", "broken = broken_plugin:f", "broken_plugin", "import does_not_exist")
    with pytest.raises(ModelError, match=r"'broken' of broken-plugin 0\.1\.0 cannot be imported: ModuleNotFoundError"):
        xplain.explain(small_network(), np.zeros((1, 2, 12, 12), np.float32), "broken")


def test_a_plugin_must_declare_what_it_offers(site):
    site("empty-plugin", "empty = empty_plugin:f", "empty_plugin", "def f(): ...")
    with pytest.raises(UsageError, match=r"empty-plugin 0\.1\.0 offers a method 'empty', but declares none"):
        xplain.methods()


def test_two_owners_of_a_name_are_both_named(site):
    site("first-plugin", "twin = first_plugin:f")
    site("second-plugin", "twin = second_plugin:f")
    with pytest.raises(UsageError, match=r"'twin' is offered by \S+-plugin 0\.1\.0 and by \S+-plugin 0\.1\.0"):
        plugins.installed()


def test_distributions_are_read_once_until_one_comes_or_goes(site, monkeypatch):
    calls = []
    monkeypatch.setattr(catalogue, "entry_points", lambda: calls.append(1) or entry_points())
    site("first-plugin", "first = first_plugin:f")
    for _ in range(3):
        assert "first" in plugins.installed()
    assert len(calls) == 1
    site("second-plugin", "second = second_plugin:f")
    assert {"first", "second"} <= set(plugins.installed())
    assert len(calls) == 2


def test_the_contract_is_really_checked():
    x = np.zeros((2, 2, 12, 12), np.float32)
    with pytest.raises(AssertionError, match="a method is called 'nothing'"):
        check_method("nothing", small_network(), x)
    with pytest.raises(UnknownName, match="Unknown method"):
        xplain.explain(small_network(), x, "nothing")
