"""``xplain methods``: the list and the page of one."""

from __future__ import annotations

import pytest

from xplain import api


def test_the_list_has_every_method_in_lines_of_eighty_letters(xplain):
    ran = xplain("methods")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert max(map(len, lines)) <= 80
    named = [line.split() for line in lines if line.startswith("  ")]
    assert {words[0] for words in named} == {entry.name for entry in api.methods()}
    asked = {words[0]: words[1] for words in named}
    assert asked["rise"] == "S"
    assert asked["grad-cam"] == "G"
    assert asked["score-cam"] == "SL"
    assert next(words for words in named if words[0] == "rise")[2] == "±"


def test_the_list_as_json(xplain):
    found = {one["name"]: one for one in xplain("methods", "--json").document["methods"]}
    assert set(found) == {entry.name for entry in api.methods()}
    rise = found["rise"]
    assert rise["needs"] == ["Score"]
    assert rise["sampled"] is True
    assert rise["options"][0] == {
        "name": "samples",
        "flag": "--samples",
        "accepts": "a whole number of at least 1, at most 1,000,000",
        "default": 4000,
        "doc": rise["options"][0]["doc"],
    }


@pytest.mark.parametrize("name", ["occlusion", "Occlusion", "sliding_window"])
def test_the_page_of_one_method(xplain, name):
    ran = xplain("methods", name)
    assert ran.out.startswith("occlusion: perturbation, asks Score")
    assert "also called sliding-window" in ran.out
    for section in ("Args:", "Returns:", "Cost:", "Source:"):
        assert section in ran.out
    assert "--patch" in ran.out
    document = xplain("methods", name, "--json").document
    assert document["name"] == "occlusion"
    assert "Zeiler" in document["documentation"]


def test_an_unknown_method(xplain):
    ran = xplain("methods", "oclusion")
    assert ran.code == 2
    assert "Unknown method 'oclusion'. Did you mean 'occlusion'" in ran.err
