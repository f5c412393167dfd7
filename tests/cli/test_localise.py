"""``xplain localise``: boxes around the known cause, true boxes, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from cli.tiny import CAUSE, SIDE, write_picture
from PIL import Image

from xplain.core.card import Card
from xplain.metrics.localisation import mask_iou
from xplain.render import prepare
from xplain.render.geometry import Frame

PLAIN = ("--target", "bright", "--smooth", 0)
METHOD = ("--method", "input-x-gradient", *PLAIN)
BOX = (CAUSE[0].start, CAUSE[1].start, CAUSE[0].stop, CAUSE[1].stop)


def truth(folder, *rows, head="file,y0,x0,y1,x1"):
    path = folder / "boxes.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_the_box_is_around_the_cause(xplain, model, pictures, tmp_path):
    table = truth(tmp_path, "a.png,4,8,8,12", "c.png,4,8,8,10", "c.png,0,0,2,2", "elsewhere.png,1,1,2,2")
    ran = xplain("localise", model, pictures, *METHOD, "--truth", table, "--out", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    document = ran.document
    assert [tuple(one["box"]) for one in document["pictures"]] == [BOX] * 3
    assert [one.get("iou") for one in document["pictures"]] == [1.0, None, 0.5]
    told = document["truth"].pop("told")
    assert document["truth"] == {"pictures": 2, "at_least": 0.5, "error": 0.0, "mean iou": 0.75}
    assert told[0] == "1 name of what is known is no item's, such as 'elsewhere.png'."
    assert re.fullmatch("Of 1 picture nothing is stated, such as .*b.png: not compared.", told[1])
    assert all(one in ran.err for one in told)
    names = document["pictures"][0]["files"]
    mask = np.asarray(Image.open(tmp_path / "out" / names["mask"]))
    assert mask.shape == (SIDE, SIDE, 3)
    assert (mask[CAUSE] == 255).all()
    assert mask.sum() == 255 * mask[CAUSE].size
    drawn = np.asarray(Image.open(tmp_path / "out" / names["png"])).reshape(-1, 3)
    assert (drawn == (0, 200, 90)).all(axis=1).any()  # the true box lies on the found one
    alone = np.asarray(Image.open(tmp_path / "out" / document["pictures"][1]["files"]["png"])).reshape(-1, 3)
    assert (alone == (255, 210, 0)).all(axis=1).any()


def test_boxes_of_the_explained_class_count_and_what_reaches_beyond_is_cut(xplain, model, pictures, tmp_path):
    rows = ("a.png,4,8,8,12,bright", "a.png,0,0,16,16,dark", "b.png,0,0,4,4,dark", "c.png,4,8,8,99,bright")
    table = truth(tmp_path, *rows, head="file,y0,x0,y1,x1,label")
    ran = xplain("localise", model, pictures, *METHOD, "--truth", table, "--out", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    assert [one.get("truth") for one in ran.document["pictures"]] == [[[4, 8, 8, 12]], None, [[4, 8, 8, 16]]]
    assert [one.get("iou") for one in ran.document["pictures"]] == [1.0, None, 0.5]
    assert re.search("Of 1 picture only other classes than the explained one are stated, such as of .*b.png", ran.err)
    assert re.search("Of 1 picture a box reaches beyond the picture and is cut, such as .*c.png", ran.err)


@pytest.mark.parametrize("verb", ["localise", "measure"])
def test_truth_of_another_picture_is_refused(verb, xplain, model, pictures, tmp_path):
    rows = ("a.png,90,90,99,99", "b.png,4,8,8,12")
    words = METHOD if verb == "localise" else (*METHOD[:4], "--metric", "pointing-game")
    ran = xplain(verb, model, pictures, *words, "--truth", truth(tmp_path, *rows), "--out", tmp_path / "out")
    assert ran.code == 4  # the others are done
    assert re.search(r"a.png is 16 x 16, and its box \[90.*\] .* lies outside", ran.err)


def test_a_stricter_bar_makes_an_error(xplain, model, pictures, tmp_path):
    table = truth(tmp_path, "c.png,8,4,10,8", head="Filename,xmin,ymin,xmax,ymax")
    ran = xplain("localise", model, pictures, *METHOD, "--truth", table, "--at-least", 0.6, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "c.png: bright at y 4 to 8, x 8 to 12, IoU 0.50" in ran.out
    assert "Localisation error 100.0% of 1 picture with true boxes (IoU at least 0.6); mean IoU 0.50." in ran.out


def test_maps_of_pixels_are_evened_out_and_maps_of_cells_are_not(xplain, model, pictures, tmp_path):
    """A box of 4 pixels in 16 grows by the Gaussian's foot, and what was done is told."""
    boxes = {}
    for method, smooth in (("saliency", 0.05), ("occlusion", 0.0)):
        words = ("--method", method, *(("--patch", 4, "--stride", 4) if method == "occlusion" else ()))
        ran = xplain("localise", model, pictures, *words, "--target", "bright", "--out", tmp_path / method, "--json")
        assert ran.code == 0, ran.err
        assert [one["smooth"] for one in ran.document["pictures"]] == [smooth] * 3
        boxes[method] = tuple(ran.document["pictures"][0]["box"])
    assert boxes["occlusion"] == BOX
    assert boxes["saliency"] == tuple(edge + (-1 if k < 2 else 1) for k, edge in enumerate(BOX))


