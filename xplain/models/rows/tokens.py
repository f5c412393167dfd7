"""A model of token ids as a model of texts, or as one whose items are the ids themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from xplain.core.abilities import Abilities
from xplain.core.edits import Array
from xplain.core.errors import ItemError, UsageError
from xplain.core.items import Items
from xplain.core.keeping.content import fingerprint
from xplain.core.outline import Outline, TensorSpec
from xplain.core.positions.layout import Layout
from xplain.core.query import Answer, Query
from xplain.graph.intake.inputs import inputs_of
from xplain.graph.intake.load import Loaded, OnnxSource
from xplain.graph.intake.tokens import ids_alone
from xplain.models.onnx.feeds import OnnxFeeds
from xplain.models.onnx.open import open_onnx
from xplain.models.options import OnnxOptions
from xplain.models.outlines import labelled
from xplain.models.rows.encoder import Encoder
from xplain.models.rows.words import called_of, texts_of

__all__ = ["TokenIds", "Tokens", "takes_tokens"]

_ROLES = {"ids": ("input_ids", "ids", "tokens"), "mask": ("attention_mask", "mask"), "types": ("token_type_ids",)}


class Tokens:
    """A model of token ids as a model of texts.

    Args:
        feeds: The model; its inputs are ``input_ids`` and, if it has them, ``attention_mask`` and ``token_type_ids``.
        file: The tokenizer's file.

    Raises:
        MissingDependency: the package tokenizers is not installed.
        UsageError: the file is no tokenizer, or the model has other inputs.
    """

    def __init__(self, feeds: OnnxFeeds, file: str | os.PathLike[str]) -> None:
        self._encoder = Encoder(file)
        self._feeds = feeds
        self._roles = roles_of(feeds.outline.inputs, feeds.outline.source)
        self._fixed = _length(feeds.outline.inputs, self._roles)
        digest = fingerprint(feeds.outline.digest, self._encoder.digest)
        self.outline = replace(feeds.outline, digest=digest, inputs=(TensorSpec("text", (None,), "str"),), input="text")

    def scores(self, texts: Sequence[str]) -> Array:
        """Scores ``[R, K]`` of texts.

        A model without a mask reads the padding too, so texts of different lengths are never padded to one for it.
        """
        ids = [np.array(one.ids, np.int64) for one in self._encoder.encoded(texts)]
        found: Array | None = None
        for rows in _together(ids, alike="mask" not in self._roles.values() and self._fixed is None):
            scores = self._ask([ids[row] for row in rows])
            found = np.zeros((len(ids), *scores.shape[1:]), scores.dtype) if found is None else found
            found[rows] = scores
        assert found is not None  # nobody asks about no text
        return found

    def _ask(self, ids: Sequence[Array]) -> Array:
        padded, count = _padded(ids, self._fixed, self._encoder.pad)
        columns = {"ids": padded, "mask": count, "types": np.zeros_like(padded)}
        return self._feeds.scores({name: columns[role] for name, role in self._roles.items()})

    def check(self, called: str, text: str) -> None:
        """A text must fit into the model.

        Raises:
            ItemError: it has more tokens than the model takes.
        """
        self._encoder.fits(called, text, self._fixed, self.outline.source)

    def spans(self, text: str) -> Sequence[tuple[int, int]]:
        """Start and end of each token, without the special ones."""
        return self._encoder.spans(text)


class TokenIds:
    """A model of token ids whose items are the ids themselves, special ones included: what is inside is explained.

    The mask and the types follow from the ids, inside the graph. An id that a method hides becomes the padding's where
    its baseline is left at 0 and the padding is 0, as it is in most tokenizers; else state ``baseline``.

    Args:
        source: The model.
        file: The tokenizer's file.
        options: How the model is opened.
        labels: Names of the classes; empty where the model knows them, or none are known.

    Raises:
        MissingDependency: the package tokenizers is not installed.
        UsageError: the file is no tokenizer, the model has other inputs, or not as many classes as labels.
        ModelError: the model cannot be loaded.
    """

    def __init__(
        self, source: OnnxSource, file: str | os.PathLike[str], options: OnnxOptions, labels: tuple[str, ...] = ()
    ) -> None:
        self._encoder = Encoder(file)
        self._roles: dict[str, str] = {}
        self._inner = open_onnx(source, replace(options, layout="NT"), edit=partial(_alone, self._roles, self._encoder))
        self._fixed = _length(self._inner.outline.inputs, {self._inner.outline.input: "ids"})
        zero = self._encoder.token(0)
        told = {**self._inner.outline.facts, "hidden tokens": f"become id 0{f', {zero!r}' if zero else ''}"}
        self._inner.outline = replace(labelled(self._inner.outline, labels), facts=told)
        self.answers = self._inner.answers

    @property
    def outline(self) -> Outline:
        """What is known of the model."""
        return self._inner.outline

    @property
    def abilities(self) -> Abilities:
        """As the inner one's, and it reads texts."""
        return replace(self._inner.abilities, read=self._read)

    def answer(self, query: Query) -> Answer:
        """The answer to one question about ids."""
        return self._inner.answer(query)

    def _read(self, given: Any) -> tuple[TokenIds, Items]:
        """Texts as rows of ids ``[N, T]``, the shorter ones padded.

        Raises:
            UsageError: no text, or texts of different lengths for a model that would read the padding.
            ItemError: one that is empty, or longer than the model takes.
        """
        texts = texts_of(given, self.outline.source)
        encodings = self._encoder.encoded(texts)
        for called, text, one in zip(called_of(texts), texts, encodings, strict=True):
            if not text.strip() or not one.ids:
                raise ItemError(f"{called} is empty: there is nothing to explain. Drop it.")
            self._encoder.fits(called, text, self._fixed, self.outline.source)
        ids = [np.array(one.ids, np.int64) for one in encodings]
        lengths = sorted({len(one) for one in ids})
        if len(lengths) > 1 and self._fixed is None and "mask" not in self._roles.values():
            raise UsageError(
                f"The texts have {lengths[0]} to {lengths[-1]} tokens, and {self.outline.source} has no mask, so it "
                "would read the padding of the shorter ones. Explain texts of one length together, others one by one."
            )
        padded, _ = _padded(ids, self._fixed, self._encoder.pad)
        names = tuple(f"text {n}" for n in range(1, len(texts) + 1))
        passages = tuple(self._encoder.passage(text, one) for text, one in zip(texts, encodings, strict=True))
        layout = Layout("NT", (padded.shape[1],), "token ids of a text")
        return self, Items(padded, names, texts=passages, layout=layout)


