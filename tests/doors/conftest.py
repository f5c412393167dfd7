"""Small models as people export them: pipelines of scikit-learn, boosted trees, texts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest


@pytest.fixture(scope="session")
def people():
    """A table whose label is known: nurses above 50."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.uniform(20, 80, 300).round(1),
            "income": rng.normal(50, 10, 300).round(1),
            "job": rng.choice(["teacher", "nurse", "clerk"], 300),
        }
    )
    return frame, ((frame.age > 50) & (frame.job == "nurse")).to_numpy(int)


@pytest.fixture(scope="session")
def exported():
    """``exported(estimator, inputs, zipmap)``: the bytes of an ONNX export."""
    skl2onnx = pytest.importorskip("skl2onnx")
    types = pytest.importorskip("skl2onnx.common.data_types")

    def export(estimator, inputs, zipmap):
        kinds = {"number": types.FloatTensorType, "text": types.StringTensorType}
        initial = [(name, kinds[kind]([None, width])) for name, (kind, width) in inputs.items()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = skl2onnx.convert_sklearn(
                estimator, initial_types=initial, options={id(estimator): {"zipmap": zipmap}}, target_opset=17
            )
        return model.SerializeToString()

    return export


@pytest.fixture(scope="session")
def pipeline(people):
    """Scaled numbers and one-hot jobs before a logistic regression."""
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    prepare = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["age", "income"]),
            ("words", OneHotEncoder(handle_unknown="ignore"), ["job"]),
        ]
    )
    return Pipeline([("prepare", prepare), ("model", LogisticRegression())]).fit(*people)


PIPELINE_INPUTS = {"age": ("number", 1), "income": ("number", 1), "job": ("text", 1)}


@pytest.fixture(scope="session", params=[True, False], ids=["zipmap", "tensor"])
def pipeline_onnx(request, pipeline, exported):
    return exported(pipeline, PIPELINE_INPUTS, request.param)
