"""The result: raw signed values with everything needed to draw, compare, repeat and sign them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xplain.core.caveat import Caveat, caveat_of, caveats_in, of_items, sentences
from xplain.core.cost import Cost
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.files import whole_file
from xplain.core.items import Columns, Passage
from xplain.core.packing import EXTRA, pack, unpack
from xplain.results.saved import MOST_BYTES, Fault, check_arrays, check_fields, read_archive

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Attribution", "Cost"]

_FORMAT = 1
_ARRAYS = ("values", "error", "scores", "base", "pictures", "rows")
_PACKED = ("options", "notes")
_SHORT = 4096
"""Numbers of an array that ``meta`` still writes out."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """Raw signed attributions of N items to one target; never rescaled, scaling happens at drawing.

    Args:
        values: float32 ``[N, H, W]`` for pictures (``[N, C, H, W]`` with channels), ``[N, S]`` for tables.
        unit: What one unit of value means, such as ``"delta logit when hidden"``.
        method: Name of the method.
        options: Its options, all of them, with the values used.
        target: What was explained, in words for a person; nothing is read back out of them.
        error: Standard error of each value, same shape, or None for a method that does not sample.
        scores: The target's value for each untouched item, float64 ``[N]``.
        base: What values are relative to, ``[N]``, or None.
        labels: Index of the explained class per item; empty for a target that is no class.
        targets: What was explained of each item, in words; empty where ``target`` says it for all.
        names: What each item is called: a file's name, or its number.
        signed: Whether the sign carries meaning.
        model: Digest (sha256) of the model, empty where it cannot be known.
        card: The preprocessing card as TOML, empty where tensors were given.
        cost: What it cost.
        seed: Root of all randomness.
        resolution: True cells (rows, columns), of volumes (slices, rows, columns), behind a map that was enlarged; or
            None.
        warnings: What must be known before the values are believed, on all items or on one.
        notes: Further results: convergence, fit. A list of N, or an array ``[N, ...]``, has one entry per
            item; tuples and maps of the features that all items share, ``[H, W]``, do not.
        versions: Versions of what computed it.
        pictures: uint8 ``[N, H, W, 3]``, what the model saw, for drawing; or None.
        rows: float64 ``[N, S]``, the numbers of the items where each is a row of S of them; or None.
        columns: Names and values of the S columns, if the items are rows of a table.
        texts: The texts and where their features lie, one per item, if the items are texts; the values beyond a
            text's own features belong to longer texts and mean nothing.
        layout: How the axes of the items were read, and why, such as ``"NHWC (stated by layout=)"``; empty where the
            method needed no layout and none was known.
    """

    values: Array
    unit: str
    method: str
    options: Mapping[str, Any]
    target: str
    scores: Array
    error: Array | None = None
    base: Array | None = None
    labels: tuple[int, ...] = ()
    targets: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    signed: bool = True
    model: str = ""
    card: str = ""
    cost: Cost = field(default_factory=Cost)
    seed: int = 0
    resolution: tuple[int, ...] | None = None
    warnings: tuple[Caveat, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    pictures: Array | None = None
    rows: Array | None = None
    columns: Columns | None = None
    texts: tuple[Passage, ...] = ()
    layout: str = ""

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int | slice) -> Attribution:
        """The attribution of one item, as an attribution of one; of a slice, of its items."""
        if isinstance(index, slice):
            items = range(*index.indices(len(self)))
            if not len(items):
                raise UsageError(f"No item is in {index}; there are {len(self)} items, 0 to {len(self) - 1}.")
            some = index
        else:
            if not -len(self) <= index < len(self):
                raise UsageError(f"Item {index} was asked for; there are {len(self)} items, 0 to {len(self) - 1}.")
            items = range(index % len(self), index % len(self) + 1)
            some = slice(items[0], items[0] + 1)
        cut: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        cut = {name: array[some] for name, array in cut.items()}
        if self.columns is not None:
            cut["columns"] = replace(self.columns, values=self.columns.values[some])
        cut["notes"] = {name: note[some] if self.per_item(note) else note for name, note in self.notes.items()}
        cut["warnings"] = of_items(self.warnings, items)
        cut |= {name: getattr(self, name)[some] for name in ("labels", "targets", "names", "texts")}
        return replace(self, target=self.target_of(items[0]) if len(items) == 1 else self.target, **cut)

    def __iter__(self) -> Iterator[Attribution]:
        """Item by item, each as an attribution of one."""
        return (self[item] for item in range(len(self)))

    def per_item(self, note: Any) -> bool:
        """Whether a note has one entry per item."""
        if isinstance(note, np.ndarray):
            shared = note.dtype.kind in "iu" and note.shape == self.values.shape[1:]  # labels of all items' features
            return note.shape[:1] == (len(self),) and not shared
        return isinstance(note, list) and len(note) == len(self)

    def meta(self) -> dict[str, Any]:
        """Everything but the arrays, as plain JSON values; an array in the notes is written out if it is short."""
        out: dict[str, Any] = {"format": _FORMAT}
        for item in fields(self):
            if item.name not in _ARRAYS:
                value = getattr(self, item.name)
                out[item.name] = _plain(value)
        return out

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one ``.npz`` file: the arrays and, as text, the JSON of everything else; no pickle, whole or absent.

        Raises:
            OutputError: the place cannot be written.
        """
        target = Path(path)
        if target.suffix != ".npz":
            raise UsageError(f"An attribution is saved as .npz; got {target.name!r}. Use a name that ends in .npz.")
        arrays = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        extra: dict[str, Array] = {}
        packed = {name: pack(getattr(self, name), extra) for name in _PACKED}
        plain = replace(self, options={}, notes={}).meta()
        arrays |= extra | {"meta": np.array(json.dumps(plain | packed, allow_nan=False))}
        with whole_file(target) as file:
            np.savez_compressed(file, **arrays)
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, most_bytes: int = MOST_BYTES) -> Attribution:
        """Read what ``save`` wrote. The file may come from anyone: it is bounded, checked, and nothing in it executed.

        Args:
            path: The file.
            most_bytes: Bytes that it may unpack to.

        Raises:
            UsageError: the file is not a saved attribution; the message names the field that is not right.
        """
        try:
            meta, arrays = read_archive(path, lambda name: name in _ARRAYS or name.startswith(EXTRA), most_bytes)
            if not isinstance(meta, dict) or meta.pop("format", None) != _FORMAT:
                raise Fault(f"it was written in another format than {_FORMAT}; save it again")
            return cls._unpacked(meta, arrays)
        except Fault as error:
            raise UsageError(f"{os.fspath(path)!r:.300} is not a saved attribution: {error}.") from None

    @classmethod
    def _unpacked(cls, meta: dict[str, Any], arrays: Mapping[str, Array]) -> Attribution:
        count = check_arrays(arrays)
        check_fields(meta, arrays["values"])
        known = {item.name for item in fields(cls)} - set(_ARRAYS)
        if strange := sorted(meta.keys() - known):
            raise Fault(f"it has a field {strange[0]!r:.80} that this version does not know")
        needed = {"unit", "method", "options", "target", "notes", "cost"}
        if lost := sorted(needed - meta.keys()):
            raise Fault(f"it has no field {lost[0]!r}")
        try:
            for name in _PACKED:
                meta[name] = unpack(meta[name], arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise Fault(f"its field {name!r} cannot be read: {error}") from None
        if not all(isinstance(meta[name], dict) for name in _PACKED):
            raise Fault("its options or notes are no objects")
        meta["cost"] = Cost(**meta["cost"])
        meta["notes"], old = caveats_in(meta["notes"], count)
        meta["warnings"] = (*(caveat_of(one) for one in meta.get("warnings", ())), *old)
        for name in ("labels", "names", "targets"):
            meta[name] = tuple(meta.get(name, ()))
        meta["targets"] = meta["targets"] or _targets_before(meta["target"], meta["labels"], count)
        meta["resolution"] = tuple(meta["resolution"]) if meta.get("resolution") else None
        meta["columns"] = Columns.from_dict(meta.get("columns"))
        meta["texts"] = tuple(Passage.from_dict(one) for one in meta.get("texts", ()))
        meta |= {name: array for name, array in arrays.items() if name in _ARRAYS}
        return cls(**meta)

    def target_of(self, item: int) -> str:
        """What was explained of one item, in words."""
        return self.targets[item] if self.targets else self.target

    def overlay(self, item: int = 0, **drawing: Any) -> Image:
        """The map of one item over its picture, with a colour bar; see ``xplain.render.draw`` for ``drawing``."""
        from xplain.render import draw  # drawing is optional and needs Pillow: loaded when first asked for

        return draw(self, item, **drawing)

    def to_shap(self) -> Any:
        """The same numbers as a ``shap.Explanation``, for shap's own plots."""
        from xplain.render.shap_bridge import to_shap

        return to_shap(self)

    def _repr_html_(self) -> str:
        from xplain.render import to_html

        return to_html(self)

    def __str__(self) -> str:
        """Coloured words, or a table, where the items are texts or rows; else as ``repr``. Then the warnings."""
        if self.columns is not None or self.texts:
            from xplain.render import to_text

            return to_text(self)
        return "\n".join([repr(self), *(f"warning: {text}" for text in self.said)])

    @property
    def said(self) -> list[str]:
        """The warnings as texts for a person, each with the items it is about where it is not about all."""
        return sentences(self.warnings, self.names or [f"item {item}" for item in range(len(self))])

    def __repr__(self) -> str:
        return (
            f"<Attribution {self.method} of {self.target!r}: values {list(self.values.shape)}, {self.unit}, "
            f"{self.cost.queries} queries, {self.cost.sweeps} sweeps, {self.cost.seconds:.2f} s>"
        )


def _targets_before(target: str, labels: tuple[int, ...], count: int) -> tuple[str, ...]:
    """The targets of a file that was written before each item had its own: they stood in one text, side by side."""
    prefix, order = "per item: ", list(dict.fromkeys(labels))
    if not target.startswith(prefix) or len(labels) != count:
        return ()
    names = target.removeprefix(prefix).split(" | ")
    if len(names) != len(order):  # a name holds what stood between names, or two classes share one
        names = [f"class {label}" for label in order]
    return tuple(names[order.index(label)] for label in labels)


def _plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist()) if value.size <= _SHORT else f"array {value.dtype} {list(value.shape)}"
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
