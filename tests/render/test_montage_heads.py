"""A montage of one method's maps for several classes says which class each is of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from made import attribution

import xplain
from xplain.render import canvas, figure, montage
from xplain.report import page


def of(target: str, method: str = "grad-cam") -> xplain.Attribution:
    values = np.random.default_rng(len(target)).normal(size=(1, 16, 16)).astype(np.float32)
    return attribution(values, target=target, method=method, scores=np.array([3.25]), names=("owl.png",))


def test_each_column_is_headed_by_its_class(monkeypatch):
    written = []
    real = canvas.words
    monkeypatch.setattr(canvas, "words", lambda lines, *rest: (written.extend(lines), real(lines, *rest))[1])
    montage([of("great grey owl"), of("kite")])
    assert {"grad-cam", "great grey owl", "kite", "score 3.25"} <= set(written)
    written.clear()
    montage([of("kite"), of("kite", "lrp")])
    assert "owl.png, kite, score 3.25" in written, "one class of all stands over the row"
    assert "kite" not in written


def test_a_long_class_is_cut_to_its_column():
    wide = "a very long name of a class, with all of its synonyms, which are many"
    heads = figure._heads([of(wide), of("kite")], 0, 0, 100)
    assert all(canvas.text_width(line) <= 100 for line in heads)
    assert heads[1].endswith("…")
    picture = np.asarray(montage([of(wide), of("kite")]))
    assert picture.shape[0] == np.asarray(montage([of("a"), of("kite")])).shape[0]


def test_the_page_heads_its_sections_by_class_where_one_method_has_several():
    both = [of("kite"), of("hawk")]
    text = page([replace(one, pictures=np.zeros((1, 16, 16, 3), np.uint8)) for one in both])
    assert ">grad-cam of kite</h2>" in text
    assert ">grad-cam of hawk</h2>" in text
    assert ">grad-cam</h2>" in page(both[:1])
