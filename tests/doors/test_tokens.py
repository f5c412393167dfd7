"""Models of token ids: asked with words that are hidden, or with the ids themselves as items."""

from __future__ import annotations

import json

import numpy as np
import pytest
from doors.test_text import SENTENCE, WORTH, additive
from nets import FLOAT, INT64, helper, model

import xplain
from xplain.core.errors import CapabilityError, ItemError, UnknownName, UsageError
from xplain.models.rows.encoder import Encoder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "film", "not", "bad", ",", "!", "##ly"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    pytest.importorskip("tokenizers")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.WordPiece({word: k for k, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    file = tmp_path_factory.mktemp("tokens") / "tokenizer.json"
    made.save(str(file))
    return file


def token_model(length="T", mask=True):
    """The sum of the worths of the tokens that the attention mask lets through."""
    worth = np.array([[50 if w == "[PAD]" else WORTH.get(w, 0.0)] for w in WORDS], np.float32)
    nodes = [helper.make_node("Gather", ["worth", "input_ids"], ["embedded"])]
    inputs = {"input_ids": (INT64, ["N", length])}
    last = "embedded"
    if mask:
        inputs["attention_mask"] = (INT64, ["N", length])
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["seen"], to=FLOAT),
            helper.make_node("Unsqueeze", ["seen", "minus"], ["wide"]),
            helper.make_node("Mul", ["embedded", "wide"], ["kept"]),
        ]
        last = "kept"
    nodes += [
        helper.make_node("ReduceSum", [last, "one"], ["sum"], keepdims=0),
        helper.make_node("Neg", ["sum"], ["less"]),
        helper.make_node("Concat", ["sum", "less"], ["scores"], axis=1),
    ]
    weights = {"worth": worth, "one": np.array([1]), "minus": np.array([-1])}
    return model(nodes, inputs, {"scores": (FLOAT, ["N", 2])}, weights).SerializeToString()


@pytest.mark.parametrize("length", ["T", 9])
def test_a_model_of_token_ids(tokenizer, length):
    reader = xplain.text(token_model(length), tokenizer=tokenizer)
    a = xplain.explain(reader, [SENTENCE, "bad"], "kernel-shap", target=0)
    np.testing.assert_allclose(a.values[0], [0, 2, 0.25, -1.5, -3], atol=1e-4)
    np.testing.assert_allclose(a.values[1, 0], -3, atol=1e-4)
    masked = xplain.explain(
        xplain.text(token_model(length), tokenizer=tokenizer, mask="[MASK]"), SENTENCE, "ablation", target=0
    )
    np.testing.assert_allclose(masked.values[0], [0, 2, 0.25, -1.5, -3], atol=1e-4)


def test_tokens_as_features(tokenizer):
    a = xplain.explain(
        xplain.text(token_model(), tokenizer=tokenizer, split="tokens"), "badly good", "ablation", target=0
    )
    assert a.texts[0].words == ("bad", "ly", "good")
    with pytest.raises(UnknownName, match="Unknown split 'tokens'"):
        xplain.text(additive, split="tokens")


@pytest.fixture(scope="module")
def attentive():
    """A small transformer of input_ids, attention_mask and token_type_ids, as a file's content."""
    from graph.text_net import text_file  # torch's exporter, which takes a second

    return text_file().SerializeToString()


IN_IDS = {SENTENCE: [2, 5, 6, 7, 10, 8, 9, 11, 3], "bad film": [2, 9, 7, 3]}
LAYER = "/words/Gather_output_0"


@pytest.mark.parametrize("method", ["saliency", "input-x-gradient", "integrated-gradients"])
def test_ids_are_explained_as_the_model_reads_them(attentive, tokenizer, method):
    """Equal to explaining the ids themselves with mask and types stated by hand, for each text alone."""
    reader = xplain.text(attentive, tokenizer=tokenizer, split="ids")
    together = xplain.explain(reader, list(IN_IDS), method, layer=LAYER, target=1)
    for row, ids in enumerate(IN_IDS.values()):
        beside = {"attention_mask": np.ones(len(ids), np.int64), "token_type_ids": np.zeros(len(ids), np.int64)}
        plain = xplain.load(attentive, input="input_ids", fixed=beside, layout="NT")
        alone = xplain.explain(plain, np.array([ids]), method, layer=LAYER, target=1)
        assert np.abs(alone.values).max() > 1e-3
        np.testing.assert_allclose(together.values[row, : len(ids)], alone.values[0], atol=1e-5)
        np.testing.assert_allclose(together.values[row, len(ids) :], 0, atol=1e-7)
    assert together.texts[0].words == ("[CLS]", "A", "good", "film", ",", "not", "bad", "!", "[SEP]")
    assert together.texts[1].text == "[CLS] bad film [SEP]"


