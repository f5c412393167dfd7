from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nets import FLOAT, helper, model

import xplain
from xplain.core.errors import CapabilityError, ModelError, UnknownName, UsageError
from xplain.models.rows.words import SPLITS, rebuilt, split_with
from xplain.render import to_text

WORTH = {"good": 2.0, "not": -1.5, "bad": -3.0, "film": 0.25}


def additive(texts):
    """Each known word adds its worth; the Shapley value of a word is its worth."""
    rows = [sum(WORTH.get(word, 0.0) for word in re.findall(r"\w+", text.lower())) for text in texts]
    return np.stack([rows, np.negative(rows)], axis=1)


SENTENCE = "A good film, not bad!"


@pytest.mark.parametrize("method", ["kernel-shap", "exact-shapley", "ablation", "occlusion", "shapley-sampling"])
def test_words_get_what_they_add(method):
    options = {"patch": 1, "stride": 1} if method == "occlusion" else {}
    a = xplain.explain(xplain.text(additive), SENTENCE, method, target=0, **options)
    assert a.texts[0].words == ("A", "good", "film", "not", "bad")
    np.testing.assert_allclose(a.values[0], [0, 2, 0.25, -1.5, -3], atol=1e-5)


def test_texts_of_different_lengths_together():
    texts = ["bad", SENTENCE, "good good"]
    a = xplain.explain(xplain.text(additive), texts, "kernel-shap", target=0)
    assert a.values.shape == (3, 5)
    np.testing.assert_allclose(a.values[0], [-3, 0, 0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(a.values[2], [2, 2, 0, 0, 0], atol=1e-5)
    assert len(a[2].texts[0].spans) == 2


def test_target_per_item_reads_the_right_class():
    a = xplain.explain(xplain.text(additive, labels=["up", "down"]), ["good film", "bad film"], "ablation")
    assert a.labels == (0, 1)
    np.testing.assert_allclose(a.values, [[2, 0.25], [3, -0.25]], atol=1e-6)
    both = xplain.explain_many(xplain.text(additive), ["good film", "bad film"], "ablation", target="top2")
    np.testing.assert_allclose(both[0].values, -both[1].values)


def test_soft_masks_and_ngrams():
    reader = xplain.text(additive)
    a = xplain.explain(reader, SENTENCE, "rise", target=0, samples=500, cells=5)
    assert int(a.values[0].argmax()) == 1
    pairs = xplain.explain(reader, SENTENCE, "exact-shapley", target=0, features="ngrams:2")
    np.testing.assert_allclose(pairs.values[0], [2, 2, -1.25, -1.25, -3], atol=1e-6)


def test_the_model_sees_the_text_without_the_word():
    seen = set()

    def watching(texts):
        seen.update(texts)
        return np.zeros((len(texts), 2))

    xplain.explain(xplain.text(watching), SENTENCE, "ablation", target=0)
    assert seen == {
        SENTENCE,
        "good film, not bad!",
        "A film, not bad!",
        "A good, not bad!",
        "A good film, bad!",
        "A good film, not!",
        ",!",
    }
    seen.clear()
    xplain.explain(xplain.text(watching, mask="[MASK]"), "A good film", "ablation", target=0)
    assert seen == {"A good film", "[MASK] good film", "A [MASK] film", "A good [MASK]", "[MASK] [MASK] [MASK]"}


@pytest.mark.parametrize(
    ("text", "hidden", "left"),
    [
        ("one two three", {1}, "one three"),
        ("one two three", {0}, "two three"),
        ("one two three", {2}, "one two"),
        ("one two three", {0, 1, 2}, ""),
        ("one, two.", {1}, "one,."),
        ("one (two) three", {1}, "one () three"),
        ("  one\n\ntwo  ", {1}, "  one  "),
        ("one two, three", {0, 1}, ", three"),
        ("äpfel día 東京", {1}, "äpfel 東京"),
        ("a-b don't x", {1}, "a-b x"),
    ],
)
def test_deletion_closes_the_gap(text, hidden, left):
    spans = split_with("words", text)
    present = [k not in hidden for k in range(len(spans))]
    assert rebuilt(text, spans, present) == left
    assert rebuilt(text, spans, [True] * len(spans)) == text


def word_by_word(text, spans, present):
    """The rule of deletion as it reads, over the whole text so far for each word: slow, and nothing is remembered."""
    left, at = "", 0
    for (start, stop), here in zip(spans, present, strict=True):
        left, at = left + text[at:start], stop
        if here:
            left += text[start:stop]
        elif not left or left[-1].isspace():
            after = text[stop : stop + 1]
            if after == "" or after.isspace() or after in ",.;:!?)]}»”’%":
                left = left.rstrip()
            if not left:
                at += len(text[stop:]) - len(text[stop:].lstrip())
    return left + text[at:]


@given(st.text(max_size=60), st.sampled_from(sorted(SPLITS)), st.data())
def test_any_text_stays_itself_and_keeps_what_is_kept(text, split, data):
    spans = split_with(split, text)
    assert rebuilt(text, spans, [True] * len(spans)) == text
    present = data.draw(st.lists(st.booleans(), min_size=len(spans), max_size=len(spans)))
    kept = [text[start:stop] for (start, stop), here in zip(spans, present, strict=True) if here]
    left, at = rebuilt(text, spans, present), 0
    for word in kept:
        at = left.index(word, at) + len(word)
    assert left == word_by_word(text, spans, present)
    masked = text
    for (start, stop), here in reversed(list(zip(spans, present, strict=True))):
        masked = masked if here else masked[:start] + "[MASK]" + masked[stop:]
    assert rebuilt(text, spans, present, mask="[MASK]") == masked


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("words", ["Don't", "re-do", "it", "naïve", "one"]),
        ("marks", ["Don't", "re-do", "it", ",", "naïve", "one", "!"]),
        ("sentences", ["Don't re-do it, naïve one!"]),
        (lambda text: [(0, 5), (13, 15)], ["Don't", ", "]),
    ],
)
def test_ways_of_splitting(split, words):
    text = "Don't re-do it, naïve one!"
    found = [text[a:b] for a, b in split_with(split, text)]
    assert found == (words if not callable(split) else [text[0:5], text[13:15]])


