"""Making pictures: planted truths, judges, and what goes wrong on the way."""

from __future__ import annotations

import errno
import os
from typing import Any

import numpy as np
import pytest
from onnx import helper

import xplain
from tests.contract.test_recipes import file
from tests.nets import FLOAT, model, planted
from xplain.core.errors import CardError, NoPath, OutputError, UsageError

SIZE = (8, 6)
CARD = {"mode": "RGB", "crop": list(SIZE), "labels": ["cat", "dog"]}


def net(middle: list[Any], weights: dict[str, Any] | None = None, last: str = "scores") -> Any:
    """Two scores: the sums of the upper and of the lower half of the picture, after what stands in the middle."""
    halves = np.zeros((3, *SIZE, 2), np.float32)
    halves[:, :4, :, 0] = halves[:, 4:, :, 1] = 1 / 72
    nodes = [
        *middle,
        helper.make_node("Flatten", ["made"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], [last]),
    ]
    given = {"w": halves.reshape(-1, 2), **(weights or {})}
    made = model(nodes, {"x": (FLOAT, ["N", 3, *SIZE])}, {last: (FLOAT, ["N", 2])}, given)
    return xplain.load(made, card=CARD)


def plain() -> Any:
    return net([helper.make_node("Identity", ["x"], ["made"])])


def shut(at: float) -> Any:
    """A rectifier that opens only above a colour."""
    nodes = [helper.make_node("Sub", ["x", "at"], ["less"]), helper.make_node("Relu", ["less"], ["made"])]
    return net(nodes, {"at": np.array(at, np.float32)})


def test_a_class_image_becomes_white_where_the_score_reads_and_stays_grey_elsewhere():
    found = xplain.make(plain(), "class", target=["cat", "dog"], steps=60, rate=0.05, l2=0.0)
    for n, part in enumerate((slice(0, 4), slice(4, 8))):
        other = slice(4 - part.start, 8 - part.start)
        assert found.picture[n, :, part].min() > 0.95
        np.testing.assert_allclose(found.picture[n, :, other], 0.5, atol=0.05)
    assert found.names == ("cat", "dog")
    assert found.labels == (0, 1)


def test_what_is_said_is_said_of_the_picture_as_it_is_saved():
    file = plain()
    found = xplain.make(file, "fourier", target="dog", steps=3)
    small = found.pixels[0].astype(np.float32) / 255  # larger than the model's input by room
    assert small.shape[:2] != SIZE
    same = xplain.make(file, "class", target="dog", steps=3)
    scores = xplain.predict(file, (same.pixels.astype(np.float32) / 255).transpose(0, 3, 1, 2))
    np.testing.assert_allclose(same.value, scores[:, 1], rtol=1e-6)
    shares = np.exp(scores[0]) / np.exp(scores[0]).sum()
    np.testing.assert_allclose(same.shares[0, 0], shares[1], rtol=1e-5)


def test_a_file_that_states_its_size_is_painted_for_at_another_and_judges_at_its_own():
    from tests.contract.test_recipes import net as any_size

    proto = any_size()
    for axis, extent in zip((2, 3), (12, 10), strict=True):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = extent
    sample = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    card = {"mode": "RGB", "crop": [12, 10]}
    found = xplain.make(xplain.load(proto, card=card), "texture", [sample], size=(24, 20), steps=2, layers="last")
    assert found.picture.shape == (1, 3, 24, 20)
    assert len(found.each["first choice"]) == 1
    assert np.array_equal(found.original[0], sample)  # shown beside it


def test_a_judge_finds_the_class_by_its_name_and_one_that_lacks_it_says_so():
    other = xplain.load(planted(size=8, cell=(0, 0)), card={"mode": "RGB", "labels": ["dog", "cat"]})
    lacking = xplain.load(planted(size=8, cell=(0, 0)), card={"mode": "RGB", "labels": ["owl", "fox"]})
    found = xplain.make(plain(), "class", target="cat", steps=2, judge=[other, lacking])
    assert found.ranks[0].tolist()[:2] == [0, 1]  # its class 1, the negative sum of a light cell, is the second
    assert np.isnan(found.ranks[0, 2])
    assert any("no judge of 'cat'" in said for said in found.said)
    steps: list[int] = []
    bare = planted(size=8, cell=(0, 0))
    with pytest.raises(CardError, match="card"):
        xplain.make(plain(), "class", target="cat", steps=2, judge=bare, preview=lambda k, _: steps.append(k))
    assert steps == []  # before any work


