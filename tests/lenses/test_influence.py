"""The lens influence: what the formulas say of a model's own layer, for files, kept vectors and checkpoints."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import xplain
from xplain.analyses.influence import Head, Step, refit, removal, representer, representer_self, tracin, tracin_self
from xplain.core.errors import UsageError, XplainError
from xplain.render.palette import AGAINST, FOR, RIGHT
from xplain.results import load

from .embedded import CARD, exported, folder, module


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("pictures"), each=8)


@pytest.fixture(scope="module")
def net():
    return module()


def seen_by(net, files):
    """What enters the last layer of each picture, by the lens that keeps it."""
    return xplain.see(exported(net), "embed", files, card=CARD).vectors


def head_of(net):
    last = net[4]
    return Head(last.weight.detach().numpy().astype(float), last.bias.detach().numpy().astype(float))


def torch_net(classes):
    torch = pytest.importorskip("torch")
    return torch.nn.Sequential(*module()[:4], torch.nn.Linear(12, classes)).eval()


LABELS = np.repeat([1, 2, 3], 8)  # red, green, blue of the card


def test_representer_points_of_a_file_are_those_of_its_own_layer(files, net):
    found = xplain.see(exported(net), "influence", files, card=CARD, asked=files[:1], label="red", plant=0.1)
    vectors = seen_by(net, files)
    fitted = refit(vectors, LABELS, 4)
    np.testing.assert_allclose(found.worth, representer_self(fitted, vectors, LABELS), rtol=1e-3)
    expected = representer(fitted, vectors, LABELS, vectors[:1], np.array([1]))
    np.testing.assert_allclose(found.influence, expected, rtol=1e-3, atol=1e-5)
    assert found.influence.sum() == pytest.approx(fitted.head.scores(vectors[:1])[0, 1], rel=1e-3)
    assert found.given == tuple(["red"] * 8 + ["green"] * 8 + ["blue"] * 8)
    assert found.classes == ("red",)
    assert found.asked == ("red/0.png",)
    for_it, against = found.speak(0, 3)
    assert all(found.given[n] == "red" for n in for_it)
    assert not any(found.given[n] == "red" for n in against)
    gone = xplain.see(exported(net), "influence", files, card=CARD, asked=files[:1], label="red", plant=0, by="removal")
    np.testing.assert_array_equal(gone.worth, found.worth)
    expected = removal(fitted, vectors, LABELS, vectors[:1], np.array([1]))
    np.testing.assert_allclose(gone.influence, expected, rtol=2e-2, atol=1e-4)
    assert found.facts["sum over items beside the weights, relative"] < 1e-3
    assert found.facts["planted wrong labels"] == 2
    assert found.discovered[-1] == 1


def test_a_layer_that_did_not_settle_says_so_and_a_larger_penalty_settles(files, net):
    more = {"card": CARD, "plant": 0}
    assert "A larger penalty settles sooner: l2=" in str(
        xplain.see(exported(net), "influence", files, l2=1e-14, **more)
    )
    assert "settle" not in str(xplain.see(exported(net), "influence", files, **more))


def test_wrong_labels_are_looked_at_first(files, net):
    labels = [CARD["labels"][k] for k in LABELS]
    labels[3], labels[20] = "blue", "red"
    for by in ("representer", "tracin"):
        better = module()
        if by == "tracin":  # a layer that has learnt the true labels
            fitted = refit(seen_by(net, files), LABELS, 4)
            better[4].weight.data[:] = better[4].weight.new_tensor(fitted.head.weights)
            better[4].bias.data[:] = better[4].bias.new_tensor(fitted.head.bias)
        found = xplain.see(exported(better), "influence", files, card=CARD, labels=labels, by=by)
        assert set(found.doubtful(2)) == {3, 20}
        assert found.predicted[3] == "red"


@pytest.mark.parametrize("kind", ["file", "module"])
def test_tracin_sums_over_checkpoints_with_their_rates(files, net, kind):
    make = exported if kind == "file" else (lambda one: one)
    early = module(seed=3)
    more = {"card": CARD, "by": "tracin", "asked": files[9:11], "plant": 0}
    found = xplain.see(make(net), "influence", files, checkpoints=[(make(early), 0.5)], rate=0.1, **more)
    steps = [Step(seen_by(net, files), head_of(net), 0.1), Step(seen_by(early, files), head_of(early), 0.5)]
    asked = [step.features[9:11] for step in steps]
    classes = steps[0].head.scores(asked[0]).argmax(axis=1)
    np.testing.assert_allclose(found.worth, tracin_self(steps, LABELS), rtol=1e-3)
    np.testing.assert_allclose(found.influence, tracin(steps, LABELS, asked, classes), rtol=1e-3, atol=1e-2)
    assert found.facts["learning rates"] == [0.1, 0.5]
    assert not len(found.discovered)


def test_kept_vectors_stand_in_for_their_pictures(files, net, tmp_path):
    kept = str(tmp_path / "kept")
    model = xplain.load(exported(net), card=CARD)
    xplain.see(model, "embed", files, vectors=kept)
    whole = xplain.see(model, "influence", files, asked=files[:1])
    again = xplain.see(model, "influence", kept, asked=files[:1])
    for name in ("worth", "influence", "thumbnails", "asked_thumbnails", "discovered"):
        np.testing.assert_allclose(getattr(again, name), getattr(whole, name), rtol=1e-6, err_msg=name)
    assert (again.names, again.given) == (whole.names, whole.given)
    assert again.cost.queries <= 15  # the layer's 13 answers, one picture, and the one that is asked about
    with pytest.raises(UsageError, match="by='tracin', of the items themselves"):
        xplain.see(model, "influence", kept, by="tracin", checkpoints=[(model, 1.0)])
    gone = folder(tmp_path / "gone", each=2)
    xplain.see(model, "embed", gone, vectors=str(tmp_path / "lost"))
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(UsageError, match="none of which lies where it did.*Give the pictures themselves"):
        xplain.see(model, "influence", str(tmp_path / "lost"))


def test_a_net_that_ends_in_a_convolution_is_read_position_by_position(net):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    parts = [torch.nn.Conv2d(3, 6, 3), torch.nn.ReLU(), torch.nn.Conv2d(6, 3, 1), torch.nn.AdaptiveAvgPool2d(1)]
    ends = torch.nn.Sequential(*parts, torch.nn.Flatten()).eval()
    items = np.random.default_rng(0).normal(size=(12, 3, 6, 6)).astype(np.float32)
    more = {"labels": [0, 1, 2] * 4, "plant": 0}
    with pytest.raises(UsageError, match="Say what becomes of them.*positions='mean'"):
        xplain.see(ends, "influence", items, **more)
    mean = xplain.see(ends, "influence", items, positions="mean", **more)
    features = ends[1](ends[0](torch.tensor(items))).mean((2, 3)).detach().numpy()
    expected = representer_self(refit(features, np.array([0, 1, 2] * 4), 3), features, np.array([0, 1, 2] * 4))
    np.testing.assert_allclose(mean.worth, expected, rtol=1e-3)
    with pytest.raises(UsageError, match="no linear function of layer '1'"):
        xplain.see(ends, "influence", items, positions="max", **more)


def test_it_is_drawn_kept_and_said(files, net, tmp_path):
    found = xplain.see(exported(net), "influence", files, card=CARD, asked=files[:2])
    kept = load(found.save(tmp_path / "influence.npz"))
    np.testing.assert_array_equal(kept.influence, found.influence)
    drawn = np.asarray(kept.strips())
    for colour in (FOR, AGAINST, RIGHT):
        assert (drawn == colour).all(axis=2).any()
    assert "labels to look at first: " in str(kept)
    with pytest.raises(UsageError, match="k is 0"):
        kept.strips(k=0)


def test_one_exchanged_label_is_told_as_one(files, net):
    from xplain.report.pages import page_of

    found = xplain.see(exported(net), "influence", files, card=CARD)
    assert found.facts["planted wrong labels"] == 1
    assert "Of 1 label exchanged on purpose" in page_of(found, "")


def test_what_cannot_be_used_is_refused_with_what_can(files, net, tmp_path):
    file = exported(net)
    with pytest.raises(UsageError, match="There are 2 labels for the 24 items"):
        xplain.see(file, "influence", files, card=CARD, labels=["red", "green"])
    with pytest.raises(
        UsageError, match=r"3 of 24 items have a label that is no class.*'cat' \(2\), '-1' \(1\).*dark, red"
    ):
        xplain.see(file, "influence", files, card=CARD, labels=["cat", "cat", "-1", *["red"] * 21])
    items = np.random.default_rng(0).random((4, 3, 16, 16)).astype(np.float32)
    with pytest.raises(UsageError, match="4 of 4 items have no label, such as .*labels="):
        xplain.see(file, "influence", items)
    with pytest.raises(UsageError, match="same label"):
        xplain.see(file, "influence", items, labels=[1] * 4)
    with pytest.raises(UsageError, match="by='tracin', of the items themselves"):
        xplain.see(file, "influence", files, card=CARD, checkpoints=[(file, 1.0)])
    with pytest.raises(UsageError, match="no linear function of layer 'conv'|Layer 'conv'"):
        xplain.see(file, "influence", files, card=CARD, layer="conv", positions="mean")
    fewer = torch_net(3)
    with pytest.raises(UsageError, match=r"the same classes; these have \[4, 3\]"):
        xplain.see(net, "influence", items, labels=[0, 1, 2, 0], by="tracin", checkpoints=[(fewer, 1.0)])
    torch = pytest.importorskip("torch")
    pooled = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    with pytest.raises(UsageError, match="no one penultimate layer.*layer="):
        xplain.see(pooled, "influence", items, labels=[0, 1, 2, 0])
    one = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(768, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)
    ).eval()
    with pytest.raises(UsageError, match="scores of two classes or more"):
        xplain.see(one, "influence", items, labels=[0, 0, 0, 0])


@pytest.fixture
def unasked(monkeypatch):
    """The model may not be asked."""
    from xplain.models.onnx.file import OnnxFile

    def answer(*_):
        raise AssertionError("the model was asked")

    monkeypatch.setattr(OnnxFile, "answer", answer)


def test_labels_and_items_that_are_none_are_refused_before_the_model_is_asked(files, net, tmp_path, unasked):
    file, strange = exported(net), folder(tmp_path / "strange", each=1)
    (tmp_path / "strange" / "red").rename(tmp_path / "strange" / "cat")
    strange[0] = strange[0].replace("/red/", "/cat/")
    with pytest.raises(UsageError, match=r"1 of 3 items have a label that is no class of the model: 'cat' \(1\)"):
        xplain.see(file, "influence", strange, card=CARD)
    with pytest.raises(UsageError, match=r"2 of 24 items have a label that is no class.*'cat' \(2\)"):
        xplain.see(file, "influence", files, card=CARD, labels=["cat", "cat", *["red"] * 22])
    with pytest.raises(UsageError, match=r"There are 25 labels for 24 items\. Give one for each"):
        xplain.see(file, "influence", files, card=CARD, labels=["red"] * 25)
    with pytest.raises(XplainError, match="Unknown label 'cat'"):
        xplain.see(file, "influence", files, card=CARD, label="cat")
    with pytest.raises(XplainError, match="There is no picture 'nowhere.png'"):
        xplain.see(file, "influence", files, card=CARD, asked=["nowhere.png"])


def test_kept_vectors_are_held_against_labels_before_the_model_is_asked(files, net, tmp_path, monkeypatch):
    from xplain.models.onnx.file import OnnxFile

    model = xplain.load(exported(net), card=CARD)
    xplain.see(model, "embed", files, vectors=str(tmp_path / "kept"))
    monkeypatch.setattr(OnnxFile, "answer", lambda *_: pytest.fail("the model was asked"))
    with pytest.raises(UsageError, match="There are 25 labels for 24 items"):
        xplain.see(model, "influence", str(tmp_path / "kept"), labels=["red"] * 25)
