"""Tables and texts from a command line: what is worked out is known, and so is what is refused."""

from __future__ import annotations

import json

import nets
import numpy as np
import onnx
import pytest
from doors.test_text import WORTH
from doors.test_tokens import token_model, tokenizer
from onnx import TensorProto, helper

from xplain.cli.asking.tables import read_table
from xplain.core.errors import ModelError
from xplain.results.attribution import Attribution
from xplain.session import Session

__all__ = ["tokenizer"]  # a fixture that this file uses

WEIGHTS = {"age": 0.5, "income": -2.0}


@pytest.fixture
def people(tmp_path):
    """A model of rows, a table and a background."""
    return write_people(tmp_path)


def write_people(folder):
    """``score = 0.5 age - 2 income + 3 [job = nurse]``, one input per column; a table and a background."""
    nodes = [
        helper.make_node("Mul", ["age", "a"], ["aged"]),
        helper.make_node("Mul", ["income", "i"], ["paid"]),
        helper.make_node("LabelEncoder", ["job"], ["worth"], domain="ai.onnx.ml", keys_strings=["nurse"],
                         values_floats=[3.0], default_float=0.0),
        helper.make_node("Sum", ["aged", "paid", "worth"], ["up"]),
        helper.make_node("Neg", ["up"], ["down"]),
        helper.make_node("Concat", ["down", "up"], ["scores"], axis=1),
    ]  # fmt: skip
    inputs = {name: (kind, ["N", 1]) for name, kind in
              (("age", nets.FLOAT), ("income", nets.FLOAT), ("job", TensorProto.STRING))}  # fmt: skip
    weights = {"a": np.array([WEIGHTS["age"]], np.float32), "i": np.array([WEIGHTS["income"]], np.float32)}
    proto = nets.model(nodes, inputs, {"scores": (nets.FLOAT, ["N", 2])}, weights)
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    onnx.save(proto, folder / "people.onnx")
    (folder / "rows.csv").write_text("age,income,job\n60,1,nurse\n20,30.5,clerk\n")
    (folder / "back.csv").write_text("age,income,job\n40,10,clerk\n")
    return folder


@pytest.fixture
def tokens(tmp_path, tokenizer):
    """A model of token ids that adds up what its words are worth."""
    (tmp_path / "tokens.onnx").write_bytes(token_model())
    return tmp_path / "tokens.onnx", "--tokenizer", tokenizer


def test_a_table(xplain, people):
    words = ("explain", people / "people.onnx", people / "rows.csv", "--background", people / "back.csv")
    ran = xplain(*words, "--target", 1, "--out", people / "out")
    assert ran.code == 0, ran.err
    lines = [line.split() for line in ran.out.splitlines()]
    assert ["age", "60", "+10", "0"] in lines
    assert ["income", "30.5", "-41", "0"] in lines
    assert ["job", "nurse", "+3", "0"] in lines
    assert {p.name for p in (people / "out").iterdir()} == {"index.html", "rows.kernel-shap.npz", "run.json"}
    saved = Attribution.load(people / "out" / "rows.kernel-shap.npz")
    np.testing.assert_allclose(saved.values, [[10, 18, 3], [-10, -41, 0]], atol=1e-3)
    assert saved.columns.names == ("age", "income", "job")


def test_a_table_as_json_is_the_record(xplain, people):
    words = ("explain", people / "people.onnx", people / "rows.csv", "--background", people / "back.csv")
    ran = xplain(*words, "-m", "exact-shapley", "-m", "ablation", "--out", people / "out", "--json")
    document = ran.document
    record = json.loads((people / "out" / "run.json").read_text())
    assert record["run"] == {k: v for k, v in document.items() if k != "exit_code"}
    assert set(record["files"]) == {"index.html", "rows.exact-shapley.npz", "rows.ablation.npz"}
    first, second = document["items"]
    assert [one["method"] for one in first["explanations"]] == ["exact-shapley", "ablation"]
    features = {one["feature"]: one for one in first["explanations"][0]["features"]}
    assert features["job"]["value"] == "nurse"
    assert features["age"]["attribution"] == pytest.approx(10, abs=1e-3)
    assert [one["explanations"][0]["class"] for one in (first, second)] == [1, 0]


def test_the_price_of_a_table(xplain, people):
    words = ("explain", people / "people.onnx", people / "rows.csv", "-m", "exact-shapley", "--hidden", "job=clerk")
    planned = xplain(*words, "--out", people / "out", "--dry-run", "--json").document
    assert not (people / "out").exists()
    assert planned["items"] == 2
    assert planned["queries"] >= xplain(*words, "--out", people / "out", "--json").document["cost"]["queries"] > 0