def test_a_state_without_a_gradient_is_shaken_until_it_has_one_or_said_to_be_dead():
    found = xplain.make(shut(0.6), "class", target="cat", steps=40, rate=0.05, l2=0.0)
    assert found.value[0] > 0.05
    assert not any("shaken" in said for said in found.said)
    dead = xplain.make(shut(3.0), "class", target="cat", steps=40, l2=0.0)
    assert any("however it is shaken" in said for said in dead.said)


def test_numbers_that_are_none_on_the_way_leave_the_last_good_picture():
    """log(0.8 - x) is no number where x is above 0.8, where ascent of -log leads."""
    nodes = [helper.make_node("Sub", ["at", "x"], ["left"]), helper.make_node("Log", ["left"], ["log"])]
    nodes += [helper.make_node("Neg", ["log"], ["made"])]
    found = xplain.make(
        net(nodes, {"at": np.array(0.8, np.float32)}), "class", target="cat", steps=60, rate=0.05, l2=0.0
    )
    assert any("no number any more" in said for said in found.said)
    assert found.picture.max() < 0.8
    assert np.isfinite(found.value).all()


class Stop:
    """Interrupts at a step, as Ctrl-C would."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, step: int, pictures: Any) -> None:
        if step == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("recipe", ["fourier", "class"])
def test_an_interruption_keeps_what_there_is_and_a_resumed_way_ends_with_the_same_bits(recipe, tmp_path):
    file, kept = plain(), tmp_path / "way.npz"
    asked: dict[str, Any] = {"target": ["cat", "dog"], "steps": 12, "frames": 0}
    whole = xplain.make(file, recipe, **asked)
    first = xplain.make(file, recipe, **asked, preview=Stop(7), resume=kept)
    assert any("interrupted after 6 steps" in said for said in first.said)
    assert first.cost.sweeps == 7 * 2 * (4 if recipe == "fourier" else 1)
    assert kept.exists()
    with pytest.raises(UsageError, match="another seed"):
        xplain.make(file, recipe, **asked, seed=1, resume=kept)
    second = xplain.make(file, recipe, **asked, resume=kept)
    assert not kept.exists()
    for name in ("picture", "state", "trace"):
        assert np.array_equal(getattr(second, name), getattr(whole, name))
    assert second.cost.sweeps < whole.cost.sweeps


@pytest.mark.parametrize("at", [2, 5, 8], ids=["first octave", "second octave", "film"])
def test_a_dream_goes_on_in_the_octave_or_frame_where_it_was_interrupted(at, tmp_path):
    """Three steps in each of two octaves, then one in each frame of a film."""
    kept, picture = tmp_path / "way.npz", np.random.default_rng(0).integers(60, 200, (40, 34, 3), np.uint8)
    asked: dict[str, Any] = {"layer": "second", "octaves": 2, "steps": 3, "zoom": 4, "frames": 0}
    whole = xplain.make(file(), "dream", picture, **asked)
    first = xplain.make(file(), "dream", picture, **asked, preview=Stop(at), resume=kept)
    assert any("interrupted" in said for said in first.said)
    if at > 3:
        apart = np.abs(first.picture[0] - picture.transpose(2, 0, 1) / 255).mean()
        assert apart < 0.15  # as it lies, not as it was rolled for the step
        with pytest.raises(UsageError, match="same pictures and sizes"):
            xplain.make(file(), "dream", picture, **asked, side=36, resume=kept)
    again = xplain.make(file(), "dream", picture, **asked, resume=kept)
    for name in ("picture", "trace", "frames"):
        assert np.array_equal(getattr(again, name), getattr(whole, name)), name
    assert again.cost.sweeps < whole.cost.sweeps
    assert not kept.exists()


def test_a_damaged_file_of_an_interrupted_way_is_refused(tmp_path):
    kept = tmp_path / "way.npz"
    kept.write_bytes(b"no archive")
    with pytest.raises(UsageError, match="cannot be gone on from"):
        xplain.make(plain(), "class", target="cat", steps=3, resume=kept)


def test_an_interruption_while_judges_look_leaves_what_is_needed_to_go_on(tmp_path, monkeypatch):
    from xplain.session.synthesis.judging import Judge

    ask = {"target": "cat", "steps": 4, "resume": tmp_path / "way.npz"}
    whole = xplain.make(plain(), "class", **{**ask, "resume": None})

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Judge, "verdict", stop)
        with pytest.raises(KeyboardInterrupt):
            xplain.make(plain(), "class", **ask)
    assert (tmp_path / "way.npz").exists()
    again = xplain.make(plain(), "class", **ask)
    np.testing.assert_array_equal(again.picture, whole.picture)
    assert not (tmp_path / "way.npz").exists()


def test_a_full_disk_leaves_no_part_of_a_film(tmp_path, monkeypatch):
    found = xplain.make(plain(), "class", target=["cat", "dog"], steps=6, frames=6)
    film = found.gif(tmp_path / "way.gif")
    assert film.read_bytes()[:4] == b"GIF8"

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="space"):
        found.gif(tmp_path / "other.gif")
    assert [one.name for one in tmp_path.iterdir()] == ["way.gif"]
    monkeypatch.undo()
    with pytest.raises(UsageError, match="frames=24"):
        xplain.make(plain(), "class", target="cat", steps=2, frames=0).gif(tmp_path / "none.gif")


@pytest.mark.parametrize(
    ("target", "said"),
    [("top3", "no item yet"), ("owl", "Unknown label"), ([], "empty"), (["cat", "made[1]"], "one kind")],
)
def test_a_target_that_cannot_be_meant_is_refused(target, said):
    with pytest.raises(UsageError, match=said):
        xplain.make(plain(), "class", target=target, steps=2)


@pytest.mark.parametrize(("name", "got"), [("frames", -1), ("frames", 2.5), ("side", 0), ("side", "wide")])
def test_frames_and_sides_that_are_none_are_refused(name, got):
    with pytest.raises(UsageError, match=f"{name} is .*; accepted: a whole number of at least"):
        xplain.make(plain(), "class", target="cat", steps=2, **{name: got})


def test_channels_and_units_are_made_side_by_side_and_judged_by_their_value():
    found = xplain.make(plain(), "class", target=["made[0]", "made[2]"], steps=40, rate=0.05, l2=0.0)
    assert found.picture[0, 0].min() > 0.9
    np.testing.assert_allclose(found.picture[0, 2], 0.5, atol=0.05)
    np.testing.assert_allclose(
        found.value, [found.pixels[0, :, :, 0].mean() / 255, found.pixels[1, :, :, 2].mean() / 255], rtol=1e-5
    )


def test_without_a_card_or_a_size_it_is_said_what_to_give():
    bare = xplain.load(planted(size=8, cell=(0, 0)))
    with pytest.raises(CardError, match="card="):
        xplain.make(bare, "class", target=0)
    assert len(xplain.make(bare, "class", target=0, steps=2, card={"mode": "RGB"})) == 1


@pytest.mark.parametrize("name", ["preview", "stepped"])
def test_a_preview_that_is_no_function_is_refused_before_any_work(name):
    with pytest.raises(UsageError, match="a function of"):
        xplain.make(plain(), "class", target="cat", steps=1, **{name: "/etc"})


def test_steps_are_told_without_a_picture_being_drawn(monkeypatch):
    def refused(*_args, **_more):
        raise AssertionError("drawn")

    told: list[int] = []
    monkeypatch.setattr("xplain.session.synthesis.watching.Watcher._drawn", refused)
    xplain.make(plain(), "class", target="cat", steps=3, frames=0, stepped=told.append)
    assert told == [1, 2, 3]


def test_a_strip_shows_what_a_picture_was_made_of_beside_it():
    photograph = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    found = xplain.make(plain(), "invert", [photograph], layers="made", steps=2)
    assert np.array_equal(found.original[0], photograph)
    alone = xplain.make(plain(), "class", target="cat", steps=1)
    assert alone.original is None
    height = 40
    beside = np.asarray(found.strip(height=height))[-height - 20 : -20]
    wide = height * SIZE[1] // SIZE[0]
    assert beside.shape[1] >= 2 * wide


def rounding(torch_too: bool):
    """A net whose score no colour moves by a derivative: a file rounds its input, a module lets go of it."""
    if torch_too:
        torch = pytest.importorskip("torch")

        class Letting(torch.nn.Module):
            def forward(self, x):
                return torch.stack([x.detach().mean((1, 2, 3)), -x.detach().mean((1, 2, 3))], dim=1)

        return xplain.load(Letting().eval(), card={"mode": "RGB", "crop": [8, 6]})
    nodes = [
        helper.make_node("Round", ["x"], ["whole"]),
        helper.make_node("GlobalAveragePool", ["whole"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["y"]),
    ]
    return xplain.load(model(nodes, {"x": (FLOAT, ["N", 3, 8, 6])}, {"y": (FLOAT, ["N", 3])}, {}), card={"mode": "RGB"})


@pytest.mark.parametrize("torch_too", [False, True], ids=["file", "torch"])
@pytest.mark.parametrize("recipe", ["class", "yosinski", "fourier"])
def test_a_prior_alone_is_no_way_to_a_target_that_no_colour_moves(recipe, torch_too):
    with pytest.raises(NoPath, match="colours change by a derivative"):
        xplain.make(rounding(torch_too), recipe, target=0, steps=2)


def test_what_is_refused_before_a_picture_is_made(tmp_path):
    with pytest.raises(UsageError, match="'made\\[0\\]'"):
        xplain.make(plain(), "class", target="made", steps=1)
    with pytest.raises(UsageError, match="needs photographs"):
        xplain.make(plain(), "maco", target="cat", photographs=[], steps=1)
    with pytest.raises(UsageError, match="can be written"):
        xplain.make(plain(), "class", target="cat", steps=1, resume=tmp_path / "none" / "way.npz")
    with pytest.raises(UsageError, match="number of at least 1"):
        xplain.make(plain(), "dream", np.zeros((30, 30, 3), np.uint8), layer="made", ratio=0.5)


def test_a_model_without_numbers_judges_nothing_and_what_was_made_stays():
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Sub", ["flat", "one"], ["below"]),
        helper.make_node("Sqrt", ["below"], ["y"]),
    ]
    sides = {"x": (FLOAT, ["N", 3, 8, 6])}, {"y": (FLOAT, ["N", 3])}
    net = xplain.load(model(nodes, *sides, {"one": np.float32([1.0])}), card={"mode": "RGB"})
    found = xplain.make(net, "fourier", target=0, steps=2)
    assert np.isnan(found.ranks).all()
    assert np.isnan(found.value).all()
    assert any("judges nothing" in said for said in found.said)
    assert np.isfinite(found.picture).all()


def test_a_prior_does_not_hide_that_the_model_gives_no_gradient():
    """The score reads behind a rectifier that is shut for every colour; the L2 of class has a gradient all the same."""
    nodes = [
        helper.make_node("Sub", ["x", "two"], ["below"]),
        helper.make_node("Relu", ["below"], ["shut"]),
        helper.make_node("GlobalAveragePool", ["shut"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["y"]),
    ]
    sides = {"x": (FLOAT, ["N", 3, 8, 6])}, {"y": (FLOAT, ["N", 3])}
    net = xplain.load(model(nodes, *sides, {"two": np.float32([2.0])}), card={"mode": "RGB"})
    found = xplain.make(net, "class", target=0, steps=2)
    assert any("stays as it began" in said for said in found.said)
