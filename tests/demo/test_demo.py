"""The demonstration's promise: the patch is the cause, and the shipped classifier really listens to it."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest

from xplain.core.card import find_card
from xplain.core.errors import UnknownName, UsageError
from xplain.demo import SCENES, demo_model_path, demo_picture, share_on_cause
from xplain.render.pictures import prepare, read

CLASSES = ("brick", "coins", "grass", "gravel", "stars")


@pytest.fixture(scope="module")
def card():
    return find_card(demo_model_path(), {})


@pytest.fixture(scope="module")
def logits():
    """A function from tensors ``[N, 3, 160, 160]`` to logits ``[N, 5]``, straight from the runtime."""
    model = onnx.load(demo_model_path())
    model.graph.output.append(onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["N", 5]))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def ask(batch):
        parts = [batch[k : k + 32] for k in range(0, len(batch), 32)]
        return np.concatenate([session.run(["logits"], {"picture": part})[0] for part in parts])

    return ask


def occlusion(logits, x, label, patch=16, stride=8):
    """A plain occlusion map of one tensor: mean over the windows covering a pixel of f(x) - f(hidden by the mean)."""
    places = [(r, c) for r in range(0, 161 - patch, stride) for c in range(0, 161 - patch, stride)]
    hidden = np.repeat(x[None], len(places), axis=0)
    for one, (r, c) in zip(hidden, places, strict=True):
        one[:, r : r + patch, c : c + patch] = x.mean(axis=(1, 2), keepdims=True)
    drops = logits(x[None])[0, label] - logits(hidden)[:, label]
    total, count = np.zeros((160, 160)), np.zeros((160, 160))
    for (r, c), drop in zip(places, drops, strict=True):
        total[r : r + patch, c : c + patch] += drop
        count[r : r + patch, c : c + patch] += 1
    return total / count


def test_the_model_is_small_named_and_well_formed(card):
    path = demo_model_path()
    assert path.stat().st_size < 300_000
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [n.op_type for n in model.graph.node][-2:] == ["Gemm", "Sigmoid"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N", "the batch is free"
    assert card is not None
    assert card.labels == CLASSES


@pytest.mark.parametrize("name", SCENES)
def test_pictures_are_the_same_on_every_call_and_fit_the_card(card, name):
    picture, truth, label = demo_picture(name)
    assert picture.shape == (160, 160, 3)
    assert picture.dtype == np.uint8
    assert truth.dtype == bool
    assert 0.1 < truth.mean() < 0.3
    assert label in CLASSES
    np.testing.assert_array_equal(picture, demo_picture(name)[0])
    _, seen = prepare(card, picture)
    np.testing.assert_array_equal(seen, picture)  # so a pixel of the map is a pixel of the picture


@pytest.mark.parametrize("name", SCENES)
def test_textures_are_cut_from_what_training_never_saw(name):
    for cut in (SCENES[name].ground, SCENES[name].patch):
        width = read(f"skimage:{cut.picture}").shape[1]
        assert cut.picture == "chelsea" or cut.box[0] >= width // 2


def test_the_default_picture_is_the_one_that_was_looked_at():
    """Another scikit-image could ship other photographs; then the figures in the documents would not hold."""
    picture, truth, label = demo_picture()
    assert label == "brick"
    assert truth.sum() == 68 * 68
    assert truth[32:100, 72:140].all()
    assert hashlib.sha256(picture.tobytes()).hexdigest().startswith("1df01b2b726b681e")


@pytest.mark.parametrize("name", SCENES)
def test_the_patch_is_the_cause(card, logits, name):
    picture, truth, label = demo_picture(name)
    index = CLASSES.index(label)
    with_patch, _ = prepare(card, picture)
    hidden = picture.copy()
    hidden[truth] = 128
    without, _ = prepare(card, hidden)
    before, after = logits(np.stack([with_patch, without]))[:, index]
    assert before > 2, "found"
    assert after < 0, "not found once the patch is hidden"
    only = np.where(truth[..., None], picture, np.uint8(128))
    assert logits(prepare(card, only)[0][None])[0, index] > 2, "the patch alone is enough"


@pytest.mark.parametrize(("name", "least"), [("brick-on-grass", 0.8), ("grass-on-brick", 0.8), ("coins-on-cat", 0.75)])
def test_occlusion_points_at_the_patch(card, logits, name, least):
    picture, truth, label = demo_picture(name)
    tensor, _ = prepare(card, picture)
    values = occlusion(logits, tensor, CLASSES.index(label))
    assert truth.ravel()[values.argmax()]
    assert share_on_cause(values, truth) > least
    assert share_on_cause(values, truth) > 3 * truth.mean()


def test_another_question_has_another_answer(card, logits):
    """What speaks for grass in the same picture is not the bricks."""
    picture, truth, _ = demo_picture("brick-on-grass")
    values = occlusion(logits, prepare(card, picture)[0], CLASSES.index("grass"))
    assert share_on_cause(values, truth) < truth.mean()


PHOTOGRAPHS = {"brick": "brick", "coins": "coins", "grass": "grass", "gravel": "gravel", "hubble_deep_field": "stars"}


@pytest.mark.parametrize(("name", "label"), PHOTOGRAPHS.items())
def test_photographs_of_one_texture_are_named(card, logits, name, label):
    whole = read(f"skimage:{name}")
    right = whole[:, whole.shape[1] // 2 :]
    scores = logits(prepare(card, right)[0][None])[0]
    assert CLASSES[int(scores.argmax())] == label
    assert scores.max() > 0


def test_share_on_cause():
    values, truth = np.array([[1.0, 3.0], [-5.0, 0.0]]), np.array([[False, True], [True, False]])
    assert share_on_cause(values, truth) == 0.75
    assert share_on_cause(np.ones((4, 4)), np.eye(4, dtype=bool)) == 0.25
    assert share_on_cause(-np.ones((2, 2)), truth) == 0.0
    with pytest.raises(UsageError, match=r"The map is \[2, 2\] and the cause \[4, 4\]"):
        share_on_cause(values, np.eye(4, dtype=bool))


def test_unknown_pictures_name_the_nearest():
    with pytest.raises(UnknownName, match=r"'brick-on-gras'. Did you mean 'brick-on-grass'"):
        demo_picture("brick-on-gras")
