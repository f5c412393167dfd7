"""Texts as items: a text becomes a row of features, and an edited row becomes a text again.

    reader = xplain.text("sentiment.onnx")                      # an ONNX model that takes strings
    reader = xplain.text("bert.onnx", tokenizer="tokenizer.json")
    reader = xplain.text("bert.onnx", tokenizer="tokenizer.json", split="ids")     # what is inside, too
    reader = xplain.text("https://host/v2/models/m")            # an endpoint whose input is text
    reader = xplain.text(lambda texts: scores_of(texts))        # a function of a list of str
    a = xplain.explain(reader, "A film that is not boring at all.", "kernel-shap")

Methods see nothing of it. Their items are rows ``[N, T]`` of position numbers 1..T (0 behind the end of a shorter
text), an edit keeps or hides positions, and the model that ``read`` returns rebuilds the text of every row.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xplain.core.abilities import is_model
from xplain.core.declaring.wording import option
from xplain.core.errors import UsageError
from xplain.core.outline import TensorSpec, class_names
from xplain.core.price import Price
from xplain.core.query import Model
from xplain.models import load
from xplain.models.options import AskedOptions, FeedsOptions, OnnxOptions, options_for, refuse
from xplain.models.outlines import labelled
from xplain.models.rows.function import Function, outline_of
from xplain.models.rows.text import Text, only_text
from xplain.models.rows.words import Split

if TYPE_CHECKING:
    from xplain.models.rows.tokens import TokenIds

__all__ = ["text"]


def text(
    source: Any,
    *,
    split: str | Split = "words",
    mask: str | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    longest: int | None = None,
    labels: Sequence[str] = (),
    **options: Any,
) -> Text | TokenIds:
    """A model of texts.

    Args:
        source: An ONNX model with one input of strings; one with inputs of token ids, with ``tokenizer``; the URL of
            an endpoint that takes text; a function from a list of ``str`` to scores ``[R, K]``; or a loaded model
            of texts.
        split: What a feature is: ``words``, ``marks`` (words and punctuation marks), ``sentences``, ``characters``,
            ``tokens`` (with ``tokenizer``), or a function from a text to spans. ``ids`` (with ``tokenizer``) makes the
            token ids themselves the items, special ones included, so that gradients, relevance and what is inside can
            be explained from the tensor that the ids become: ``explain(reader, text, "integrated-gradients",
            layer="embeddings")``; a hidden id becomes ``baseline``.
        mask: What takes a hidden word's place, such as ``"[MASK]"``; None deletes it.
        tokenizer: A ``tokenizer.json`` of the package tokenizers.
        longest: Features of a text at most; None for no limit but the model's own.
        labels: Class names, where the model does not know them.
        options: What the source's own door takes: ``version`` and ``price`` of a function, and what ``xplain.load``
            takes for an endpoint, or for an ONNX model that is asked with whole feeds.

    Raises:
        UsageError: the model does not take text, or an option does not fit it.
        MissingDependency: ``tokenizer`` is given, and the package tokenizers is not installed.
    """
    named = class_names(labels, numbers=True)
    if split == "ids":
        return _of_ids(source, tokenizer, named, {"mask": mask, "longest": longest}, options)
    inner: Model
    if isinstance(source, str) and "://" in source:
        inner = load(source, labels=named, **options)
    elif is_model(source):
        refuse(options)
        inner = source
    elif callable(source) and not hasattr(source, "SerializeToString"):
        asked = options_for(AskedOptions, options, source)
        outline = outline_of(source, TensorSpec("texts", (None,), "str"), asked.version, named)
        inner = Function(source, outline, Price.read(asked.price), "texts")
    else:
        from xplain.models.onnx.feeds import OnnxFeeds

        feeds = OnnxFeeds(source, options_for(FeedsOptions, options, source))
        if tokenizer is not None:
            from xplain.models.rows.tokens import Tokens

            made = Tokens(feeds, tokenizer)
            split = made.spans if split == "tokens" else split
            inner = Function(made.scores, made.outline, takes="texts", limit=made.check)
        else:
            name = only_text(feeds.outline)
            inner = Function(lambda texts: feeds.scores({name: np.array(texts, object)}), feeds.outline, takes="texts")
    called = labelled(inner.outline, named)
    if isinstance(inner, Function):
        inner.outline = called
    only_text(inner.outline)
    if longest is not None and (isinstance(longest, bool) or not isinstance(longest, int) or longest < 1):
        raise UsageError(option="longest", got=longest, accepted="a whole number of features, at least 1, or None")
    return Text(inner, split, mask, longest, tokens=tokenizer is not None)


def _of_ids(
    source: Any,
    tokenizer: str | os.PathLike[str] | None,
    labels: tuple[str, ...],
    of_words: Mapping[str, Any],
    options: Mapping[str, Any],
) -> TokenIds:
    """A model whose items are token ids."""
    from xplain.models.rows.tokens import TokenIds

    if callable(source) or is_model(source) or (isinstance(source, str) and "://" in source):
        raise UsageError(f"Ids are explained inside an ONNX file with inputs of token ids; {source!r:.80} is none.")
    if tokenizer is None:
        raise UsageError("Ids are those of a tokenizer; give ", option("tokenizer", "tokenizer.json"), ".")
    given = [name for name, value in of_words.items() if value is not None]
    if given:
        of_text = option(given[0])
        raise UsageError(of_text, " is of words in a text; ids are hidden by a method's ", option("baseline"), ".")
    return TokenIds(source, tokenizer, options_for(OnnxOptions, options, source), labels)
