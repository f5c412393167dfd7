"""Plugins: found by their metadata, imported when used, held to the contract, blamed by name."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

import xplain
from xplain import plugins
from xplain.core.declaring import catalogue
from xplain.core.errors import ModelError, UnknownName, UsageError
from xplain.testing import check_method, linear

from .contract.conftest import small_network

SOURCE = Path(__file__).parents[1] / "plugins" / "xplain-xgrad-cam"


@pytest.fixture
def site(tmp_path, monkeypatch, undeclared):
    """Installs distributions into a folder on the path, and forgets them afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(distribution: str, entry: str, module: str = "", code: str = "", group: str = plugins.GROUP) -> None:
        info = tmp_path / f"{distribution.replace('-', '_')}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{entry}\n")
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
    plugins.load("another")
    assert "xplain_xgrad_cam" not in sys.modules
    plugins.load("xgrad_cam")
    assert "xplain_xgrad_cam" in sys.modules
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


TABLE = '''
from xplain.plugins import Fraction, Rules, Where, table

class Share:
    """Passes on a share of what the operator's own VJP gives."""

    def __init__(self, share):
        self.share = share

    def __call__(self, call, g):
        return [None if v is None else v * self.share for v in call.vjp(*g)]

@table("damped", method="lrp")
def damped(*, share: Fraction = 0.5, low: float | None = None):
    """Every weighted layer passes on a share of the gradient.

    Args:
        share: The share.
        low: Never used.
    """
    return Rules("damped", meaning="relevance").on(Where(weighted=True), Share(share))

@table("half-guided", method="guided-backprop")
def half_guided():
    """Another name for what guided backpropagation does."""
    return Rules("half-guided").on(Where(fact="rectifier"), Share(1.0)).said("guided")
'''


def test_a_rule_table_of_a_plugin_is_offered_wherever_tables_are(site):
    entries = "damped = table_plugin:damped\nhalf-guided = table_plugin:half_guided"
    site("table-plugin", entries, "table_plugin", TABLE, group="xplain.tables")
    x = np.random.default_rng(0).normal(size=(2, 2, 12, 12)).astype(np.float32)
    model = small_network()  # of three weighted layers
    plain = xplain.explain(model, x, "saliency", target=0, signed=True, channels=True)
    for rule, share in (("damped", 0.5), ("damped:0.25", 0.25), ("Damped:share=0.25", 0.25)):
        found = xplain.explain(model, x, "lrp", target=0, rule=rule, channels=True)
        scores = np.reshape(found.scores, (2, 1, 1, 1))  # relevance starts with the score
        np.testing.assert_allclose(found.values, share**3 * scores * plain.values, rtol=1e-4, atol=1e-7)
        assert found.options["rule"].startswith("damped")
    lrp = next(one for one in xplain.methods() if one.name == "lrp")
    assert "damped" in lrp.options["rule"].kind.accepts
    with pytest.raises(UsageError, match="alpha is 3.0, but rule 'damped' does not use it. Rules that do: alpha-beta"):
        xplain.explain(model, x, "lrp", rule="damped", alpha=3.0)
    with pytest.raises(UsageError, match=r"option 'share' is '2'; accepted: a number in \(0, 1\)"):
        xplain.explain(model, x, "lrp", rule="damped:2")
    with pytest.raises(UsageError, match="Unknown rule 'dampd'. Did you mean 'damped'"):
        xplain.explain(model, x, "lrp", rule="dampd")


def test_a_torch_module_follows_a_table_by_what_it_declares(site):
    torch = pytest.importorskip("torch")
    from xplain.core.declaring.registry import TABLES
    from xplain.core.query import Sweep
    from xplain.rules.guided import GUIDED

    site("table-plugin", "half-guided = table_plugin:half_guided", "table_plugin", TABLE, group="xplain.tables")
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    x = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    model = xplain.load(net)
    asked = [
        model.answer(Sweep(x[:, None], xplain.label(1), rules))
        for rules in (TABLES.find("half-guided").rules(), GUIDED)
    ]
    np.testing.assert_array_equal(asked[0]["input"][1], asked[1]["input"][1])


def test_features_of_a_plugin_are_named_in_the_option(site):
    code = '''
import numpy as np
from xplain.plugins import Partition, Positive, features

@features("stripes")
def stripes(view, *, width: Positive = 4):
    """Vertical stripes.

    Args:
        width: Columns per stripe.
    """
    height, length = view.layout.map_shape
    return Partition(np.broadcast_to(np.arange(length) // width, (height, length)).astype(np.int32))
'''
    site("stripes-plugin", "stripes = stripes_plugin:stripes", "stripes_plugin", code, group="xplain.features")
    x = np.random.default_rng(0).normal(size=(1, 2, 12, 12)).astype(np.float32)
    found = xplain.explain(small_network(), x, "occlusion", target=0, features="stripes:6").values[0]
    assert (found == found[:1]).all()
    assert len(np.unique(found[0])) == 2


def test_a_metric_of_a_plugin_is_measured_like_deletion(site):
    code = '''
import numpy as np
from xplain.plugins import Full, Positive, Reading, Score, metric

@metric("fade", better="small", asks=True)
def fade(view, values, fill, *, steps: Positive = 2):
    """How the score falls while everything fades alike, whatever the explanation says.

    Args:
        steps: Intervals.
    """
    shares = np.linspace(0, 1, steps + 1)
    masks = np.broadcast_to((1 - shares)[:, None, None], (steps + 1, *view.layout.plane)).astype(np.float32)
    scores = np.asarray((yield Score(view.x, Full(np.ascontiguousarray(masks), fill), view.target)))
    areas = (scores[:, 1:] + scores[:, :-1]) @ np.diff(shares) / 2
    return Reading(areas, notes={"shares": shares}, each={"scores": scores})
'''
    site("fade-plugin", "fade = fade_plugin:fade", "fade_plugin", code, group="xplain.metrics")
    x = np.random.default_rng(0).normal(size=(2, 2, 12, 12)).astype(np.float32)
    model = linear(np.ones(288))
    shown = xplain.explain(model, x, "occlusion", layout="NCHW")
    found = xplain.measure.curve(model, x, shown, "fade", steps=4, target=xplain.label(0), layout="NCHW")
    total = x.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(found.scores, total[:, None] * [1, 0.75, 0.5, 0.25, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.area, total / 2, rtol=1e-4)
    assert "fade" in [one.name for one in xplain.measure.metrics()]


def test_a_renderer_of_a_plugin_shows_results(site):
    code = '''
from xplain.plugins import renderer

@renderer("as-lines")
def lines(attribution, *, digits: int = 2):
    """A line per item: its name and the sum of its values.

    Args:
        digits: Decimals.
    """
    names = [attribution.name_of(k) for k in range(len(attribution))]
    return [f"{name} {one.values.sum():.{digits}f}" for name, one in zip(names, attribution)]
'''
    site("lines-plugin", "as-lines = lines_plugin:lines", "lines_plugin", code, group="xplain.renderers")
    x = np.ones((2, 3), np.float32)
    found = xplain.explain(linear(np.array([1.0, 2.0, 3.0])), x, "occlusion", patch=1, stride=1)
    assert found.render("as-lines", digits=1) == ["0 6.0", "1 6.0"]
    with pytest.raises(UnknownName, match="as-lines"):
        found.render("as-line")
