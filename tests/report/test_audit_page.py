"""The page of an audit, its JSON twin and its CSV files: the same numbers, and no text that does what it says."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from xplain.core.finding import Finding
from xplain.report.audit import Told, audit_page, csv_of, json_of
from xplain.report.audit.drawing import histogram, mean_map
from xplain.report.audit.page import printed
from xplain.report.audit.told import Column, Example, Fact, Found, Histogram, Lead, Table, Trial

EVIL = '</td><script>alert(1)</script><img src=x onerror="alert(2)">\N{RIGHT-TO-LEFT OVERRIDE}gpj.x'
EVERY = Table(
    "classes-1",
    "two classes",
    "A row per class.",
    (
        *(Column("class", "text"), Column("mean map", "map"), Column("items", "count"), Column("right", "interval")),
        *(Column("margin", "number", "the lead"), Column("border", "share"), Column("apart", "signed")),
    ),
    (
        ("tabby", np.eye(3), 1200, (0.75, 0.5, 0.875), 2.0, 0.25, -0.5),
        (EVIL, None, 3, None, float("nan"), None, None),
    ),
    sortable=True,
)


def told(**changes) -> Told:
    base = Told(
        title="Audit of m",
        root="ab" * 32,
        partial="",
        asked=(Fact("Items", "4", "a few"),),
        leads=(Lead("4", "items"),),
        findings=(),
        analysed=True,
        cannot=("Whether it is right.",),
        tests=(),
        lanes=Table("lanes", "Lanes", "Lanes.", (Column("lane", "text"),), (("m/grad-cam/predicted",),)),
        histograms=(Histogram("m", "margin", "the lead", 0.0, 4.0, (1, 0, 4), 3.0, 5),),
        deciles=(),
        worst=(),
        classes=(EVERY,),
        twins=None,
        subgroups=(),
        over_time=(),
        failures=None,
        provenance=(Fact("Plan", "cd" * 32),),
    )
    return replace(base, **changes)


def hostile() -> Told:
    finding = Finding(
        *("scan", EVIL, EVIL, "confirmed", 0.5, EVIL, (0.4, 0.6), 0.01, 9),
        members=np.array([3]),
        evidence={
            EVIL: EVIL,
            "map": np.eye(4),
            "curve": np.arange(5.0),
            "volume": np.zeros((2, 2, 2)),
            "empty": np.zeros((0, 7)),
            "no": [],
        },
        limits=(EVIL,),
    )
    example = Example(3, EVIL, (EVIL,), np.full((8, 8, 3), 90, np.uint8), np.eye(4))
    test = Trial(EVIL, EVIL, EVIL, EVIL, 0.1, (0.0, 0.2), ((EVIL, 0.2, 0.1, 0.3),), 30, False, EVIL)
    groups = replace(EVERY, key="groups-1", title=EVIL, caption=EVIL)
    return told(
        title=EVIL,
        partial=EVIL,
        asked=(Fact(EVIL, EVIL, EVIL),),
        leads=(Lead(EVIL, EVIL),),
        findings=(Found(finding, (example, Example(4, EVIL))),),
        cannot=(EVIL,),
        tests=(test,),
        histograms=(Histogram(EVIL, EVIL, EVIL, 0.0, 4.0, (1, 0, 4), 3.0, 5),),
        deciles=(replace(EVERY, key="deciles-1"),),
        worst=((EVIL, (example,)),),
        twins=replace(EVERY, key="twins"),
        subgroups=(groups,),
        over_time=(replace(EVERY, key="time-1"),),
        failures=replace(EVERY, key="failures"),
        provenance=(Fact(EVIL, EVIL, EVIL),),
        reviewer=EVIL,
        sql=((EVIL, EVIL),),
    )


class Read(HTMLParser):
    """Elements with their attributes, and the text of style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.raw: dict[str, str] = {}
        self._in = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._in = tag if tag in ("style", "script") else ""

    def handle_endtag(self, tag):
        self._in = ""

    def handle_data(self, data):
        if self._in:
            self.raw[self._in] = self.raw.get(self._in, "") + data

    def all(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.mark.parametrize("made", [told, hostile])
def test_nothing_runs_or_loads_but_what_the_page_brings_along(made):
    read = Read(audit_page(made(), ("audit.json", EVIL)))
    assert len(read.all("script")) == 1
    assert not [tag for tag, _ in read.elements if tag in ("iframe", "object", "embed", "link", "base", "form")]
    assert not [
        name for _, attributes in read.elements for name in attributes if name.startswith("on") or name == "style"
    ]
    assert all(one["src"].startswith("data:image/") for one in read.all("img"))
    assert all(one["href"].startswith("#") for one in read.all("a"))
    (policy,) = [one["content"] for one in read.all("meta") if "http-equiv" in one]
    digests = {kind: base64.b64encode(hashlib.sha256(read.raw[kind].encode()).digest()).decode() for kind in read.raw}
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digests['style']}'; script-src"
        f" 'sha256-{digests['script']}'; base-uri 'none'; form-action 'none'"
    )


def test_marks_that_turn_text_around_are_shown_as_such():
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in audit_page(hostile())


