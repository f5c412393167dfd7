"""Pages of concepts and influence: every number with its interval, its pictures, and names that come from files."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from lenses.embedded import CARD, exported, folder, module

import xplain
from xplain.core.caveat import Caveat
from xplain.report.pages import page_of
from xplain.report.strokes import bar


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("pictures"), each=6)


def shown(page: str) -> str:
    """What a reader sees of a page, without its frame."""
    return re.sub(r"<[^>]*>", " ", page.partition("<body>")[2])


def test_concepts_stand_with_their_intervals_and_crops(files):
    found = xplain.see(exported(module()), "craft", files[:6], card=CARD, label="red", concepts=3)
    page = page_of(found, "xplain see craft")
    text = shown(page)
    for n in range(len(found)):
        assert f"{found.importance[n]:.3f} ± {1.96 * found.error[n]:.3f}" in text
        assert f"{-found.effect[n]:+.3g} ± {1.96 * found.effect_error[n]:.2g}" in text
    crops = int(np.isfinite(found.crop_values).sum())
    assert page.count('alt="Part of ') == crops > 0
    assert page.count('alt="Where the concepts lie in ') == len(found.shown)
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page


def test_influence_stands_with_what_speaks_for_and_against(files):
    found = xplain.see(exported(module()), "influence", files, card=CARD, asked=files[:1], label="red", k=2, plant=0.2)
    page = page_of(found, "xplain see influence")
    text = shown(page)
    speak_for, against = found.speak(0, 2)
    for place in (*speak_for, *against):
        assert f"{found.influence[place, 0]:+.3g}" in text
    kinds = {kind: page.count(f'<figure class="{kind}"') for kind in ("for", "against", "right", "wrong")}
    assert (kinds["for"], kinds["against"]) == (len(speak_for), len(against))
    assert kinds["right"] + kinds["wrong"] == min(24, len(found))
    assert 'role="img" aria-label="Of ' in page


def test_names_of_files_cannot_write_into_the_page(files):
    found = xplain.see(exported(module()), "influence", files, card=CARD, asked=files[:1], label="red", k=1)
    evil = "<script>alert(1)</script>"
    told = replace(found, given=(evil,) * len(found), asked=(evil,), warnings=(Caveat(evil, "input"),))
    page = page_of(told, evil)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_bar_begins_at_zero_and_ends_at_its_value():
    drawn = bar(-1.0, 0.5, (-2.0, 2.0), (1, 2, 3))
    x, wide = (float(one) for one in re.search(r'<rect x="([\d.]+)" y="1" width="([\d.]+)"', drawn).groups())
    whole = int(re.search(r'width="(\d+)"', drawn)[1]) - 2
    assert x == pytest.approx(1 + whole / 4)
    assert wide == pytest.approx(whole / 4)
    first, last = re.search(r'class="whisker" d="M([\d.]+),6H([\d.]+)', drawn).groups()
    assert (float(last) - float(first)) == pytest.approx(whole / 4, abs=0.2)
