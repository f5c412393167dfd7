"""``xplain explain MODEL left=a.png right=b.png``: which file goes to which input, cards, and what is written."""

from __future__ import annotations

import nets
import numpy as np
import onnx
import pytest
from PIL import Image

import xplain as library
from tests.targets.heads import HEADS
from xplain.core.errors import ItemError
from xplain.results.attribution import Attribution


@pytest.fixture
def pair(tmp_path):
    """A model of two pictures, and folders with two pictures of each side."""
    onnx.save(HEADS["siamese"](), tmp_path / "pair.onnx")
    rng = np.random.default_rng(3)
    for side, names in (("lefts", "ab"), ("rights", "cd")):
        (tmp_path / side).mkdir()
        for name in names:
            pixels = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / side / f"{name}.png")
    return tmp_path


def asked(xplain, folder, *words, out="out"):
    return xplain("explain", folder / "pair.onnx", *words, "--out", folder / out, "--json")


def test_a_file_for_each_input(xplain, pair):
    items = (f"left={pair}/lefts/a.png", f"right={pair}/rights/d.png")
    ran = asked(xplain, pair, *items, "--card", "unit", "-m", "kernel-shap,saliency", "--features", "inputs:cells=2")
    assert ran.code == 0, ran.err
    (item,) = ran.document["pictures"]
    assert item["picture"] == "a.png + d.png"
    assert [one["method"] for one in item["explanations"]] == ["kernel-shap", "saliency"]
    found = Attribution.load(pair / "out" / item["explanations"][0]["files"]["npz"])
    parts = found.by_input()
    assert list(parts) == ["left", "right"]
    assert all(len(np.unique(one.values)) <= 4 for one in parts.values())
    np.testing.assert_allclose(
        found.scores - found.base, sum(np.unique(one.values).sum() for one in parts.values()), atol=1e-4
    )
    with Image.open(pair / "out" / item["explanations"][0]["files"]["png"]) as drawn:
        assert drawn.width > 450, "two maps stand beside each other"
    assert "a.png + d.png" in (pair / "out" / "index.html").read_text()


def test_folders_go_pair_by_pair_with_a_card_each(xplain, pair):
    words = (f"left={pair}/lefts", f"right={pair}/rights/*.png", "--card", "left=unit,right=raw", "-m", "saliency")
    ran = asked(xplain, pair, *words)
    assert ran.code == 0, ran.err
    assert [one["picture"] for one in ran.document["pictures"]] == ["a.png + c.png", "b.png + d.png"]
    ran = asked(xplain, pair, *words, "--dry-run", out="none")
    assert (ran.document["pictures"], ran.document["sweeps"]) == (2, 2)
    (pair / "lefts" / "a.png").write_bytes(b"no picture")
    ran = asked(xplain, pair, *words, out="part")
    assert ran.code == 4  # some are there
    assert [one["picture"] for one in ran.document["failures"]] == ["a.png + c.png"]
    assert [one["picture"] for one in ran.document["pictures"]] == ["b.png + d.png"]


