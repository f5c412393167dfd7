"""``xplain check``: the preprocessing gate."""

from __future__ import annotations

import re

import pytest
from cli.tiny import write_model, write_picture


@pytest.fixture
def labelled(tmp_path):
    """A folder per label: six bright pictures and six dark ones."""
    folder = tmp_path / "labelled"
    for label, bright in (("bright", True), ("dark", False)):
        (folder / label).mkdir(parents=True)
        for n in range(6):
            write_picture(folder / label / f"{n}.png", bright)
    return folder


def test_a_card_that_fits(xplain, model, labelled):
    ran = xplain("check", model, "--labelled", labelled, "--json")
    document = ran.document
    assert ran.code == 0, ran.err
    assert (document["top1"], document["top5"], document["findings"]) == (1.0, 1.0, [])
    assert len(document["pictures"]) == 12
    assert document["pictures"][0]["rank"] == 1
    assert "No finding" in xplain("check", model, "--labelled", labelled).out


def test_a_card_that_does_not_fit_is_a_finding_and_names_a_better_one(xplain, model, labelled, tmp_path):
    card = tmp_path / "dark.toml"  # everything becomes black
    card.write_text('resize = [16, 16]\nscale = 1e-6\nlabels = ["bright", "dark", "other"]\n')
    ran = xplain("check", model, "--labelled", labelled, "--card", card)
    assert ran.code == 1
    assert re.search(r"Finding: Preprocessing '\S+' is right on 12 of 12 pictures, this one on 6", ran.out)
    strict = xplain("check", model, "--labelled", labelled, "--card", card, "--at-least", 0.9, "--json")
    assert len(strict.document["findings"]) == 2
    assert "6 of 12 pictures, below --at-least 0.9" in strict.document["findings"][0]


@pytest.mark.parametrize(("name", "separator"), [("labels.csv", ","), ("labels.tsv", "\t")])
@pytest.mark.parametrize("head", [True, False])
def test_a_table_of_labels(xplain, model, pictures, name, separator, head):
    rows = [("file", "label")] * head + [("a.png", "bright"), ("b.png", "1"), ("c.png", "dark")]
    (pictures / name).write_text("".join(separator.join(row) + "\n" for row in rows))
    document = xplain("check", model, "--labelled", pictures, "--json").document
    assert [one["rank"] for one in document["pictures"]] == [1, 1, 3]
    assert document["top1"] == pytest.approx(2 / 3)


def test_a_picture_that_cannot_be_read_makes_it_partial(xplain, model, labelled):
    (labelled / "dark" / "broken.png").write_bytes(b"no picture")
    ran = xplain("check", model, "--labelled", labelled, "--json")
    assert ran.code == 4
    assert ran.document["failures"][0]["picture"].endswith("broken.png")
    assert ran.document["top1"] == 1.0


def test_no_picture_can_be_read(xplain, model, tmp_path):
    (tmp_path / "l" / "dark").mkdir(parents=True)
    (tmp_path / "l" / "dark" / "broken.png").write_bytes(b"no picture")
    ran = xplain("check", model, "--labelled", tmp_path / "l")
    assert ran.code == 2
    assert "None of the 1 pictures can be used" in ran.err


def test_an_unknown_label_names_the_nearest(xplain, model, pictures):
    (pictures / "labels.csv").write_text("a.png,brigth\n")
    ran = xplain("check", model, "--labelled", pictures)
    assert ran.code == 2
    assert "Unknown label 'brigth'. Did you mean 'bright'" in ran.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.png\n", r"line 1: 1 cell; accepted: two"),
        ("file,label\nnone.png,dark\n", "None of the 1 pictures can be used: There is no picture"),
        ("file,label\n", "names no picture"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
    ],
)
def test_tables_that_cannot_be_understood(xplain, model, pictures, content, message):
    (pictures / "labels.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    ran = xplain("check", model, "--labelled", pictures)
    assert ran.code == 2
    assert message in ran.err


def test_a_folder_without_labels(xplain, model, pictures, tmp_path):
    ran = xplain("check", model, "--labelled", pictures)
    assert "holds neither labels.csv nor labels.tsv" in ran.err
    ran = xplain("check", model, "--labelled", tmp_path / "nowhere")
    assert "is not a folder" in ran.err


def test_options_out_of_range(xplain, model, labelled):
    assert "accepted: at least 1, and a share" in xplain("check", model, "--labelled", labelled, "--at-least", 1.5).err
    assert xplain("check", model, "--labelled", labelled, "--top", 0).code == 2


def test_a_model_without_a_card(xplain, labelled, tmp_path):
    bare = write_model(tmp_path / "bare.onnx", card=False)
    ran = xplain("check", bare, "--labelled", labelled)
    assert ran.code == 2
    assert "has no preprocessing card" in ran.err


def test_names_for_a_card_without_labels(xplain, labelled, tmp_path):
    bare = write_model(tmp_path / "bare.onnx", card=False)
    ran = xplain("check", bare, "--labelled", labelled, "--card", "imagenet")
    assert ran.code == 2
    assert "0.png is labelled 'bright', but no labels are known for" in ran.err


def test_answers_are_remembered_and_evaluations_limited(xplain, model, labelled, tmp_path):
    words = ("check", model, "--labelled", labelled)
    refused = xplain(*words, "--max-queries", 20)
    assert refused.code == 2
    assert re.search(
        r"12 pictures with this card and (\d+) others take \d+ evaluations, above --max-queries 20", refused.err
    )
    first = xplain(*words, "--cache", tmp_path / "answers", "--json")
    again = xplain(*words, "--cache", tmp_path / "answers", "--batch-size", 2, "--json")
    assert again.document == first.document
    assert any((tmp_path / "answers").iterdir())


def test_every_file_is_decoded_once_whatever_the_number_of_cards(xplain, model, labelled, monkeypatch):
    from xplain.render import pictures as reader

    honest, read = reader.read, []
    monkeypatch.setattr(reader, "read", lambda source, *rest: read.append(source) or honest(source, *rest))
    document = xplain("check", model, "--labelled", labelled, "--json").document
    assert len(document["others"]) > 2
    assert len([source for source in read if isinstance(source, str)]) == 12
