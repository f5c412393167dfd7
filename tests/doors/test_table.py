from __future__ import annotations

import warnings

import numpy as np
import pytest

import xplain
from xplain.core.errors import CapabilityError, ModelError, NonFinite, UnknownName, UsageError

COLUMNS = ["age", "income", "job"]


def logit_parts(pipeline, frame):
    """What each column adds to the logit of class 1 by the pipeline's own weights."""
    weights = pipeline["model"].coef_[0]
    parts = pipeline["prepare"].transform(frame) * weights
    return np.stack([parts[:, 0], parts[:, 1], parts[:, 2:].sum(axis=1)], axis=1)


def test_one_input_per_column_with_categories(people, pipeline, pipeline_onnx):
    """The logit is a sum over columns, so the Shapley values are known: x's part less the background's mean part."""
    frame, _ = people
    reader = xplain.table(pipeline_onnx)
    a = xplain.explain(
        reader, frame.head(4), "kernel-shap", target=1, background=reader.codes(frame.iloc[20:40]), samples=64
    )
    parts = logit_parts(pipeline, frame)
    # the export's two raw scores are plus and minus the logit, or the logit and its complement
    scale = a.scores / pipeline.decision_function(frame.head(4))
    np.testing.assert_allclose(scale, scale[0], rtol=1e-4)
    np.testing.assert_allclose(a.values, (parts[:4] - parts[20:40].mean(axis=0)) * scale[0], atol=1e-4)
    assert a.columns.names == tuple(COLUMNS)
    assert a.columns.values[0] == tuple(str(v) if isinstance(v, str) else f"{v:g}" for v in frame.iloc[0])


def test_scores_are_those_of_the_estimator(people, pipeline, pipeline_onnx):
    frame, _ = people
    scores = xplain.predict(xplain.table(pipeline_onnx), frame)
    np.testing.assert_array_equal(scores.argmax(axis=1), pipeline.predict(frame))


def test_the_same_rows_as_frame_columns_or_mappings(people, pipeline_onnx):
    frame, _ = people
    rows = frame.head(3)
    reader = xplain.table(pipeline_onnx)
    as_frame = xplain.predict(reader, rows)
    np.testing.assert_array_equal(xplain.predict(reader, rows.to_dict("list")), as_frame)
    np.testing.assert_array_equal(xplain.predict(reader, rows.to_dict("records")), as_frame)
    np.testing.assert_array_equal(xplain.predict(reader, rows[["job", "age", "income"]]), as_frame)


def test_a_hidden_category_is_never_silently_the_first_one(people, pipeline_onnx):
    frame, _ = people
    reader = xplain.table(pipeline_onnx)
    with pytest.raises(UsageError, match=r"A hidden 'job' would become 0, which is none of .*background="):
        xplain.explain(reader, frame.head(2), "kernel-shap", baseline=0)
    with pytest.raises(UsageError, match=r"A hidden 'job' would become 1\.5"):
        xplain.explain(reader, frame.head(2), "ablation", baseline=np.array([[40.0, 50.0, 1.5]]))
    named = xplain.table(pipeline_onnx, hidden={"job": "clerk"})
    a = xplain.explain(named, frame.head(2), "ablation")
    row = frame.head(2).assign(job="clerk")
    fall = xplain.predict(named, frame.head(2)) - xplain.predict(named, row)
    np.testing.assert_allclose(a.values[:, 2], fall[np.arange(2), list(a.labels)], atol=1e-5)
    with pytest.raises(UnknownName, match="Unknown column in option hidden: 'jobb'. Did you mean 'job'"):
        xplain.table(pipeline_onnx, hidden={"jobb": "x"})


def test_grouped_columns_share_one_value(people, pipeline_onnx):
    frame, _ = people
    reader = xplain.table(pipeline_onnx)
    a = xplain.explain(
        reader, frame.head(2), "exact-shapley", features="columns:age+job", background=reader.codes(frame.iloc[20:30])
    )
    assert (a.values[:, 0] == a.values[:, 2]).all()
    single = xplain.explain(reader, frame.head(2), "exact-shapley", background=reader.codes(frame.iloc[20:30]))
    np.testing.assert_allclose(a.values[:, 0], single.values[:, 0] + single.values[:, 2], atol=1e-4)


