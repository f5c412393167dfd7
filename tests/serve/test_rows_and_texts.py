"""Rows of tables and texts over HTTP: the bits of ``xplain.explain``, their own names, nothing learned from callers."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
from serving import running
from words_and_rows import ROWS, failing, premium, readers, worth

import xplain
from xplain.core.errors import UsageError
from xplain.serve.served import served_as

SENTENCE = "A good film, not bad!"


@pytest.fixture(scope="module")
def both():
    with running(readers() | {"fails": xplain.table(failing, columns=("age", "job", "years"))}) as one:
        yield one


@pytest.fixture
def asks(both):
    with httpx.Client(base_url=both.url, timeout=60) as one:

        def ask(model, instances, path="explain", **more):
            return one.post(f"/api/{path}", json={"model": model, "instances": instances, **more})

        yield ask


def test_a_model_of_rows_and_one_of_texts_are_ready_and_say_what_they_take(both):
    assert httpx.get(f"{both.url}/v2/health/ready").json() == {"ready": True}
    told = {one["name"]: one for one in httpx.get(f"{both.url}/api/models").json()["models"]}
    assert (told["words"]["takes"], told["words"]["columns"]) == ("texts", [])
    assert told["rows"]["takes"] == "rows"
    age, job, years = told["rows"]["columns"]
    assert age == {"name": "age", "kind": "number", "values": [], "typical": 40.0}
    assert job == {"name": "job", "kind": "category", "values": ["clerk", "nurse", "smith"], "typical": "clerk"}
    assert (years["kind"], years["typical"]) == ("number", 2)
    assert told["rows"]["usual"] == "exact-shapley"


def test_a_row_by_the_names_of_its_columns_in_any_order(asks):
    row = {"years": 3, "age": 50, "job": "smith"}
    expected = xplain.explain(
        xplain.table(premium, columns=ROWS), {"age": [50], "job": ["smith"], "years": [3]}, target=0
    )
    one = asks("rows", [row], target=0).json()["items"][0]["explanations"][0]
    assert (one["method"], expected.method) == ("exact-shapley", "exact-shapley")
    assert np.array_equal(np.asarray(one["values"], np.float32), expected.values[0])
    assert dict(zip(one["columns"], one["row"], strict=True)) == {"age": "50", "job": "smith", "years": "3"}
    np.testing.assert_allclose(one["values"], [1.0, 4.0, 1.0], atol=1e-5)  # beyond the typical row 40, clerk, 2


def test_a_text_gets_the_worth_of_its_words(asks):
    told = asks("words", [SENTENCE], target="up", method="exact-shapley").json()["items"][0]
    assert told["predictions"][0]["label"] == "down"
    (one,) = told["explanations"]
    assert one["words"] == ["A", "good", "film", "not", "bad"]
    np.testing.assert_allclose(one["values"], [0, 2, 0.25, -1.5, -3], atol=1e-5)


def test_hiding_words_and_columns_by_hand_says_what_the_model_says_without_them(asks):
    told = asks("words", [SENTENCE], path="hide", parts=[1, 4], **{"class": 0}).json()
    assert told["name"] == "up"
    assert told["before"] == {"score": worth([SENTENCE])[0, 0], "best": "down"}
    assert told["after"] == {"score": worth(["A film, not!"])[0, 0], "best": "down"}
    nothing = asks("words", ["Good bad"], path="hide", parts=[0, 1]).json()  # all of it: nothing is left, and is asked
    assert nothing["after"]["score"] == 0
    row = {"years": 3, "age": 50, "job": "smith"}
    told = asks("rows", [row], path="hide", parts=[0, 1], **{"class": 0}).json()
    assert told["before"]["score"] == pytest.approx(0.1 * 50 + 4 + 3)
    assert told["after"]["score"] == pytest.approx(0.1 * 40 + 0 + 3)  # what is typical: 40, clerk
    told = asks("fails", [row], path="hide", parts=[0])
    assert told.status_code == 400
    assert "It is not known what a hidden column becomes" in told.json()["error"]


@pytest.mark.parametrize("parts", [[], [5], [-1], [True], [0.5], "all", None])
def test_what_is_no_part_is_not_hidden(asks, parts):
    told = asks("words", [SENTENCE], path="hide", parts=parts)
    assert told.status_code == 400
    assert '"parts" is a list of the numbers of what is hidden, from 0 to 4' in told.json()["error"]


def test_what_one_caller_sends_is_nothing_that_the_next_one_is_told(both, asks):
    reader = both.house.models["rows"].model
    before = {name: len(column._codes) for name, column in reader._columns.items()}
    for k in range(20):
        assert asks("rows", [{"age": 1000.5 + k, "job": f"secret-{k}", "years": k}], "predict").status_code == 200
    assert {name: len(column._codes) for name, column in reader._columns.items()} == before
    assert "secret" not in httpx.get(f"{both.url}/api/models").text


def test_rows_with_categories_of_their_own_are_never_mixed_up(both):
    """Two callers' new categories have one number, each with its own reader: asked as one they would be swapped."""
    served = both.house.models["rows"]
    ones = [{"age": 30, "job": job, "years": 2} for job in ("nurse", "pilot", "smith", "baker")]
    first, second = (served.read([one]) for one in ones[1::2])
    assert first[1].x[0, 1] == second[1].x[0, 1]
    with httpx.Client(base_url=both.url, timeout=60) as client:
        from concurrent.futures import ThreadPoolExecutor

        def score(row):
            body = {"model": "rows", "instances": [row], "method": "ablation", "target": 0}
            return client.post("/api/explain", json=body).json()["items"][0]["explanations"][0]["score"]

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(score, ones * 6))
    truth = [3.0 + worth + 2 for worth in (1.0, -8.0, 4.0, -8.0)]
    np.testing.assert_allclose(found, truth * 6, rtol=1e-6)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"age": 30, "job": "nurse"}, "lack the column 'years'"),
        ({"age": 30, "job": "nurse", "years": 1, "pay": 3}, "pay"),
        ({"age": "old", "job": "nurse", "years": 1}, "Column 'age' held numbers before"),
        ({"age": 30, "job": ["nurse"], "years": 1}, "accepted: a number of at most"),
        ({"age": 2**60, "job": "nurse", "years": 1}, "accepted: a number of at most"),
        ("a text", "takes rows; send each as {column: value} with age, job, years"),
        ([[1.0, 2.0]], "takes rows"),
    ],
)
def test_a_row_that_is_none_is_refused(asks, row, why):
    answer = asks("rows", [row])
    assert answer.status_code == 400
    assert why in answer.json()["error"]


