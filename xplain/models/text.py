"""Texts as items: a text becomes a row of features, and an edited row becomes a text again.

    reader = xplain.text("sentiment.onnx")                      # an ONNX model that takes strings
    reader = xplain.text("bert.onnx", tokenizer="tokenizer.json")
    reader = xplain.text("https://host/v2/models/m")            # an endpoint whose input is text
    reader = xplain.text(lambda texts: scores_of(texts))        # a function of a list of str
    a = xplain.explain(reader, "A film that is not boring at all.", "kernel-shap")

Methods see nothing of it. Their items are rows ``[N, T]`` of position numbers 1..T (0 behind the end of a shorter
text), an edit keeps or hides positions, and the model that ``read`` returns rebuilds the text of every row.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xplain.core.abilities import is_model
from xplain.core.errors import UsageError
from xplain.core.outline import TensorSpec, class_names
from xplain.core.price import Price
from xplain.core.query import Model
from xplain.models import load
from xplain.models.options import AskedOptions, FeedsOptions, options_for, refuse
from xplain.models.rows.function import Function, outline_of
from xplain.models.rows.text import Text, only_text
from xplain.models.rows.words import Split

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
) -> Text:
    """A model of texts.

    Args:
        source: An ONNX model with one input of strings; one with inputs of token ids, with ``tokenizer``; the URL of
            an endpoint that takes text; a function from a list of ``str`` to scores ``[R, K]``; or a loaded model
            of texts.
        split: What a feature is: ``words``, ``marks`` (words and punctuation marks), ``sentences``, ``characters``,
            ``tokens`` (with ``tokenizer``), or a function from a text to spans.
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
    if named:
        classes = inner.outline.scores.classes
        if classes not in (None, len(named)):
            raise UsageError(
                f"{len(named)} labels were given, but the model has {classes} classes. Give one per class."
            )
        if isinstance(inner, Function):
            inner.outline = replace(inner.outline, labels=named)
    only_text(inner.outline)
    if longest is not None and (isinstance(longest, bool) or not isinstance(longest, int) or longest < 1):
        raise UsageError(option="longest", got=longest, accepted="a whole number of features, at least 1, or None")
    return Text(inner, split, mask, longest)
