"""Decoders: what is learnt is the way back from features, and the file that holds it says the same as the net."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xplain
from tests.contract.test_recipes import file
from xplain.core.errors import UsageError
from xplain.models.options import OnnxOptions

torch = pytest.importorskip("torch")
SIZE = (12, 10)


def photographs(count: int, seed: int) -> list[Any]:
    """Smooth pictures: two colours, one fading into the other along a direction."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(-1, 1, SIZE[0]), np.linspace(-1, 1, SIZE[1]), indexing="ij")
    found = []
    for _ in range(count):
        angle, (one, other) = rng.uniform(0, 2 * np.pi), rng.uniform(0, 255, (2, 3))
        share = 1 / (1 + np.exp(-4 * (np.cos(angle) * y + np.sin(angle) * x)))[..., None]
        found.append((share * one + (1 - share) * other).astype(np.uint8))
    return found


@pytest.fixture(scope="module")
def decoded() -> Any:
    return xplain.make(
        file(), "decode", photographs(3, 1), photographs=photographs(24, 0), layer="soft", steps=150, copies=2, width=4
    )


def test_a_decoder_paints_pictures_that_it_never_saw_better_than_their_mean_colour(decoded):
    wanted = np.stack(photographs(3, 1)).transpose(0, 3, 1, 2) / 255
    error = ((decoded.picture - wanted) ** 2).mean(axis=(1, 2, 3))
    mean = ((wanted.mean(axis=(2, 3), keepdims=True) - wanted) ** 2).mean(axis=(1, 2, 3))
    assert error.mean() < 0.3 * mean.mean()
    np.testing.assert_allclose(decoded.each["PSNR"], -10 * np.log10(error), rtol=1e-6)
    assert decoded.trace.shape == (3, 150)
    assert decoded.trace[0, -10:].mean() > decoded.trace[0, :10].mean()


def test_the_files_decoder_is_the_one_that_was_trained_and_is_given_again_without_photographs(decoded, tmp_path):
    path = tmp_path / "decoder.onnx"
    path.write_bytes(decoded.files["decoder.onnx"])
    again = xplain.make(file(), "decode", photographs(3, 1), decoder=path, layer="soft")
    np.testing.assert_allclose(again.picture, decoded.picture, atol=1e-5)
    assert not again.files
    through = xplain.make(file(), "generator", target=1, generator=path, steps=3, positive=True)
    assert through.picture.shape == (1, 3, *SIZE)


@pytest.mark.parametrize("shape", [(7,), (5, 3, 2)], ids=["channels", "maps"])
def test_a_decoders_file_computes_what_its_net_does(shape):
    from xplain.core.query import Peek
    from xplain.models.onnx.open import open_onnx
    from xplain.models.torch.painters import Decoder

    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, *shape)).astype(np.float32)
    net = Decoder(x, rng.uniform(size=(6, 3, 13, 10)), 2, 5, 0)
    before = net.step(4)
    losses = [net.step(4) for _ in range(30)]
    assert min(losses) < before
    model = open_onnx(net.file("features", ("N", *shape)), OnnxOptions(), trusted=True)
    found = model.answer(Peek(x, ("made",)))["made"]
    with torch.no_grad():
        wanted = net.net(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_decoder_needs_something_to_learn_from_and_says_when_that_is_little():
    with pytest.raises(UsageError, match="nothing to decode by"):
        xplain.make(file(), "decode", photographs(1, 1), layer="soft")
    few = xplain.make(
        file(), "decode", photographs(1, 1), photographs=photographs(2, 0), layer="soft", steps=1, width=1
    )
    assert any("by heart" in said for said in few.said)
