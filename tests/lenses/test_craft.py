"""CRAFT: planted patterns are the concepts, in the order of what they decide, with their crops."""

from __future__ import annotations

import nets
import numpy as np
import pytest
from onnx import helper
from PIL import Image

import xplain
from xplain.core.errors import CapabilityError, UsageError
from xplain.results import load

CARD = {"mode": "RGB", "labels": ["nothing", "flag"], "resize": [24, 24]}
SIDE, SQUARE = 24, 4
WEIGHTS = (3.0, 1.0, 0.0)
"""What class 1 makes of the mean of red, green and blue."""


def net(weights=WEIGHTS, joined=False, skip=False):
    """Two layers of colours, each rectified, then the mean over positions and a dense layer.

    The second layer is the colours once more or, ``joined``, what is red or green, and blue.
    """
    first = np.eye(3)[:, :, None, None]
    second = (np.array([[1, 1, 0], [0, 0, 1]]) if joined else np.eye(3))[:, :, None, None]
    dense = np.stack([np.zeros(len(second)), weights])
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["colours"]),
        helper.make_node("Relu", ["colours"], ["relu1"]),
        helper.make_node("Conv", ["relu1", "second"], ["joined"]),
        helper.make_node("Sub", ["joined", "one"], ["lower"]),  # below 0, and past the second rectifier
        helper.make_node("Relu", ["joined"], ["relu2"]),
        helper.make_node("Add", ["relu2", "lower"] if skip else ["relu2", "none"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense"], ["scores"], transB=1),
    ]
    held = {"first": first, "second": second, "dense": dense, "one": np.ones(1), "none": np.zeros(1)}
    weights_of = {name: value.astype(np.float32) for name, value in held.items()}
    inputs = {"x": (nets.FLOAT, ["n", 3, SIDE, SIDE])}
    return nets.model(nodes, inputs, {"scores": (nets.FLOAT, ["n", 2])}, weights_of).SerializeToString()


def picture(**places):
    """Black, with a square of each colour at its place, counted in squares."""
    made = np.zeros((SIDE, SIDE, 3), np.uint8)
    for name, (row, column) in places.items():
        channel = ("red", "green", "blue").index(name)
        made[SQUARE * row : SQUARE * (row + 1), SQUARE * column : SQUARE * (column + 1), channel] = 255
    return made


PLACES = [
    {"red": (0, 1), "green": (3, 2), "blue": (5, 5)},
    {"red": (2, 4), "green": (1, 0), "blue": (4, 1)},
    {"red": (5, 0), "green": (0, 3), "blue": (2, 2)},
]
CROPS = {"patch": SQUARE, "stride": SQUARE}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures") / "flag"
    folder.mkdir()
    for n, places in enumerate(PLACES):
        Image.fromarray(picture(**places)).save(folder / f"{n}.png")
    Image.fromarray(picture()).save(folder / "black.png")
    return [str(folder / f"{n}.png") for n in range(3)], str(folder / "black.png")


@pytest.fixture(scope="module")
def found(files):
    more = {"label": "flag", "concepts": 3, "designs": 256, "k": 3, "layer": "relu1", **CROPS}
    return xplain.see(net(), "craft", files[0], card=CARD, **more)


def boxes_of(colour):
    """Where a colour's squares lie, picture by picture."""
    corners = [one[colour] for one in PLACES]
    return [[SQUARE * y, SQUARE * x, SQUARE * (y + 1), SQUARE * (x + 1)] for y, x in corners]


def test_planted_colours_are_the_concepts_in_the_order_of_what_they_decide(found):
    assert found.names == ("concept 1", "concept 2", "concept 3")
    np.testing.assert_allclose(found.bank, np.eye(3), atol=1e-4)
    # the score is a sum, so that an index is the share of squares: 9 : 1 : 0
    np.testing.assert_allclose(found.importance, [0.9, 0.1, 0.0], atol=0.04)
    assert (np.abs(found.importance - [0.9, 0.1, 0.0]) <= 4 * found.error + 1e-3).all()
    share = SQUARE**2 / SIDE**2
    np.testing.assert_allclose(found.effect, [3 * share, share, 0], rtol=1e-3, atol=1e-6)
    assert found.unit == "delta logit when taken away"
    assert found.facts["share of squares not in the concepts, of pictures"] < 1e-4
    assert found.facts["score of the concepts' sum"] == pytest.approx(found.facts["score"], rel=1e-3)


def test_the_crops_of_a_concept_are_its_squares(found, files):
    for concept, colour in enumerate(("red", "green", "blue")):
        by_picture = dict(zip(found.crop_items[concept].tolist(), found.crop_boxes[concept].tolist(), strict=True))
        assert [by_picture[n] for n in range(3)] == boxes_of(colour)
        colours = np.eye(3, dtype=np.uint8)[concept] * 255
        assert (found.crops[concept] == colours).all()
    assert found.items == ("flag/0.png", "flag/1.png", "flag/2.png")


def test_maps_lie_where_the_squares_do(found):
    assert found.map(0, 1).shape == (SIDE, SIDE)
    for concept, colour in enumerate(("red", "green", "blue")):
        for n, (y0, x0, y1, x1) in enumerate(boxes_of(colour)):
            expected = np.zeros((SIDE, SIDE))
            expected[y0:y1, x0:x1] = 1
            np.testing.assert_allclose(found.map(concept, n), expected, atol=1e-3)


def test_a_concept_that_joins_two_is_split_at_the_layer_before(files):
    joins = net((3.0, 1.0), joined=True)  # class 1 reads what is red or green, and a little blue
    more = {"label": "flag", "concepts": 2, "layer": "relu2", "k": 6, "several": True, "designs": 16, **CROPS}
    whole = xplain.see(joins, "craft", files[0], card=CARD, **more)
    split = xplain.see(joins, "craft", files[0], card=CARD, split="1", below="relu1", parts=2, **more)
    assert split.names == ("concept 1", "concept 1.1", "concept 1.2", "concept 2")
    assert split.layers == ("relu2", "relu1", "relu1", "relu2")
    np.testing.assert_array_equal(split.importance[[0, 3]], whole.importance)
    parts = split.bank[1:3]
    assert sorted(parts.argmax(axis=1).tolist()) == [0, 1]  # red by itself, and green by itself
    np.testing.assert_allclose(parts.max(axis=1), 1, atol=1e-3)
    for channel, colour in enumerate(("red", "green")):
        row = 1 + int(parts[:, channel].argmax())
        held = np.isfinite(split.crop_values[row])
        assert sorted(split.crop_boxes[row][held].tolist()) == sorted(boxes_of(colour))
    told = split.facts["splits"]["concept 1"]
    assert told["layer"] == "relu1"
    assert (
        told["share of squares that the parts leave out"] < 1e-4 < told["share of squares that one concept leaves out"]
    )


def test_it_is_drawn_kept_and_said(found, tmp_path):
    kept = load(found.save(tmp_path / "craft.npz"))
    np.testing.assert_array_equal(kept.maps, found.maps)
    drawn = np.asarray(kept.sheet())
    for colour in ((0, 114, 178), (230, 159, 0)):  # the bars of the first two concepts
        assert (drawn == colour).all(axis=2).any()
    assert "concept 1: importance 0." in str(kept)
    with pytest.raises(UsageError, match="tile is 0"):
        kept.sheet(tile=0)


def test_one_picture_has_intervals_over_designs(files):
    one = xplain.see(net(), "craft", files[0][:1], card=CARD, label="flag", concepts=2, layer="relu1", **CROPS)
    assert "one picture of the class" in str(one)
    assert (one.error > 0).any()
    np.testing.assert_array_equal(one.effect_error, 0)


def test_what_the_concepts_leave_out_is_told_and_more_of_them_hold_it(files):
    more = {"card": CARD, "label": "flag", "layer": "relu1", "designs": 4, **CROPS}
    few = xplain.see(net(), "craft", files[0], concepts=1, **more)
    assert few.facts["share of squares not in the concepts, of pictures"] > 0.5
    assert "Ask for more: concepts=" in str(few)
    assert "Ask for more" not in str(xplain.see(net(), "craft", files[0], concepts=3, **more))


def test_the_class_is_what_is_predicted_a_folder_or_all(files):
    more = {"card": CARD, "label": "flag", "concepts": 2, "layer": "relu1", "designs": 4, **CROPS}
    every = [*files[0], files[1]]
    assert len(xplain.see(net(), "craft", every, **more).items) == 3  # black has no larger score
    assert len(xplain.see(net(), "craft", every, of="folder", **more).items) == 4
    assert len(xplain.see(net(), "craft", every, of="all", most=2, **more).shown_items) == 2
    with pytest.raises(UsageError, match=r"No picture is of class 'nothing'; .* they are flag \(3\).*label.*of='all'"):
        xplain.see(net(), "craft", files[0], **{**more, "label": "nothing"})


def test_what_cannot_be_used_is_refused_with_what_can(files):
    more = {"card": CARD, "concepts": 2, "designs": 4, **CROPS}
    with pytest.raises(UsageError, match="are those of a class.*label"):
        xplain.see(net(), "craft", files[0], **more)
    more["label"] = "flag"
    with pytest.raises(UsageError, match="'sum' is -.* somewhere.*Layers that are not: .*relu1"):
        xplain.see(net(skip=True), "craft", files[0], layer="sum", **more)
    with pytest.raises(UsageError, match="also past layer 'relu2'.*Name a layer that everything passes"):
        xplain.see(net(skip=True), "craft", files[0], layer="relu2", **more)
    with pytest.raises(
        UsageError, match="has 3 channels, and concepts are at most as many. Give fewer with concepts=3"
    ):
        xplain.see(net(), "craft", files[0], **{**more, "concepts": 30})
    with pytest.raises(UsageError, match="Unknown label 'flog'"):
        xplain.see(net(), "craft", files[0], **{**more, "label": "flog"})
    with pytest.raises(UsageError, match="are equal"):
        xplain.see(net(), "craft", [files[1]], of="all", **more)
    with pytest.raises(UsageError, match="patch is 25.*at most 24 x 24"):
        xplain.see(net(), "craft", files[0], **{**more, "patch": 25})
    with pytest.raises(UsageError, match="designs is 3; accepted: at least 4"):
        xplain.see(net(), "craft", files[0], **{**more, "designs": 3})
    with pytest.raises(UsageError, match="give split=.*below= both"):
        xplain.see(net(), "craft", files[0], split="1", **more)
    with pytest.raises(UsageError, match="Unknown layer 'relu9'.*relu1"):
        xplain.see(net(), "craft", files[0], split="1", below="relu9", **{**more, "patch": 25})
    with pytest.raises(UsageError, match="split is '9'; accepted: numbers of concepts, 1 to 2"):
        xplain.see(net(), "craft", files[0], split="9", below="relu1", **more)
    with pytest.raises(CapabilityError):
        xplain.see(lambda x: x.mean((2, 3)), "craft", np.zeros((2, 3, 8, 8), np.float32), label="1")


def test_as_many_concepts_are_found_as_a_narrow_layer_and_few_crops_allow(files):
    """Ten where nothing is said, but the layer has three channels."""
    more = {"card": CARD, "label": "flag", "designs": 4, **CROPS}
    found = xplain.see(net(), "craft", files[0], layer="relu1", **more)
    assert len(found) == 3
    assert "concepts were asked for" not in str(found)
    few = xplain.see(net(), "craft", files[0][:1], layer="relu1", **{**more, "patch": 24})
    assert len(few) == 1


def test_a_layer_that_is_too_narrow_is_refused_before_the_model_is_asked(files, monkeypatch):
    from xplain.models.onnx.file import OnnxFile

    monkeypatch.setattr(OnnxFile, "answer", lambda *_: pytest.fail("the model was asked"))
    more = {"card": CARD, "of": "all", "designs": 4, "layer": "relu1", **CROPS}
    with pytest.raises(UsageError, match="has 3 channels"):
        xplain.see(net(), "craft", files[0], label="flag", concepts=4, **more)
    with pytest.raises(UsageError, match="Unknown label 'flog'"):
        xplain.see(net(), "craft", files[0], label="flog", **more)