def test_models_of_tables_and_texts_are_described(xplain, people, tokens, tmp_path):
    """And what inspect proposes is what explains them."""
    document = xplain("inspect", people / "people.onnx", "--json").document
    assert [one["name"] for one in document["inputs"]] == ["age", "income", "job"]
    assert document["answers"] == ["Score"]
    assert "kernel-shap" in document["methods"]
    ran = xplain("inspect", people / "people.onnx")
    assert ran.code == 0, ran.err
    assert "people.onnx table.csv   (with the columns age, income, job)" in ran.out
    assert "--card" not in ran.out
    ran = xplain("inspect", tokens[0])
    assert ran.code == 0, ran.err
    assert "--tokenizer tokenizer.json --text" in ran.out
    code = helper.make_node("LabelEncoder", ["words"], ["scores"], domain="ai.onnx.ml", keys_strings=["good"],
                            values_floats=[3.0], default_float=0.0)  # fmt: skip
    proto = nets.model([code], {"words": (TensorProto.STRING, [1])}, {"scores": (nets.FLOAT, [1])}, {})
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    onnx.save(proto, tmp_path / "strings.onnx")
    ran = xplain("inspect", tmp_path / "strings.onnx")
    assert ran.code == 0, ran.err
    assert "words [1] str (explained)" in ran.out
    assert "strings.onnx --text 'words'" in ran.out


def test_a_row_that_gives_no_number_stops_alone(xplain, people):
    (people / "rows.csv").write_text("age,income,job\n1,NA,nurse\n2,3,nurse\n")
    words = ("--hidden", "job=clerk", "--hidden", "age=40", "--hidden", "income=50.5")
    ran = xplain("explain", people / "people.onnx", people / "rows.csv", *words, "--out", people / "out", "--json")
    assert ran.code == 4
    (failure,) = ran.document["failures"]
    assert failure["item"] == "0"
    assert "is nan, so no class is predicted" in failure["error"]["message"]
    assert [one["item"] for one in ran.document["items"]] == ["1"]
    assert len(Attribution.load(people / "out" / "rows.kernel-shap.npz")) == 1


def test_rows_that_are_done_stay_when_the_model_fails(xplain, people, monkeypatch):
    """Results come row by row: what was worked out before the failure is in the file, on the page and in the record."""
    (people / "rows.csv").write_text("age,income,job\n" + "".join(f"{n},{n % 7},nurse\n" for n in range(20)))
    monkeypatch.setattr("xplain.session.stream.CHEAP", 0)  # as if each row asked much
    honest, calls = Session.explain, []

    def fails(self, part, name, *rest):
        calls.append(name)
        if len(calls) == 12:
            raise ModelError("The model is gone.")
        return honest(self, part, name, *rest)

    monkeypatch.setattr(Session, "explain", fails)
    ran = xplain("explain", people / "people.onnx", people / "rows.csv", "-m", "kernel-shap", "--out", people / "out")
    assert ran.code == 2
    assert f"11 of 20 items are written to {people / 'out'}" in ran.err
    record = json.loads((people / "out" / "run.json").read_text())
    assert (record["state"], [one["item"] for one in record["run"]["items"]]) == ("failed", [str(n) for n in range(11)])
    saved = Attribution.load(people / "out" / "rows.kernel-shap.npz")
    assert saved.names == tuple(str(n) for n in range(11))
    assert (people / "out" / "index.html").exists()


