"""Fast styles: the net's file computes what was trained, styles are told apart, films are painted frame by frame."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

import xplain
from tests.contract.test_recipes import file
from tests.synthesis.test_making import Stop
from xplain.core.errors import PictureError, UsageError
from xplain.core.query import Peek
from xplain.models.onnx.open import open_onnx
from xplain.models.options import OnnxOptions
from xplain.render.films import frames_of

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)
SIZE = (16, 12)
PHOTOGRAPHS = [RNG.integers(0, 255, (16, 12, 3), np.uint8) for _ in range(4)]
RED, BLUE = (np.zeros((24, 24, 3), np.uint8) for _ in range(2))
RED[..., 0], BLUE[..., 2] = 220, 220
RED[::4], BLUE[:, ::4] = 40, 40


@pytest.fixture(scope="module")
def trained() -> Any:
    """A net that learnt two styles from four photographs."""
    return xplain.make(
        file(), "style-train", PHOTOGRAPHS[:2], style=[RED, BLUE], photographs=PHOTOGRAPHS, size=SIZE,
        style_layers="second", content_layer="second", content=0.05, steps=60, batch=2, width=2,
    )  # fmt: skip


def painted(content: bytes, x: Any, **fixed: Any) -> Any:
    """What ONNX Runtime makes of the file, as anybody would run it."""
    import onnxruntime as ort

    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {"picture": x, **{name: np.asarray(one, np.float32) for name, one in fixed.items()}})[0]


def test_training_moves_the_objective_and_the_file_paints_each_style_as_the_result_shows(trained):
    assert trained.trace[0, -5:].mean() > trained.trace[0, :5].mean()
    assert trained.picture.shape == (4, 3, *SIZE)
    assert trained.names == ("0 as 0", "1 as 0", "0 as 1", "1 as 1")
    x = np.stack(PHOTOGRAPHS[:2]).transpose(0, 3, 1, 2).astype(np.float32) / 255
    content = trained.files["style.onnx"]
    np.testing.assert_allclose(painted(content, x), trained.picture[:2], atol=1e-5)  # the first style, if none is said
    np.testing.assert_allclose(painted(content, x, style=[[0, 1]]), trained.picture[2:], atol=1e-5)
    red, blue = (trained.picture[k : k + 2].mean(axis=(0, 2, 3)) for k in (0, 2))
    assert (red[0] - red[2]) - (blue[0] - blue[2]) > 0.04  # each leans to its style's colour
    half = painted(content, x, style=[[0.5, 0.5]])
    assert not np.allclose(half, trained.picture[:2], atol=1e-3)


def test_style_fast_paints_a_folder_and_a_style_is_chosen_by_fixing_the_files_input(trained, tmp_path):
    path = tmp_path / "style.onnx"
    path.write_bytes(trained.files["style.onnx"])
    found = xplain.make(path, "style-fast", PHOTOGRAPHS[:2])
    np.testing.assert_allclose(found.picture, trained.picture[:2], atol=1e-5)
    assert found.judges == ()
    other = xplain.make(xplain.load(path, fixed={"style": [0, 1]}), "style-fast", PHOTOGRAPHS[:2])
    np.testing.assert_allclose(other.picture, trained.picture[2:], atol=1e-5)
    assert other.model != found.model  # another model, as far as anyone can tell
    with pytest.raises(UsageError, match=r"accepted: \[1, 2\] numbers"):
        xplain.load(path, fixed={"style": [0, 1, 2]})
    odd = [PHOTOGRAPHS[0], PHOTOGRAPHS[1][:13, :11]]
    cut = xplain.make(path, "style-fast", odd)
    assert cut.picture.shape == (2, 3, 13, 11)  # also where strides make more of it
    assert any("several sizes" in said for said in cut.said)


def test_the_frames_of_a_film_are_painted_one_by_one_and_make_a_film_again(trained, tmp_path):
    film, path = tmp_path / "clip.gif", tmp_path / "style.onnx"
    path.write_bytes(trained.files["style.onnx"])
    frames = [Image.fromarray(one) for one in PHOTOGRAPHS[:3]]
    frames[0].save(film, save_all=True, append_images=frames[1:], duration=50)
    assert len(frames_of(film)) == 3
    found = xplain.make(path, "style-fast", [film])
    assert found.names == ("clip frame 0000", "clip frame 0001", "clip frame 0002")
    with Image.open(io.BytesIO(found.files["clip.gif"])) as again:
        assert (again.n_frames, again.size) == (3, (12, 16))
    film.write_bytes(film.read_bytes()[:60])
    with pytest.raises(PictureError, match="animated"):
        frames_of(film)


def test_a_styles_file_computes_what_its_net_does():
    from xplain.models.torch.painters import Stylist

    net = Stylist(3, 2, 2, 5, 0)
    x = RNG.uniform(size=(2, 3, 13, 11)).astype(np.float32)
    net.step(np.ones_like(net.paint(x, np.array([0, 1]))))
    wanted = net.paint(x, np.array([1, 1]))
    model = open_onnx(net.file("picture", ("N", 3, "H", "W")), OnnxOptions(fixed={"style": [0, 1]}), trusted=True)
    np.testing.assert_allclose(model.answer(Peek(x, ("made",)))["made"][:, :, :13, :11], wanted, atol=1e-5)


def test_an_interruption_ends_the_learning_and_leaves_the_net_as_it_is_then(tmp_path):
    given = {"style": [RED], "photographs": PHOTOGRAPHS, "size": SIZE, "style_layers": "second", "batch": 2, "width": 1}
    found = xplain.make(file(), "style-train", PHOTOGRAPHS[:1], **given, steps=9, preview=Stop(4))
    assert any("ended after 3 of 9 steps" in said for said in found.said)
    assert found.trace.shape == (1, 3)
    x = PHOTOGRAPHS[0].transpose(2, 0, 1)[None].astype(np.float32) / 255
    np.testing.assert_allclose(painted(found.files["style.onnx"], x), found.picture, atol=1e-5)
    with pytest.raises(UsageError, match="trains a net"):
        xplain.make(file(), "style-train", PHOTOGRAPHS[:1], **given, resume=tmp_path / "way.npz")


def test_a_classifier_is_no_painter_and_a_judge_of_paintings_is_heard(trained):
    with pytest.raises(UsageError, match="style-train made"):
        xplain.make(file(), "style-fast", PHOTOGRAPHS[:1])
    found = xplain.make(trained.files["style.onnx"], "style-fast", PHOTOGRAPHS[:2], judge=file())
    assert len(found.judges) == 1
    assert len(found.each["first choice"]) == 2
