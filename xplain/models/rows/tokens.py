"""Texts to token ids and back to spans, by a ``tokenizer.json`` of the package tokenizers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import ItemError, MissingDependency, UsageError
from xplain.core.files import read_text
from xplain.core.outline import Outline, TensorSpec
from xplain.models.onnx.feeds import OnnxFeeds

__all__ = ["Tokens", "takes_tokens"]

_MOST_BYTES = 256 * 2**20
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
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise MissingDependency("Token models need the package tokenizers: pip install 'xplain[text]'.") from None
        content = read_text(file, UsageError, f"The tokenizer file {os.fspath(file)!r:.200}", _MOST_BYTES).encode()
        with _speaking(f"{os.fspath(file)!r:.200} is no tokenizer file"):
            self._tokenizer = Tokenizer.from_buffer(content)
        self._tokenizer.no_truncation()
        padding = self._tokenizer.padding or {}
        self._pad = int(padding.get("pad_id", self._tokenizer.token_to_id("[PAD]") or 0))
        self._tokenizer.no_padding()
        self._feeds = feeds
        self._roles = {spec.name: _role(spec, feeds.outline) for spec in feeds.outline.inputs}
        ids = next((s for s in feeds.outline.inputs if self._roles[s.name] == "ids"), None)
        if ids is None:
            raise _inputs_wrong(feeds.outline)
        self._fixed = ids.shape[1] if len(ids.shape) > 1 else None
        digest = hashlib.sha256(feeds.outline.digest.encode() + content).hexdigest()
        self.outline = replace(feeds.outline, digest=digest, inputs=(TensorSpec("text", (None,), "str"),), input="text")

    def scores(self, texts: Sequence[str]) -> Array:
        """Scores ``[R, K]`` of texts."""
        with _speaking("The tokenizer fails on the texts"):
            encoded = self._tokenizer.encode_batch(list(texts))
        length = self._fixed or max(1, *(len(one.ids) for one in encoded))
        columns = {
            "ids": np.full((len(texts), length), self._pad, np.int64),
            "mask": np.zeros((len(texts), length), np.int64),
            "types": np.zeros((len(texts), length), np.int64),
        }
        for row, one in enumerate(encoded):
            count = len(one.ids)
            columns["ids"][row, :count] = one.ids
            columns["mask"][row, :count] = 1
            columns["types"][row, :count] = one.type_ids
        return self._feeds.scores({name: columns[role] for name, role in self._roles.items()})

    def check(self, called: str, text: str) -> None:
        """A text must fit into the model.

        Raises:
            ItemError: it has more tokens than the model takes.
        """
        with _speaking(f"The tokenizer fails on {called[:1].lower()}{called[1:]}"):
            count = len(self._tokenizer.encode(text).ids)
        if self._fixed is not None and count > self._fixed:
            raise ItemError(
                f"{called} has {count} tokens, {self.outline.source} takes {self._fixed}. Nothing is cut off "
                "silently: shorten it, or explain it in parts."
            )

    def spans(self, text: str) -> Sequence[tuple[int, int]]:
        """Start and end of each token, without the special ones."""
        with _speaking("The tokenizer fails on a text"):
            offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return [(start, stop) for start, stop in offsets if stop > start]


@contextmanager
def _speaking(what: str) -> Iterator[None]:
    """Failures of the package in our words: it raises bare exceptions, and on some files panics past ``Exception``."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise UsageError(f"{what}: {str(error)[:200]}.") from None


def takes_tokens(outline: Outline) -> bool:
    """Whether the inputs are token ids, with or without what says which of them count."""
    try:
        return "ids" in {_role(spec, outline) for spec in outline.inputs}
    except UsageError:
        return False


def _role(spec: TensorSpec, outline: Outline) -> str:
    for role, names in _ROLES.items():
        if spec.name in names and spec.dtype in ("int64", "int32"):
            return role
    if len(outline.inputs) == 1 and spec.dtype in ("int64", "int32"):
        return "ids"
    raise _inputs_wrong(outline)


def _inputs_wrong(outline: Outline) -> UsageError:
    listed = ", ".join(f"{spec.name} ({spec.dtype})" for spec in outline.inputs)
    return UsageError(
        f"{outline.source} has the inputs {listed}; a model of tokens has input_ids and, if it wants them, "
        "attention_mask and token_type_ids, of whole numbers."
    )