def test_columns_can_be_chosen_and_rows_be_named(xplain, people):
    table = people / "pandas.csv"
    table.write_text(";risk;job;age;income\nAda;1;nurse;60;1\nBob;0;clerk;20;30.5\n")
    words = ("explain", people / "people.onnx", table, "--hidden", "job=clerk", "--out", people / "out", "--json")
    ran = xplain(*words)
    assert ran.code == 2
    assert "Say which it takes with --columns." in ran.err
    ran = xplain(*words, "--columns", "age,income,job")
    assert ran.code == 0, ran.err
    assert [one["item"] for one in ran.document["items"]] == ["Ada", "Bob"]


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ("age,income,job\n", (), "rows.csv has no rows; the first line names the columns"),
        ("", (), "rows.csv has no rows"),
        ("age,income,job\n1,2\n", (), "rows.csv, line 2 has 2 cells; the first line names 3 columns."),
        ("age,age,job\n1,2,a\n", (), "two columns called 'age' in its first line; give each column its own name."),
        ("age,,job\n1,2,a\n", (), "a column without a name in its first line"),
        ("age,income,job\n1,2,\n", (), "Column 'job' is missing in row 0, and the model takes it as text"),
        ("age,income,job\n1,inf,a\n", (), "Column 'income' holds inf. Explanations need finite values"),
        (
            "age,income,job\n1,2,a\n",
            (),
            "--background rows.csv, or one row, --baseline row.csv; or say it: --hidden COLUMN=VALUE.",
        ),
        ("age,income,job\n1,2,a\n", ("--columns", "age,incme"), "Unknown column in "),
        ("age,income,job\n1,2,a\n", ("--hidden", "job"), "--hidden job is not understood; accepted: COLUMN=VALUE."),
        ("age,income,job\n1,2,a\n", ("--mask", "x"), "--mask is for texts (--text, .txt), but the items are a table."),
        ("age,income,job\n1,2,a\n", ("--card", "imagenet"), "--card is for pictures and tensors; a table does without"),
        ("age,income,job\n1,2,a\n", ("--labels", "a,b,c"), "3 labels"),
        ("age,income,job\n1,2,a\n", ("--max-queries", "1"), "needs at least 7 more model evaluations for 1 item "),
        ("age,income,job\n1,2,a\n", ("-m", "saliency"), "saliency needs Sweep"),
    ],
)
def test_tables_that_are_refused(xplain, people, content, words, message):
    (people / "rows.csv").write_text(content)
    if not any(word in ("--hidden",) for word in words) and "--hidden" not in message:
        words = (*words, "--hidden", "job=clerk", "--hidden", "age=40", "--hidden", "income=50.5")
    ran = xplain("explain", people / "people.onnx", people / "rows.csv", *words, "--out", people / "out")
    assert ran.code == 2
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert not (people / "out").exists()


def test_what_no_table_is(xplain, people, model, tmp_path):
    assert "There is no file" in xplain("explain", people / "people.onnx", people / "none.csv").err
    (people / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8 text" in xplain("explain", people / "people.onnx", people / "bytes.csv").err
    both = xplain("explain", people / "people.onnx", people / "rows.csv", people / "back.csv")
    assert "2 tables are given" in both.err
    mixed = xplain("explain", people / "people.onnx", people / "rows.csv", "skimage:cat")
    assert "The items mix pictures and table; explain them one kind at a time." in mixed.err
    assert "not the rows of a table" in xplain("explain", model, people / "rows.csv").err


def test_texts(xplain, tokens, tmp_path):
    (tmp_path / "review.txt").write_text("Not bad\n")
    words = ("explain", *tokens, tmp_path / "review.txt", "--text", "A good film!", "--target", 0)
    ran = xplain(*words, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert f"Not[{WORTH['not']:+g}] bad[{WORTH['bad']:+g}]" in ran.out
    assert f"A[0] good[{WORTH['good']:+g}] film[{WORTH['film']:+g}]!" in ran.out
    page = (tmp_path / "out" / "index.html").read_text()
    assert '<span class="word s10" title="+2">good</span>' in page
    assert "style=" not in page  # the page's own policy would drop it
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"index.html", "texts.kernel-shap.npz", "run.json"}


def test_texts_as_json(xplain, tokens, tmp_path):
    words = ("--text", "A good film!", "--labels", "up,down", "--split", "tokens", "-m", "ablation")
    document = xplain("explain", *tokens, *words, "--out", tmp_path / "out", "--json").document
    (item,) = document["items"]
    assert item["predictions"][0]["label"] == "up"
    (told,) = item["explanations"]
    assert (told["target"], told["class"]) == ("up", 0)
    good = told["features"][1]
    assert (good["feature"], good["start"], good["end"]) == ("good", 2, 6)
    assert good["attribution"] == pytest.approx(WORTH["good"])


def test_a_folder_and_a_glob_of_texts(xplain, tokens, tmp_path):
    folder = tmp_path / "reviews"
    folder.mkdir()
    for name in ("b", "a"):
        (folder / f"{name}.txt").write_text("good")
    for source in (folder, folder / "*.txt"):
        ran = xplain("explain", *tokens, source, "-m", "ablation", "--out", tmp_path / "out", "--json")
        assert [one["item"] for one in ran.document["items"]] == ["a.txt", "b.txt"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--text", " "), "is empty: there is nothing to explain"),
        (("--text", "!!"), "has no words; use --split marks or 'characters'."),
        (("--text", "good", "--split", "letters"), "Unknown split 'letters'."),
        (("--text", "good", "--hidden", "a=b"), "--hidden is for tables (.csv, .tsv), but the items are texts."),
        (("--text", "good", "--baseline", "1"), "A hidden word is deleted or replaced by --mask; it has no other"),
        (("--text", "good", "--labels", "a,b,c"), "3 labels were given, but the model has 2 classes."),
        ((), "There is nothing to explain. Name pictures"),
    ],
)
def test_texts_that_are_refused(xplain, tokens, tmp_path, words, message):
    ran = xplain("explain", *tokens, *words, "--out", tmp_path / "out")
    assert ran.code == 2
    assert message in ran.err or (not words and "--tokenizer" in ran.err)
    assert not (tmp_path / "out").exists()


