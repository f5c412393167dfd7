"""Two models compared, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from xplain.core.edits import Array
from xplain.core.keeping.plain import brief_layer
from xplain.core.lenses.embedding import Compared
from xplain.results.archive import Fault
from xplain.results.checks import Check, list_of, text
from xplain.results.fitting import fit
from xplain.results.result import ARRAY, ARRAY_PER_ITEM, Result

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Comparison"]

_LISTS = ("others", "different")


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison(Result):
    """N layers of one model, whose names are ``names``, beside Q of another.

    Args:
        others: Names of the other's layers.
        alignment: float64 ``[N, Q, 3]``: debiased linear centred kernel alignment, and both ends of its 95 % interval.
        shared: float64 ``[N, Q, 3]``: the share of nearest neighbours that both layers agree on, with its interval.
        different: The items that the models see most differently at the last pair of layers, those first.
        agreement: float64 ``[M]``: for each, the cosine between how it is alike to all others in one and the other.
        thumbnails: uint8 ``[M, s, s, 3]``, or None.
    """

    what: ClassVar[str] = "comparison"
    made_of: ClassVar[type[Any] | None] = Compared
    checks: ClassVar[Mapping[str, Check]] = dict.fromkeys(_LISTS, ("a list of texts", list_of(text)))

    others: tuple[str, ...] = ()
    alignment: Array = field(metadata=ARRAY_PER_ITEM)
    shared: Array = field(metadata=ARRAY_PER_ITEM)
    different: tuple[str, ...] = ()
    agreement: Array = field(metadata=ARRAY)
    thumbnails: Array | None = field(default=None, metadata=ARRAY)

    def matrix(self, **drawing: Any) -> Image:
        """Both tables as colours, and the items that differ most; see ``xplain.render.curves`` for ``drawing``."""
        drawn: Image = self.render("matrix", **drawing)
        return drawn

    def __repr__(self) -> str:
        told = []
        for n, name in enumerate(self.names):
            q = int(self.alignment[n, :, 0].argmax())
            (cka, low, high), shared = self.alignment[n, q], self.shared[n, q, 0]
            like = f"{brief_layer(name)} is most like {brief_layer(self.others[q])}"
            told.append(f"{like}: alignment {cka:.3f} ({low:.3f} to {high:.3f}), {shared:.0%} of neighbours shared")
        return "\n".join([*told, f"seen most differently: {', '.join(self.different[:5])}"])

    @classmethod
    def holds(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """The number of layers; holds the arrays against one another.

        Raises:
            Fault: one is missing, or of another type or shape than it must have.
        """
        table = ("f", ("N", "Q", 3))
        needs = {"alignment": table, "shared": table, "agreement": ("f", ("M",))}
        found = fit(arrays, needs, {"thumbnails": ("u", ("M", "s", "s", 3))})
        for name, letter in (("others", "Q"), ("different", "M")):
            if len(meta.get(name, ())) != found[letter]:
                raise Fault(f"its field {name!r} does not name {found[letter]} of them")
        return found["N"]

    @classmethod
    def made(cls, given: dict[str, Any]) -> Self:
        """A comparison with these fields; tuples are still lists."""
        return cls(**{**given, **{name: tuple(given.get(name, ())) for name in _LISTS}})
