"""The output folder: made, ours alone, and safe names in it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from xplain.cli.keeping import output
from xplain.cli.keeping.output import Folder, file_stem
from xplain.core.errors import OutputError


def test_a_folder_is_made_with_its_parents(tmp_path):
    folder = Folder(tmp_path / "a" / "b")
    folder.write("x.png", b"1")
    folder.record({"state": "finished"})
    assert (tmp_path / "a" / "b" / "x.png").read_bytes() == b"1"
    record = json.loads((tmp_path / "a" / "b" / "run.json").read_text())
    assert record["written_by"].startswith("xplain ")
    assert record["files"] == ["x.png"]


def test_a_folder_of_ours_is_used_again_and_keeps_its_files(tmp_path):
    first = Folder(tmp_path)
    first.write("old.png", b"1")
    first.record({})
    second = Folder(tmp_path)
    second.write("new.png", b"2")
    second.record({})
    assert (tmp_path / "old.png").read_bytes() == b"1"
    assert Folder(tmp_path).files == ["new.png", "old.png"]


def test_after_an_interruption_the_folder_is_still_ours(tmp_path):
    first = Folder(tmp_path)
    first.announce(["a.png", "b.png"])
    first.write("a.png", b"1")  # and then the lights went out
    assert Folder(tmp_path).files == ["a.png"]


def test_other_peoples_files_are_refused_and_named(tmp_path):
    for n in range(5):
        (tmp_path / f"thesis-{n}.doc").write_text("x")
    with pytest.raises(
        OutputError, match=r"did not write \(thesis-0.doc, thesis-1.doc, thesis-2.doc and 2 more\).*--force"
    ):
        Folder(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"thesis-{n}.doc" for n in range(5)]
    folder = Folder(tmp_path, force=True)
    folder.record({})
    assert folder.files == []  # theirs stay theirs
    with pytest.raises(OutputError, match="did not write"):
        Folder(tmp_path)


@pytest.mark.parametrize(
    "content", ["not json", "[]", '{"files": ["a.doc"]}', '{"written_by": "me", "files": ["a.doc"]}']
)
def test_a_foreign_record_makes_no_file_ours(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    (tmp_path / "a.doc").write_text("x")
    with pytest.raises(OutputError, match="did not write"):
        Folder(tmp_path)


def test_hidden_files_do_not_count(tmp_path):
    (tmp_path / ".gitkeep").write_text("")
    Folder(tmp_path)


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(OutputError, match="is a file; give a folder"):
        Folder(tmp_path / "out")
    with pytest.raises(OutputError, match="Cannot use --out .*Not a directory.*another folder"):
        Folder(tmp_path / "out" / "deeper")


def test_a_place_that_cannot_be_made():
    with pytest.raises(OutputError, match="Cannot use --out /proc/xplain"):
        Folder(Path("/proc/xplain"))


def test_an_empty_folder_that_we_made_goes_again(tmp_path):
    with pytest.raises(ValueError, match="refused"), Folder(tmp_path / "a" / "b"):
        raise ValueError("refused")
    assert not (tmp_path / "a").exists()
    with Folder(tmp_path / "a" / "b") as folder:
        folder.write("x.png", b"x")
    assert (tmp_path / "a" / "b" / "x.png").exists()
    (tmp_path / "theirs").mkdir()
    with Folder(tmp_path / "theirs"):
        pass
    assert (tmp_path / "theirs").exists()
    with Folder(tmp_path / "theirs" / "ours"):
        pass
    assert not list((tmp_path / "theirs").iterdir())


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # tests may run as root, who may write anywhere
    with pytest.raises(OutputError, match="Cannot write into --out .*permission denied"):
        Folder(tmp_path)


def test_file_stems_are_safe_and_free():
    taken: set[str] = set()
    names = ["a/b/cat.jpg", "dog/cat.png", "CAT.bmp", "skimage:chelsea", "../..", "ä b?.png", "x" * 300 + ".png", "%$"]
    stems = [file_stem(name, taken) for name in names]
    assert stems == ["cat", "cat-2", "CAT-3", "chelsea", "item", "ä-b", "x" * 80, "item-2"]


@pytest.mark.parametrize("moment", ["hold", "remove_stale"])
def test_an_interruption_while_the_folder_is_taken_leaves_nothing(tmp_path, monkeypatch, moment):
    real = getattr(output, moment)

    def interrupted(*given):
        found = real(*given)
        signal.raise_signal(signal.SIGINT)
        return found

    monkeypatch.setattr(output, moment, interrupted)
    with pytest.raises(KeyboardInterrupt), Folder(tmp_path / "a" / "b"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_results_of_earlier_runs_are_no_pictures_to_explain(xplain, model, pictures):
    words = (
        "explain",
        model,
        pictures,
        "-m",
        "ablation",
        "--features",
        "grid:4x4",
        "--out",
        pictures / "out",
        "--json",
    )
    first, again = xplain(*words), xplain(*words)
    names = [one["picture"] for one in first.document["pictures"]]
    assert [one["picture"] for one in again.document["pictures"]] == names
    drawn = xplain("explain", model, pictures / "out", *words[3:-2], pictures / "other", "--json")
    assert len(drawn.document["pictures"]) == 3  # who names the folder itself means it
    (pictures / "theirs").mkdir()
    (pictures / "theirs" / "run.json").write_text('{"written_by": "somebody"}')
    (pictures / "theirs" / "d.png").write_bytes((pictures / "a.png").read_bytes())
    assert len(xplain(*words).document["pictures"]) == 4
