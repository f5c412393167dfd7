"""What is known of a picture: which item a name means, where boxes and masks land, and what is not guessed."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest
from PIL import Image

from xplain.core.card import Card
from xplain.core.errors import UsageError
from xplain.render.extents import extent_of
from xplain.render.geometry import Frame
from xplain.render.pictures import read
from xplain.session.truths.known import boxed, unrolled
from xplain.session.truths.masks import mask_of, masked
from xplain.session.truths.names import Names
from xplain.session.truths.reading import truths_of


def test_a_crop_moves_boxes_and_masks_alike():
    """The one function that maps pixels to positions, against every position's middle walked by hand."""
    card = Card(resize_short=20, crop=(16, 12))
    frame = Frame.of(card, 30, 45)  # becomes 20 x 30, of which 16 x 12 in the middle are seen
    box = (6.0, 15.0, 21.0, 30.0)
    mask = np.zeros((30, 45), bool)
    mask[6:21, 15:30] = True
    by_hand = np.zeros((16, 12), bool)
    for y in range(16):
        for x in range(12):
            row, column = (y + 0.5 + 2) * 30 / 20, (x + 0.5 + 9) * 45 / 30
            by_hand[y, x] = 6 <= row < 21 and 15 <= column < 30
    assert (frame.inside([box], (16, 12)) == by_hand).all()
    assert (frame.sampled(mask, (16, 12)) == by_hand).all()
    y0, x0, y1, x1 = frame.to_seen((6, 15, 21, 30))
    assert by_hand[max(0, y0) : y1, max(0, x0) : x1].all()
    assert by_hand.sum() == (y1 - max(0, y0)) * (x1 - max(0, x0))


def test_what_a_card_pads_is_in_no_box():
    frame = Frame.of(Card(crop=(8, 8)), 4, 4)
    inside = frame.inside([(0, 0, 100, 100)], (8, 8))
    assert inside[2:6, 2:6].all()
    assert inside.sum() == 16
    assert frame.sampled(np.ones((4, 4), bool), (8, 8)).sum() == 16


@pytest.mark.parametrize("shape", [(5,), (4, 6), (2, 3, 4)])
def test_a_mask_comes_back_from_its_runs(shape):
    rng = np.random.default_rng(1)
    for mask in (rng.random(shape) < 0.5, np.ones(shape, bool), np.zeros(shape, bool)):
        known = masked(mask)
        assert (unrolled(known.shape, known.runs) == mask).all()
        assert known.empty == (not mask.any())


def test_names_mean_the_item_that_is_called_so():
    known = Names(["a/1.jpg", "b/1.jpg", "b/2.jpg", "c/3.jpg", "c/3.png", "Köln.jpg", "twice.jpg", "./twice.jpg"])
    for name, wanted in (("a/1.jpg", (0,)), ("./b//1.jpg", (1,)), ("2.jpg", (2,)), ("x/../b/2.jpg", (2,))):
        assert known.of(name) == wanted
    assert known.of("photos/b/1.jpg") == (1,)  # of a path, as much of its end as names an item
    for strange in ("", ".", "/", "9.jpg", "photos/z/1.jpg", "z/2.jpg", "\0"):
        assert known.of(strange) == ()
    assert known.of(unicodedata.normalize("NFD", "Köln.jpg")) == (5,)
    assert known.of("twice.jpg") == (6, 7)  # one picture given twice
    assert [known.of_file(one) for one in ("a/1.png", "2.xml", "c/3.png.png", ".")] == [(0,), (2,), (4,), ()]
    with pytest.raises(UsageError, match=r"'1.jpg' may mean 'a/1.jpg' or 'b/1.jpg'. Write as much of the path"):
        known.of("1.jpg")
    with pytest.raises(UsageError, match=r"'c/3.npy' may mean 'c/3.jpg' or 'c/3.png'"):
        known.of_file("c/3.npy")


@pytest.mark.parametrize("names", [["", ".", "/"], ["\0", "a.png", "b.png"]])
def test_items_whose_names_name_nothing_are_compared_with_nothing(names):
    found = truths_of({"a.png": [(0, 0, 2, 3)]}, names)
    assert sorted(found.entries) == ([1] if "a.png" in names else [])
    with pytest.raises(UsageError, match="no items that anything could be known of"):
        truths_of({"a.png": [(0, 0, 2, 3)]}, [])