@pytest.fixture(params=["linear", "lightgbm", "xgboost"])
def numeric(request, people, exported):
    """A model with one input for all columns, and its own probability of class 1."""
    frame, y = people
    x = frame[["age", "income"]].to_numpy(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if request.param == "linear":
            from sklearn.linear_model import LogisticRegression

            model = LogisticRegression().fit(x, y)
            return exported(model, {"X": ("number", 2)}, True), model.predict_proba(x)[:, 1]
        tools = pytest.importorskip("onnxmltools")
        types = pytest.importorskip("onnxmltools.convert.common.data_types")
        initial = [("X", types.FloatTensorType([None, 2]))]
        if request.param == "lightgbm":
            model = pytest.importorskip("lightgbm").LGBMClassifier(n_estimators=8, verbose=-1).fit(x, y)
            proto = tools.convert_lightgbm(model, initial_types=initial, target_opset=15)
        else:
            model = pytest.importorskip("xgboost").XGBClassifier(n_estimators=8).fit(x, y)
            proto = tools.convert_xgboost(model, initial_types=initial, target_opset=15)
        return proto.SerializeToString(), model.predict_proba(x)[:, 1]


def test_one_input_for_all_columns(numeric, people):
    content, probability = numeric
    frame = people[0][["age", "income"]]
    reader = xplain.table(content)
    scores = xplain.predict(reader, frame)
    np.testing.assert_allclose(np.argsort(scores[:, 1], kind="stable")[-5:].max() >= 0, True)
    order = np.corrcoef(scores[:, 1] - scores[:, 0], np.log(probability / (1 - probability)))[0, 1]
    assert order > 0.999, "the raw scores are the logits of the model's own probabilities"
    a = xplain.explain(reader, frame.head(5), "exact-shapley", background=reader.codes(frame.iloc[50:80]))
    assert a.columns.names == ("age", "income")
    np.testing.assert_allclose(a.values.sum(axis=1), a.scores - a.base, atol=1e-4)
    assert (np.abs(a.values[:, 0]) > np.abs(a.values[:, 1])).all(), "age is what the label is made of"


def test_a_frame_needs_no_reader_where_the_model_takes_numbers(numeric, people):
    frame = people[0][["age", "income"]].head(3)
    a = xplain.explain(numeric[0], frame, "ablation")
    assert a.columns.names == ("age", "income")
    np.testing.assert_array_equal(a.values, xplain.explain(xplain.table(numeric[0]), frame, "ablation").values)


def test_gradients_of_a_linear_model_pass_through(people):
    from nets import FLOAT, helper, model

    w = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)
    proto = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (FLOAT, ["N", 2])}, {"y": (FLOAT, ["N", 2])}, {"w": w}
    )
    reader = xplain.table(proto, columns=["a", "b"])
    a = xplain.explain(reader, {"a": [2.0, 3.0], "b": [1.0, -1.0]}, "input-x-gradient", target=0)
    np.testing.assert_allclose(a.values, np.array([[2, 1], [3, -1]]) * w[:, 0])
    assert a.columns.values == (("2", "1"), ("3", "-1"))


def test_a_function_of_a_frame(people, pipeline):
    frame, _ = people
    seen = []

    def scores(rows):
        seen.append(rows)
        return pipeline.decision_function(rows)

    reader = xplain.table(scores, columns=frame)
    a = xplain.explain(reader, frame.head(3), "kernel-shap", background=reader.codes(frame.iloc[20:30]), samples=16)
    parts = logit_parts(pipeline, frame)
    np.testing.assert_allclose(a.values, parts[:3] - parts[20:30].mean(axis=0), atol=1e-4)
    assert list(seen[0].columns) == COLUMNS
    assert seen[0]["job"].isin(frame.job).all()


def test_answers_are_remembered_by_what_the_codes_stand_for(people, pipeline, tmp_path):
    frame, _ = people
    rows = []

    def scores(asked):
        rows.append(len(asked))
        return pipeline.decision_function(asked)

    background = frame.iloc[20:24]
    for order in (frame, frame.iloc[::-1]):
        reader = xplain.table(scores, columns=order[::-1], version="1")
        xplain.explain(reader, frame.head(2), "ablation", cache=tmp_path, baseline=reader.codes(background.head(1)))
    once = sum(rows)
    reversed_categories = xplain.table(scores, columns={"age": [], "income": [], "job": []}, version="1")
    reversed_categories.codes({"age": [1.0] * 3, "income": [1.0] * 3, "job": ["nurse", "clerk", "teacher"]})
    xplain.explain(
        reversed_categories,
        frame.head(2),
        "ablation",
        cache=tmp_path,
        baseline=reversed_categories.codes(background.head(1)),
    )
    assert sum(rows) == once <= 2 * (1 + 3)
    with pytest.raises(UsageError, match=r"cannot be remembered: it has no digest.*version="):
        xplain.explain(xplain.table(scores), frame.head(2), "ablation", cache=tmp_path)


