"""Sources: the same items, wherever they lie, have the same names, digests and labels; bad ones keep their place."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from xplain.audit.plans.items import Listed, write_items
from xplain.audit.plans.labels import joined
from xplain.audit.shards.reading import CHANGED, UNREADABLE, Data
from xplain.audit.sources import source_of
from xplain.audit.stores.where import Where
from xplain.core.errors import UsageError

pa = pytest.importorskip("pyarrow")


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for k, name in enumerate(("cat/0.png", "cat/1.png", "dog/0.png")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(k))
    return tmp_path / "photos"


Listing = Callable[..., tuple[Data, Listed]]


@pytest.fixture
def listing(tmp_path: Path) -> Listing:
    def made(items: Any, labels: Any = None, metadata: Any = None, **options: Any) -> tuple[Data, Listed]:
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        source = source_of(items, out, **options)
        found = write_items(source, joined(labels, metadata), out / "items.parquet", out / "places.parquet")
        Where(source.recipe()).write(out)
        return Data(out), found

    return made


def contents(data: Data) -> list[Any]:
    return [data.content(item) for item in data.planned(range(len(data)))]


def test_a_folder_is_read_in_the_order_of_its_names(photos: Path, listing: Listing) -> None:
    (photos / "notes.txt").write_text("no item")
    (photos / ".hidden.png").write_bytes(picture(9))
    data, found = listing(photos, "folders")
    rows = data.table.rows(range(3))
    assert rows["name"] == ["cat/0.png", "cat/1.png", "dog/0.png"]  # 0.png twice: distinct, for names are relative
    assert rows["label"] == ["cat", "cat", "dog"]
    assert contents(data) == [picture(0), picture(1), picture(2)]
    assert found.labels == {"cat": 2, "dog": 1}
    assert ".txt: 1" in found.told[0]


def test_a_moved_folder_and_a_pattern_are_the_same_items(photos: Path, listing: Listing) -> None:
    first = listing(photos)[1].sha256
    moved = photos.rename(photos.with_name("elsewhere"))
    assert listing(f"{moved}/")[1].sha256 == first
    assert listing(f"{moved}/**/*.png")[1].sha256 == first
    assert listing([moved / "cat/0.png", moved / "cat/1.png", moved / "dog/0.png"])[1].sha256 == first


def test_bad_items_keep_their_place_and_say_why(photos: Path, listing: Listing) -> None:
    (photos / "cat" / "2.png").write_bytes(b"")
    (photos / "cat" / "3.png").symlink_to(photos / "nothing")
    data, found = listing(photos)
    assert (found.count, found.empty, found.unreadable) == (5, 1, 1)
    (photos / "cat" / "1.png").write_bytes(picture(7))
    (photos / "dog" / "0.png").unlink()
    assert contents(data) == [picture(0), CHANGED, b"", UNREADABLE, "The file is missing."]


def test_an_empty_folder_says_so_and_what_was_left_out(tmp_path: Path, listing: Listing) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text("x")
    where = rf"nothing to audit: folder '{tmp_path}/empty' holds no item\."
    with pytest.raises(
        UsageError, match=rf"{where} 1 file is no picture or array.*\.txt: 1.*Names of items end in \.png"
    ):
        listing(tmp_path / "empty")
    (tmp_path / "empty" / "a.txt").unlink()
    with pytest.raises(UsageError, match=rf"{where} It is empty\."):
        listing(tmp_path / "empty")
    assert not list((tmp_path / "out").iterdir())


def test_a_table_brings_labels_and_metadata_with_gaps(photos: Path, listing: Listing) -> None:
    table = photos / "table.csv"
    table.write_text("file,label,site,age,code\ncat/0.png,cat,A,3,001\ndog/0.png,,,NA,002\ngone.png,dog,B,4,003\n")
    data, found = listing(table)
    rows = data.table.rows(range(3))
    assert rows["label"] == ["cat", None, "dog"]
    assert (rows["site"], rows["age"]) == (["A", None, "B"], [3, None, 4])
    assert rows["code"] == ["001", "002", "003"]  # numbers would lose their zeros
    assert (found.unreadable, contents(data)[1]) == (1, picture(2))


def test_metadata_of_another_table_is_laid_beside(photos: Path, listing: Listing, tmp_path: Path) -> None:
    (tmp_path / "site.csv").write_text("file,site\ndog/0.png,B\ncat/0.png,A\n")
    data, _ = listing(photos, {"cat/0.png": 7}, tmp_path / "site.csv")
    rows = data.table.rows(range(3))
    assert (rows["site"], rows["label"]) == (["A", None, "B"], ["7", None, None])
    (tmp_path / "site.csv").write_text("file,site\ncat/0.png,B\ncat/0.png,A\n")
    with pytest.raises(UsageError, match="says two things of 'cat/0.png'"):
        listing(photos, None, tmp_path / "site.csv")


def test_questions_are_asked_where_two_readings_fit(photos: Path, listing: Listing) -> None:
    (photos / "a.csv").write_text("file,image\ncat/0.png,cat/1.png\n")
    with pytest.raises(UsageError, match="several that may: file, image"):
        listing(photos / "a.csv")
    assert listing(photos / "a.csv", item_column="image")[0].table.rows([0])["name"] == ["cat/1.png"]
    with pytest.raises(UsageError, match=r"lies in several; accepted: top-folder \(here 'photos'\) or parent-folder"):
        listing(photos.parent, "folders")
    assert listing(photos.parent, "parent-folder")[0].table.rows(range(3))["label"] == ["cat", "cat", "dog"]


def test_names_that_stand_twice_are_refused(photos: Path, listing: Listing) -> None:
    (photos / "a.csv").write_text("file\ncat/0.png\n./cat/0.png\n")
    with pytest.raises(UsageError, match=r"some stand twice, such as 'cat/0\.png'"):
        listing(photos / "a.csv")


def test_a_tar_is_read_sample_by_sample(tmp_path: Path, listing: Listing) -> None:
    with tarfile.open(tmp_path / "w.tar", "w") as archive:
        for k in range(3):
            for ending, content in (("png", picture(k)), ("cls", b"%d" % k), ("json", b'{"site": "A"}')):
                if k == 2 and ending == "png":
                    continue
                head = tarfile.TarInfo(f"s/{k}.{ending}")
                head.size = len(content)
                archive.addfile(head, io.BytesIO(content))
    data, found = listing(tmp_path / "w.tar")
    rows = data.table.rows(range(2))
    assert (rows["name"], rows["label"]) == (["s/0.png", "s/1.png"], ["0", "1"])
    assert rows["json"] == ['{"site": "A"}'] * 2
    assert contents(data) == [picture(0), picture(1)]
    assert found.told == ("1 samples hold no picture or array and were left out.",)
    (tmp_path / "w.tar").write_bytes((tmp_path / "w.tar").read_bytes()[:700])
    assert contents(data)[1] == "The archive was cut short."


def test_a_compressed_tar_is_refused(tmp_path: Path, listing: Listing) -> None:
    (tmp_path / "w.tar").write_bytes(b"\x1f\x8b\x08" + bytes(600))
    with pytest.raises(UsageError, match="not compressed as a whole"):
        listing(tmp_path / "w.tar")


def test_parquet_rows_hold_pictures_or_name_them(photos: Path, listing: Listing, tmp_path: Path) -> None:
    from pyarrow import parquet

    held = [{"bytes": picture(k), "path": f"{k}.png"} for k in range(3)]
    table = pa.table({"image": held, "label": [0, 1, None], "age": [1.5, None, 2.0]})
    parquet.write_table(table, tmp_path / "held.parquet", row_group_size=2)
    data, _ = listing(tmp_path / "held.parquet")
    assert contents(data) == [picture(0), picture(1), picture(2)]
    assert data.table.rows(range(3), ("label", "age")) == {"label": ["0", "1", None], "age": [1.5, None, 2.0]}
    parquet.write_table(pa.table({"path": ["cat/0.png", "dog/0.png"]}), photos / "named.parquet")
    assert contents(listing(photos / "named.parquet")[0]) == [picture(0), picture(2)]
    parquet.write_table(pa.table({"x": [[1.0, 2.0], [3.0, 4.0]]}), tmp_path / "rows.parquet")
    data, _ = listing(tmp_path / "rows.parquet", item_column="x")
    assert np.array_equal(np.stack(contents(data)), np.float32([[1, 2], [3, 4]]))


def test_an_iterator_is_kept_and_read_again(listing: Listing) -> None:
    rng = np.random.default_rng(0)
    given = [rng.normal(size=(3, 4, 4)).astype(np.float32) for _ in range(3)]
    data, found = listing(iter(given), ["a", None, "a"])
    assert np.array_equal(np.stack(contents(data)), np.stack(given))
    assert (found.labels, data.table.rows([1])["label"]) == ({"a": 2}, [None])
    assert listing(np.stack(given), ["a", None, "a"])[1].sha256 == found.sha256
    with pytest.raises(UsageError, match="more items than the 2 labels given"):
        listing(iter(given), ["a", "b"])


def test_what_is_no_source_says_what_is(listing: Listing, tmp_path: Path) -> None:
    for odd in (3, None, {"a": 1}, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match="accepted: a folder, a pattern"):
            listing(odd)
    with pytest.raises(UsageError, match=r"accepted: folders, top-folder"):
        listing([np.zeros(3)], "colour")


def test_datasets_of_hugging_face_are_read_through_their_library(tmp_path: Path, listing: Listing) -> None:
    datasets = pytest.importorskip("datasets")  # an extra of nobody's: what needs it has it
    kinds = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["cat", "dog"]),
        "age": datasets.Value("int64"),
    }
    pictures = [{"bytes": picture(k), "path": None} for k in range(3)]
    rows = {"image": pictures, "label": [0, 1, -1], "age": [3, None, 5]}
    made = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    datasets.DatasetDict({"train": made, "test": made.select([2])}).save_to_disk(tmp_path / "both")
    data, _ = listing(f"datasets:{tmp_path / 'both'}:train")
    assert contents(data) == [picture(0), picture(1), picture(2)]
    assert data.table.rows(range(3), ("label", "age")) == {"label": ["cat", "dog", None], "age": [3, None, 5]}
    with pytest.raises(UsageError, match=r"several splits; accepted: .*both:train"):
        listing(f"datasets:{tmp_path / 'both'}")
    with pytest.raises(UsageError, match="save it with save_to_disk"):
        listing(made)
