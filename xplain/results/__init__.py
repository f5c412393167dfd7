"""One run, one result: what was found, with everything needed to draw, compare, repeat and sign it.

result = xplain.results.load("cat.npz")     # of any kind: an Attribution, a Curve, an Attack, a Gallery
"""

from __future__ import annotations

import os

from xplain.results.archive import MOST_BYTES
from xplain.results.atlas import Atlas
from xplain.results.attack import Attack
from xplain.results.attribution import Attribution
from xplain.results.comparison import Comparison
from xplain.results.concepts import Concepts
from xplain.results.curve import Curve
from xplain.results.dimensions import Dimensions
from xplain.results.effect import Effect
from xplain.results.embedding import Embedding
from xplain.results.gallery import Gallery
from xplain.results.importance import Importance
from xplain.results.influence import Influence
from xplain.results.judgement import Judgement
from xplain.results.neighbours import Neighbours
from xplain.results.picture import Picture
from xplain.results.provenance import Provenance
from xplain.results.result import Result
from xplain.results.saved import read

__all__ = ["Atlas", "Attack", "Attribution", "Comparison", "Concepts", "Curve", "Dimensions", "Embedding", "Gallery"]
__all__ += ["Effect", "Importance", "Influence", "Judgement", "Neighbours", "Picture", "Provenance", "Result"]
__all__ += ["kind_of", "load"]

_KINDS: tuple[type[Result], ...] = (
    *(Attribution, Curve, Attack, Gallery, Picture),
    *(Embedding, Neighbours, Atlas, Dimensions, Comparison),
    *(Effect, Importance, Judgement, Concepts, Influence),
)


def load(path: str | os.PathLike[str], *, most_bytes: int = MOST_BYTES) -> Result:
    """The result of any kind that ``Result.save`` wrote to a file, which may come from anyone.

    Args:
        path: The file.
        most_bytes: Bytes that it may unpack to.

    Raises:
        UsageError: the file is not a saved result; the message names the field that is not right.
    """
    found: Result = read(_KINDS, path, most_bytes)
    return found


def kind_of(returned: object) -> type[Result]:
    """The kind of result that what a flow returned becomes.

    Raises:
        TypeError: none is made of it: an error of who wrote the flow.
    """
    for kind in _KINDS:
        if kind.made_of is type(returned):
            return kind
    raise TypeError(f"No kind of result is made of {type(returned).__name__}; xplain.results lists those there are.")
