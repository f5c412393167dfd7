"""Real models: the occlusion map by incremental inference is the plain way's."""

from __future__ import annotations

import numpy as np
import pytest

import xplain

pytestmark = pytest.mark.slow

MOBILENET = "imagenet/mobilenetv2_imagenet1001_fp32.onnx"


def maps(path, x, **options):
    found = []
    for engine in ("auto", "plain"):
        model = xplain.load(path, engine=engine)
        found.append((model, xplain.explain(model, x, method="occlusion", **options).values))
    return found


def ranks(values):
    return np.argsort(np.argsort(values.ravel(), kind="stable"), kind="stable").astype(float)


@pytest.mark.parametrize(("patch", "stride"), [(16, 8), (32, 16)])
@pytest.mark.parametrize("baseline", ["zero", "picture"])
def test_mobilenets_map_is_the_plain_ways(real_models, patch, stride, baseline):
    from PIL import Image

    with Image.open(real_models / "images" / "coral_cat_720p.jpg") as file:
        pixels = np.asarray(file.convert("RGB").resize((224, 224)), np.float32)
    x = ((pixels - 127.5) / 127.5).transpose(2, 0, 1)[None]
    other = 0.0 if baseline == "zero" else np.ascontiguousarray(x[..., ::-1])
    (ours, got), (_, wanted) = maps(real_models / MOBILENET, x, patch=patch, stride=stride, baseline=other)
    assert ours.windows.way == "incremental", ours.windows.reason
    assert np.abs(got - wanted).max() <= 1e-5 * np.ptp(wanted)
    assert np.corrcoef(ranks(got), ranks(wanted))[0, 1] > 0.99995


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("imagenet/mobilenetv2_imagenet1001_qdq.onnx", "no convolution can be followed: QuantizeLinear"),
        ("mnist/mnist-8.onnx", "the predicted gain is"),
    ],
)
def test_models_that_gain_nothing_are_left_alone(real_models, path, why):
    model = xplain.load(real_models / path)
    plain = xplain.load(real_models / path, engine="plain")
    x = np.random.default_rng(0).random((1, *model.outline.layout.item), np.float32)
    side = model.outline.layout.plane[0]
    options = {"method": "occlusion", "target": 3, "patch": side // 2, "stride": side // 2}
    assert np.array_equal(xplain.explain(model, x, **options).values, xplain.explain(plain, x, **options).values)
    assert model.windows.way == "plain"
    assert model.windows.reason.startswith(why)