def takes_tokens(outline: Outline) -> bool:
    """Whether the inputs are token ids, with or without what says which of them count."""
    try:
        return "ids" in roles_of(outline.inputs, outline.source).values()
    except UsageError:
        return False


def roles_of(inputs: Sequence[TensorSpec], source: str) -> dict[str, str]:
    """What each input is: ``ids``, ``mask`` or ``types``.

    Raises:
        UsageError: one is something else, or none holds ids.
    """
    roles: dict[str, str] = {}
    for spec in inputs:
        whole = spec.dtype in ("int64", "int32")
        named = next((role for role, names in _ROLES.items() if spec.name in names and whole), None)
        if named is None and not (len(inputs) == 1 and whole):
            raise _inputs_wrong(inputs, source)
        roles[spec.name] = named or "ids"
    if list(roles.values()).count("ids") != 1:
        raise _inputs_wrong(inputs, source)
    return roles


def _alone(roles: dict[str, str], encoder: Encoder, loaded: Loaded) -> tuple[str, int]:
    """Edit a model to take ids alone; what its inputs were is written into ``roles``."""
    roles |= roles_of(inputs_of(loaded), loaded.source)
    ids_alone(loaded, roles, encoder.pad)
    return encoder.digest, encoder.pad


def _length(inputs: Sequence[TensorSpec], roles: Mapping[str, str]) -> int | None:
    """How many ids the model takes; None where it takes any number."""
    shape = next(spec.shape for spec in inputs if roles.get(spec.name) == "ids")
    return shape[1] if len(shape) > 1 else None


def _together(ids: Sequence[Array], alike: bool) -> Iterator[list[int]]:
    """Rows that are asked in one call: all, or those of each length."""
    if not alike:
        yield list(range(len(ids)))
        return
    for length in sorted({len(one) for one in ids}):
        yield [row for row, one in enumerate(ids) if len(one) == length]


def _padded(ids: Sequence[Array], length: int | None, pad: int) -> tuple[Array, Array]:
    """Ids ``[R, T]``, and 1 where they are a text's."""
    shape = (len(ids), length or max(1, *(len(one) for one in ids)))
    padded, count = np.full(shape, pad, np.int64), np.zeros(shape, np.int64)
    for row, one in enumerate(ids):
        padded[row, : len(one)] = one
        count[row, : len(one)] = 1
    return padded, count


def _inputs_wrong(inputs: Sequence[TensorSpec], source: str) -> UsageError:
    listed = ", ".join(f"{spec.name} ({spec.dtype})" for spec in inputs)
    return UsageError(
        f"{source} has the inputs {listed}; a model of tokens has input_ids and, if it wants them, attention_mask and "
        "token_type_ids, of whole numbers."
    )
