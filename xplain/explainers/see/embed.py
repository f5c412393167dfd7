"""Embed: every item as the numbers that a layer makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.declaring.registry import lens
from xplain.core.errors import UsageError, XplainError
from xplain.core.keeping.files import there
from xplain.core.lenses.embedding import Vectors
from xplain.core.lenses.kept_vectors import kept_in
from xplain.core.lenses.scene import More, Scene, Seeing, Some
from xplain.core.lenses.vector_folder import KEYS, VectorFolder, content_key, vectors_in
from xplain.core.lenses.vector_table import is_table, needed_for_tables, write_table
from xplain.core.query import Peek
from xplain.core.target import SCORES
from xplain.explainers.see.positions import Positions, Read, vector_reader
from xplain.explainers.see.vectors import asked, best, finite, gathered, named_outline, true_class

__all__ = ["embed"]


@lens("embed", needs=Peek)
def embed(
    scene: Scene,
    *,
    layer: str = "auto",
    positions: Positions = None,
    labelled: bool = False,
    vectors: str | None = None,
) -> Seeing[Vectors]:
    """Every item as the numbers that a layer makes of it: what the model has left of the item there.

    ``v[n] = layer(x[n])``, flattened, or what ``positions`` makes of it.

    With ``vectors`` they are written to that folder as they come, and memory does not grow with them: ``vectors.npy``
    (float32 ``[N, D]``, mapped by ``numpy.load``), a line per item in ``rows.jsonl`` and ``manifest.json``. A run that
    was killed goes on there: items are known by their content. Vectors of another model, card, layer or positions are
    refused, and the message says what differs. A name that ends in ``.parquet`` is one file of columns, made when all
    is done; until then the same folder stands beside it, ``NAME.parquet.parts``, and a run goes on there.

    Args:
        layer: The layer to read; ``auto`` is the penultimate one, which the scores are a linear function of.
        positions: What becomes of a layer with positions: their ``mean`` or ``max`` per channel, ``token:K`` alone, or
            ``all`` numbers as they are. A layer that has positions is refused without it.
        labelled: The folder that a file lies in is its true class.
        vectors: Folder where vectors are kept as they come, or a Parquet file; None keeps them in memory.

    Returns:
        An ``Embedding``: vectors ``[N, D]`` in the layer's own unit.

    Cost:
        1 evaluation per item, which gives vector and scores.

    Raises:
        UsageError: it is not said what becomes of the layer's positions, the folder holds other vectors, or the
            Parquet file is there already.
        MissingDependency: a Parquet file, and pyarrow is not installed.

    Source:
        Features of the layer before the last as a description of pictures: Donahue et al. 2014, arXiv:1310.1531.
    """
    if vectors is not None:
        return (yield from _kept(scene, layer, positions, labelled, vectors))
    found = yield from gathered(scene, [layer], positions, labelled=labelled)
    (rows,) = found.vectors.values()
    confidence = np.array(found.confidence or [np.nan] * len(rows))
    return Vectors(
        tuple(found.names), rows, tuple(found.predicted), tuple(found.truth), confidence, found.facts, found.warnings
    )


def _kept(scene: Scene, layer: str, positions: str | None, labelled: bool, path: str) -> Seeing[Vectors]:
    """The same, written to a folder as they come, and from there to one file where that is wanted."""
    table = Path(path) if is_table(path) else None
    if table is not None:
        _require_new(table)
    folder: VectorFolder | None = None
    read: Read | None = None
    hashed: dict[str, str] = {}  # files that are on their way: each is hashed once
    try:
        while (some := (yield _more(folder, hashed))) is not None:
            if read is None:
                read = vector_reader(some.view, layer, positions)
            answer = yield from asked(some, [read])
            rows = read.vectors(answer[read.layer])
            if folder is None:
                where = path if table is None else f"{path}.parts"
                folder = VectorFolder(where, _about(scene, some, read), rows.shape[1])
            keys = _keys(some, folder, hashed)
            _append(folder, some, keys, rows, *best(answer.get(SCORES), named_outline(some)), labelled)
        assert folder is not None
        assert read is not None
        return _vectors(folder, read, table)
    finally:
        if folder is not None:
            folder.close()


def _require_new(table: Path) -> None:
    """Refuse a file that is there, before anything is asked."""
    needed_for_tables()
    if there(table):
        raise UsageError(
            f"{table} is there already, and a Parquet file is written once. Choose another name, or a folder, which "
            "takes more items later.",
            option="vectors",
        )


def _append(
    folder: VectorFolder,
    some: Some,
    keys: list[str],
    rows: Any,
    predicted: list[str],
    confidence: list[float],
    labelled: bool,
) -> None:
    names = _names(some)
    fine = finite([rows])
    for n in np.flatnonzero(~fine):
        folder.fail(names[n], keys[n], "The layer holds NaN or infinity for this item.")
    known = []
    for n in np.flatnonzero(fine):
        told: dict[str, Any] = {"truth": true_class(some.given[n], named_outline(some))[0]} if labelled else {}
        told |= {"predicted": predicted[n], "confidence": confidence[n]} if predicted else {}
        known.append(told)
    kept = [int(n) for n in np.flatnonzero(fine)]
    folder.append([names[n] for n in kept], [keys[n] for n in kept], rows[fine], known)


def _names(some: Some) -> list[str]:
    """A file by its path, anything else by its name."""
    return [str(one) if _is_path(one) else name for one, name in zip(some.given, some.names, strict=True)]


def _keys(some: Some, folder: VectorFolder, hashed: dict[str, str]) -> list[str]:
    """A file by its content, anything else by the item's."""

    def of_file(path: Any) -> str:
        return hashed.pop(str(path), "") or content_key(path)

    if all(map(_is_path, some.given)):
        return [of_file(one) for one in some.given]
    own = some.digests if "keys" in folder.about else some.view.own_keys
    return [of_file(one) if _is_path(one) else own[n] for n, one in enumerate(some.given)]