def test_arrays_numbers_and_rows_of_a_table(xplain, tmp_path):
    onnx.save(HEADS["picture_and_text"](), tmp_path / "pair.onnx")
    np.save(tmp_path / "pixels.npy", np.random.default_rng(0).random((2, 3, 16, 16)).astype(np.float32))
    np.save(tmp_path / "ids.npy", np.array([[1, 2, 3, 4], [5, 6, 7, 8]]))
    words = ("-m", "input-x-gradient")
    both = asked(xplain, tmp_path, f"pixel_values={tmp_path}/pixels.npy", f"input_ids={tmp_path}/ids.npy", *words)
    assert both.code == 0, both.err
    assert [one["picture"] for one in both.document["pictures"]] == ["item 0", "item 1"]
    np.save(tmp_path / "one.npy", np.load(tmp_path / "pixels.npy")[1])
    one = asked(xplain, tmp_path, f"pixel_values={tmp_path}/one.npy", "input_ids=5,6,7,8", *words, out="one")
    assert one.code == 0, one.err
    files = [(both, 1, "out"), (one, 0, "one")]
    same = [
        Attribution.load(tmp_path / out / ran.document["pictures"][k]["explanations"][0]["files"]["npz"])
        for ran, k, out in files
    ]
    np.testing.assert_array_equal(same[0].values, same[1].values)  # one has a companion, the other none

    onnx.save(nets.two_inputs(), tmp_path / "pair.onnx")
    (tmp_path / "rows.csv").write_text("height,width\n1.5,2\n")
    Image.new("L", (4, 4), 90).save(tmp_path / "p.png")
    ran = asked(
        xplain,
        tmp_path,
        f"picture={tmp_path}/p.png",
        f"extra={tmp_path}/rows.csv",
        *words,
        "--card",
        "grey",
        out="rows",
    )
    assert ran.code == 0, ran.err
    (item,) = ran.document["pictures"]
    columns = Attribution.load(tmp_path / "rows" / item["explanations"][0]["files"]["npz"]).by_input()["extra"].columns
    assert (columns.names, columns.values) == (("height", "width"), (("1.5", "2"),))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("left=L/a.png", "left=L/b.png", "right=R/c.png"), "Input 'left' is given twice"),
        (("left=L/a.png",), "Only input 'left' is given"),
        (("left=L/a.png", "R/c.png"), "does not. Write NAME=FILE for each"),
        (("left=L/a.png", "rigth=R/c.png"), "Did you mean 'right'?"),
        (("left=L", "right=R/c.png"), "different numbers of items (left 2, right 1)"),
        (("left=L/a.png", "right=R/none.png"), "none.png"),
        (("left=L/a.png", "right=R/notes.txt"), "is a text; of several inputs a text is explained as its token ids"),
        (("left=L/a.png", "right=R/words.csv"), "column 'b' of"),
        (("left=L/a.png", "right=R/c.png", "--card", "left=unit,middle=unit"), "Unknown input 'middle'"),
        (("left=L/a.png", "right=R/c.png", "--card", "left=unit,left=raw"), "gives input 'left' two cards"),
        (("left=L/a.png", "right=R/c.png", "--card", "left=,right=raw"), "accepted: one card, or INPUT=CARD"),
        (("left=L/a.png", "right=R/c.png", "--input", "left"), "--input is for a model that is explained on one"),
        (("left=L/a.png", "right=R/c.png", "--text", "so"), "--text is for a model of texts alone"),
        (("left=L/a.png", "right=R/c.png", "--columns", "a"), "--columns is for tables"),
        (("left=L/a.png", "right=R/c.png", "-m", "lrp", "--conservation"), "several inputs are told without"),
        (("left=L/a.png", "right=R/c.png", "-m", "rise"), "a row of 2 inputs"),
        (("left=L/a.png", "right=1,2,3"), "right"),
    ],
)
def test_what_cannot_be_meant_is_refused(xplain, pair, words, says):
    (pair / "rights" / "notes.txt").write_text("so good")
    (pair / "rights" / "words.csv").write_text("a,b\n1,x\n")
    given = [word.replace("=L", f"={pair}/lefts").replace("=R", f"={pair}/rights") for word in words]
    given = [word.replace("R/", f"{pair}/rights/") if word.startswith("R/") else word for word in given]
    ran = asked(xplain, pair, *(given if "--card" in given else [*given, "--card", "unit"]))
    assert ran.code == 2, ran.out
    assert says in ran.err
    assert not (pair / "out").exists() or not list((pair / "out").glob("*.png"))


def test_inspect_proposes_the_call_and_others_say_that_they_take_one_input(xplain, pair):
    ran = xplain("inspect", pair / "pair.onnx")
    assert ran.code == 0, ran.err
    assert "left=FILE.jpg right=FILE.jpg --card left=CARD,right=CARD" in ran.out
    ran = xplain("why-not", pair / "pair.onnx", f"left={pair}/lefts/a.png", 0)
    assert (ran.code, "why-not asks about one picture" in ran.err) == (2, True)


