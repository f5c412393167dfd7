"""Small files that a command line names: large tables, lists of labels, records and tokenizers that are none."""

from __future__ import annotations

import json
import os
import time

import pytest
from cli.tiny import write_model

from xplain.cli.asking.tables import labels_of, read_table
from xplain.cli.keeping.output import Folder
from xplain.core.errors import OutputError, UsageError
from xplain.models.rows.dataframes import names_of
from xplain.models.rows.encoder import _speaking
from xplain.models.rows.tokens import Tokens


def test_thirty_thousand_columns_are_read_in_seconds(tmp_path):
    """23 s before: the names were counted once for each column."""
    names = [f"c{k}" for k in range(30_000)]
    (tmp_path / "wide.csv").write_text(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    began = time.process_time()
    columns = read_table(tmp_path / "wide.csv").columns
    assert names_of(columns) == tuple(names)
    assert time.process_time() - began < 10
    (tmp_path / "wide.csv").write_text(",".join([*names, "c7"]) + "\n" + ",".join("1" for _ in range(30_001)) + "\n")
    with pytest.raises(UsageError, match="two columns called 'c7'"):
        read_table(tmp_path / "wide.csv")


@pytest.mark.parametrize("cells", [("1_000", "2"), ("١", "2"), ("²", "3")])
def test_cells_that_only_python_takes_for_numbers_stay_texts(tmp_path, cells):
    (tmp_path / "a.csv").write_text("a\n" + "\n".join(cells) + "\n", encoding="utf-8")
    columns = read_table(tmp_path / "a.csv").columns
    assert columns["a"].tolist() == list(cells)


def test_labels_of_a_command_line(tmp_path):
    (tmp_path / "labels.txt").write_bytes(b"\xef\xbb\xbfcrane, bird\r\n\r\nowl\r\n\r\n")
    assert labels_of(str(tmp_path / "labels.txt")) == ("crane, bird", "", "owl")
    assert labels_of("a, b") == ("a", "b")
    assert labels_of("price") == ("price",)
    for given in (str(tmp_path / "absent.txt"), "labels.txt"):
        with pytest.raises(UsageError, match="is no file; accepted: a file with one label per line, or names joined"):
            labels_of(given)
    assert labels_of("x" * 5000) == ("x" * 5000,)


RECORDS = [
    "[" * 100_000,
    '{"files": "abc", "written_by": "xplain 1"}',
    "{}",
    "5",
    '{"files": [1, {}], "written_by": "xplain 1"}',
]


@pytest.mark.parametrize("content", RECORDS, ids=lambda text: text[:20])
def test_a_record_that_is_none_makes_no_folder_ours(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    (tmp_path / "theirs.txt").write_text("x")
    with pytest.raises(OutputError, match="files that xplain did not write"):
        Folder(tmp_path)


def test_names_that_no_file_has(xplain, tmp_path):
    model = write_model(tmp_path / "tiny.onnx")
    long = "x" * 5000
    for words in (("explain", model, long), ("explain", long, "a.png"), ("explain", model, f"{long}.csv")):
        ran = xplain(*words, "--out", tmp_path / "out")
        assert ran.code != 0
        assert "Traceback" not in ran.err
    for flag in ("--card", "--endpoint", "--cache"):
        ran = xplain("explain", model, model, flag, long, "--out", tmp_path / "out")
        assert ran.code != 0
        assert "Traceback" not in ran.err


class Feeds:
    """A model of token ids."""

    def __init__(self, outline):
        self.outline = outline


VOCAB = {"type": "BPE", "vocab": {"a": 2**40}, "merges": []}


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b"\xff", json.dumps({"model": VOCAB}).encode(), None])
def test_tokenizers_that_are_none(tmp_path, content):
    pytest.importorskip("tokenizers")
    if content is None:
        os.mkfifo(tmp_path / "tokenizer.json")
    else:
        (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(UsageError, match="tokenizer file"):
        Tokens(Feeds(None), tmp_path / "tokenizer.json")


def test_a_panic_is_an_error_like_others():
    """The package's panics are no ``Exception``; Ctrl-C stays what it is."""

    class PanicException(BaseException):
        pass

    with (
        pytest.raises(UsageError, match="The tokenizer fails: called `Option::unwrap"),
        _speaking("The tokenizer fails"),
    ):
        raise PanicException("called `Option::unwrap()` on a `None` value")
    with pytest.raises(KeyboardInterrupt), _speaking("The tokenizer fails"):
        raise KeyboardInterrupt
