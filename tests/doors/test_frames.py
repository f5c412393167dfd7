"""Rows arrive at a model in the types that it was trained on, and what hidden columns become is never guessed."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain.core.errors import NonFinite, UsageError
from xplain.models.rows.columns import MISSING, Column

pd = pytest.importorskip("pandas")

COLUMNS = {
    "float64": pd.Series([1.1, 66.123456789, 66.1234567891, -2.5]),
    "float32": pd.Series([1.1, 2.2, 3.3, 4.4], dtype="float32"),
    "gaps": pd.Series([1.5, np.nan, 3.5, np.nan]),
    "int64": pd.Series([3, 2**53 + 1, 2**53 + 2, -7]),
    "identifiers": pd.Series(np.arange(4) + 1_700_000_001),
    "uint8": pd.Series([1, 2, 3, 4], dtype="uint8"),
    "bool": pd.Series([True, False, True, True]),
    "switch that is never off": pd.Series([True] * 4),
    "category": pd.Categorical(["b", "a", "b", "c"], categories=["c", "b", "a", "never"]),
    "ordered": pd.Categorical([2, 1, 2, 3], categories=[1, 2, 3], ordered=True),
    "category with gaps": pd.Categorical(["b", None, "b", "c"]),
    "str": pd.Series(["x", "y", "x", "z"]),
    "object": pd.Series(["x", "y", None, "z"], dtype=object),
    "mixed": pd.Series([1, "one", 2.5, None], dtype=object),
    "Int64": pd.Series([1, None, 3, 4], dtype="Int64"),
    "Float32": pd.Series([1.5, None, 3.25, 4], dtype="Float32"),
    "boolean": pd.Series([True, None, False, True], dtype="boolean"),
    "string": pd.Series(["x", None, "x", "z"], dtype="string"),
    "datetime": pd.Series(pd.to_datetime(["2020-01-01", "2021-06-01", None, "2020-01-01 00:00:01"], format="ISO8601")),
    "zone": pd.Series(pd.date_range("2024-03-30", periods=4, freq="D", tz="Europe/Berlin")),
    "timedelta": pd.Series(pd.to_timedelta([1, 2, 3, 1], unit="h")),
    "period": pd.Series(pd.period_range("2024-01", periods=4, freq="M")),
}
if pd.__version__ and __import__("importlib.util").util.find_spec("pyarrow"):
    import pyarrow as pa

    COLUMNS |= {
        "arrow int": pd.Series([1, None, 3, 4], dtype=pd.ArrowDtype(pa.int32())),
        "arrow text": pd.Series(["x", None, "y", "x"], dtype=pd.ArrowDtype(pa.string())),
        "arrow bool": pd.Series([True, None, False, True], dtype=pd.ArrowDtype(pa.bool_())),
        "arrow time": pd.Series(pd.date_range("2024-01-01", periods=4)).astype(pd.ArrowDtype(pa.timestamp("us"))),
    }
FRAME = pd.DataFrame(COLUMNS)


def echo():
    """A function of rows, and the frames that it was given."""
    seen = []

    def scores(rows):
        seen.append(rows)
        return np.zeros((len(rows), 2))

    return scores, seen


@pytest.mark.parametrize("name", COLUMNS)
def test_values_and_types_arrive_as_they_are(name):
    scores, seen = echo()
    rows = FRAME[[name]]
    reader = xplain.table(scores, columns=rows)
    xplain.predict(reader, rows)
    pd.testing.assert_frame_equal(seen[-1], rows)
    xplain.explain(reader, rows.iloc[[2, 1]], "exact-shapley", background=rows.iloc[[0, 3]])
    for asked in seen:
        assert asked[name].dtype == rows[name].dtype
        known = [repr(one) for one in rows[name].tolist()]
        assert all(repr(one) in known for one in asked[name].tolist()), "no value is made up"


def test_all_of_them_at_once_row_by_row_in_any_form():
    scores, seen = echo()
    reader = xplain.table(scores, columns=FRAME)
    for rows in (FRAME.iloc[[1]], FRAME.iloc[1], FRAME.iloc[[1]].to_dict("records"), FRAME.iloc[1].to_dict()):
        xplain.predict(reader, rows)
        pd.testing.assert_frame_equal(seen[-1], FRAME.iloc[[1]].reset_index(drop=True))
    assert seen[-1].dtypes.to_dict() == FRAME.dtypes.to_dict()


def test_a_category_that_the_model_does_not_know_is_refused():
    reader = xplain.table(echo()[0], columns=FRAME[["category"]])
    with pytest.raises(UsageError, match="Column 'category' is 'd' in row 1, which is none of its categories: c, b, a"):
        xplain.predict(reader, pd.DataFrame({"category": ["a", "d"]}))
    with pytest.raises(UsageError, match=r"Column 'category' is 1\.5 in row 0, which is none"):
        xplain.predict(reader, pd.DataFrame({"category": [1.5, 2.5]}))
    with pytest.raises(UsageError, match="held text or categories before, and numbers now"):
        xplain.predict(xplain.table(echo()[0], columns=FRAME[["str"]]), pd.DataFrame({"str": [1.5, 2.5]}))
    with pytest.raises(UsageError, match="holds list; accepted: numbers, texts, categories, times"):
        xplain.predict(xplain.table(echo()[0]), pd.DataFrame({"a": [[1], [2]]}))
    with pytest.raises(UsageError, match="holds complex numbers"):
        xplain.predict(xplain.table(echo()[0]), pd.DataFrame({"a": [1j]}))


def test_equal_in_float32_but_not_equal():
    column = Column("id")
    values = pd.Series([2**31 + k for k in range(500)] + [0.1, 0.1 + 1e-12, -0.0, 0.0, 1e300, -1e300])
    codes = column.code(values)
    assert np.isfinite(codes).all()
    assert len(set(codes.tolist())) == 500 + 2 + 1 + 2
    back = column.values(codes[::-1].copy())
    assert back.tolist() == values.tolist()[::-1]


def test_between_two_numbers_lies_a_number_and_between_others_nothing():
    column = Column("n")
    codes = column.code(pd.Series([1, 3]))
    assert column.values(np.array([codes.mean()], np.float32)).tolist() == [2]
    assert column.values(np.array([1.5], np.float32)).dtype == np.float64
    for values in (["a", "b"], pd.to_datetime(["2020-01-01", "2020-01-02"])):
        other = Column("c")
        other.code(pd.Series(values))
        with pytest.raises(UsageError, match="A hidden 'c' would become 1.5, which is none of its values"):
            other.values(np.array([1.5], np.float32))
    gaps = Column("g")
    gaps.code(pd.Series([1.0, np.nan]))
    with pytest.raises(UsageError, match="mixture of a number and a gap"):
        gaps.values(np.array([MISSING / 2], np.float32))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1.0, 2.0, 10.0, 4.0], 3.0),
        ([1, 2, 10, 4], 2),
        ([1.0, np.nan, 3.0], 2.0),
        (["a", "b", "b"], "b"),
        ([True, False, True], True),
        ([None, None], None),
        (pd.to_datetime(["2020-01-03", "2020-01-01", "2020-01-02"]), pd.Timestamp("2020-01-02")),
    ],
)
def test_what_is_typical(values, wanted):
    column = Column("c")
    codes = column.code(pd.Series(values))
    (found,) = column.values(np.array([column.typical(codes)], np.float32)).tolist()
    assert found == wanted or (wanted is None and found is None)


ROWS = pd.DataFrame({"age": [50.0, 30.0, 40.0], "income": [1000.0, 3000.0, 5000.0], "job": ["nurse", "cook", "nurse"]})


def total(rows):
    return np.c_[rows["income"] + 10 * rows["age"] + 100 * (rows["job"] == "nurse"), rows["age"]]


TYPICAL = 3000 + 10 * 40 + 100


@pytest.mark.parametrize("method", ["exact-shapley", "kernel-shap", "ablation", "occlusion"])
def test_hidden_columns_become_what_is_typical_and_the_result_says_so(method):
    reader = xplain.table(total)
    options = {"patch": 1, "stride": 1} if method == "occlusion" else {}
    a = xplain.explain(reader, ROWS, method, target=0, **options)
    (told,) = [one for one in a.warnings if one.kind == "baseline"]
    assert told.text.startswith("A hidden column becomes what is typical (median or most frequent value of 3 rows")
    assert "age 40, income 3000, job nurse" in told.text
    parts = np.c_[10 * (ROWS.age - 40), ROWS.income - 3000, 100 * ((ROWS.job == "nurse") - 1.0)]
    np.testing.assert_allclose(a.values, parts, atol=0.02)
    assert "warning: A hidden column" in str(a)


def test_one_row_says_nothing_of_what_is_typical_and_the_advice_works():
    reader = xplain.table(total)
    with pytest.raises(UsageError, match=r"not known what a hidden column becomes, such as 'age'.*background=rows"):
        xplain.explain(reader, ROWS.head(1), "exact-shapley", target=0)
    with pytest.raises(UsageError, match="not known what a hidden column becomes"):
        xplain.plan(xplain.table(total), ROWS.head(1), "exact-shapley", target=0)
    wanted = [[100.0, -2000.0, 0.0]]
    learnt = xplain.explain(xplain.table(total, columns=ROWS), ROWS.head(1), "exact-shapley", target=0)
    np.testing.assert_allclose(learnt.values, wanted, atol=0.01)
    assert "3 rows, those of columns" in learnt.warnings[0].text
    typical = pd.DataFrame({"age": [40.0], "income": [3000.0], "job": ["nurse"]})
    for options in (
        {"background": typical},
        {"background": typical.iloc[0]},
        {"baseline": typical},
        {"baseline": typical.to_dict("records")},
        {"baseline": {"age": 40.0, "income": 3000.0, "job": "nurse"}},
        {"baseline": reader.codes(typical)},
    ):
        a = xplain.explain(reader, ROWS.head(1), "exact-shapley", target=0, **options)
        np.testing.assert_allclose(a.values, wanted, atol=0.01)
        assert not a.warnings
    hidden = xplain.table(total, hidden={"age": 40, "income": "3000", "job": "nurse"})
    a = xplain.explain(hidden, ROWS.head(1), "exact-shapley", target=0)
    np.testing.assert_allclose(a.values, wanted, atol=0.01)


def test_zero_is_there_when_it_is_stated():
    a = xplain.explain(xplain.table(total, hidden={"job": "cook"}), ROWS.head(1), "exact-shapley", target=0, baseline=0)
    np.testing.assert_allclose(a.values, [[500, 1000, 100]], atol=0.01)


@pytest.mark.parametrize("word", ["mean", "noise", "noise:2", "blur:1", "inpaint"])
@pytest.mark.parametrize("door", ["table", "function"])
def test_words_of_pictures_are_refused_for_rows(word, door):
    model, rows = (xplain.table(total), ROWS) if door == "table" else (lambda x: x, np.ones((2, 3), np.float32))
    for method in ("exact-shapley", "ablation", "lime"):
        with pytest.raises(UsageError, match=r"Baseline .* (word for pictures|needs pictures|paints features)"):
            xplain.explain(model, rows, method, target=0, baseline=word)


def test_bare_rows_keep_zero_and_the_result_says_so():
    def f(x):
        return x @ np.array([[1.0], [2.0]])

    x = np.array([[3, 4]], np.float32)
    a = xplain.explain(f, x, "exact-shapley")
    np.testing.assert_allclose(a.values, [[3, 8]])
    assert a.warnings[0].text.startswith("Hidden values become 0, which may be far from typical")
    assert not xplain.explain(f, x, "exact-shapley", baseline=0).warnings
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4]})
    b = xplain.explain(f, x, "exact-shapley", background=frame)
    np.testing.assert_allclose(b.values, [[1.5, 1]])
    with pytest.raises(UsageError, match=r"draws replacements from other rows.*background=rows"):
        xplain.explain(f, x, "qii")


def test_qii_draws_from_the_rows_that_are_known():
    a = xplain.explain(xplain.table(total), ROWS, "qii", target=1, samples=64, seed=1)
    assert "drawn from 3 rows, those that are explained" in a.warnings[0].text
    np.testing.assert_allclose(a.values[:, 0], ROWS.age - 40, atol=4)
    assert not a.values[:, 1:].any()


def test_a_gap_is_a_value_where_the_model_takes_it():
    def f(rows):
        return np.where(rows["age"].isna(), 7.0, rows["age"] / 10)[:, None]

    rows = pd.DataFrame({"age": [np.nan, 20.0, 40.0]})
    a = xplain.explain(xplain.table(f), rows.head(1), "exact-shapley", background=rows.tail(2))
    np.testing.assert_allclose(a.values, [[7 - 3]])
    assert a.columns.values == (("missing",),)
    with pytest.raises(NonFinite, match="is nan"):
        xplain.explain(xplain.table(lambda t: t[["age"]].to_numpy()), rows.head(1), "ablation", baseline=rows.tail(1))


def test_a_gap_reaches_a_model_of_rows_of_numbers():
    onnx = pytest.importorskip("onnx")
    from nets import FLOAT, helper, model

    nodes = [
        helper.make_node("IsNaN", ["x"], ["gap"]),
        helper.make_node("Where", ["gap", "seven", "x"], ["filled"]),
        helper.make_node("MatMul", ["filled", "w"], ["y"]),
    ]
    weights = {"seven": np.float32(7), "w": np.eye(2, dtype=np.float32)}
    proto = model(nodes, {"x": (FLOAT, ["N", 2])}, {"y": (FLOAT, ["N", 2])}, weights)
    assert onnx
    rows = pd.DataFrame({"a": [np.nan, 1.0], "b": [2.0, np.nan]})
    reader = xplain.table(proto)
    np.testing.assert_allclose(xplain.predict(reader, rows), [[7, 2], [1, 7]])
    a = xplain.explain(reader, rows, "exact-shapley", target=0, background=pd.DataFrame({"a": [3.0], "b": [3.0]}))
    np.testing.assert_allclose(a.values, [[4, 0], [-2, 0]])
    with pytest.raises(NonFinite, match="has no gradient"):
        xplain.explain(reader, rows, "saliency", target=0)


def test_without_pandas(monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "pandas")
    seen = []
    reader = xplain.table(lambda t: (seen.append(t), np.zeros(len(t["a"])))[1])
    rows = {"a": [1, 2], "b": ["x", None], "c": [True, False], "d": np.array([1.5, np.nan])}
    rows["e"] = np.array(["2020-01-01"] * 2, "datetime64[D]")
    xplain.predict(reader, rows)
    assert {name: one.dtype.kind for name, one in seen[-1].items()} == {
        "a": "i",
        "b": "O",
        "c": "b",
        "d": "f",
        "e": "M",
    }
    assert seen[-1]["b"].tolist() == ["x", None]
    assert xplain.explain(reader, rows, "exact-shapley").values.shape == (2, 5)


@pytest.mark.parametrize("what", [ROWS, ROWS.iloc[0], np.ones((2, 2)), {"a": [1]}, [{"a": 1}]])
def test_rows_are_no_model(what):
    with pytest.raises(UsageError, match=r"which are rows.*xplain.table\(model, columns=frame\)"):
        xplain.table(what)


def test_an_option_that_is_a_large_object_is_told_in_one_line():
    with pytest.raises(UsageError) as caught:
        xplain.explain(xplain.table(total), ROWS, "kernel-shap", samples=ROWS)
    assert len(str(caught.value).splitlines()) == 1


def test_a_curve_hides_what_the_explanation_hides():
    reader = xplain.table(total)
    a = xplain.explain(reader, ROWS, "exact-shapley", target=1)
    assert xplain.measure.curve(reader, ROWS, a).scores[:, -1].tolist() == [40.0] * 3
    assert xplain.measure.curve(reader, ROWS, a, baseline=ROWS.head(1)).scores[:, -1].tolist() == [50.0] * 3


def test_rows_as_an_array_have_the_names_that_are_known():
    reader = xplain.table(lambda t: t[["a", "b"]].to_numpy(), columns=["a", "b"])
    a = xplain.explain(reader, np.array([[1.0, 2.0], [3.0, 4.0]]), "exact-shapley", target=0)
    assert a.columns.names == ("a", "b")
    with pytest.raises(UsageError, match=r"array \[1, 3\]; the model takes 2 columns: a, b"):
        xplain.predict(reader, np.ones((1, 3)))


def test_noise_of_one_size_for_all_columns_is_said():
    a = xplain.explain(lambda x: x, np.array([[1.0, 1000.0]]), "smoothgrad", of="exact-shapley", samples=2)
    assert any(one.text.startswith("The noise is as large for every column") for one in a.warnings)