def test_both_readings_of_a_text_score_alike(attentive, tokenizer):
    ids = xplain.predict(xplain.text(attentive, tokenizer=tokenizer, split="ids"), list(IN_IDS))
    words = xplain.predict(xplain.text(attentive, tokenizer=tokenizer), list(IN_IDS))
    np.testing.assert_allclose(ids, words, atol=1e-5)


def test_what_is_inside_leads_to_the_reading_that_shows_it(attentive, tokenizer):
    """Each message's advice, followed to the end: no gradient of words; read ids; of whole numbers; name the tensor."""
    with pytest.raises(CapabilityError, match=r"needs Sweep.*read token ids, with split='ids'\."):
        xplain.explain(xplain.text(attentive, tokenizer=tokenizer), SENTENCE, "saliency")
    reader = xplain.text(attentive, tokenizer=tokenizer, split="ids")
    with pytest.raises(UsageError, match=r"holds integers.*layer='/words/Gather_output_0'"):  # not that of the places
        xplain.explain(reader, SENTENCE, "saliency")
    assert xplain.explain(reader, SENTENCE, "saliency", layer=LAYER).values.any()


def test_ids_that_cannot_be_read(attentive, tokenizer):
    with pytest.raises(UsageError, match=r"tokenizer is 5; accepted: the path of a tokenizer.json"):
        xplain.text(attentive, tokenizer=5, split="ids")
    with pytest.raises(UsageError, match=r"Ids are those of a tokenizer; give tokenizer='tokenizer.json'"):
        xplain.text(attentive, split="ids")
    with pytest.raises(UsageError, match=r"mask= is of words in a text; ids are hidden by a method's baseline="):
        xplain.text(attentive, tokenizer=tokenizer, split="ids", mask="[MASK]")
    with pytest.raises(UsageError, match=r"inside an ONNX file with inputs of token ids"):
        xplain.text(additive, tokenizer=tokenizer, split="ids")
    reader = xplain.text(attentive, tokenizer=tokenizer, split="ids", labels=["up", "down", "flat"])
    assert xplain.explain(reader, "bad", "occlusion", patch=1, stride=1, target="down").labels == (1,)
    with pytest.raises(UsageError, match="3 labels were given, but the model has 2 classes"):
        xplain.text(token_model(9), tokenizer=tokenizer, split="ids", labels=["up", "down", "flat"])
    with pytest.raises(UsageError, match=r"Text 1 has 12 tokens, .* takes 9"):
        xplain.predict(xplain.text(token_model(9), tokenizer=tokenizer, split="ids"), ["good " * 10, "bad"])
    with pytest.raises(ItemError, match="Text 2 is empty"):
        xplain.explain(reader, ["bad", " "], "occlusion", patch=1, stride=1)


def test_bytes_of_one_character_share_its_span(tmp_path):
    pytest.importorskip("tokenizers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: k for k, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.save(str(tmp_path / "bytes.json"))
    encoder = Encoder(tmp_path / "bytes.json")
    passage = encoder.passage("a\u00e9b", encoder.encoded(["a\u00e9b"])[0])
    assert passage.words == ("a", "\u00e9", "", "b")


@pytest.mark.parametrize("split", ["words", "ids"])
def test_a_model_without_a_mask_never_reads_padding(tokenizer, split):
    """The padding is worth 50 to this model: a shorter text must score as it does alone."""
    reader = xplain.text(token_model(mask=False), tokenizer=tokenizer, split=split)
    alone = [xplain.predict(reader, text)[0] for text in ("bad", "a good film")]
    np.testing.assert_allclose([row[0] for row in alone], [-3, 2.25])
    if split == "words":
        np.testing.assert_allclose(xplain.predict(reader, ["bad", "a good film", "bad"]), [*alone, alone[0]])
        hidden = xplain.explain(reader, ["bad", "a good film"], "kernel-shap", target=0)
        np.testing.assert_allclose(hidden.values, [[-3, 0, 0], [0, 2, 0.25]], atol=1e-4)
    else:
        with pytest.raises(UsageError, match=r"have 3 to 5 tokens, and bytes has no mask.*one by one"):
            xplain.predict(reader, ["bad", "a good film"])


def test_a_text_longer_than_the_model_takes(tokenizer):
    reader = xplain.text(token_model(9), tokenizer=tokenizer)
    with pytest.raises(UsageError, match=r"Text 2 has 12 tokens, .* takes 9. Nothing is cut off"):
        xplain.explain(reader, ["good", "good " * 10], "ablation")


def test_a_tokenizer_that_is_none(tmp_path):
    pytest.importorskip("tokenizers")
    (tmp_path / "t.json").write_text(json.dumps({"a": 1}))
    for file in ("t.json", "absent.json"):
        with pytest.raises(UsageError, match="tokenizer file"):
            xplain.text(token_model(), tokenizer=tmp_path / file)
