"""One rule of colours: red speaks for and blue against, wherever something speaks, also for who sees fewer colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import xplain
from xplain.audit.reports.telling import _LEGENDS
from xplain.render.bars import bars
from xplain.render.colormap import find
from xplain.render.palette import AGAINST, FOR, RIGHT, WRONG
from xplain.render.text import shades_css

TEMPLATES = Path(xplain.__file__).parent / "report" / "templates"

# Viénot, Brettel and Mollon 1999: linear RGB as protanopes and deuteranopes see it
DICHROMATS = {
    "protan": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "deutan": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
}


def linear(rgb):
    share = np.asarray(rgb, float) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(light):
    white = np.array([0.95047, 1.0, 1.08883])
    xyz = light @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T / white
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def code(rgb) -> str:
    return "#" + "".join(f"{one:02x}" for one in rgb)


def test_what_speaks_for_is_the_red_of_the_signed_map():
    signed = find(None, True)
    assert tuple(signed.paint(np.array(0.75), 1.0)) == FOR
    assert tuple(signed.paint(np.array(-0.75), 1.0)) == AGAINST
    assert FOR[0] > FOR[2]
    assert AGAINST[2] > AGAINST[0]


@pytest.mark.parametrize("pair", [(FOR, AGAINST), (RIGHT, WRONG)])
def test_both_stay_apart_for_who_sees_no_red_or_green(pair):
    for seen in (np.eye(3), *DICHROMATS.values()):
        one, other = (lab(np.clip(seen @ linear(rgb), 0, 1)) for rgb in pair)
        assert np.linalg.norm(one - other) > 30  # a difference of 2.3 is just seen side by side


@pytest.mark.parametrize("sheet", ["audit.css", "found.css"])
def test_pages_take_the_same_colours(sheet):
    text = (TEMPLATES / sheet).read_text()
    assert code(FOR) in text
    assert code(AGAINST) in text
    for line in text.splitlines():
        if line.startswith(("mark.for", ".bar .for")):
            assert "var(--for)" in line
        if line.startswith(("mark.against", ".bar .against")):
            assert "var(--against)" in line
    if sheet == "found.css":
        assert f".for img {{ outline-color: {code(FOR)}; }}" in text
        assert f".against img {{ outline-color: {code(AGAINST)}; }}" in text
        assert f".right img {{ outline-color: {code(RIGHT)}; }}" in text


def test_bars_and_words_of_results_follow_the_rule():
    drawn = np.asarray(bars(np.array([2.0, -2.0]), None, [("a", ""), ("b", "")], find(None, True)).convert("RGB"))
    for rgb in (FOR, AGAINST):
        assert (drawn == rgb).all(axis=2).any()
    right, left = (np.nonzero((drawn == rgb).all(axis=2))[1].mean() for rgb in (FOR, AGAINST))
    assert right > left
    rules = dict(line.split(" {")[0:2] for line in shades_css().splitlines() if line.startswith(".s"))
    strongest = ",".join(map(str, find(None, True).paint(np.array(1.0), 1.0)))
    assert rules[".s10"].startswith(f" background: rgb({strongest})")


def test_legends_say_it():
    for words in _LEGENDS.values():
        assert words.index("red") < words.index("for the answer") < words.index("blue") < words.index("against it")