def test_two_pictures_of_one_name_are_not_taken_for_each_other(tmp_path):
    """cat/1.jpg and dog/1.jpg: neither are their boxes put together, nor does one stand for the other."""
    (tmp_path / "boxes.csv").write_text("file,y0,x0,y1,x1\ncat/1.jpg,0,0,2,2\ndog/1.jpg,5,5,8,8\n")
    found = truths_of(tmp_path / "boxes.csv", ["all/dog/1.jpg", "all/cat/1.jpg"])
    assert [found.of(k).boxes.tolist() for k in (0, 1)] == [[[5, 5, 8, 8]], [[0, 0, 2, 2]]]
    only = truths_of(tmp_path / "boxes.csv", ["all/cat/1.jpg"])
    assert only.of(0).boxes.tolist() == [[0, 0, 2, 2]]
    assert list(only.told()) == ["1 name of what is known is no item's, such as 'dog/1.jpg'."]
    with pytest.raises(UsageError, match="'cat/1.jpg' and 'dog/1.jpg' both mean item '1.jpg'"):
        truths_of(tmp_path / "boxes.csv", ["1.jpg"])
    with pytest.raises(
        UsageError, match=r"names none of the 1 pictures.*'cat/1.jpg' and 'owl/1.jpg' end alike and lie"
    ):
        truths_of(tmp_path / "boxes.csv", ["owl/1.jpg"])


def test_a_second_mask_of_an_item_is_not_lost():
    mask = np.eye(4, dtype=bool)
    with pytest.raises(UsageError, match=r"'a.png' and './a.png' both mean item 'a.png'"):
        truths_of({"a.png": mask, "./a.png": ~mask}, ["a.png"])


def coco(path, images, annotations, categories=()):
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": list(categories)}))
    return path


def test_pictures_of_crowds_alone_are_not_said_to_be_empty(tmp_path):
    images = [{"id": k, "file_name": f"{k}.jpg"} for k in range(4)]
    annotations = [
        {"image_id": 0, "iscrowd": 1, "bbox": [0, 0, 5, 5]},
        {"image_id": 1, "bbox": [3, 3, 0, 5]},
        {"image_id": 2, "segmentation": [[1, 2, 6, 2, 6, 9], [0, 4, 1, 4, 1, 5]]},
    ]
    found = truths_of(coco(tmp_path / "c.json", images, annotations), [f"{k}.jpg" for k in range(4)])
    assert found.of(0) is found.of(1) is None
    assert found.of(2).boxes.tolist() == [[2, 0, 9, 6]]
    assert found.of(3).empty


@pytest.mark.parametrize(
    ("images", "annotations", "said"),
    [
        ([(1, "a"), (1, "b")], [], "two pictures with id 1"),
        ([(1, "a"), (2, "a")], [], "two pictures with file_name 'a'"),
        ([(1, "a")], [{"image_id": 1, "id": 9}], "annotation 9 has no bbox, and no outline"),
        ([(1, "a")], [{"image_id": 1, "id": 9, "segmentation": {"counts": "abc"}}], "annotation 9 has no bbox"),
        (
            [(1, "a")],
            [{"image_id": 1, "id": 9, "segmentation": [[1, 2, 9]]}],
            "annotation 9 .*outline that is none",
        ),
        ([(1, "a")], [{"image_id": 1, "id": 9, "segmentation": [[]]}], "annotation 9 .* an outline that is none"),
        ([(1, "a")], [{"image_id": "1", "id": 9, "bbox": [0, 0, 5, 5]}], "annotation 9 is of image_id '1', and no"),
        ([(1, "a")], [{"image_id": 1, "bbox": [0, 0, 10**400, 5]}], "is no COCO file"),
        ([(1, "a")], [{"image_id": 1, "bbox": [0.1, 0.1, 0.5, 0.5]}], "t.json: .*reads as shares of the picture"),
    ],
)
def test_annotation_files_that_contradict_themselves_are_refused(images, annotations, said, tmp_path):
    listed = [{"id": key, "file_name": name} for key, name in images]
    with pytest.raises(UsageError, match=said):
        truths_of(coco(tmp_path / "t.json", listed, annotations), ["a", "b"])


def test_two_categories_of_one_number_are_refused(tmp_path):
    raw = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]}
    (tmp_path / "c.json").write_text(json.dumps(raw))
    with pytest.raises(UsageError, match="two categories with id 1"):
        truths_of(tmp_path / "c.json", ["a"])


@pytest.mark.parametrize("height", [float("inf"), 10**400, "tall", None, -3], ids=lambda one: str(one)[:5])
def test_sizes_that_are_none_are_left_out(height, tmp_path):
    images = [{"id": 1, "file_name": "a", "height": height, "width": 4}]
    path = coco(tmp_path / "c.json", images, [{"image_id": 1, "bbox": [0, 0, 2, 2]}])
    assert truths_of(path, ["a"]).of(0).size is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<svg><rect/></svg>", "its root is 'svg', not 'annotation'"),
        ("<annotation><object><name>cat</name><polygon/></object></annotation>", "object 'cat' has no bndbox"),
    ],
)
def test_xml_that_is_not_of_pascal_voc_does_not_say_that_nothing_is_there(text, said, tmp_path):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(UsageError, match=said):
        truths_of(tmp_path, ["a.jpg"]).of(0)