def test_who_cannot_see_or_use_a_mouse_is_told_the_same():
    read = Read(audit_page(hostile()))
    tables = read.all("table")
    assert tables
    assert len(read.all("caption")) == len(tables)
    assert all(one.get("scope") in ("col", "row") for one in read.all("th"))
    assert all(one.get("alt") for one in read.all("img"))
    assert all(one.get("tabindex") == "0" for one in read.all("div") if "frame" in one.get("class", "").split())
    levels = [int(tag[1]) for tag, _ in read.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    names = [one["id"] for _, one in read.elements if "id" in one]
    assert len(names) == len(set(names))
    assert {one["href"][1:] for one in read.all("a")} <= set(names)


def test_what_was_not_looked_for_and_what_is_missing_is_said():
    assert "no finding here means nothing" in audit_page(told(analysed=False))
    assert "found nothing to report" in audit_page(told())
    assert "Not the whole audit" not in audit_page(told())
    assert "3 of 9 shards" in audit_page(told(partial="3 of 9 shards are sealed."))
    assert "the records hold no metric" in audit_page(told())


def test_json_holds_the_raw_numbers_without_pictures_and_is_strict():
    content = json_of(hostile())
    document = json.loads(content, parse_constant=lambda name: pytest.fail(name))
    table = document["tables"]["classes-1"]
    assert [one["name"] for one in table["columns"]] == ["class", "items", "right", "margin", "border", "apart"]
    assert table["rows"] == [["tabby", 1200, [0.75, 0.5, 0.875], 2.0, 0.25, -0.5], [EVIL, 3, None, None, None, None]]
    (found,) = document["findings"]
    assert (found["effect"], found["low"], found["high"], found["members"]) == (0.5, 0.4, 0.6, [3])
    assert found["evidence"]["map"] == np.eye(4).tolist()
    assert found["shown"][0] == {"item": 3, "name": EVIL, "captions": [EVIL]}
    assert document["tests"][0]["baselines"] == {EVIL: {"value": 0.2, "low": 0.1, "high": 0.3}}
    assert json_of(hostile()) == content


def test_csv_holds_intervals_as_three_columns_and_no_formulas():
    formula = replace(EVERY, rows=(("=cmd|calc", None, 1, (0.5, 0.25, 0.75), 1.0, 0.5, -0.25), *EVERY.rows))
    files = csv_of(told(classes=(formula,)))
    rows = list(csv.reader(io.StringIO(files["classes-1.csv"].decode())))
    assert rows[0] == ["class", "items", "right", "right low", "right high", "margin", "border", "apart"]
    assert rows[1] == ["'=cmd|calc", "1", "0.5", "0.25", "0.75", "1.0", "0.5", "-0.25"]
    assert rows[3] == [EVIL, "3", "", "", "", "", "", ""]


def test_a_page_prints_the_first_rows_and_says_where_the_rest_is():
    long = replace(EVERY, rows=tuple((f"c{k}", None, k, None, 0.5, 0.1, 0.0) for k in range(9)), shown=4)
    page = audit_page(told(classes=(long,)))
    assert page.count('<th scope="row">c') == 4
    assert "The first 4 of 9; all stand in <code>classes-1.csv</code>" in page
    assert len(csv_of(told(classes=(long,)))["classes-1.csv"].splitlines()) == 10


def test_findings_stand_in_the_order_of_how_far_they_go():
    def found(standing, p):
        return Found(Finding("scan", "", f"{standing} at {p}", standing, p=p))

    listed = [found("measured", None), found("candidate", 0.04), found("candidate", 0.001), found("confirmed", 0.01)]
    page = audit_page(told(findings=tuple(listed)))
    places = [
        page.index(one) for one in ("confirmed at 0.01", "candidate at 0.001", "candidate at 0.04", "measured at")
    ]
    assert places == sorted(places)
    assert page.index("<summary>1 more: figures") < places[-1]  # folded


def test_pairs_of_items_are_told_as_numbers_and_not_drawn_as_a_map():
    pairs = np.array([[3, 17], [4, 9]])
    page = audit_page(
        told(findings=(Found(Finding("duplicates", "", "copies", "measured", evidence={"copies": pairs})),))
    )
    assert str(pairs.tolist()) in page
    assert len(Read(page).all("img")) == len(Read(audit_page(told(findings=()))).all("img"))


def decoded(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("L"), np.int64)


def test_a_mean_map_is_a_pixel_per_cell_and_darkest_where_it_is_largest():
    values = np.zeros((3, 4))
    values[1, 2], values[0, 0] = 1.0, 0.5
    grey = decoded(mean_map(values))
    assert grey.shape == (3, 4)
    assert grey[1, 2] == grey.min()
    assert grey[1, 2] < grey[0, 0] < grey[2, 3]
    assert len(mean_map(np.random.default_rng(0).random((7, 7)))) < 400  # a thousand of them fit a page


def test_the_bars_of_a_histogram_are_as_high_as_their_counts():
    one = Histogram("m", "margin", "", 0.0, 3.0, (1, 0, 4), 2.25, 5)
    drawn = str(histogram(one, width=30, height=80))
    assert re.findall(r"M([\d.]+) 80v-([\d.]+)", drawn) == [("0.0", "20.0"), ("20.0", "80.0")]
    assert 'class="median" d="M22.5 0V80"' in drawn


def test_estimates_of_a_column_and_their_bounds_have_as_many_digits():
    rows = (("a", (0.638, 0.5065, 0.78561)), ("b", (0.5173, -0.002139, 0.509)), ("c", (float("nan"),) * 3), ("d", None))
    table = Table("t", "T", "T.", (Column("class", "text"), Column("mean", "estimate")), rows)
    told = [cells[1].text for cells in printed(table).rows]
    assert told[:2] == [("0.6380", "0.5065 to 0.7856"), ("0.5173", "-0.0021 to 0.5090")]
    assert told[2:] == [("–", ""), "–"]
