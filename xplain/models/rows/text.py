"""The model behind ``xplain.text``: a text becomes a row of features, and an edited row becomes a text again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np

from xplain import native
from xplain.core.abilities import Abilities, Piece, abilities_of
from xplain.core.declaring.wording import option, way
from xplain.core.edits import Untouched
from xplain.core.errors import CapabilityError, ItemError, UsageError
from xplain.core.items import Items, Passage
from xplain.core.outline import Outline, TensorSpec
from xplain.core.partial_answers import pieces
from xplain.core.positions.layout import Layout
from xplain.core.query import Answer, Model, Query, Score
from xplain.models.rows.function import Function
from xplain.models.rows.words import Split, called_of, rebuilt, split_with, texts_of

__all__ = ["Text", "only_text"]

_AT_ONCE = 256
_LETTERS = 2**24  # of the edited texts that are made at once: of 20,000 words all would take gigabytes, and a minute
_OPEN = 64  # streams that were closed early, of which answers may be asked for later
_HALF = 0.5  # a soft mask keeps a word from here on


class Text:
    """Reads texts; see ``xplain.models.text``. ``tokens``: the model is one of token ids, which can be items too."""

    answers: frozenset[type[Any]] = frozenset({Score})

    def __init__(
        self, inner: Model, split: str | Split, mask: str | None, longest: int | None, tokens: bool = False
    ) -> None:
        self._inner, self._split, self._mask, self._longest = inner, split, mask, longest
        beyond = (" To explain what is inside, read token ids, with ", option("split", "ids"), ".") if tokens else ()
        self.abilities: Abilities = Abilities(read=self.read, price=abilities_of(inner).price, beyond=beyond)
        self.outline = inner.outline
        if isinstance(split, str):
            split_with(split, "")  # a name that is not known is refused now

    @property
    def split(self) -> str | Split:
        """What a feature is."""
        return self._split

    def read(self, source: Any) -> tuple[Model, Items]:
        """Texts as rows of positions, and the model that answers questions about them.

        Raises:
            UsageError: no text.
            ItemError: an empty one, one without features, or one longer than the model takes.
        """
        given = texts_of(source, self.outline.source)
        passages = tuple(self._passage(*one) for one in zip(called_of(given), given, strict=True))
        length = max(len(passage.spans) for passage in passages)
        x = np.zeros((len(passages), length), np.float32)
        for row, passage in zip(x, passages, strict=True):
            row[: len(passage.spans)] = np.arange(1, len(passage.spans) + 1)
        names = tuple(f"text {n}" for n in range(1, len(passages) + 1))
        return _Rows(self._inner, passages, self._mask, length), Items(x, names, texts=passages)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.outline.brief}>"

    def answer(self, query: Query) -> Answer:
        """Texts are read first: ``model, items = reader.read(texts)``.

        Raises:
            CapabilityError: always.
        """
        raise CapabilityError(f"{self.outline.source} takes texts; ask the model that read(texts) returns.")

    def _passage(self, called: str, text: str) -> Passage:
        if not text.strip():
            raise ItemError(f"{called} is empty: there is nothing to explain. Drop it.")
        spans = split_with(self._split, text)
        if not spans:
            raise ItemError(
                f"{called}, {text[:40]!r}, has no {self._split}; use ",
                option("split", "marks"),
                " or 'characters'.",
            )
        if self._longest is not None and len(spans) > self._longest:
            raise ItemError(
                f"{called} has {len(spans)} features; at most {self._longest} are taken. Shorten it, or split "
                "it more coarsely, for example ",
                option("split", "sentences"),
                ".",
            )
        if isinstance(self._inner, Function) and self._inner.limit is not None:
            self._inner.limit(called, text)
        return Passage(text, tuple(spans))


class _Rows:
    """Answers questions about rows of positions by asking the inner model about the texts that are left."""

    answers: frozenset[type[Any]] = frozenset({Score})

    def __init__(self, inner: Model, passages: Sequence[Passage], mask: str | None, length: int) -> None:
        self._inner, self._passages, self._mask, self._length = inner, passages, mask, length
        self._open: list[tuple[Score, Score]] = []  # questions under way, and what the inner model is asked for them
        spec = TensorSpec(inner.outline.input, (None, length), "float32")
        self.outline = replace(
            inner.outline,
            inputs=(spec,),
            input=spec.name,
            layout=Layout("NT", (length,), "words of a text"),
            batch="free",
            rows=None,
            facts={**inner.outline.facts, "hidden words": "deleted" if mask is None else f"replaced by {mask!r}"},
        )

    @property
    def abilities(self) -> Abilities:
        """What the inner model's answers cost; rows are remembered under the texts that are left."""
        inner = abilities_of(self._inner)
        return Abilities(
            stream=self.stream,
            late=self.late,
            price=inner.price,
            billed=inner.billed,
            rows_per_request=inner.rows_per_request,
            trouble=inner.trouble,
            canonical=self.canonical,
            narrowed=self.narrowed,
        )

    def narrowed(self, some: slice) -> _Rows:
        """The same for some of the texts, in rows as long as they are."""
        return _Rows(self._inner, self._passages[some], self._mask, self._length)

    def answer(self, query: Query) -> Answer:
        """Scores ``[R, T]`` of the rows asked.

        Raises:
            CapabilityError: another question than ``Score``.
            UsageError: a hidden word is to become something else than nothing.
        """
        return self._inner.answer(self._inner_query(query))

    def stream(self, query: Score) -> Iterator[Piece]:
        """The same, piece by piece where the inner model answers in pieces; texts are made a block at a time."""
        longest = max(len(passage.text) for passage in self._passages)
        block = max(1, _LETTERS // longest)
        first, last = query.rows
        for start in range(first, last, block):
            yield from self._streamed(replace(query, part=(start, min(start + block, last))))

    def _streamed(self, query: Score) -> Iterator[Piece]:
        start, inner = query.rows[0], self._inner_query(query)
        # until it is answered to its end, so that ``late`` finds it
        self._open = [*self._open[-_OPEN:], (query, inner)]
        with closing(pieces(self._inner, inner, _AT_ONCE)) as answered:
            for (first, last), rows in answered:
                yield (start + first, start + last), rows
        self._open = [pair for pair in self._open if pair[1] is not inner]

    def late(self, query: Score) -> list[Piece]:
        """What the inner model was still answering when a stream about these rows was closed."""
        late = abilities_of(self._inner).late
        mine = [(asked, inner) for asked, inner in self._open if asked.x is query.x and asked.edits is query.edits]
        self._open = [pair for pair in self._open if all(pair[1] is not inner for _, inner in mine)]
        return [
            ((asked.rows[0] + first, asked.rows[0] + last), rows)
            for asked, inner in mine
            for (first, last), rows in (late(inner) if late is not None else [])
        ]

    def canonical(self, query: Score) -> list[bytes]:
        """The texts that are left, as bytes: what an answer is remembered under."""
        return [text.encode() for text in self._texts(query)]

    def _inner_query(self, query: Query) -> Score:
        if not isinstance(query, Score) or query.at != "input":
            raise CapabilityError(f"{self.outline.source} is explained on words and answers only Score.")
        start, stop = query.rows
        items = np.arange(start, stop) // query.edits.count
        texts = np.array(self._texts(query), object)
        return Score(texts, Untouched(), query.target.take(items), account=query.account)

    def _texts(self, query: Score) -> list[str]:
        fill = getattr(query.edits, "fill", None)
        if fill is not None and np.any(fill):
            raise UsageError(
                "A hidden word is deleted or replaced by ",
                option("mask"),
                "; it has no other baseline or background. Leave ",
                option("baseline"),
                " at 0.",
            )
        start, stop = query.rows
        shown = np.empty((stop - start, query.x.shape[1]), np.float32)
        native.fill(np.ones(query.x.shape, np.float32), query.edits, start, stop, shown, query.layout_in(self.outline))
        count = query.edits.count
        texts = []
        for row, present in zip(range(start, stop), shown >= _HALF, strict=True):
            passage = self._passages[row // count]
            texts.append(rebuilt(passage.text, passage.spans, present, self._mask))
        return texts


def only_text(outline: Outline) -> str:
    """The name of the one input, which holds text.

    Raises:
        UsageError: there are others, or none of text.
    """
    found = [spec for spec in outline.inputs if spec.dtype == "str"]
    if len(found) != 1 or len(outline.inputs) != 1:
        listed = ", ".join(f"{spec.name} ({spec.dtype})" for spec in outline.inputs)
        raise UsageError(
            f"{outline.source} has the inputs {listed}; a model of texts has one, of strings. For a model of token ids "
            "give ",
            option("tokenizer", "tokenizer.json"),
            "; for rows with text among other columns ",
            way("columns", python="use xplain.table", shell="give a table (.csv)"),
            ".",
        )
    return found[0].name