def _is_path(given: Any) -> bool:
    return isinstance(given, str) or hasattr(given, "__fspath__")


def _more(folder: VectorFolder | None, hashed: dict[str, str]) -> More:
    """The next items: files whose content has a vector need not be read; one that cannot be read gets a line."""
    if folder is None:
        return More()

    def skip(given: Any) -> bool:
        key = content_key(given)
        done = folder.knows(str(given), key)
        if not done:
            hashed[str(given)] = key
        return done

    def lost(given: Any, error: XplainError) -> None:
        if _is_path(given):
            folder.fail(str(given), hashed.pop(str(given), "") or content_key(given), str(error))

    return More(skip, lost)


def _about(scene: Scene, some: Some, read: Read) -> dict[str, Any]:
    """What vectors must have in common to stand in one folder."""
    card = some.card or scene.card
    return {
        "model": some.view.outline.digest,
        "source": some.view.outline.called,
        "card": "" if card is None else card.to_toml(labels=False),
        "layout": some.view.layout.axes,
        "item": list(some.view.x.shape[1:]),
        "layer": read.layer,
        "positions": read.positions,
        "keys": KEYS,
    }


def _vectors(folder: VectorFolder, read: Read, table: Path | None) -> Vectors:
    folder.flush()
    kept = kept_in(folder.path)
    facts: dict[str, Any] = {"layer": read.layer, "width": folder.width}
    facts["kept in"] = kept.source if table is None else str(table)
    if table is not None:
        write_table(table, *vectors_in(folder.path), kept.failed, facts)
        folder.remove()
    facts |= {"positions": read.how} if read.how else {}
    facts |= {"without a vector": [{"item": name, "error": why} for name, why in kept.failed]} if kept.failed else {}
    return Vectors(kept.names, kept.vectors, kept.predicted, kept.truth, kept.confidence, facts, keys=kept.keys)