def test_methods_are_compared_input_by_input(xplain, pair):
    items = (f"left={pair}/lefts/a.png", f"right={pair}/rights/d.png", "--card", "unit")
    assert asked(xplain, pair, *items, "-m", "ablation,saliency,input-x-gradient").code == 0
    ran = xplain("compare", pair / "out", "--out", pair / "compared", "--json")
    assert ran.code == 0, ran.err
    assert [one["item"] for one in ran.document["items"]] == ["a.png + d.png: left", "a.png + d.png: right"]
    assert all((pair / "compared" / one["png"]).exists() for one in ran.document["items"])


def test_windows_of_one_picture_are_asked_of_it_alone_as_the_message_says(xplain, pair):
    items = (f"left={pair}/lefts/a.png", f"right={pair}/rights/c.png")
    ran = asked(xplain, pair, *items, "--card", "unit", "-m", "occlusion")
    assert ran.code == 2
    assert "Or explain one input alone: --input left with --fixed right=FILE.npy." in ran.err
    with Image.open(pair / "rights" / "c.png") as right:
        np.save(pair / "right.npy", np.asarray(right, np.float32).transpose(2, 0, 1)[None] / 255)
    alone = ("--input", "left", "--fixed", f"right={pair}/right.npy", "--card", "unit", "-m", "occlusion")
    ran = asked(xplain, pair, pair / "lefts" / "a.png", *alone, out="alone")
    assert ran.code == 0, ran.err
    (explained,) = ran.document["pictures"][0]["explanations"]
    assert explained["shape"] == [16, 16]


def test_a_card_of_another_size_is_named_with_its_input(xplain, pair):
    (pair / "small.toml").write_text("resize = [8, 8]\n")
    items = (f"left={pair}/lefts/a.png", f"right={pair}/rights/c.png", "-m", "saliency")
    ran = asked(xplain, pair, *items, "--card", f"left=unit,right={pair}/small.toml")
    assert ran.code == 2
    assert "Input 'right', prepared by card" in ran.err
    assert "small.toml" in ran.err
    (pair / "bands.toml").write_text('mode = "L"\nresize = [16, 16]\n')
    ran = asked(xplain, pair, *items, "--card", f"left=unit,right={pair}/bands.toml")
    assert ran.code == 2
    assert "Input 'right'" in ran.err
    assert "bands.toml" in ran.err


def test_words_among_several_inputs_are_given_as_their_ids_as_the_message_says(xplain, tmp_path):
    onnx.save(HEADS["picture_and_text"](), tmp_path / "pair.onnx")
    np.save(tmp_path / "pixels.npy", np.random.default_rng(0).random((1, 3, 16, 16)).astype(np.float32))
    (tmp_path / "review.txt").write_text("a good film")
    pixels = f"pixel_values={tmp_path}/pixels.npy"
    for words in ("a good film", "good", f"{tmp_path}/review.txt"):
        ran = asked(xplain, tmp_path, pixels, f"input_ids={words}", "-m", "input-x-gradient")
        assert ran.code == 2
        assert "a text is explained as its token ids. Give them as numbers (input_ids=101,2009,102)" in ran.err
    ran = asked(xplain, tmp_path, pixels, "input_ids=1,2,3,4", "-m", "input-x-gradient")
    assert ran.code == 0, ran.err
    model = library.joint(str(tmp_path / "pair.onnx"), ["pixel_values", "input_ids"])
    with pytest.raises(
        ItemError, match=r"'input_ids' of .*takes token ids, \[N, \d+\]: encode the text with its tokenizer"
    ):
        library.explain(model, (np.load(tmp_path / "pixels.npy"), ["a good film"]), "input-x-gradient")
