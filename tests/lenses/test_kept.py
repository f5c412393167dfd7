"""Vectors that were kept answer like the pictures that they are of; those of something else are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xplain
from xplain.core.errors import UsageError
from xplain.core.keeping.content import checksums, keys_of
from xplain.core.lenses.kept_vectors import aligned, kept_in
from xplain.core.lenses.vector_folder import VectorFolder, read_vectors
from xplain.results import Embedding, load

from .embedded import CARD, exported, folder, module


@pytest.fixture(scope="module")
def net():
    return exported(module())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("pictures"), each=12)


def keep(net, files, path, **more):
    xplain.see(net, "embed", files, card=CARD, vectors=str(path), **more)
    return str(path)


@pytest.fixture(scope="module")
def kept(net, files, tmp_path_factory):
    return keep(net, files, tmp_path_factory.mktemp("kept") / "vectors")


def layer_of(net, op="Relu"):
    return next(one.name for one in xplain.load(net).outline.layers if one.op == op)


LENSES = {
    "neighbours": {"k": 4, "pixels": 8},
    "map": {"by": "pca", "groups": 3},
    "dimension": {"draws": 5, "mds": 2},
    "prototypes": {"k": 3, "criticisms": 2},
    "compare": {"draws": 5},
}


@pytest.fixture(scope="module")
def table(net, files, tmp_path_factory):
    """The same in one Parquet file."""
    pytest.importorskip("pyarrow")
    return keep(net, files, tmp_path_factory.mktemp("table") / "vectors.parquet")


@pytest.mark.parametrize("source", ["kept", "table"])
@pytest.mark.parametrize("what", LENSES)
def test_a_lens_says_of_kept_vectors_what_it_says_of_their_pictures(net, files, source, what, tmp_path, request):
    labelled = {} if what == "compare" else {"labelled": True}
    told = xplain.see(net, what, files, card=CARD, **labelled, **LENSES[what])
    found = xplain.see(net, what, request.getfixturevalue(source), **labelled, **LENSES[what])
    assert type(found) is type(told)
    assert found.names == told.names
    assert set(found.arrays()) == set(told.arrays())
    for name in told.arrays():
        np.testing.assert_array_equal(getattr(found, name), getattr(told, name), err_msg=name)
    assert (found.cost.queries, found.model, found.card) == (0, told.model, told.card)
    assert found.facts["items"] == 36
    again = load(found.save(tmp_path / "found.npz"))
    assert repr(again) == repr(found)


def test_dissection_by_folders_needs_the_largest_values_alone(net, files, tmp_path):
    layer = layer_of(net)
    told = xplain.see(net, "dissect", files, card=CARD, layer=layer, units=3, k=2)
    largest = keep(net, files, tmp_path / "max", layer=layer, positions="max")
    found = xplain.see(net, "dissect", largest, units=3, k=2)
    np.testing.assert_array_equal(found.facts["iou"], told.facts["iou"])
    np.testing.assert_array_equal(found.values, told.values)
    assert found.units == told.units
    np.testing.assert_array_equal(found.boxes, told.boxes)
    assert found.cost.queries <= 6  # what is shown
    with pytest.raises(UsageError, match="positions was .mean. and is .max."):
        xplain.see(net, "dissect", keep(net, files, tmp_path / "mean", layer=layer, positions="mean"))


def test_two_models_are_compared_by_the_vectors_that_were_kept_of_both(net, files, kept, table, tmp_path):
    other = exported(module(5))
    theirs = keep(other, files[::-1], tmp_path / "theirs")  # in another order: matched by content
    told = xplain.see(net, "compare", files, other=other, card=CARD, draws=10)
    found = xplain.see(net, "compare", kept, other=theirs, draws=10)
    for name in ("alignment", "shared", "agreement", "thumbnails"):
        np.testing.assert_array_equal(getattr(found, name), getattr(told, name), err_msg=name)
    assert found.different == told.different
    assert found.facts["models"] == [told.model, xplain.load(other).outline.digest]
    assert xplain.see(net, "compare", table, other=theirs, draws=10).different == told.different
    as_one = Embedding.of_folder(theirs).to_parquet(tmp_path / "theirs.parquet")
    assert xplain.see(net, "compare", kept, other=str(as_one), draws=10).different == told.different
    with pytest.raises(UsageError, match="is no folder of vectors.*xplain see embed.*of the other model"):
        xplain.see(net, "compare", kept, other=other)


def test_a_folder_for_each_layer_gives_a_curve(net, files, kept, tmp_path):
    layer = layer_of(net)
    first = keep(net, files[3:], tmp_path / "first", layer=layer, positions="mean")
    found = xplain.see(net, "dimension", [first, kept], draws=5)
    assert list(found.names) == [layer, kept_in(kept).layer]
    assert "33 of 36 items have a vector in all" in " ".join(found.said)
    np.testing.assert_array_equal(xplain.see(net, "dimension", [kept, first], layer=layer, draws=5).names, [layer])
    with pytest.raises(UsageError, match="given more than once"):
        xplain.see(net, "dimension", [kept, kept], draws=5)
    with pytest.raises(UsageError, match="looks at the vectors of one layer; 2 folders"):
        xplain.see(net, "neighbours", [kept, first])


def test_vectors_of_something_else_are_refused_with_what_differs(net, kept, files, tmp_path):
    with pytest.raises(UsageError, match="holds vectors of something else: model was"):
        xplain.see(exported(module(1)), "neighbours", kept)
    with pytest.raises(UsageError, match=f"layer was .{kept_in(kept).layer}. and is .{layer_of(net)}."):
        xplain.see(net, "neighbours", kept, layer=layer_of(net))
    with pytest.raises(UsageError, match="card was"):
        xplain.see(net, "neighbours", kept, card={**CARD, "scale": 1.0})
    mean = keep(net, files, tmp_path / "mean", layer=layer_of(net), positions="mean")
    with pytest.raises(UsageError, match="positions was .mean. and is .max."):
        xplain.see(net, "map", mean, positions="max")
    with pytest.raises(UsageError, match=r"No vectors of layer .*these are of"):
        xplain.see(net, "dimension", [mean, kept], layer=f"{layer_of(net, 'Conv')},auto")
    with pytest.raises(UsageError, match="lens 'patches' looks at the items themselves.*compare, dimension"):
        xplain.see(net, "patches", kept)
    with pytest.raises(UsageError, match="stand beside .*which holds none"):
        xplain.see(net, "dimension", [kept, files[0]])


def test_pictures_that_are_gone_or_changed_are_told_and_the_vectors_stand(net, files, tmp_path):
    shutil.copytree(Path(files[0]).parents[1], tmp_path / "pictures")
    mine = sorted(str(one) for one in (tmp_path / "pictures").rglob("*.png"))
    path = keep(net, mine, tmp_path / "vectors")
    whole = xplain.see(net, "neighbours", path)
    Path(mine[4]).unlink()
    Image.new("RGB", (20, 20)).save(mine[7])
    found = xplain.see(net, "neighbours", path)
    np.testing.assert_array_equal(found.near, whole.near)
    assert "2 of 36 pictures do not lie where" in " ".join(found.said)
    assert found.near_pixels.shape == (36, 0)
    assert (found.thumbnails[[4, 7]] == 128).all()
    np.testing.assert_array_equal(np.delete(found.thumbnails, [4, 7], 0), np.delete(whole.thumbnails, [4, 7], 0))
    assert load(found.save(tmp_path / "found.npz")).near_pixels.shape == (36, 0)
    assert found.strips(most=2).width > 200
    shutil.rmtree(tmp_path / "pictures")
    blind = xplain.see(net, "map", path, by="pca")
    assert blind.thumbnails is None
    assert "No picture lies where its vector says" in " ".join(blind.said)
    silent = xplain.see(net, "neighbours", path, pixels=0, thumbnail=0)
    assert not silent.said
    assert silent.near_pixels.size == 0


def test_an_embedding_stands_in_for_its_items_too(net, files):
    embedding = xplain.see(net, "embed", files, card=CARD)
    found = xplain.see(net, "map", embedding, by="pca", thumbnail=0, labelled=True)
    told = xplain.see(net, "map", files, by="pca", card=CARD, thumbnail=0, labelled=True)
    np.testing.assert_array_equal(found.places, told.places)
    assert (found.truth, found.predicted, found.names) == (told.truth, told.predicted, told.names)


def test_items_are_matched_by_content_and_copies_by_their_number(tmp_path):
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    for name, keys in (("one", "abca"), ("two", "caxa")):
        with VectorFolder(tmp_path / name, {"layer": name}, 3) as open_one:
            open_one.append([f"{name}{n}" for n in range(4)], list(keys), rows, [{}] * 4)
    first, second = aligned([kept_in(tmp_path / "one"), kept_in(tmp_path / "two")])
    assert first.keys == second.keys == ("a", "c", "a")
    assert first.names == ("one0", "one2", "one3")
    assert second.names == ("two1", "two0", "two3")
    with VectorFolder(tmp_path / "three", {}, 3) as open_one:
        open_one.append(["z"], ["z"], rows[:1], [{}])
    with pytest.raises(UsageError, match="no item in common"):
        aligned([first, kept_in(tmp_path / "three")])


def test_a_name_in_a_folder_of_vectors_opens_no_pipe_and_no_other_file(net, files, tmp_path):
    path = Path(keep(net, files, tmp_path / "vectors"))
    lines = [json.loads(line) for line in (path / "rows.jsonl").read_text().splitlines()]
    import os

    os.mkfifo(tmp_path / "pipe")
    lines[0]["name"], lines[1]["name"] = str(tmp_path / "pipe"), str(tmp_path)
    (path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = xplain.see(net, "neighbours", path)
    assert "2 of 36 pictures do not lie where" in " ".join(found.said)


# ---------------------------------------------------------------------- one Parquet file


def test_a_parquet_file_is_made_of_a_folder_that_goes_on_after_a_kill(net, files, table, tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "vectors.parquet"
    keep(net, files[:34], f"{path}.parts")  # as a run leaves it that is killed then
    found = xplain.see(net, "embed", files, card=CARD, vectors=str(path))
    assert found.cost.queries <= 32 + 2
    assert sorted(one.name for one in tmp_path.iterdir()) == ["vectors.parquet"]
    assert (found.kept, found.facts["kept in"]) == (True, str(path))
    again, whole = kept_in(path), kept_in(table)
    np.testing.assert_array_equal(found.vectors, whole.vectors)  # whose folder is gone
    np.testing.assert_array_equal(again.vectors, whole.vectors)
    np.testing.assert_array_equal(again.confidence, whole.confidence)
    for name in ("names", "keys", "predicted", "truth", "about"):
        assert getattr(again, name) == getattr(whole, name), name
    with pytest.raises(UsageError, match="is there already, and a Parquet file is written once. Choose another name"):
        keep(net, files, path)
    assert kept_in(path).names == again.names


def test_items_without_a_vector_are_told_by_a_parquet_file_too(net, files, tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    path = keep(net, [*files[:9], str(tmp_path / "broken.png")], tmp_path / "vectors.parquet")
    ((name, why),) = kept_in(path).failed
    assert name == str(tmp_path / "broken.png")
    assert "no picture that can be read" in why
    assert len(xplain.see(net, "neighbours", path, k=2)) == 9


def test_a_parquet_file_of_a_result_in_memory_stands_in_for_its_items(net, files, tmp_path):
    pytest.importorskip("pyarrow")
    embedding = xplain.see(net, "embed", files, card=CARD, labelled=True)
    path = embedding.to_parquet(tmp_path / "vectors.parquet")
    found = xplain.see(net, "map", path, by="pca")
    np.testing.assert_array_equal(found.places, xplain.see(net, "map", embedding, by="pca").places)
    assert found.thumbnails is None  # whose files were not kept


def as_older_versions_wrote(path, found):
    """A Parquet file with neither keys nor a manifest."""
    import pyarrow as pa
    from pyarrow import parquet

    width = found.vectors.shape[1]
    made = {"name": pa.array(found.names), "predicted": pa.array(found.predicted)}
    made["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(found.vectors.reshape(-1)), width)
    told = {"xplain": json.dumps({"model": found.model, "layer": found.facts["layer"]})}
    parquet.write_table(pa.table(made).replace_schema_metadata(told), path)
    return path


def test_a_parquet_file_of_an_older_version_is_read(net, files, tmp_path):
    pytest.importorskip("pyarrow")
    embedding = xplain.see(net, "embed", files, card=CARD)
    path = as_older_versions_wrote(tmp_path / "vectors.parquet", embedding)
    found = xplain.see(net, "neighbours", str(path), k=4)
    np.testing.assert_array_equal(found.near, xplain.see(net, "neighbours", embedding, k=4).near)
    with pytest.raises(UsageError, match="something else: model was"):
        xplain.see(exported(module(1)), "neighbours", str(path))


def _written(path, **columns):
    import pyarrow as pa
    from pyarrow import parquet

    told = columns.pop("told", None)
    table = pa.table(columns)
    parquet.write_table(table if told is None else table.replace_schema_metadata({"xplain": told}), path)


HARMS = {
    "no Parquet file that can be read": lambda path, pa: path.write_bytes(b"PAR1 and nothing behind it PAR1"),
    "not of vectors as": lambda path, pa: _written(path, age=[1, 2]),
    "not of vectors": lambda path, pa: _written(path, name=["a"], vector=[[1.0, 2.0]], told="{}"),
    "a\\s+column 'vector'": lambda path, pa: _written(
        path, name=["a"], vector=pa.array([[1.0]], pa.list_(pa.float32(), 1)), told="[" * 100_000
    ),
    "rows without a vector": lambda path, pa: _written(
        path, name=["a", "b"], vector=pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)), told="{}"
    ),
    "columns are missing|not of vectors": lambda path, pa: _written(
        path, vector=pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)), told="{}"
    ),
}


@pytest.mark.parametrize("said", HARMS)
def test_a_parquet_file_that_others_wrote_is_refused_by_name(net, said, tmp_path):
    pa = pytest.importorskip("pyarrow")
    HARMS[said](tmp_path / "vectors.parquet", pa)
    with pytest.raises(UsageError, match=said) as told:
        xplain.see(net, "neighbours", str(tmp_path / "vectors.parquet"))
    assert "vectors.parquet" in str(told.value)


def test_a_parquet_file_that_says_more_than_the_disk_holds_is_refused_before_it_is_read(net, tmp_path, monkeypatch):
    pa = pytest.importorskip("pyarrow")
    from xplain.core.lenses import vector_table

    _written(
        tmp_path / "vectors.parquet",
        name=["a"] * 4096,
        vector=pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(2**20, np.float32)), 256),
        told="{}",
    )
    monkeypatch.setattr(vector_table.shutil, "disk_usage", lambda _: type("usage", (), {"free": 2**20})())
    with pytest.raises(UsageError, match="take 4 MiB when they are read, and .* has 1 MiB. Make room, or set TMPDIR"):
        xplain.see(net, "neighbours", str(tmp_path / "vectors.parquet"))


# ---------------------------------------------------------------------- what tells tensors apart


def test_tensors_are_told_apart_by_a_checksum_and_folders_of_older_versions_go_on_with_their_keys(net, tmp_path):
    items = np.random.default_rng(4).normal(size=(6, 3, 16, 16)).astype(np.float32)
    items[3] = items[1]
    xplain.see(net, "embed", items, vectors=str(tmp_path / "new"))
    about, lines, _ = read_vectors(tmp_path / "new")
    assert about["keys"] == "checksum"
    assert [one["key"] for one in lines] == list(checksums(items))
    # as an older version wrote it: the manifest names no keys, which are blake2b's
    old = {name: value for name, value in about.items() if name not in ("keys", "format", "width")}
    rows = xplain.see(net, "embed", items).vectors
    with VectorFolder(tmp_path / "old", old, about["width"]) as folder:
        folder.append([str(n) for n in range(4)], keys_of(items[:4]), rows[:4], [{}] * 4)
    xplain.see(net, "embed", items, vectors=str(tmp_path / "old"))
    about, lines, vectors = read_vectors(tmp_path / "old")
    assert "keys" not in about
    assert [(one["name"], one["key"], one["row"]) for one in lines] == [
        (str(n), key, n) for n, key in enumerate(keys_of(items))
    ]
    np.testing.assert_array_equal(vectors, rows)
    with pytest.raises(UsageError, match="old was kept by an older version.*keep these once more, in another folder"):
        aligned([kept_in(tmp_path / "new"), kept_in(tmp_path / "old")])


def test_a_file_is_hashed_once(net, files, tmp_path, monkeypatch):
    from xplain.explainers.see import embed

    found = []
    monkeypatch.setattr(embed, "content_key", lambda path: found.append(path) or f"key of {path}")
    keep(net, files, tmp_path / "vectors")  # 32 are read before the folder is there, 4 behind
    assert sorted(found) == sorted(files)