def test_a_picture_for_a_model_of_texts_and_a_text_for_one_of_pictures(xplain, tokens, model, pictures, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    assert "empty.txt is empty" in xplain("explain", *tokens, tmp_path / "empty.txt").err
    ran = xplain("explain", model, "--text", "good", "--out", tmp_path / "out")
    assert ran.code == 2
    assert "a model of texts has one, of strings" in ran.err


@pytest.mark.parametrize("named", [False, True])
def test_a_row_that_cannot_be_used_stops_no_other(xplain, people, named):
    """A line of another length and one without its word: the others keep their names and their values."""
    lines = ["age,income,job", "60,1,nurse", "7,8", "20,30.5,clerk", "40,10,", "1,2,nurse,4"]
    names = ["", "Ada", "Bea", "Cid", "Dan", "Eve"]
    lines = [f"{name},{line}" for name, line in zip(names, lines, strict=True)] if named else lines
    (people / "rows.csv").write_text("\n".join(lines) + "\n")
    words = ("explain", people / "people.onnx", people / "rows.csv", "--background", people / "back.csv")
    ran = xplain(*words, "--target", 1, "--out", people / "out", "--json")
    assert ran.code == 4
    whom = ["Ada", "Cid"] if named else ["0", "2"]
    assert [one["item"] for one in ran.document["items"]] == whom
    told = {one["item"]: one["error"]["message"] for one in ran.document["failures"]}
    assert list(told) == (["Bea", "Dan", "Eve"] if named else ["1", "3", "4"])
    assert {one["error"]["kind"] for one in ran.document["failures"]} == {"ItemError"}
    assert [text.partition(", line ")[2][:12] for text in told.values()] == (
        ["3 has 3 cell", "5: column 'j", "6 has 5 cell"] if named else ["3 has 2 cell", "5: column 'j", "6 has 4 cell"]
    )
    saved = Attribution.load(people / "out" / "rows.kernel-shap.npz")
    np.testing.assert_allclose(saved.values, [[10, 18, 3], [-10, -41, 0]], atol=1e-3)
    shown = xplain(*words, "--target", 1, "--out", people / "out")
    assert "2 items, 3 failed; " in shown.out


def test_a_column_that_is_left_out_may_have_gaps(xplain, people):
    """What the message advises."""
    (people / "rows.csv").write_text("note,age,income,job\n,60,1,nurse\nx,20,30.5,clerk\n")
    words = ("explain", people / "people.onnx", people / "rows.csv", "--background", people / "back.csv")
    ran = xplain(*words, "--columns", "age,income,job", "--target", 1, "--out", people / "out")
    assert ran.code == 0, ran.err
    saved = Attribution.load(people / "out" / "rows.kernel-shap.npz")
    np.testing.assert_allclose(saved.values, [[10, 18, 3], [-10, -41, 0]], atol=1e-3)


def test_a_background_with_a_row_that_cannot_be_used_is_refused(xplain, people):
    (people / "back.csv").write_text("age,income,job\n40,10,clerk\n40,10\n")
    words = ("explain", people / "people.onnx", people / "rows.csv", "--background", people / "back.csv")
    ran = xplain(*words, "--out", people / "out")
    assert ran.code == 2
    assert "back.csv, line 3 has 2 cells" in ran.err


def test_an_empty_text_stops_no_other(xplain, tokens, people):
    ran = xplain("explain", *tokens, "--text", "not good", "--text", " ", "--out", people / "out", "--json")
    assert ran.code == 4
    assert [one["item"] for one in ran.document["items"]] == ["text 1"]
    assert [one["item"] for one in ran.document["failures"]] == ["text 2"]


def test_a_column_without_a_value_is_one_of_gaps_and_no_text(tmp_path):
    (tmp_path / "gaps.csv").write_text("age,income,job\n60,,nurse\n20,,clerk\n")
    found = read_table(tmp_path / "gaps.csv")
    assert found.failed == ()
    assert found.columns["income"].dtype == np.float64
    assert np.isnan(found.columns["income"]).all()
    assert found.columns["job"].tolist() == ["nurse", "clerk"]


def test_a_page_that_is_not_there_is_not_named(xplain, people):
    (people / "gaps.csv").write_text("age,income,job\n60,,nurse\n")
    words = (
        "explain",
        people / "people.onnx",
        people / "gaps.csv",
        "--background",
        people / "back.csv",
        "-m",
        "ablation",
    )
    ran = xplain(*words, "--target", 1, "--out", people / "out")
    assert ran.code == 2
    assert "0 items, 1 failed" in ran.out
    assert "Open" not in ran.out
