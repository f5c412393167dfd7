"""The recipes that CONTRIBUTING leads to work as they are printed: each is run, found by name, held to its contract."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from contract import test_attacks, test_contract, test_lenses, test_other_kinds
from contract.conftest import ITEM, small_network
from graph.finite import Case, check
from typer.testing import CliRunner

import xplain
from xplain import cli
from xplain.core.declaring.registry import ATTACKS, CATALOGUES, FEATURES, LENSES, METHODS, METRICS, TABLES
from xplain.core.declaring.wording import in_shell
from xplain.core.query import Peek
from xplain.graph import operators
from xplain.graph.ops import elementwise
from xplain.results import Provenance
from xplain.results.join import joined
from xplain.testing import linear

from .blocks import blocks_of

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGES = sorted((ROOT / "docs" / "how-to").glob("extend-*.md"))
HERE = f"run: {Path(__file__).relative_to(ROOT).as_posix()}"
RECIPES = {
    found[1]: block.text.removeprefix(found[0])
    for page in PAGES
    for block in blocks_of(page)
    if block.note == HERE and (found := re.match(r"# (\S+\.py)\n", block.text))
}


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, *ITEM)).astype(np.float32)


@pytest.fixture
def tried(undeclared: None) -> Any:
    """Runs the recipe of a file as that file."""

    def run(path: str, **known: Any) -> dict[str, Any]:
        names = {"__name__": path.removesuffix(".py").replace("/", "."), **known}
        exec(compile(RECIPES[path], path, "exec"), names)
        return names

    return run


def test_contributing_is_a_page_and_leads_to_a_recipe_for_everything_that_is_registered():
    assert len(TEXT.splitlines()) <= 66, "one page; what is longer goes to docs/how-to/extend-*.md"
    links = re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", TEXT)
    for page, place in links:
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert not place or place in [heading.lower().replace(" ", "-") for heading in headings], f"{page}#{place}"
    for page in PAGES:
        for heading in re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert (f"docs/how-to/{page.name}", heading.lower().replace(" ", "-")) in links
    said = {place.removeprefix("a-").removeprefix("an-").replace("-", " ") for _, place in links}
    assert {catalogue.word for catalogue in CATALOGUES} <= said
    named = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {catalogue.group for catalogue in CATALOGUES} <= set(re.findall(r"xplain\.\w+", named))


@pytest.mark.parametrize("path", [path for path in RECIPES if path.startswith("xplain/explainers/")])
@pytest.mark.parametrize(
    "promise", [one for name, one in vars(test_contract).items() if name.startswith("test_")], ids=lambda f: f.__name__
)
def test_a_method_keeps_every_promise_of_the_contract(path, promise, tried, x):
    tried(path)
    name = Path(path).stem.replace("_", "-")
    if name not in [one.name for one in METHODS]:
        return  # features, which have a test of their own
    given = {"entry": METHODS.find(name), "black_box": METHODS.find(name), "x": x, "batch_size": 7}
    wanted = inspect.signature(promise).parameters
    if set(wanted) <= set(given) and not (name == "power-cam" and "black_box" in wanted):
        promise(**{one: given[one] for one in wanted})


def test_the_method_finds_the_band_that_matters(tried):
    tried("xplain/explainers/perturbation/bands.py")
    weights = np.zeros(ITEM)
    weights[:, 4:8] = np.arange(12)
    found = xplain.explain(linear(weights), np.ones((1, *ITEM), np.float32), "bands", layout="NCHW").values[0]
    np.testing.assert_allclose(found, np.where(np.arange(12)[:, None] // 4 == 1, weights.sum(), 0) + np.zeros((12, 12)))


def test_the_map_is_the_formula(tried, x):
    tried("xplain/explainers/cam/power_cam.py")
    model = small_network()
    found = xplain.explain(model, x, "power-cam", layer="r2", target=1, power=1, signed=True)
    spread = xplain.explain(model, x, "power-cam", layer="r2", target=1, power=4, signed=True)
    # behind the layer there are a mean and a dense layer, so the gradient is alike at all positions, and so its means
    np.testing.assert_allclose(found.values, spread.values, rtol=1e-3, atol=1e-7)
    assert found.values.min() >= 0
    plus = xplain.explain(model, x, "grad-cam", layer="r2", target=1, signed=True).values
    assert np.all(found.values >= np.abs(plus) - 1e-6)
    assert METHODS.find("power-cam").options["power"].doc.startswith("1 is the mean size")


def test_the_table_is_between_the_two_it_is_made_of(tried, x):
    tried("xplain/rules/epsilon_gamma.py")
    for make in (test_other_kinds.small_network, test_other_kinds.small_transformer):
        test_other_kinds.test_a_table_brings_back_what_it_says_it_means(TABLES.find("epsilon-gamma"), make, x)
    model, how = small_network(), {"target": 1, "channels": True}
    mixed = xplain.explain(model, x, "lrp", rule="epsilon-gamma:gamma=0", **how).values
    np.testing.assert_allclose(
        mixed, xplain.explain(model, x, "lrp", rule="epsilon", **how).values, rtol=1e-3, atol=1e-6
    )
    far = xplain.explain(model, x, "lrp", rule="epsilon-gamma", gamma=10, **how).values
    assert np.abs(far - mixed).max() > 0.1 * np.abs(mixed).max()


def test_the_features_are_an_option(tried, x):
    tried("xplain/explainers/features/stripes.py")
    test_other_kinds.test_features_cut_what_they_take_wholly_wherever_an_item_stands(FEATURES.find("stripes"))
    found = xplain.explain(small_network(), x, "occlusion", target=0, features="stripes:6").values
    assert (found == found[:, :1]).all()
    assert len(np.unique(found[0])) == 2


def test_the_lens_sees_the_mean_of_each_channel(tried, x):
    tried("xplain/explainers/see/means.py")
    found = xplain.see(small_network(), "means", x, layer="r2", k=2)
    values = xplain.load(small_network()).answer(Peek(x, ("r2",)))["r2"].mean(axis=(0, 2, 3))
    np.testing.assert_allclose(found.values, np.sort(values)[:-3:-1], rtol=1e-5)
    assert found.units == tuple(f"r2[{c}]" for c in np.argsort(-values)[:2])
    for promise in vars(test_lenses).values():
        if getattr(promise, "__name__", "").startswith("test_a_lens_and_each"):
            promise(LENSES.find("means"))


def test_the_metric_is_measured(tried):
    tried("xplain/metrics/blackout.py")
    item = np.arange(1, 11, dtype=np.float32)[None]
    model = linear(np.ones(10))
    shown = xplain.explain(model, item, "occlusion")
    found = xplain.measure.curve(model, item, shown, "blackout", target=xplain.label(0))
    assert METRICS.find("blackout").better == "small"
    np.testing.assert_allclose(found.scores, [[55, 45]])


def test_the_renderer_shows_a_result(tried):
    tried("xplain/render/ranked.py")
    rows = {"age": [1.0, 2.0], "height": [3.0, -4.0], "score": [0.0, 0.5]}
    table = xplain.table(lambda t: t["age"] + 2 * t["height"] - t["score"], columns=rows)
    found = xplain.explain(table, rows, "exact-shapley", baseline=0.0)
    assert found.render("ranked", item=1, most=2) == "height -8, age +2"


def test_the_kind_of_result_is_cut_joined_saved_and_refused(tried, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "xplain/results/tally".replace("/", "."), ModuleType("tally"))
    tally = tried("xplain/results/tally.py")["Tally"]
    every = tally(counts=np.array([3, 1, 2]), names=("a", "b", "c"), provenance=Provenance(method="by hand"))
    back = tally.load(joined([every[:1], every[1:]]).save(tmp_path / "t.npz"))
    assert (back.counts.tolist(), back.names, back[1].counts.tolist()) == ([3, 1, 2], ("a", "b", "c"), [1])
    with np.load(tmp_path / "t.npz") as file:
        np.savez(tmp_path / "u.npz", meta=file["meta"], counts=np.zeros(3))
    with pytest.raises(xplain.XplainError, match="not a saved tally: its counts are no whole numbers"):
        tally.load(tmp_path / "u.npz")


def test_the_operator_passes_finite_differences(tried, monkeypatch):
    for table in ("_TABLE", "_FACTS"):
        kept = {name: known for name, known in getattr(operators, table).items() if name != "Atan"}
        monkeypatch.setattr(operators, table, kept)
    made = tried("tests/graph/cases.py", Case=Case, r=lambda *shape: np.random.default_rng(0).uniform(-2, 2, shape))
    with pytest.raises(xplain.XplainError, match="Atan"):
        check(made["case"])
    tried("xplain/graph/ops/elementwise.py", **vars(elementwise))
    assert operators.facts_of("Atan").elementwise
    check(made["case"])


def test_the_door_answers(tried):
    readings = np.array([[22, 24, 20, 26]], np.float32)
    found = xplain.explain(tried("my_door.py")["Thermometer"](), readings, "exact-shapley", baseline=20.0)
    np.testing.assert_allclose(found.values, (readings - 20) / 4, atol=1e-6)
    assert found.scores[0] == 3


def test_the_verb_runs(tried, monkeypatch):
    verb = tried("xplain/cli/verbs/kinds.py")["kinds"]
    monkeypatch.setattr(cli, "VERBS", (*cli.VERBS, verb))
    result = CliRunner().invoke(cli.application(["kinds"]), ["kinds", "--json"], prog_name="xplain")
    assert result.exit_code == 0
    assert f'"method": {len(xplain.methods())}' in result.stdout


def test_the_error_is_said_in_the_words_of_each_door(tried):
    check_threads = tried("my_check.py")["check"]
    with pytest.raises(xplain.XplainError, match=r"^threads is 0; accepted: .* Or give engine='plain'\.$") as error:
        check_threads(0)
    assert error.value.said(in_shell(["threads", "engine"])).startswith("--threads is 0; accepted: a whole number")
    assert error.value.fields(in_shell(["threads", "engine"]))["advice"] == "Or give --engine plain."
    with pytest.raises(xplain.XplainError, match="leave threads= out"):
        check_threads(65)


def test_the_attack_finds_how_dark_is_too_dark(tried):
    tried("xplain/explainers/attacks/darker.py")
    picture = np.full((4, 4, 3), 200, np.uint8)
    model = xplain.load(lambda x: np.stack([x.mean(axis=(1, 2, 3)), 0 * x[:, 0, 0, 0] + 0.3], 1), card={"mode": "RGB"})
    found = xplain.attack(model, [picture, picture // 4], "darker", epsilon="128/255")
    assert found.labels == (0, 1)
    assert found.fooled.tolist() == [True, False]  # the second is dark already, and no darkness takes it back
    assert found.after[0].max() < 0.3 * 255
    test_attacks.test_an_attack_says_what_a_person_must_know(ATTACKS.find("darker"))
