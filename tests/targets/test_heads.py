"""Models that end in no classes: what they end in is seen, and targets in words explain what was planted."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from tests.targets import heads
from tests.targets.heads import HEADS, patch_of, picture
from xplain.core.errors import ModelError, UsageError
from xplain.core.targets.heads import head_of
from xplain.results import load
from xplain.targets import Box, Finer, Region, Similar, distance, input  # noqa: A004

KINDS = {
    "segmenter": "map",
    "yolo_v8": "boxes",
    "yolo_v5": "boxes",
    "ssd": "boxes",
    "detr": "boxes",
    "end_to_end": "boxes",
    "suppressed": "boxes",
    "two_stage": "boxes",
    "embedder": "embedding",
    "forecaster": "forecast",
    "captioner": "sequence",
    "autoencoder": "picture",
    "keypoints": "points",
}
DETECTORS = [name for name, kind in KINDS.items() if kind == "boxes"]
METHODS = {
    "saliency": {},
    "integrated-gradients": {},
    "lrp": {},
    "deeplift": {},
    "occlusion": {"patch": 4, "stride": 4},
    "kernel-shap": {"features": "grid:4", "samples": 200},
}
LOADED: dict[str, xplain.core.query.Model] = {}


def net(name):
    if name not in LOADED:
        options = {"layout": "NTC"} if name == "forecaster" else {}  # nothing else says which axis is time
        LOADED[name] = xplain.load(HEADS[name]().SerializeToString(), **options)
    return LOADED[name]


def item(name):
    spec = net(name).outline.explained
    return np.random.default_rng(0).random((1, *spec.shape[1:])).astype(np.float32)


def by_patch(values):
    """Σ|value| of each of the 16 patches."""
    return np.array([np.abs(values[..., patch_of(a)[0], patch_of(a)[1]]).sum() for a in range(16)])


@pytest.mark.parametrize("name", KINDS)
def test_what_a_model_ends_in_is_seen_and_what_is_proposed_works(name):
    head = head_of(net(name).outline)
    assert head.kind == KINDS[name]
    for target in head.proposals:
        if "OTHER" in target:
            continue
        found = xplain.explain(net(name), item(name), "saliency", target=target)
        assert np.isfinite(found.scores).all()
        assert found.targets[0]


@pytest.mark.parametrize("name", [name for name in KINDS if name != "embedder"])
@pytest.mark.parametrize("method", ["saliency", "occlusion"])
def test_without_a_target_the_proposed_ones_are_listed(name, method):
    with pytest.raises(ModelError) as told:
        xplain.explain(net(name), item(name), method)
    assert all(one in str(told.value) for one in head_of(net(name).outline).proposals)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("method", METHODS)
def test_two_boxes_of_a_picture_have_maps_of_their_own(name, method):
    x = picture(a5=(1, 2.0), a10=(2, 1.5))
    for target, patch in (("box:best", 5), ("box:best#2", 10)):
        found = xplain.explain(net(name), x, method, target=target, **METHODS[method])
        shares = by_patch(found.values[0])
        if method == "saliency":  # a row is known, its own patch alone has a slope
            assert set(np.flatnonzero(shares)) == {patch}
        assert shares.argmax() == patch
        assert shares[patch] > 0.8 * shares.sum()


@pytest.mark.parametrize("name", DETECTORS)
def test_boxes_of_one_question_are_those_of_several(name):
    x = picture(a5=(1, 2.0), a10=(2, 1.5))
    both = xplain.explain_many(net(name), x, "rise", target="boxes:2", samples=64, cells=4)
    assert len(both) == 2
    alone = xplain.explain(net(name), x, "rise", target="box:best#2", samples=64, cells=4)
    np.testing.assert_array_equal(both[1].values, alone.values)
    assert both[0].cost.queries == both[1].cost.queries <= alone.cost.queries + 1  # masks are asked once for all


def test_the_similarity_of_a_detection_is_that_of_the_paper():
    """max_j IoU cos o, by hand, for the picture with one of its two things hidden."""
    x = picture(a5=(1, 2.0), a10=(2, 1.5))
    found = xplain.explain(net("yolo_v5"), x, "occlusion", target="box:best", patch=4, stride=4)
    hidden = x.copy()
    hidden[(0, slice(None), *patch_of(5))] = 0.0
    shares = 1 / (1 + np.exp(-np.array([0.0, 2.0, 0.0])))
    none = np.full(3, 0.5)
    cosine = shares @ none / np.linalg.norm(shares) / np.linalg.norm(none)
    np.testing.assert_allclose(found.scores[0], shares[1], rtol=1e-5)
    np.testing.assert_allclose(found.values[0][patch_of(5)][0, 0], shares[1] - cosine * 0.5, rtol=1e-4)


def test_a_box_is_told_with_its_class_its_confidence_and_where_it_is():
    card = xplain.Card(labels=("cat", "dog", "owl"))
    model = xplain.load(HEADS["detr"]().SerializeToString(), card=card, layout="NCHW")
    found = xplain.explain(model, picture(a6=(1, 3.0)), "saliency", target="box:dog")
    assert found.targets == ("dog 0.87 in box [0.5, 0.25, 0.75, 0.5]",)
    with pytest.raises(xplain.XplainError, match="dog"):
        xplain.explain(model, picture(a6=(1, 3.0)), "saliency", target="box:dok")


def test_a_format_that_nothing_states_is_found_from_the_numbers_or_asked_for():
    found = xplain.explain(net("ssd"), picture(a6=(1, 3.0)), "occlusion", target="box:best", patch=4, stride=4)
    assert found.explained.terms[0][1].words[0] == "xyxy"
    with pytest.raises(UsageError, match="format"):
        Box(format="corners").reads(net("ssd").outline)
    two = heads.made(  # two boxes that are boxes in any format
        [
            heads.node("GlobalAveragePool", "x", "m"),
            heads.node("Reshape", "m by", "scores"),
            heads.node("Mul", "scores none", "nothing"),
            heads.node("Pad", "nothing pads", "zeros"),
            heads.node("Add", "zeros box", "boxes"),
        ],
        [("boxes", heads.FLOAT, ["N", 1, 4]), ("scores", heads.FLOAT, ["N", 1, 3])],
        [
            heads.const("by", np.array([-1, 1, 3])),
            heads.const("none", np.float32(0)),
            heads.const("pads", np.array([0, 0, 0, 0, 0, 1])),
            heads.const("box", np.array([[[0.4, 0.4, 0.5, 0.5]]], np.float32)),
        ],
    )
    model = xplain.load(two.SerializeToString(), output="scores")
    with pytest.raises(UsageError, match="fit equally"):
        xplain.explain(model, item("ssd"), "occlusion", target="box:best")
    assert xplain.explain(model, item("ssd"), "occlusion", target="box:best,format=xywh").values.any()


def test_a_region_reads_its_own_pixels_alone_and_its_border_only_these():
    x = picture(a5=(1, 2.0), a6=(1, 2.0))
    inside = np.zeros((16, 16), bool)
    inside[4:8, 4:12] = True
    found = xplain.explain(net("segmenter"), x, "saliency", target="region:1")
    np.testing.assert_allclose(found.values[0], np.where(inside, 3.0 / 32, 0.0), atol=1e-6)
    assert found.targets == ("1 in its region of 32 places",)
    edge = xplain.explain(net("segmenter"), x, "saliency", target="border:1").values[0] > 0
    wide = np.zeros((16, 16), bool)
    wide[3:9, 4:12] = wide[4:8, 3:13] = True
    thin = np.zeros((16, 16), bool)
    thin[5:7, 5:11] = True
    np.testing.assert_array_equal(edge, wide & ~thin)


def test_a_region_may_be_a_mask_of_one_s_own(tmp_path):
    from PIL import Image

    mask = np.zeros((32, 32), np.uint8)
    mask[:16, :16] = 255
    Image.fromarray(mask).save(tmp_path / "mask@home.png")
    x = picture(a5=(1, 2.0))
    named = xplain.explain(net("segmenter"), x, "saliency", target=f"region:{tmp_path / 'mask@home.png'}@1")
    given = xplain.explain(net("segmenter"), x, "saliency", target=Region(1, np.pad(np.ones((8, 8)), (0, 8))))
    np.testing.assert_array_equal(named.values, given.values)
    with pytest.raises(UsageError, match=r"\[5, 5\]"):
        xplain.explain(net("segmenter"), x, "saliency", target=Region(1, np.ones((5, 5))))
    with pytest.raises(UsageError, match="nowhere in item 0"):
        xplain.explain(net("segmenter"), x, "saliency", target="region:2")


def test_a_likeness_follows_the_other_picture_and_not_the_item_itself():
    x, other = picture(a5=(1, 2.0), a0=(0, 1.0)), picture(a5=(1, 1.0), a3=(2, 1.0))
    e = np.asarray(xplain.predict(net("embedder"), other))[0]
    own = np.asarray(xplain.predict(net("embedder"), x))[0]
    found = xplain.explain(net("embedder"), x, "input-x-gradient", target=Similar(e))
    np.testing.assert_allclose(found.scores[0], own @ e / np.linalg.norm(own) / np.linalg.norm(e), rtol=1e-5)
    assert found.unit.startswith("delta similarity")
    with pytest.raises(UsageError, match="compared with itself"):
        xplain.explain(net("embedder"), x, "saliency", target=Similar(own))
    assert xplain.explain(net("embedder"), x, "occlusion", target=Similar(own), patch=4, stride=4).values.max() > 0
    with pytest.raises(UsageError, match=r"\[5\]"):
        xplain.explain(net("embedder"), x, "saliency", target=Similar(np.ones(5)))


def test_words_read_the_patches_that_they_were_made_of():
    x = picture(a2=(0, 3.0), a5=(0, 2.0), a9=(0, 1.0))  # word 2 at place 0, 1 at place 1, 1 at place 2
    model = net("captioner")
    last = xplain.explain(model, x, "input-x-gradient", target="next")
    assert last.targets == ("log-probability of 1",)
    logits = np.array([0.0, 1.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(last.scores[0], 1.0 - np.log(np.exp(logits).sum()), rtol=1e-5)
    assert set(np.flatnonzero(by_patch(last.values[0]) > 1e-6)) == {9}
    whole = xplain.explain(model, x, "occlusion", target="words:2,1,1", patch=4, stride=4)
    assert set(np.argsort(-by_patch(whole.values[0]))[:3]) == {2, 5, 9}
    assert "log-probability" in whole.unit


def test_a_forecast_is_explained_in_its_own_unit():
    x = np.arange(24, dtype=np.float32).reshape(1, 12, 2)
    found = xplain.explain(net("forecaster"), x, "input-x-gradient", target="horizon:2,quantile:1", channels=True)
    expected = np.zeros((1, 12, 2))
    expected[0, 9, 0] = 2.0 * x[0, 9, 0]
    np.testing.assert_allclose(found.values.reshape(1, 12, 2), expected)
    with pytest.raises(UsageError, match="quantile"):
        xplain.explain(net("forecaster"), x, "saliency", target="horizon:2")


def test_an_anomaly_lies_where_the_reconstruction_differs():
    x = np.full((1, 3, 16, 16), 0.5, np.float32)
    x[0, 1, 6, 9] = 5.0
    mean = (15 * 0.5 + 5.0) / 16
    found = xplain.explain(net("autoencoder"), x, "occlusion", target="anomaly", patch=1, stride=1, baseline=0.5)
    np.testing.assert_allclose(found.scores[0], 15 * (0.5 - mean) ** 2 + (5.0 - mean) ** 2, rtol=1e-5)
    assert np.unravel_index(found.values[0].argmax(), (16, 16)) == (6, 9)
    gradient = xplain.explain(net("autoencoder"), x, "saliency", target="anomaly").values[0]
    assert np.unravel_index(gradient.argmax(), (16, 16)) == (6, 9)


def test_a_key_point_is_held_where_it_was():
    found = xplain.explain(net("keypoints"), picture(a6=(1, 2.0)), "saliency", target="point:1")
    assert found.targets == ("heatmaps[1, 1, 2]",)
    assert set(np.flatnonzero(by_patch(found.values[0]))) == {6}


def classifier(link="Softmax"):
    nodes = [
        heads.node("GlobalAveragePool", "x", "m"),
        heads.node("Flatten", "m", "z"),
        heads.node(link, "z", "scores"),
    ]
    return xplain.load(heads.made(nodes, [("scores", heads.FLOAT, ["N", 3])]).SerializeToString())


def test_margins_and_finer_targets_are_sums_of_classes():
    x = np.concatenate([picture(a1=(1, 16.0), a2=(0, 8.0)), picture(a1=(2, 16.0), a2=(1, 8.0))])
    model = classifier()
    z = np.asarray(xplain.predict(model, x))
    margin = xplain.explain(model, x, "saliency", target="margin")
    np.testing.assert_allclose(margin.scores, [0.5, 0.5], rtol=1e-5)
    assert margin.targets == ("1 - 0", "2 - 1")
    best = xplain.explain(model, x, "saliency", target="margin,smooth")
    smooth = xplain.explain(model, x, "saliency", target="margin:1,smooth")
    np.testing.assert_allclose(best.scores[0], smooth.scores[0])
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    np.testing.assert_allclose(smooth.scores, np.log(p[:, 1] / (1 - p[:, 1])), rtol=1e-5)
    finer = xplain.explain(model, x, "saliency", target="finer:1,closest=2,share=0.5")
    np.testing.assert_allclose(finer.scores, z[:, 1] - 0.25 * (z[:, 0] + z[:, 2]), rtol=1e-5)


def test_every_label_above_a_half_is_a_target():
    model = classifier("Sigmoid")
    found = xplain.explain_many(model, picture(a1=(1, 16.0), a2=(2, 8.0)), "saliency", target="above:0.6")
    assert [one.labels for one in found] == [(1,), (2,)]
    with pytest.raises(UsageError, match=r"above:0\.\d\d"):
        xplain.explain(model, picture(a1=(1, 16.0)), "saliency", target="above:0.99")


@pytest.mark.parametrize(
    ("name", "target", "says"),
    [
        ("segmenter", "region:9", "0 to 2"),
        ("segmenter", "box:1", "ends in map"),
        ("yolo_v8", "region:1", "ends in boxes"),
        ("yolo_v8", "box:7", "0 to 2"),
        ("yolo_v8", "box:best#0", "counted from 1"),
        ("yolo_v8", "boxes:none", "whole number"),
        ("yolo_v8", "output1[0, 0]", "output0"),
        ("yolo_v8", "output0[99, 0]", r"no element \[99, 0\]"),
        ("captioner", "words:0,1,2,3", "3 places"),
        ("captioner", "next:11", "0 to 4"),
        ("forecaster", "horizon:9,quantile:0", "places 0 to 3"),
        ("segmenter", "similar:other.jpg", "ends in map"),
        ("segmenter", "regoin:1", "'region'"),
    ],
)
def test_a_word_that_does_not_fit_says_what_would(name, target, says):
    with pytest.raises(xplain.XplainError, match=says):
        xplain.explain(net(name), item(name), "saliency", target=target)


def test_results_of_words_are_saved_planned_streamed_and_joined(tmp_path):
    x = np.concatenate([picture(a5=(1, 2.0)), picture(a10=(2, 1.5))])
    model, grid = net("yolo_v8"), {"patch": 4, "stride": 4}
    found = xplain.explain(model, x, "occlusion", target="box:best", **grid)
    plan = xplain.plan(model, x, "occlusion", target="box:best", **grid)
    assert plan.queries <= found.cost.queries <= plan.queries + 2 * len(x)
    found.save(tmp_path / "boxes.npz")
    again = load(tmp_path / "boxes.npz")
    assert again.explained == found.explained
    assert again.targets == found.targets
    for n, one in enumerate(xplain.explain_stream(model, iter(list(x)), "occlusion", target="box:best", **grid)):
        np.testing.assert_array_equal(one.values[0], found.values[n])
        assert one.targets[0] == found.targets[n]
    cached = [
        xplain.explain(model, x, "occlusion", target="box:best", **grid, cache=tmp_path / "answers", sentinel=8)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(cached[0].values, cached[1].values)
    assert cached[1].cost.queries < cached[0].cost.queries


def test_a_torch_module_is_explained_in_the_same_words():
    torch = pytest.importorskip("torch")

    class Detector(torch.nn.Module):
        def forward(self, x):
            means = torch.nn.functional.avg_pool2d(x, 4).flatten(2)
            boxes = torch.from_numpy(heads.CENTRES.T.copy())
            boxes = torch.cat([boxes, torch.full((2, 16), 4.0)])
            return {"output0": torch.cat([boxes.expand(len(x), -1, -1), means.sigmoid()], dim=1)}

    model = xplain.load(Detector().eval(), layout="NCHW")
    x = picture(a5=(1, 2.0), a10=(2, 1.5))
    for method in ("saliency", "occlusion"):
        for target in ("box:best", "box:2"):
            found = xplain.explain(model, x, method, target=target, **METHODS[method])
            expected = xplain.explain(net("yolo_v8"), x, method, target=target, **METHODS[method])
            np.testing.assert_allclose(found.values, expected.values, atol=1e-5)
            assert found.targets == expected.targets
    with pytest.raises(ModelError, match="box:best"):
        xplain.explain(model, x, "saliency")


def test_rise_says_how_many_masks_lose_the_box():
    crowd = picture(**{f"a{k}": (1, 1.0 + 0.1 * k) for k in range(0, 16, 2)})  # eight things, and five rows
    found = xplain.explain(net("end_to_end"), crowd, "rise", target="box:best", samples=64, cells=4)
    (share,) = found.each["share of masks that lose the box"]
    assert 0.0 < share < 1.0
    assert any("found no more" in text for text in found.said) == (share > 0.5)


def test_what_is_chosen_at_the_items_is_not_compiled():
    import onnxruntime

    with pytest.raises(UsageError, match="chosen at each item"):
        xplain.compile(net("yolo_v8"), "saliency", target="box:best")
    with pytest.raises(ModelError, match="box:best"):
        xplain.compile(net("yolo_v8"), "saliency")
    made = xplain.compile(net("autoencoder"), "saliency", target="anomaly")
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    x = item("autoencoder")
    expected = xplain.explain(net("autoencoder"), x, "saliency", target="anomaly").values
    np.testing.assert_allclose(session.run(["attribution"], {"x": x})[0], expected, rtol=1e-4, atol=1e-6)


def test_one_forward_pass_and_one_value_are_all_that_a_word_costs():
    found = xplain.explain(net("yolo_v8"), picture(a5=(1, 2.0)), "saliency", target="box:best")
    assert (found.cost.queries, found.cost.sweeps) == (2, 1)


def test_a_plan_without_a_target_is_refused_as_the_run_is():
    with pytest.raises(ModelError, match="box:best"):
        xplain.plan(net("yolo_v8"), item("yolo_v8"), "occlusion")


@pytest.mark.parametrize("options", [{"number": -1}, {"count": 0}, {"number": 0.5}])
def test_a_box_that_is_none_is_refused(options):
    with pytest.raises(UsageError, match="counted from 0"):
        Box(**options)
    with pytest.raises(UsageError, match="class number"):
        xplain.explain(net("yolo_v8"), item("yolo_v8"), "saliency", target=Box(1.5))


def test_a_function_s_target_may_read_its_items():
    x = item("yolo_v8")
    found = xplain.explain(
        lambda rows: np.asarray(rows).mean((2, 3)), x, "occlusion", target=distance(input(), x[0]), patch=4, stride=4
    )
    expected = [(x[0][(slice(None), *patch_of(a))] ** 2).sum() for a in range(16)]
    values = np.array([found.values[0][patch_of(a)][0, 0] for a in range(16)])
    np.testing.assert_allclose(values, -np.array(expected), rtol=1e-4)


@pytest.mark.parametrize("said", ["above:nan", "above:inf", "finer:1,share=nan", "finer:1,share=1e999"])
def test_a_number_in_a_word_is_finite(said):
    with pytest.raises(UsageError, match="give a number"):
        xplain.explain(xplain.load(HEADS["segmenter"]()), picture(), "saliency", target=said)


@pytest.mark.parametrize("said", ["finer:1,share=-1", "finer:1,share=1.5"])
def test_what_is_taken_off_a_class_is_a_share(said):
    """Below 0 the others' scores would be added: the map would show what they have in common."""
    model = xplain.load(lambda x: x.reshape(len(x), -1) @ np.eye(3), layout="NS")
    with pytest.raises(UsageError, match="give 0 to 1"):
        xplain.explain(model, np.ones((1, 3)), "occlusion", target=said, patch=1, stride=1)
    with pytest.raises(UsageError, match="give 0 to 1"):
        Finer(1, share=-1e-9)
