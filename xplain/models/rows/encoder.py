"""A ``tokenizer.json`` of the package tokenizers: texts to token ids, and where in the text each token stands."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from xplain.core.errors import ItemError, MissingDependency, UsageError
from xplain.core.items import Passage
from xplain.core.keeping.files import read_text

__all__ = ["Encoder"]

_MOST_BYTES = 256 * 2**20


class Encoder:
    """A tokenizer as it was saved, but that it neither cuts texts off nor fills them up.

    Args:
        file: The tokenizer's file.

    Raises:
        MissingDependency: the package tokenizers is not installed.
        UsageError: the file is no tokenizer.
    """

    def __init__(self, file: str | os.PathLike[str]) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise MissingDependency("Token models need the package tokenizers: pip install 'xplain[text]'.") from None
        if not isinstance(file, (str, os.PathLike)):
            raise UsageError(option="tokenizer", got=file, accepted="the path of a tokenizer.json")
        content = read_text(file, UsageError, f"The tokenizer file {os.fspath(file)!r:.200}", _MOST_BYTES).encode()
        with _speaking(f"{os.fspath(file)!r:.200} is no tokenizer file"):
            self._tokenizer = Tokenizer.from_buffer(content)
        self._tokenizer.no_truncation()
        padding = self._tokenizer.padding or {}
        self.pad = int(padding.get("pad_id", self._tokenizer.token_to_id("[PAD]") or 0))
        self._tokenizer.no_padding()
        self.digest = hashlib.sha256(content).hexdigest()

    def token(self, number: int) -> str:
        """What an id stands for; empty for one that the tokenizer does not have."""
        return self._tokenizer.id_to_token(number) or ""

    def encoded(self, texts: Sequence[str]) -> list[Any]:
        """Each text's ids, types and offsets, special tokens included.

        Raises:
            UsageError: the tokenizer fails.
        """
        with _speaking("The tokenizer fails on the texts"):
            return list(self._tokenizer.encode_batch(list(texts)))

    def fits(self, called: str, text: str, most: int | None, source: str) -> None:
        """A text must fit into the model.

        Raises:
            ItemError: it has more tokens than the model takes.
        """
        with _speaking(f"The tokenizer fails on {called[:1].lower()}{called[1:]}"):
            count = len(self._tokenizer.encode(text).ids)
        if most is not None and count > most:
            raise ItemError(
                f"{called} has {count} tokens, {source} takes {most}. Nothing is cut off silently: shorten it, or "
                "explain it in parts."
            )

    def spans(self, text: str) -> Sequence[tuple[int, int]]:
        """Start and end of each token, without the special ones."""
        with _speaking("The tokenizer fails on a text"):
            offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return [(start, stop) for start, stop in offsets if stop > start]

    def passage(self, text: str, encoding: Any) -> Passage:
        """A text with a span per id: special tokens are written into it, where the model reads them.

        Ids that share a character, as bytes of an emoji do, get it once: the first has it, the others a span of none.
        """
        out, at = "", 0
        spans: list[tuple[int, int]] = []
        tokens = zip(encoding.tokens, encoding.offsets, encoding.special_tokens_mask, strict=True)
        after_special = False
        for token, (start, stop), special in tokens:
            if special:
                out += " " if out and not out[-1].isspace() else ""
                spans.append((len(out), len(out) + len(token)))
                out += token
                after_special = True
                continue
            start, stop = max(start, at), max(stop, at)
            between = text[at:start]
            out += " " if after_special and not between[:1].isspace() else ""
            out += between
            spans.append((len(out), len(out) + stop - start))
            out += text[start:stop]
            at, after_special = stop, False
        return Passage(out + text[at:], tuple(spans))


@contextmanager
def _speaking(what: str) -> Iterator[None]:
    """Failures of the package in our words: it raises bare exceptions, and on some files panics past ``Exception``."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise UsageError(f"{what}: {str(error)[:200]}.") from None