def test_names_of_columns_that_nobody_stated_are_refused():
    """JSON has no order: of a row of numbers it would be a guess which is which."""
    linear = served_as("linear", xplain.load(lambda x: x @ np.array([[1.0, 0.0], [0.0, 1.0]])))
    with pytest.raises(UsageError, match=r"not known which column is which.*--rows FILE.csv"):
        linear.read([{"b": 1.0, "a": 2.0}])
    assert linear.read([np.array([1.0, 2.0], np.float32)])[1].x.tolist() == [[1.0, 2.0]]


def test_a_row_by_the_inference_protocol_is_as_wide_as_its_table(both):
    told = httpx.get(f"{both.url}/v2/models/rows").json()["inputs"]
    assert told == [{"name": "row", "datatype": "FP32", "shape": [-1, 3]}]


def test_half_a_letter_is_refused_and_a_whole_one_is_not(both):
    for text, status in (("\\ud800 bad", 400), ("\\ud83d\\ude00 bad", 200), ("\\u0000 bad \\u202e film", 200)):
        body = f'{{"model": "words", "method": "ablation", "instances": ["{text}"]}}'
        answer = httpx.post(f"{both.url}/api/explain", content=body, timeout=60)
        assert answer.status_code == status
        assert status == 200 or "half of a letter" in answer.json()["error"]


def test_a_model_that_fails_at_a_row_fails_that_request_alone(both, asks, caplog):
    gap = asks("rows", [{"age": 30, "job": "nurse", "years": None, "pay": 1}])
    assert gap.status_code == 400
    with httpx.Client(base_url=both.url, timeout=60) as one:
        row = {"age": 30, "job": "nurse", "years": 2}
        body = {"model": "fails", "instances": [row]}
        for _ in range(2):  # by one connection, which a fault does not end
            told = one.post("/api/predict", json=body)
            assert told.status_code == 500
            assert "The model, or the server, failed" in told.json()["error"]
            assert "secret" not in told.text
        assert one.post("/api/predict", json=body | {"model": "rows"}).status_code == 200
    assert "a model failed" in caplog.text
