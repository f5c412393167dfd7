"""Several inputs of a torch module, and of its export: each map names its own patch, as one concatenated input does."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest

import xplain
from xplain.core.errors import ModelError, UnknownName, UsageError

torch = pytest.importorskip("torch", reason="the nets are written in torch")

RNG = np.random.default_rng(5)
LEFT, RIGHT = (RNG.random((2, 3, 16, 16)).astype(np.float32) for _ in range(2))
SEEN = {"left": (slice(3, 9), slice(3, 9)), "right": (slice(7, 13), slice(0, 5))}
"""What of each picture the net reads: a patch, and a border of one position."""


class Siamese(torch.nn.Module):
    """Two pictures through one branch, which is read at a patch of each, at another place in each."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.branch = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU())
        self.head = torch.nn.Linear(128, 2)

    def forward(self, left, right):
        seen = self.branch(left)[:, :, 4:8, 4:8], self.branch(right)[:, :, 8:12, 0:4]
        return self.head(torch.cat([one.flatten(1) for one in seen], 1))


class Captioned(torch.nn.Module):
    """A picture and token ids; ``masked``: the ids are also compared with a number, as an attention mask is made."""

    def __init__(self, masked=False):
        super().__init__()
        torch.manual_seed(2)
        self.words, self.look = torch.nn.Embedding(10, 5), torch.nn.Linear(48, 5)
        self.masked = masked

    def forward(self, picture, ids, scale=None):
        words = self.words(ids)
        if self.masked:
            words = words * (ids != 0)[..., None]
        found = self.look(torch.nn.functional.avg_pool2d(picture, 4).flatten(1)) + words.mean(1)
        return found if scale is None else found * scale


class Priced(torch.nn.Module):
    """A picture's mean brightness and three columns: 2, -3 and nothing."""

    def forward(self, picture, columns):
        return picture.mean((1, 2, 3))[:, None] + columns @ torch.tensor([[2.0], [-3.0], [0.0]])


@pytest.fixture(scope="module")
def net():
    return Siamese().eval()


def exported(net):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (torch.tensor(LEFT[:1]), torch.tensor(RIGHT[:1])), file, dynamo=False,
            input_names=["left", "right"], dynamic_axes={"left": {0: "n"}, "right": {0: "n"}},
        )  # fmt: skip
    return file.getvalue()


@pytest.fixture(scope="module", params=["torch", "onnx"])
def pair(request, net):
    if request.param == "torch":
        return xplain.joint(net, ["left", "right"], example=(LEFT, RIGHT))
    return xplain.joint(exported(net), ["left", "right"])


def row(net):
    """The same net as one of a single, concatenated input."""

    class Row(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x[:, :768].reshape(-1, 3, 16, 16), x[:, 768:].reshape(-1, 3, 16, 16))

    return xplain.load(Row().eval(), layout="NS")


@pytest.mark.parametrize("method", ["input-x-gradient", "kernel-shap"])
def test_each_map_names_its_patch_and_holds_what_one_long_input_would(pair, net, method):
    options = {"features": pair.players(cells=4), "samples": 400} if method == "kernel-shap" else {}
    whole = xplain.explain(pair, (LEFT, RIGHT), method, target=1, **options)
    rows = np.concatenate([LEFT.reshape(2, -1), RIGHT.reshape(2, -1)], axis=1)
    long = xplain.explain(row(net), rows, method, target=1, **options)
    np.testing.assert_allclose(whole.values, long.values, rtol=1e-3, atol=1e-4 * np.abs(long.values).max())
    for name, one in whole.by_input().items():
        assert one.values.shape == (2, 16, 16)
        inside = np.zeros((16, 16), bool)
        inside[SEEN[name]] = True
        if method == "kernel-shap":  # whole cells of 4 x 4
            inside = inside.reshape(4, 4, 4, 4).any((1, 3)).repeat(4, 0).repeat(4, 1)
        scale = np.abs(one.values).max()
        noise = 0.05 if method == "kernel-shap" else 1e-6  # of 400 of 2^32 coalitions
        assert np.abs(one.values[:, ~inside]).max() <= noise * scale
        assert np.abs(one.values[:, inside]).max() == scale


def test_the_torch_door_and_the_file_agree(net):
    here, file = (xplain.joint(*one) for one in ((exported(net), ["left", "right"]),) * 2)
    module = xplain.joint(net, ["right", "left"], example={"left": LEFT, "right": RIGHT})
    assert module.names == ("right", "left")
    one = xplain.explain(here, (LEFT, RIGHT), "integrated-gradients", target=0, steps=4).by_input()
    other = xplain.explain(module, (RIGHT, LEFT), "integrated-gradients", target=0, steps=4).by_input()
    for name in ("left", "right"):
        np.testing.assert_allclose(one[name].values, other[name].values, atol=1e-5)
    assert file.names == ("left", "right")