def test_a_gradient_finds_the_owl(xplain, real_models, tmp_path):
    """Not a corner of the picture: the box was drawn by hand around the bird."""
    owl = real_models / "images/coral_owl.jpg"
    table = truth(tmp_path, "coral_owl.jpg,0,160,360,345")
    net = real_models / "imagenet/mobilenetv2_imagenet1001_fp32.onnx"
    words = ("--card", "imagenet-pm1", "--method", "saliency", "--truth", table, "--out", tmp_path / "out", "--json")
    ran = xplain("localise", net, owl, *words)
    assert ran.code == 0, ran.err
    assert ran.document["pictures"][0]["iou"] > 0.6
    (told,) = ran.document["truth"]["told"]  # the crop begins at row 24
    assert told.startswith("Of 1 picture a true box reaches beyond what the model sees, such as of")


def test_nothing_that_argues_for_the_target_is_no_box(xplain, model, tmp_path):
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "black.png")
    table = truth(tmp_path, "black.png,0,0,4,4")
    words = ("localise", model, tmp_path / "black.png", *METHOD, "--truth", table, "--out", tmp_path / "out")
    document = xplain(*words, "--json").document
    assert document["pictures"][0]["box"] is None
    assert "Nothing in the map is positive" in document["pictures"][0]["why"]
    assert document["truth"]["error"] == 1.0


def test_segmenting_by_colour(xplain, model, tmp_path):
    pytest.importorskip("cv2")
    pixels = np.full((SIDE, SIDE, 3), 40, np.uint8)
    pixels[2:10, 6:14] = 250  # the object is larger than the part that the model reads
    Image.fromarray(pixels).save(tmp_path / "object.png")
    words = ("--method", "occlusion", "--patch", 8, "--stride", 4, "--target", "bright", "--out", tmp_path / "out")
    fits = []
    for more in ((), ("--segment",)):
        ran = xplain("localise", model, tmp_path / "object.png", *words, *more, "--json")
        assert ran.code == 0, ran.err
        mask = Image.open(tmp_path / "out" / ran.document["pictures"][0]["files"]["mask"])
        fits.append(mask_iou(np.asarray(mask)[..., 0] > 0, pixels[..., 0] > 100))
    plain, segmented = fits
    assert segmented > plain + 0.1
    assert segmented > 0.6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--share", 0), "--share is 0.0"),
        (("--at-least", 2), "accepted: above 0, up to 1"),
        (("--truth", "absent.csv"), "absent.csv cannot be read"),
        (("--target", "top2"), "Boxes need one target per picture"),
        (("--method", "saliency", "--channels", "true"), "one map \\[H, W\\]"),
        (("--smooth", 2), "--smooth is 2.0; accepted: 0 for none"),
    ],
)
def test_what_is_refused(xplain, model, pictures, tmp_path, words, message):
    stated = [*zip(METHOD[::2], METHOD[1::2], strict=True)]
    rest = (
        () if "--method" in words else [word for flag, value in stated if flag not in words for word in (flag, value)]
    )
    ran = xplain("localise", model, pictures, *rest, *words, "--out", tmp_path / "out")
    assert ran.code == 2
    assert re.search(message, ran.err), ran.err


