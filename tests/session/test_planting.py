"""The control that is planted is found where the finder can find, and where it cannot the power says so."""

from __future__ import annotations

import numpy as np

import xplain
from xplain.session.request import Request
from xplain.session.run import Session
from xplain.session.shortcuts.pasting import Paster
from xplain.session.shortcuts.planting import power_of


def stripes(x: np.ndarray) -> np.ndarray:
    """Class 0 sees stripes down, class 1 stripes across: each counts the cells in which they are clear."""
    down, across = np.abs(np.diff(x, axis=2))[:, :-1], np.abs(np.diff(x, axis=1))[:, :, :-1]
    cells = [v[:, :30, :28].reshape(len(v), 5, 6, 7, 4).mean(axis=(2, 4)).reshape(len(v), -1) for v in (down, across)]
    return np.stack([np.clip(one - 0.2, 0, None).sum(axis=1) for one in cells], axis=1)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.45, 0.55, (count, 1, 32, 32))
    for n in range(count):
        y, c = rng.integers(0, 20), rng.integers(0, 20)
        pattern = np.arange(12) % 2 * (1.0 if n % 2 == 0 else 0.35)
        x[n, 0, y : y + 12, c : c + 12] = pattern[None] if n % 2 == 0 else pattern[:, None]
    return x.astype(np.float32)


def paster_of(x: np.ndarray) -> tuple[Paster, np.ndarray, Session]:
    options = {"occlusion": {"patch": 8, "stride": 4}}
    session = Session(xplain.load(lambda v: stripes(v[:, 0])), Request(methods=options, layout="NCHW"))
    part = session.read(x)
    paster = Paster.of(session, part)
    (maps,) = session.explain(part, "occlusion")
    return paster, np.asarray(maps.values), session


def test_a_planted_control_is_found_in_the_corners_and_its_power_is_stated():
    paster, maps, session = paster_of(pictures(120))
    before = session.spent.queries
    (found,) = power_of(paster, "occlusion", maps, 0, 20, names=("down", "across"), seed=0)
    assert (found.kind, found.group, found.standing) == ("control", "down", "measured")
    assert found.evidence["corners tried"] == 4
    assert found.effect >= 0.75
    assert found.interval[0] < found.effect <= found.interval[1]
    assert "down" in found.statement
    assert session.spent.queries > before + 160 + 4 * 20


def test_maps_that_say_nothing_find_no_control():
    paster, maps, _ = paster_of(pictures(120))
    blind = np.random.default_rng(1).gamma(1, size=maps.shape)
    session = paster.session

    class Blind:  # explains with noise
        def __getattr__(self, name):
            return getattr(session, name)

        def explain(self, part, name):
            (told,) = session.explain(part, name)
            object.__setattr__(told, "values", np.random.default_rng(2).gamma(1, size=told.values.shape))
            return [told]

    blinded = Paster(Blind(), paster.part, paster.layout, paster.scores)
    (found,) = power_of(blinded, "occlusion", blind, 0, 20, seed=0)
    assert found.effect == 0


def test_too_few_pictures_are_told_how_many_are_needed():
    paster, maps, _ = paster_of(pictures(90))
    (found,) = power_of(paster, "occlusion", maps, 0, 30)
    assert (found.standing, found.evidence["needed"]) == ("too few", 70)
