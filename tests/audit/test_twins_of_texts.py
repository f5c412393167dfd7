"""Twins, contradictions and near copies in audits of texts and rows: planted ones come back to the item."""

from __future__ import annotations

import re

import numpy as np
import pytest

import xplain
from xplain.core.errors import UsageError

pytest.importorskip("pyarrow")

WORDS = ("good", "bad", "film", "plot", "fine", "dull", "cast", "score", "warm", "cold", "long", "new")
WORTH = dict(zip(WORDS, (2.0, -2.0, 0.3, 0.1, 1.5, -1.2, 0.2, 0.4, 0.9, -0.7, -0.4, 0.6), strict=True))


def weighed(worth):
    def score(texts):
        up = [sum(worth.get(word, 0.0) for word in re.findall(r"\w+", text.lower())) for text in texts]
        return np.stack([-np.array(up), np.array(up)], axis=1)

    return score


def texts(count=60, seed=3):
    """Texts of six different words; every fifth has 'zebra', which one of the twins alone knows."""
    rng = np.random.default_rng(seed)
    made = [" ".join(rng.choice(WORDS, 6, replace=False)) for _ in range(count)]
    return [f"{one} zebra" if k % 5 == 0 else one for k, one in enumerate(made)]


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """Two models of texts: whole weights, and weights in steps of 0.5 that lean on 'zebra' besides."""
    base = tmp_path_factory.mktemp("texts")
    coarse = {word: round(2 * value) / 2 for word, value in WORTH.items()} | {"zebra": 9.0}
    models = {"whole": weighed(WORTH), "coarse": weighed(coarse)}
    items = texts()
    items += [f"{items[1].upper()}!", f"{items[7]} {items[7].split()[0]}"]
    labels = ["1"] * len(items)
    labels[61] = "0"
    how = {"texts": True, "methods": ["ablation", "kernel-shap:samples=60"], "metrics": "", "labels": labels}
    xplain.audit.plan(models, items, out=base / "audit", **how)
    assert xplain.audit.run(base / "audit", models=models).done
    return base / "audit", models, xplain.audit.analyse(base / "audit", models=models)


def test_texts_that_change_their_reason_are_named(audited):
    _, _, found = audited
    told = [one for one in found if one.kind == "twins"]
    whole = next(one for one in told if one.unit == "rank correlation of maps")
    assert whole.count == 62
    assert len(set(whole.members[:10]) & {k for k in range(62) if k % 5 == 0}) >= 8
    assert whole.evidence["maps of different items"] < 0.5 < whole.effect
    assert not any("not compared" in one.statement for one in told)


def test_methods_are_compared_feature_by_feature(audited):
    _, _, found = audited
    triage = [one for one in found if one.kind == "triage"]
    assert len(triage) == 2  # of each model
    assert all("about no item" in one.statement for one in triage)  # an additive model: both give its weights


def test_near_copies_among_texts_are_found_and_their_labels_compared(audited):
    folder, _, found = audited
    near = [one for one in found if one.kind == "duplicates" and one.evidence["how"] == "near"]
    groups = near[0].evidence["copies"]
    assert {tuple(sorted(groups[groups[:, 0] == k, 1])) for k in np.unique(groups[:, 0])} == {(1, 60), (7, 61)}
    assert "have nearly the same words" in near[0].statement
    mixed = next(one for one in near if one.group == "labels")
    assert mixed.standing == "candidate"
    assert set(mixed.members) == {7, 61}
    mass = [one for one in found if one.kind == "mass" and one.standing == "candidate"]
    told = [(one.evidence["lane"], one.evidence["region"]) for one in mass]
    assert len(told) == len(set(told))  # of two classes each word is told once, of the one that leans on it
    assert all(one.effect > 0 for one in mass)
    assert any(one.statement.startswith("coarse, ablation: Explanations of") for one in mass)
    paths = xplain.audit.report(folder, folder.with_name("report"))
    assert "nearly the same words" in paths[0].read_text()


def test_a_plan_cuts_texts_as_the_loaded_model_does_and_two_ways_are_refused(tmp_path):
    letters = xplain.text(weighed(WORTH), split="characters")
    how = {"texts": True, "methods": "ablation", "metrics": "", "dry_run": True}
    made = xplain.audit.plan({"letters": letters}, texts(4), **how)
    assert made.plan.models[0].door["split"] == "characters"
    both = {"letters": letters, "words": xplain.text(weighed(WORTH))}
    with pytest.raises(UsageError, match="to cut texts into 'words', and the texts of this plan are cut into char"):
        xplain.audit.plan(both, texts(4), **how)


def test_near_copies_among_rows_stand_beside_chance(tmp_path):
    rng = np.random.default_rng(0)
    rows = {name: rng.normal(size=60).tolist() for name in ("a", "b", "c")} | {"job": ["x", "y"] * 30}
    for name in rows:
        rows[name] += [rows[name][4], rows[name][9]]
    rows["b"][60] += 0.001

    def score(t):
        return np.stack([np.asarray(t["a"], float), np.asarray(t["b"], float)], axis=1)

    columns = {"columns": ["a", "b", "c", "job"]}
    xplain.audit.plan({"f": score}, rows, out=tmp_path / "audit", rows=columns, methods="ablation", metrics="")
    xplain.audit.run(tmp_path / "audit", models={"f": score})
    found = xplain.audit.analyse(tmp_path / "audit", "duplicates", models={"f": score})
    exact, near = (next(one for one in found if one.evidence["how"] == how) for how in ("exact", "near"))
    assert set(exact.members) == {9, 61}
    assert set(near.members) == {4, 60}
    assert "With each column shuffled by itself 0 pairs are as near; here 1 are." in near.limits