@pytest.fixture(scope="module", params=[True, False], ids=["zipmap", "tensor"])
def sentiment(request, exported):
    """Tf-idf and a logistic regression, exported with strings in."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    texts = ["a good film", "a bad film", "good, not boring", "boring and bad!", "good good", "bad acting"] * 10
    labels = ["pos", "neg"] * 30
    pipe = Pipeline([("words", TfidfVectorizer(lowercase=False)), ("model", LogisticRegression())]).fit(texts, labels)
    return exported(pipe, {"text": ("text", 1)}, request.param), pipe


def test_an_onnx_model_of_strings(sentiment):
    content, pipe = sentiment
    reader = xplain.text(content)
    texts = ["a good film, not boring", "bad acting"]
    scores = xplain.predict(reader, texts)
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0], pipe.decision_function(texts) * 2, rtol=1e-3, atol=1e-3)
    a = xplain.explain(reader, texts, "exact-shapley")
    assert a.texts[0].words[int(a.values[0].argmax())] == "good"
    assert a.texts[1].words[int(a.values[1].argmax())] == "bad"
    np.testing.assert_allclose(a.values.sum(axis=1), a.scores - a.base, atol=1e-4)
    assert "neg" in a.target
    assert "pos" in a.target


def test_answers_are_remembered_by_the_text_that_is_left(sentiment, tmp_path):
    content, _ = sentiment
    reader = xplain.text(content)
    first = xplain.explain(reader, "good good good", "exact-shapley", cache=tmp_path)
    assert (first.cost.queries, first.cost.reused) == (4, 5), "nine questions about four texts"
    again = xplain.explain(reader, "good good good", "ablation", cache=tmp_path)
    assert again.cost.queries == 0
    masked = xplain.explain(xplain.text(content, mask="x"), "good good good", "ablation", cache=tmp_path)
    assert masked.cost.queries == 4


def test_a_text_of_more_features_than_are_taken():
    with pytest.raises(UsageError, match=r"The text has 5 features; at most 3 are taken. Shorten it, or split it"):
        xplain.explain(xplain.text(additive, longest=3), SENTENCE, "ablation")


def test_a_text_endpoint(serve_text):
    reader = xplain.text(serve_text.url, labels=["up", "down"], max_batch=4)
    a = xplain.explain(reader, SENTENCE, "exact-shapley", target="up")
    np.testing.assert_allclose(a.values[0], [0, 2, 0.25, -1.5, -3], atol=1e-5)
    assert max(serve_text.handler.batches) == 4


@pytest.fixture
def serve_text():
    from servers import Server, V2Server

    handler = V2Server(
        lambda feeds: {"y": additive([str(t) for t in feeds["text"].reshape(-1)]).astype(np.float32)},
        {"text": ("BYTES", [-1, 1])},
        {"y": ("FP32", [-1, 2])},
    )
    server = Server(handler)
    server.handler, server.url = handler, f"{server.url}/v2/models/m"
    yield server
    server.stop()


def test_it_prints_coloured_words():
    a = xplain.explain(xplain.text(additive), SENTENCE, "ablation", target=0)
    plain = to_text(a, colour=False)
    assert plain.splitlines()[1] == "A[0] good[+2] film[+0.25], not[-1.5] bad[-3]!"
    painted = to_text(a, colour=True)
    assert painted.count("\x1b[0m") == 5
    stripped = re.sub(r"\x1b\[[0-9;]*m", "", painted)
    assert stripped.splitlines()[1] == SENTENCE
    reds = [tuple(map(int, m)) for m in re.findall(r"\x1b\[48;2;(\d+);(\d+);(\d+)m", painted)]
    assert reds[1][0] > reds[1][2], "what speaks for the class is red"
    assert reds[4][2] > reds[4][0], "what speaks against it is blue"
    assert str(a) == plain


def test_values_not_told_from_zero_are_grey():
    from dataclasses import replace

    a = xplain.explain(xplain.text(additive), "good film", "ablation", target=0)
    a = replace(a, error=np.array([[0.1, 0.2]], np.float32))
    assert to_text(a, colour=False).splitlines()[1] == "good[+2] film[0?]"
    assert "\x1b[48;2;225;225;225m" in to_text(a, colour=True)
    assert "not told from zero" in a._repr_html_()


def test_nothing_in_a_text_reaches_page_or_terminal():
    nasty = "<script>alert(1)</script> good\x1b[2J"
    a = xplain.explain(xplain.text(additive), nasty, "ablation", target=0)
    assert "<script>" not in a._repr_html_()
    assert "\x1b" not in to_text(a, colour=False)


def test_it_survives_a_file_and_goes_to_shap(tmp_path):
    a = xplain.explain(xplain.text(additive), [SENTENCE, "bad film"], "ablation", target=0)
    again = xplain.Attribution.load(a.save(tmp_path / "a.npz"))
    assert again.texts == a.texts
    assert again.names == ("text 1", "text 2")  # as errors and the command line call them
    pytest.importorskip("shap")
    assert a.to_shap().data[1].tolist() == ["bad ", "film"]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("", "The text is empty: there is nothing to explain. Drop it"),
        (["good", " \n"], "Text 2 is empty"),
        ([], "the list of texts is empty"),
        ("?!...", r"The text, '\?!...', has no words; use split='marks'"),
        (np.zeros((1, 3)), "The items are ndarray; .* takes a text or a list of texts"),
        (["a", 3], "The items are list; .* takes a text"),
    ],
)
def test_texts_that_cannot_be_used(items, message):
    with pytest.raises(UsageError, match=message):
        xplain.explain(xplain.text(additive), items, "ablation")


def test_options_and_models_that_do_not_fit(sentiment):
    with pytest.raises(UnknownName, match="Unknown split 'word'. Did you mean 'words'"):
        xplain.text(additive, split="word")
    with pytest.raises(UsageError, match="longest is 0"):
        xplain.text(additive, longest=0)
    with pytest.raises(UsageError, match="3 labels were given, but the model has 2 classes"):
        xplain.text(sentiment[0], labels=["a", "b", "c"])
    with pytest.raises(UsageError, match="no separate parts, in order"):
        xplain.explain(xplain.text(additive, split=lambda text: [(3, 5), (0, 2)]), SENTENCE, "ablation")
    proto = model([helper.make_node("Neg", ["x"], ["y"])], {"x": (FLOAT, ["N", 2])}, {"y": (FLOAT, ["N", 2])}, {})
    with pytest.raises(UsageError, match="has the inputs x .*a model of texts has one, of strings.*tokenizer="):
        xplain.text(proto)


def test_another_baseline_means_nothing():
    with pytest.raises(UsageError, match="A hidden word is deleted or replaced by mask=; it has no other baseline"):
        xplain.explain(xplain.text(additive), SENTENCE, "ablation", baseline="mean")


def test_the_probe_reads_texts_too():
    assert xplain.probe(xplain.text(additive), SENTENCE).deterministic
    noise = iter(range(100))
    noisy = xplain.probe(xplain.text(lambda texts: additive(texts) + next(noise)), SENTENCE, times=4)
    assert noisy.largest == 3


def test_the_inside_is_not_asked():
    with pytest.raises(CapabilityError, match="saliency needs"):
        xplain.explain(xplain.text(additive), SENTENCE, "saliency")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda texts: [1.0], r"returned an array of shape \[1\] for 2 texts; accepted: one row"),
        (lambda texts: np.zeros((2, 2, 2)), r"Scores 'scores' of function .* are \[2, 2, 2\]; a classifier's are"),
        (lambda texts: ["x"] * len(texts), "returned list of <U1 for 2 texts"),
    ],
)
def test_functions_that_return_something_else(returned, message):
    with pytest.raises(ModelError, match=message):
        xplain.predict(xplain.text(returned), ["a", "b"])


def test_classes_that_change_between_calls():
    counts = iter([2, 3])
    with pytest.raises(ModelError, match="returned 3 scores per text, but 2 are known"):
        xplain.explain(xplain.text(lambda texts: np.zeros((len(texts), next(counts)))), SENTENCE, "ablation", target=0)


def test_a_function_that_raises_in_the_middle_keeps_what_it_answered(tmp_path):
    asked, broken = [], [True]

    def fragile(texts):
        if broken[0] and len(asked) >= 512:
            raise ConnectionError("gone")
        asked.extend(texts)
        return additive(texts)

    reader = xplain.text(fragile, version="1")
    text = "a b c d e f g h i good bad"
    with pytest.raises(ConnectionError, match="gone"):
        xplain.explain(reader, text, "exact-shapley", target=0, cache=tmp_path)
    kept = len(asked)
    assert kept >= 512
    broken[0] = False
    a = xplain.explain(reader, text, "exact-shapley", target=0, cache=tmp_path)
    assert len(asked) == len(set(asked)) == 2**11
    np.testing.assert_allclose(a.values[0], [0] * 9 + [2, -3], atol=1e-6)


@pytest.mark.parametrize("source", [None, 3, {"a": 1}, ["a text"]])
@pytest.mark.parametrize("door", [xplain.text, xplain.table])
def test_what_is_no_model_is_refused_by_both_doors(door, source):
    with pytest.raises(
        UsageError, match=r"is no model; accepted: a path of an ONNX file|are rows\. Give the model first"
    ):
        door(source)


def test_texts_are_made_a_block_at_a_time_and_progress_is_told_between(monkeypatch):
    """Of 20,000 words all edited texts at once would take gigabytes, and nobody could stop it meanwhile."""
    text = " ".join(["good", "film", "not", "so", "bad"] * 8)
    whole = xplain.explain(xplain.text(additive), text, "ablation", target=0)
    asked, told = [], []

    def counting(texts):
        asked.append(len(texts))
        return additive(texts)

    monkeypatch.setattr("xplain.models.rows.text._LETTERS", 6 * len(text))
    parts = xplain.explain(
        xplain.text(counting), text, "ablation", target=0, progress=lambda done, of: told.append(done)
    )
    assert np.array_equal(parts.values, whole.values)
    assert max(asked) == 6
    assert max(np.diff(told)) <= 6
