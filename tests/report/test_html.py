"""The report: complete, self-contained, and safe with hostile names."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from html.parser import HTMLParser

import made
import numpy as np
import pytest
from PIL import Image

from xplain.core.caveat import Caveat, each
from xplain.core.cost import Cost
from xplain.core.errors import NonFinite, OutputError, UsageError
from xplain.core.positions.coordinates import Coordinates
from xplain.report import page, write
from xplain.results.attribution import Attribution

HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{7*7}}\x1b[31m\u202egnp.exe"


class Tags(HTMLParser):
    """All start tags with their attributes, all text, and the nesting."""

    VOID = ("meta", "img", "br", "input", "source")

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.open = "", []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "tags close in order"

    def handle_data(self, data):
        self.text += data


def attribution(**fields) -> Attribution:
    """Two small pictures explained by a method that samples."""
    y, x = np.mgrid[0:16, 0:16]
    hill = np.exp(-((y - 5) ** 2 + (x - 9) ** 2) / 20.0)
    plain = {
        "values": np.stack([2 * hill, -hill]).astype(np.float32),
        "unit": "delta logit when hidden",
        "method": "rise",
        "options": {"samples": 4000, "baseline": "mean"},
        "targets": ("tabby", "espresso"),
        "labels": (281, 967),
        "scores": np.array([8.25, 12.5]),
        "base": np.array([0.5, 0.25]),
        "error": np.full((2, 16, 16), 0.1, np.float32),
        "names": ("cat.jpg", "cup.jpg"),
        "model": "ab" * 32,
        "card": 'mode = "RGB"\ncrop = [16, 16]\n',
        "cost": Cost(queries=8002, sweeps=3, reused=17, seconds=2.5),
        "seed": 42,
        "resolution": (7, 7),
        "facts": {"kept": 0.5},
        "each": {"stability": [0.875, 0.25], "rule": [(1, 2), ()]},
        "source": "net.onnx",
        "rows_per_call": {"scores": (1, 12)},
        "warnings": (Caveat("The probability is saturated."),),
        "versions": {"xplain": "0.1.0", "onnxruntime": "1.31.1"},
        "pictures": np.full((2, 16, 16, 3), 90, np.uint8),
    }
    return made.attribution(**{**plain, **fields})


def test_a_warning_about_one_item_names_it():
    text = Tags(page(attribution(warnings=each(["", "The map is zero."], "empty")))).text
    assert "cup.jpg: The map is zero." in text
    assert "cat.jpg: " not in text.replace("cat.jpg: tabby", "")


def test_the_page_holds_everything_a_reader_needs():
    text = Tags(page(attribution(), title="Two pictures", command="xplain explain m.onnx cat.jpg --seed 42")).text
    for fact in (
        "Two pictures", "cat.jpg", "cup.jpg", "tabby", "espresso", "8.25", "12.5", "base 0.25", "rise",
        "delta logit when hidden", "samples", "4000", "baseline", "8,002 queries, 3 sweeps, 17 reused, 2.50 s", "42",
        "7 x 7 cells", "ab" * 32, "onnxruntime 1.31.1, xplain 0.1.0", "crop = [16, 16]",
        "The probability is saturated.", "kept", "net.onnx", "scores 1 and 12",
        "xplain explain m.onnx cat.jpg --seed 42", "It does not say whether the answer is right",
        "xplain.explain(model, pictures, method='rise', target=[281, 967], seed=42, samples=4000, baseline='mean')",
    ):  # fmt: skip
        assert fact in text, fact
    cat, cup = text.index("found of cat.jpg"), text.index("found of cup.jpg")
    assert cat < text.index("0.875") < text.index("(1, 2)") < cup < text.index("0.25", cup) < text.index("()", cup)
    assert re.search(r"colours end at ±1\.\d+ delta logit", text)


def test_the_page_is_self_contained_and_well_formed():
    parsed = Tags(page([attribution(), attribution(method="occlusion", error=None)]))
    assert not parsed.open
    assert not {"script", "link", "iframe", "object", "form", "base"} & {tag for tag, _ in parsed.tags}
    for tag, attributes in parsed.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "href"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:image/png;base64,", "data:image/webp;base64,", "#")), (
                tag,
                target,
            )


def opened(source: str) -> Image.Image:
    kind, _, content = source.removeprefix("data:image/").partition(";base64,")
    return Image.open(io.BytesIO(base64.b64decode(content)), formats=[kind.upper()])


def test_every_picture_inside_is_one():
    parsed = Tags(page([attribution(), attribution(method="occlusion")]))
    small = [a["src"] for tag, a in parsed.tags if tag == "img" and a.get("class") == "small"]
    assert len(small) == 2, "one per item, whatever explains it"
    for source in small:
        assert np.asarray(opened(source)).tolist() == [[[90] * 3] * 16] * 16
    sources = [a["src"] for tag, a in parsed.tags if tag == "img" and a.get("class") != "small"]
    assert len(sources) == 8, "two items by two methods, in a card and large"
    for source in sources:
        assert opened(source).size[0] > 100


def test_on_a_phone_a_picture_has_a_drawing_of_its_own_and_the_rest_scrolls_at_its_own_size():
    source = page(attribution())
    narrow = [a for tag, a in Tags(source).tags if tag == "source"]
    large = [a["src"] for tag, a in Tags(source).tags if tag == "img" and a["alt"].startswith("What speaks for")]
    assert len(narrow) == len(large) == 2
    for one, wide in zip(narrow, large, strict=True):
        assert one["media"] == "(max-width: 40rem)"
        assert opened(one["srcset"]).width <= 330 < opened(wide).width  # a page of 390 px, less its edges
    table = attribution(values=np.ones((2, 5), np.float32), error=None, pictures=None, resolution=None, base=None)
    assert "<source" not in page(table)
    assert page(table).count('<div class="drawn" tabindex="0"') == 2
    assert "@media (max-width: 40rem) { .drawn img { max-width: none; } }" in source


def test_the_content_policy_allows_the_pages_own_style_alone():
    source = page(attribution())
    policy = next(a["content"] for tag, a in Tags(source).tags if a.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", source, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert f"style-src 'sha256-{digest}'" in policy.replace("&#43;", "+")
    assert "unsafe" not in policy


def test_a_large_picture_is_small_in_front_and_a_table_has_none():
    wide = page(attribution(values=np.ones((2, 30, 400), np.float32), error=None, resolution=None,
                            pictures=np.full((2, 30, 400, 3), 90, np.uint8)))  # fmt: skip
    small = next(a["src"] for tag, a in Tags(wide).tags if tag == "img" and a.get("class") == "small")
    assert opened(small).size == (64, 5)
    table = attribution(values=np.ones((2, 5), np.float32), error=None, pictures=None, resolution=None, base=None)
    assert 'class="small"' not in page(table)


def test_an_item_has_one_card_with_its_methods_side_by_side():
    """Two items by three methods: two cards, and what is the same for all stands once."""
    source = page([attribution(), attribution(method="occlusion"), attribution(method="lime", seed=7)])
    front = source[source.index('<div class="cards">') : source.index("<h2")]
    assert front.count('<section class="card"') == 2
    assert front.count("<h3>") == front.count("cat.jpg") + front.count("cup.jpg")
    tiles = re.findall(r'<a class="tile m(\d)( warned)?" href="#(figure-\d-\d)">', front)
    assert [tile[2] for tile in tiles] == [f"figure-{k}-{n}" for n in (1, 2) for k in (1, 2, 3)]
    assert all(f'<figure id="{tile[2]}">' in source for tile in tiles)
    text = Tags(source).text
    assert text.count("ab" * 32) == text.count("onnxruntime 1.31.1") == text.count("crop = [16, 16]") == 1
    assert text.count("Seed") == 3, "it is not the same"


def test_a_score_of_its_own_has_a_line_of_its_own():
    other = attribution(method="occlusion", scores=np.array([8.25, 11.0]))
    source = page([attribution(), other])
    assert source.count('<section class="card"') == 2
    assert source.count('<div class="tiles">') == 3


def test_cards_are_sorted_and_filtered_by_the_style_sheet_alone():
    """Items: two methods agree wholly on the first, and are of opposite order on the second, whose score is higher."""
    first = attribution(error=None)
    other = attribution(method="occlusion", error=None, values=np.stack([first.values[0], -first.values[1]]))
    source = page([first, other])
    assert re.findall(r"methods agree <span class=\"number\">([+-][\d.]+)", source) == ["+1.00", "-1.00"]
    order = dict(re.findall(r"(#by-\w+:checked ~ \.cards #item-\d) \{ order: (\d); \}", source))
    assert order == {
        "#by-score:checked ~ .cards #item-2": "0", "#by-score:checked ~ .cards #item-1": "1",
        "#by-disagreement:checked ~ .cards #item-2": "0", "#by-disagreement:checked ~ .cards #item-1": "1",
    }  # fmt: skip
    assert "#show-2:not(:checked) ~ .cards .m2 { display: none; }" in source
    inputs = [a.get("id") for tag, a in Tags(source).tags if tag == "input"]
    assert inputs == ["by-name", "by-score", "by-disagreement", "show-1", "show-2"]
    assert "<input" not in page(attribution()[:1]), "nothing to choose"


def test_what_the_model_said_stands_beside_the_item():
    said = Tags(page(attribution(), predicted={"cat.jpg": "tabby 53.8%, kite 27.0%"})).text
    assert said.index("cat.jpg") < said.index("tabby 53.8%, kite 27.0%") < said.index("cup.jpg")


def test_numbers_and_words_are_not_broken():
    """Only free text may be, and has room for a word."""
    source = page(attribution())
    style = re.search(r"<style>(.*?)</style>", source, re.DOTALL).group(1)
    rules = dict(re.findall(r"^([^{\n]+) \{([^}]*)\}", style, re.MULTILINE))
    assert "anywhere" not in rules["th, td"]
    assert "nowrap" in rules[".number, td a"]
    assert "min-width" in rules["td.word"]
    assert '<span class="number">8.25</span>' in source


def test_hostile_names_stay_text():
    hostile = attribution(
        names=(HOSTILE, "cup.jpg"),
        targets=(HOSTILE, "espresso"),
        source=HOSTILE,
        rows_per_call={HOSTILE: (1,)},
        unit=HOSTILE,
        method=HOSTILE,
        model=HOSTILE,
        card=HOSTILE,
        options={HOSTILE: HOSTILE},
        facts={HOSTILE: HOSTILE},
        each={HOSTILE: [HOSTILE, HOSTILE], "rule": ["", ""]},
        warnings=(Caveat(HOSTILE), Caveat(HOSTILE, item=1)),
        versions={HOSTILE: HOSTILE},
    )
    source = page([hostile, hostile], title=HOSTILE, command=HOSTILE)
    plain = attribution(options={"a": 1})
    harmless = Tags(page([plain, plain], title="a", command="b"))
    parsed = Tags(source)
    assert [tag for tag, _ in parsed.tags] == [tag for tag, _ in harmless.tags], "no tag came from a name"
    assert "<script" not in source
    assert "{{7*7}}" in parsed.text, "text is never a template"
    assert "\x1b" not in source
    assert "\u202e" not in source
    assert "\N{REPLACEMENT CHARACTER}gnp.exe" in parsed.text


def test_endless_names_are_cut():
    assert len(page(attribution(model="x" * 1_000_000))) < 500_000


def test_tables_and_items_without_pictures():
    table = attribution(values=np.ones((2, 5), np.float32), error=None, pictures=None, resolution=None, base=None)
    text = Tags(page([table, table])).text
    assert "every column" in text
    assert "every pixel" in Tags(page(attribution(resolution=None))).text
    assert "colours end at" not in text


def test_write_is_whole_or_absent(tmp_path, monkeypatch):
    path = write(attribution(), tmp_path / "page.html", title="Kept")
    assert "<title>Kept</title>" in path.read_text(encoding="utf-8")
    with pytest.raises(NonFinite):
        write(attribution(values=np.full((2, 16, 16), np.nan, np.float32)), tmp_path / "broken.html")
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(OutputError, match="Cannot write .*nowhere"):
        write(attribution(), tmp_path / "nowhere" / "page.html")


def test_what_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"A report is written as \.html; got 'page\.txt'"):
        write(attribution(), tmp_path / "page.txt")
    with pytest.raises(UsageError, match="A report needs at least one attribution"):
        page([])


def test_drawing_options_reach_the_figures():
    assert "colours end at ±5 " in Tags(page(attribution(), limit=5.0)).text


def test_a_volume_can_be_scrolled_and_everything_has_a_small_drawing():
    cube = np.zeros((1, 6, 8, 8), np.float32)
    cube[0, 4, 2:4, 2:4] = 1
    line = np.zeros((1, 2, 30), np.float32)
    line[0, 1, 5:9] = 1
    sound = Coordinates(kind="spectrogram", frequency="H", bins="linear", hertz=(0.0, 50.0), rate=100.0, hop=10.0)
    source = page(
        [
            made.attribution(cube, layout="NDHW", signals=cube, names=(HOSTILE,), method="of a volume"),
            made.attribution(line, layout="NCT", signals=line, method="of a series"),
            made.attribution(cube[:, 4], layout="NHW", coordinates=sound, method="of sound"),
        ]
    )
    tags = Tags(source)
    assert tags.open == []
    slices = [one for tag, one in tags.tags if tag == "figure" and "slice" in (one.get("class") or "").split()]
    assert len(slices) == 6
    assert [("main" in (one["class"] or "").split()) for one in slices] == [k == 4 for k in range(6)]
    assert "slice 4 of 6: 100% of the magnitude" in tags.text
    assert not [tag for tag, one in tags.tags if tag == "script" or any(name.startswith("on") for name in one)]
    assert all("style" not in one for _, one in tags.tags)  # which the page's policy would not apply
    tiles = re.findall(r'<a class="tile.*?</a>', source, re.DOTALL)
    assert len(tiles) == 3
    assert all('src="data:image/webp' in tile for tile in tiles)
    small = re.findall(r'<img class="small"[^>]*src="([^"]*)"', source)
    assert len(small) == 2
    for address in small:
        picture = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
        assert max(picture.size) <= 64
    assert "every frequency at every moment" in tags.text