@pytest.mark.parametrize(
    ("head", "row", "message"),
    [
        ("file,y0,x0,y1", "a.png,1,2,3", "has no column x1 in its first line; accepted: a header"),
        ("file,y0,x0,y1,x1", "a.png,1,two,3,4", "line 2: four numbers of pixels are needed"),
        ("file,y0,x0,y1,x1", "a.png,5,5,5,9", "line 2: the box is y 5 to 5, x 5 to 9"),
        ("file,y0,x0,y1,x1", "z.png,5,5,6,9", "names none of the 3 pictures"),
    ],
)
def test_tables_that_are_refused(xplain, model, pictures, tmp_path, head, row, message):
    table = truth(tmp_path, row, head=head)
    ran = xplain("localise", model, pictures, *METHOD, "--truth", table, "--out", tmp_path / "out")
    assert (ran.code, message in ran.err) == (2, True), ran.err


@pytest.mark.parametrize(
    "card",
    [
        Card(resize_short=32, crop=(24, 24)),
        Card(resize=(20, 30), crop=(40, 28)),
        Card(),
    ],
)
@pytest.mark.parametrize("size", [(60, 90), (91, 47)])
def test_the_frame_follows_a_mark_through_the_card(card, size):
    """A white block in the picture is found again in the tensor where the frame says."""
    box = (18, 17, 38, 33)
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[box[0] : box[2], box[1] : box[3]] = 255
    seen = prepare(card, pixels)[1][..., 0] > 127
    frame = Frame.of(card, *size)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    found = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
    expected = [min(max(edge, 0), seen.shape[k % 2]) for k, edge in enumerate(frame.to_seen(box))]
    assert np.abs(np.subtract(found, expected)).max() <= 1
    inside = [edge for k, edge in enumerate(frame.to_seen(box)) if 0 <= edge <= seen.shape[k % 2]]
    if len(inside) == 4:
        assert np.abs(np.subtract(frame.to_picture(frame.to_seen(box)), box)).max() <= 1 + 1 / min(frame.scale)


def test_a_picture_larger_than_the_model_sees(xplain, model, tmp_path):
    """The truth is told in the file's pixels, and so is the box."""
    write_picture(tmp_path / "small.png")
    with Image.open(tmp_path / "small.png") as small:
        small.resize((4 * SIDE, 3 * SIDE), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    words = ("localise", model, tmp_path / "large.png", *METHOD, "--share", 0.5, "--out", tmp_path / "out", "--json")
    assert xplain(*words).document["pictures"][0]["box"] == [3 * BOX[0], 4 * BOX[1], 3 * BOX[2], 4 * BOX[3]]


def test_what_it_may_cost_is_said_as_in_explain(xplain, model, pictures, tmp_path):
    words = (
        "localise",
        model,
        pictures,
        "--method",
        "occlusion",
        "--patch",
        4,
        "--stride",
        4,
        "--out",
        tmp_path / "out",
    )
    refused = xplain(*words, "--max-queries", 6)
    assert refused.code == 2
    assert "--max-queries" in refused.err
    assert not (tmp_path / "out").exists()
    first = xplain(*words, "--cache", tmp_path / "answers", "--json")
    again = xplain(*words, "--cache", tmp_path / "answers", "--json")
    told = [[{k: v for k, v in one.items() if k != "notes"} for one in r.document["pictures"]] for r in (again, first)]
    assert told[0] == told[1]
    assert any((tmp_path / "answers").iterdir())


def test_each_picture_is_opened_once(xplain, model, tmp_path, monkeypatch):
    """The size of the file, which its boxes are told in, is known from reading it."""
    from xplain.render import pictures as reading

    folder, opened, real = tmp_path / "large", [], reading._from_file
    folder.mkdir()
    for name in "ab":
        pixels = np.full((3 * SIDE, 5 * SIDE, 3), 40, np.uint8)
        pixels[3 * CAUSE[0].start : 3 * CAUSE[0].stop, 5 * CAUSE[1].start : 5 * CAUSE[1].stop] = 250
        Image.fromarray(pixels).save(folder / f"{name}.png")
    monkeypatch.setattr(reading, "_from_file", lambda source, *rest: opened.append(source) or real(source, *rest))
    ran = xplain("localise", model, folder, *METHOD, "--out", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    assert [one["box"] for one in ran.document["pictures"]] == [[12, 40, 24, 60]] * 2
    assert len(opened) == 2