def test_it_prints_as_a_table_and_as_html_and_goes_to_shap(people, pipeline_onnx):
    frame, _ = people
    reader = xplain.table(pipeline_onnx)
    a = xplain.explain(reader, frame.head(2), "kernel-shap", background=reader.codes(frame.iloc[20:30]))
    text = str(a)
    lines = text.splitlines()
    assert lines[1].split() == ["column", "value", "attribution", "±", "95", "%"]
    order = np.argsort(-np.abs(a.values[0]))
    assert [line.split()[0] for line in lines[2:5]] == [COLUMNS[k] for k in order]
    assert [float(line.split()[2]) for line in lines[2:5]] == pytest.approx(a.values[0][order], rel=1e-3)
    html = a._repr_html_()
    assert "<table>" in html
    assert "<td>job</td>" in html
    assert repr(a).startswith("<Attribution kernel-shap")
    pytest.importorskip("shap")
    explained = a.to_shap()
    assert list(explained.feature_names) == COLUMNS
    assert explained.display_data[0][2] == frame.job[0]
    np.testing.assert_allclose(explained.data[:, 0], frame.iloc[:2, 0])


def test_names_come_back_from_a_file(people, pipeline_onnx, tmp_path):
    frame, _ = people
    reader = xplain.table(pipeline_onnx, hidden={"job": "clerk"})
    a = xplain.explain(reader, frame.head(2), "ablation")
    again = xplain.Attribution.load(a.save(tmp_path / "a.npz"))
    assert again.columns == a.columns
    assert a[1].columns.values == (a.columns.values[1],)


def bad(frame, **change):
    return frame.head(3).assign(**change)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda f: f.set_axis(["age", "age", "job"], axis=1), UsageError, "more than one column called 'age'; rename"),
        (lambda f: f.head(0), UsageError, "nothing to explain: the table has no rows"),
        (lambda f: f.head(2).drop(columns="job"), UsageError, "The rows lack the column 'job'; the model takes age"),
        (
            lambda f: bad(f, jobs="x"),
            UnknownName,
            "Unknown column 'jobs'. Did you mean 'job'",
        ),
        (lambda f: bad(f, age=np.inf), NonFinite, "Column 'age' holds inf. Explanations need finite values or gaps"),
        (lambda f: bad(f, job=None), NonFinite, "Column 'job' is missing in row 0"),
        (lambda f: {"age": [1, 2], "income": [1], "job": ["a"]}, UsageError, "columns have different lengths"),
        (lambda f: [{"age": 1}, {"job": 2}], UsageError, r"Row 1 has the columns \['job'\], row 0 has \['age'\]"),
        (lambda f: "rows.csv", UsageError, "The items are str; accepted: a DataFrame"),
    ],
)
def test_rows_that_cannot_be_used(people, pipeline_onnx, make, kind, message):
    with pytest.raises(kind, match=message):
        xplain.explain(xplain.table(pipeline_onnx), make(people[0]), "ablation")


def test_columns_that_do_not_fit_the_model(numeric, pipeline_onnx, people):
    content, _ = numeric
    with pytest.raises(UsageError, match=r"The table has 3 columns \(age, income, job\); .* takes 2"):
        xplain.table(content, columns=COLUMNS)
    with pytest.raises(UsageError, match="more than one column called 'a'"):
        xplain.table(content, columns=["a", "a"])
    with pytest.raises(UsageError, match="The columns given are x, y; .* has age, income, job"):
        xplain.table(pipeline_onnx, columns=["x", "y"])
    with pytest.raises(UsageError, match="whole numbers above 16,777,216.*identifier"):
        xplain.explain(xplain.table(content), {"a": [1.0], "b": [2**30 + 1]}, "ablation")
    with pytest.raises(UsageError, match="Column 'b' holds text or categories, but .* takes one row of numbers"):
        xplain.explain(xplain.table(content), {"a": [1.0], "b": ["x"]}, "ablation")


def test_a_function_that_raises_or_returns_something_else(people):
    frame, _ = people

    def raises(rows):
        raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError) as caught:
        xplain.explain(xplain.table(raises), frame.head(2), "ablation")
    assert "raised by function" in caught.value.__notes__[0]
    with pytest.raises(ModelError, match=r"returned an array of shape \[1\] for 2 rows; accepted: .*row, \[2, K\]"):
        xplain.predict(xplain.table(lambda rows: [1.0]), frame.head(2))


def test_only_scores_of_whole_columns(people, pipeline_onnx):
    with pytest.raises(CapabilityError, match="saliency needs"):
        xplain.explain(xplain.table(pipeline_onnx), people[0].head(1), "saliency")