def test_token_ids_are_explained_by_their_vectors_and_others_are_held():
    module, ids = Captioned().eval(), np.array([[1, 4, 2], [9, 3, 3]])
    model = xplain.joint(module, ["picture", "ids"], example=(LEFT, ids), fixed={"scale": 2.0})
    found = xplain.explain(model, (LEFT, ids), "input-x-gradient", target=3)
    with torch.no_grad():
        expected = 2 * module.words(torch.tensor(ids))[..., 3].numpy() / 3
        score = 2 * module(torch.tensor(LEFT), torch.tensor(ids)).numpy()[:, 3]
    maps = found.by_input()
    np.testing.assert_allclose(maps["ids"].values, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.scores, score, rtol=1e-5)
    assert maps["ids"].columns.names == ("token 0", "token 1", "token 2")
    assert maps["ids"].columns.values == (("1", "4", "2"), ("9", "3", "3"))
    hidden = xplain.explain(model, (LEFT, ids), "ablation", features="inputs:cells=2", target=3).by_input()
    np.testing.assert_allclose(hidden["ids"].values, expected, rtol=1e-3, atol=1e-5)


def test_numbers_that_go_elsewhere_than_into_a_table_are_refused():
    ids = np.array([[1, 4, 0]])
    with pytest.raises(UsageError, match="besides an embedding something else reads them"):
        xplain.joint(Captioned(masked=True), ["picture", "ids"], example=(LEFT[:1], ids))

    class Cast(torch.nn.Module):
        def forward(self, picture, ids):
            return picture.flatten(1)[:, :3] + ids.float()

    with pytest.raises(UsageError, match="0 of its nn.Embedding look up them"):
        xplain.joint(Cast(), ["picture", "ids"], example=(LEFT[:1], ids))


def test_a_picture_and_columns_add_up_and_are_told(tmp_path):
    values = np.array([[1.0, 0.5, 7.0]], np.float32)
    names = {"columns": ("income", "debt", "age")}
    model = xplain.joint(Priced(), ["picture", "columns"], example=(LEFT, values), columns=names)
    found = xplain.explain(model, (LEFT[:1], values), "kernel-shap", features="inputs:cells=2", target=0)
    columns = found.by_input()["columns"]
    np.testing.assert_allclose(columns.values, [[2.0, -1.5, 0.0]], atol=1e-4)
    assert columns.columns.names == names["columns"]
    assert "picture" in found.sentence()
    assert "income" in found.sentence()
    again = xplain.Attribution.load(found.save(tmp_path / "both.npz"))
    assert again.by_input()["columns"].columns == columns.columns
    assert again.overlay(0).size == found.overlay(0).size
    with pytest.raises(UsageError, match="2 columns are named: a, b"):
        xplain.joint(Priced(), ["picture", "columns"], example=(LEFT, values), columns={"columns": "ab"})
    with pytest.raises(UnknownName, match=r"'colums'.*'columns'"):
        xplain.joint(Priced(), ["picture", "columns"], example=(LEFT, values), columns={"colums": "abc"})


def test_what_a_module_does_not_take_is_refused(net):
    with pytest.raises(UnknownName, match=r"'rigth'.*'right'"):
        xplain.joint(net, ["left", "rigth"], example=(LEFT, RIGHT))
    with pytest.raises(UsageError, match="Give items of each, example="):
        xplain.joint(net, ["left", "right"])
    with pytest.raises(ModelError, match=r"fails on the example \(left \[1, 3, 16, 16\], right \[1, 1, 16, 16\]\)"):
        xplain.joint(net, ["left", "right"], example=(LEFT, RIGHT[:, :1]))
    with pytest.raises(UsageError, match="lack input 'right'"):
        xplain.joint(net, ["left", "right"], example={"left": LEFT})
    with pytest.raises(UsageError, match="function has no inputs that could be joined"):
        xplain.joint(lambda left, right: left, ["left", "right"])


@pytest.mark.parametrize("method", ["occlusion", "rise"])
def test_methods_that_hide_places_of_one_picture_say_which_do_it(pair, method):
    with pytest.raises(TypeError, match="a row of 2 inputs. Use one that hides features"):
        xplain.explain(pair, (LEFT, RIGHT), method, target=0)
