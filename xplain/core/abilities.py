"""What a model can do besides answering: it states it, and nobody looks for it.

A model is anything with ``outline``, ``answers`` (the kinds of question that it takes) and ``answer``. Whatever more it
can do stands in its ``abilities``: a field is None where it cannot. A model that wraps another takes over what still
holds, ``Abilities(price=inner.abilities.price, ...)``, and says the rest itself.

    class Billed:
        answers = frozenset({Score})
        def __init__(self): self.abilities = Abilities(price=Price(per_row=Decimal("0.002")))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from xplain.core.batches import Batches
from xplain.core.declaring.wording import Mention
from xplain.core.edits import Array
from xplain.core.items import Items
from xplain.core.price import Price
from xplain.core.query import Flow, Model, Score, Sweep, TargetInput, View

if TYPE_CHECKING:
    from xplain.core.rules import Rules
    from xplain.core.target import Target

__all__ = ["Abilities", "Codes", "Compiles", "Piece", "Redraws", "abilities_of", "is_model"]

Piece: TypeAlias = tuple[tuple[int, int], Array]
"""Rows ``(start, stop)`` and their answer, float64 ``[stop - start, T]``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Abilities:
    """What a model can do besides answering; None where it cannot.

    In four groups: how its answers come; what they cost and what they are remembered under; what is inside; what it
    takes, and how hidden windows are answered.

    Args:
        batches: How its rows are cut into calls, for a model that runs here, and as many at once as it is told.
        cuts: A sweep of more rows than it is told to take at once is cut by the model, as the engine would cut it.
        shared: Several threads may ask it at once.
        stream: Answers a question piece by piece, in any order, each row once. What was yielded before an error is
            kept and need not be asked again; models that ask over a wire answer this way, because every answer costs.
        late: What arrived for a question after its stream was closed, each piece once: it was on its way, and is paid.
        ahead: Answers in pieces of so many rows (None: as many as the model likes), in order, the next chunk on its way
            while one is handed over; its answer is None where it does not work ahead. The caller may ask other
            questions between two pieces, and may stop early.
        price: What an evaluation costs.
        billed: Requests that left in all, and their cost. A model that has this also writes every request into the
            ``Score.account`` of the question that it was made for.
        rows_per_request: Rows of items like ``x`` ``[N, *item]`` that share a request.
        trouble: Why some requests are not written down; empty where all are.
        canonical: Each row of a question as bytes, where the edited tensor does not say what is asked.
        compiles: The model as one that an explanation can be compiled into.
        redraws: The model as one whose weights can be drawn anew.
        balance: What each node received and passed on in a sweep of one item: the nodes in the order of the sweep, and
            two float64 arrays of their number.
        why_not_finite: One sentence on the first node that makes numbers that are not finite in the sweep of one item;
            empty if none is found.
        finds: Whether a sweep with these rules says what its target reads of the model's own forward pass, and finds
            the class that is predicted on its way; see ``xplain.core.swept``.
        name_of: What a layer that a person holds as an object is called; None where it is none of the model's.
        look: Runs one item once, if none like it was seen; ``outline`` says more afterwards.
        read: Items of another kind than pictures and tensors, such as texts or the rows of a table, as tensors of
            codes, and a model that answers questions about just these codes.
        narrowed: The same for some of the items that were read, for a model that tells them apart by their place alone.
        codes: The model as one of the rows of a table.
        windows: How the last question of hidden windows was answered, in words; None if it was answered in full.
        forecast: How a grid of hidden windows of a size, at a step, would be answered; None for in full.
        beyond: How to open the same model so that it answers more kinds of questions, as pieces of a message; empty
            where there is no way.
        close: Ends connections and files.
    """

    batches: Batches | None = None
    cuts: bool | None = None
    shared: bool | None = None
    stream: Callable[[Score], Iterator[Piece]] | None = None
    late: Callable[[Score], list[Piece]] | None = None
    ahead: Callable[[Score, int | None], Iterator[Piece] | None] | None = None

    price: Price | None = None
    billed: Callable[[], tuple[int, Decimal]] | None = None
    rows_per_request: Callable[[Array], int] | None = None
    trouble: Callable[[], str] | None = None
    canonical: Callable[[Score], list[bytes]] | None = None

    compiles: Compiles | None = None
    redraws: Redraws | None = None
    balance: Callable[[Sweep], tuple[tuple[str, ...], Array, Array]] | None = None
    why_not_finite: Callable[[Sweep], str] | None = None
    finds: Callable[[Rules], bool] | None = None
    name_of: Callable[[Any], str | None] | None = None
    look: Callable[[Array], None] | None = None

    read: Callable[[Any], tuple[Model, Items]] | None = None
    narrowed: Callable[[slice], Model] | None = None
    codes: Codes | None = None
    windows: Callable[[], Any] | None = None
    forecast: Callable[[int, int], Any] | None = None
    beyond: tuple[str | Mention, ...] = ()
    close: Callable[[], None] | None = None


class Compiles(Model, Protocol):
    """A model with a graph that an explanation can be compiled into."""

    def blank(self) -> Array:
        """One item of zeros, ``[1, *item]``.

        Raises:
            UsageError: the size of an item is not known.
        """

    def of_size(self, item: tuple[int, ...]) -> Compiles:
        """The model for items of one size, ``item`` without the batch axis.

        Raises:
            UsageError: it takes none of that size.
        """

    def compile(
        self,
        target: Target,
        flow: Callable[[View], Flow],
        about: Mapping[str, Any],
        choose: TargetInput,
        *,
        out: Path | None = None,
    ) -> Any:
        """The model, an ``onnx.ModelProto``, with what ``flow`` computes as output ``attribution``; also written."""


class Redraws(Protocol):
    """A model whose weights can be drawn anew, layer by layer."""

    def weighted(self) -> tuple[str, ...]:
        """The layers that hold weights, in order of evaluation."""

    def redrawn(self, layers: Sequence[str], seed: int, draw: Literal["shuffle", "normal"] = "shuffle") -> Model:
        """The model with the weights of these layers drawn anew.

        Raises:
            UnknownName: a layer that holds none.
        """


class Codes(Protocol):
    """A model of the rows of a table."""

    def codes(self, source: Any) -> Array:
        """Rows as the numbers that stand for them, ``[N, S]``."""

    def values(self, x: Array) -> dict[str, Any]:
        """Numbers ``[R, S]`` as columns again."""

    def typical(self, x: Array) -> tuple[Array, str]:
        """The typical row ``[1, S]`` and a sentence about it."""

    def known(self, x: Array) -> tuple[Array, str]:
        """The rows ``[B, S]`` that are known, and a sentence about them."""


_NONE = Abilities()


def abilities_of(model: Any) -> Abilities:
    """What a model states; nothing for one that states nothing, such as a person's own of three attributes."""
    stated: Abilities = getattr(model, "abilities", _NONE)
    return stated


def is_model(source: Any) -> bool:
    """Whether what a person gives is a loaded model already."""
    return hasattr(source, "answers") and hasattr(source, "outline")