def test_columns_of_a_table_are_what_they_are_called(tmp_path):
    """As TensorFlow's object detection writes them: width and height of the picture, and a class called ``name``."""
    text = (
        "name,height,width,filename,xmin,ymin,xmax,ymax,class\nx,40,60,a.jpg,1,2,30,20,cat\nx,40,60,a.jpg,0,0,9,9,dog"
    )
    (tmp_path / "t.csv").write_text(text)
    one = truths_of(tmp_path / "t.csv", ["a.jpg", "x"]).of(0)
    assert (one.boxes.tolist(), one.labels, one.size) == ([[2, 1, 20, 30], [0, 0, 9, 9]], ("cat", "dog"), (40, 60))
    (tmp_path / "t.csv").write_text(text.replace("40,60", "40.0,60.0"))  # as a column with gaps is written
    assert truths_of(tmp_path / "t.csv", ["a.jpg", "x"]).of(0).size == (40, 60)
    for wrong, said in (
        ("file,y0,x0,y1,x1\na.jpg,0.1,0.2,0.7,1", "reads as shares of the picture"),
        ("file,y0,x0,y1,x1,x1\na.jpg,0,0,7,1,2", "two columns called 'x1'"),
        (text.replace("40,60,a.jpg,0", "tall,60,a.jpg,0"), "line 3: the picture's height is 'tall' and its width '60'"),
        (text.replace("40,60,a.jpg,0", ",60,a.jpg,0"), "accepted: both as whole numbers of pixels, or neither"),
        (text.replace("40,60,a.jpg,0", "inf,60,a.jpg,0"), "the picture's height is 'inf'"),
        (text.replace("40,60,a.jpg,0", "41,60,a.jpg,0"), "stated to be 40 x 60 and 41 x 60 pixels"),
    ):
        (tmp_path / "t.csv").write_text(wrong)
        with pytest.raises(UsageError, match=said):
            truths_of(tmp_path / "t.csv", ["a.jpg"])


def picture(path, pixels, mode=None, palette=None):
    made = Image.fromarray(np.asarray(pixels, np.uint8), mode)
    if palette is not None:
        made.putpalette(palette)
    made.save(path)
    return path


def test_what_a_mask_says_is_not_judged_or_not_there_is_outside(tmp_path):
    row = np.zeros((2, 4), np.uint8)
    row[0] = [0, 1, 2, 255]
    colours = [0] * 768
    colours[3:9], colours[765:] = [200, 0, 0, 0, 200, 0], [224, 224, 192]  # Pascal VOC's border is cream
    found = mask_of(picture(tmp_path / "p.png", row, "P", colours))
    assert unrolled(found.shape, found.runs)[0].tolist() == [False, True, True, False]
    alone = mask_of(picture(tmp_path / "q.png", np.where(row == 255, 255, 0), "P", colours))
    assert unrolled(alone.shape, alone.runs)[0].tolist() == [False, False, False, True]  # it is all that there is
    layers = np.zeros((2, 4, 4), np.uint8)
    layers[0] = [(255, 255, 255, 255), (255, 255, 255, 0), (0, 0, 0, 255), (9, 0, 0, 3)]
    drawn = mask_of(picture(tmp_path / "a.png", layers))
    assert unrolled(drawn.shape, drawn.runs)[0].tolist() == [True, False, False, True]
    layers[..., :3] = 0
    with pytest.raises(UsageError, match="black wherever it is not transparent, and two readings fit"):
        mask_of(picture(tmp_path / "b.png", layers))
    with pytest.raises(UsageError, match="holds 255 beside 2, and two readings fit") as asked:
        mask_of(picture(tmp_path / "l.png", row))
    assert "damaged" not in str(asked.value)  # nothing is wrong with the file


@pytest.mark.parametrize(
    ("values", "inside"),
    [
        ([0, 255, 255, 0], [False, True, True, False]),
        ([0, 1, 2, 0], [False, True, True, False]),
        ([0, 253, 254, 255], [False, True, True, True]),  # a grey mask
        ([0.0, 0.5, 1.0, 0.0], [False, True, True, False]),
        ([0, 1, -1, 0], "holds -1, and it is not known whether that is inside"),
        ([0, 1, 255, 0], "255 beside 1, and two readings fit"),
    ],
)
def test_numbers_of_a_mask_are_inside_outside_or_asked(values, inside):
    if isinstance(inside, str):
        with pytest.raises(UsageError, match=inside):
            masked(np.array([values]))
    else:
        found = masked(np.array([values]))
        assert unrolled(found.shape, found.runs)[0].tolist() == inside


def test_turned_photographs_are_measured_as_they_are_looked_at(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    content = (tmp_path / "turned.jpg").read_bytes()
    assert extent_of(content) == read(content).shape[:2] == (30, 20)


def test_truths_of_arrays_are_not_guessed():
    with pytest.raises(UsageError, match="may be boxes or a mask"):
        truths_of([np.array([[0, 0, 1, 1]])], ["a"])
    assert (truths_of([np.array([[0, 0, 2, 3.0]])], ["a"]).of(0).boxes == [[0, 0, 2, 3]]).all()
    assert boxed([(0, 0, 1, 1)]).labels == ("",)
