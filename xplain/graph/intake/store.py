"""A finished model as one protobuf, or, where that cannot hold it, as a file with its weights in another beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import ModelError, OutputError
from xplain.core.keeping.files import whole_file
from xplain.graph.intake.external import embed
from xplain.graph.intake.load import to_bytes

__all__ = ["keep_apart", "store"]

_ONE_FILE = 2**31 - 2**20
"""Bytes that one protobuf is taken to hold; it ends at 2 GiB."""
_PAGE = 4096
"""Where a weight may begin, so that a runtime can map it instead of reading it."""


def store(model: ModelProto, arrays: Mapping[str, Array], out: Path | None, name: str) -> ModelProto:
    """Check a model, and write it where it is wanted.

    A model that is too large for one protobuf is written as ``out`` and ``out`` + ``.data``: its weights go straight
    from where they are into the second file, and are never copied in memory.

    Args:
        model: Its large weights are marked external.
        arrays: These weights, by name.
        out: The file; None for none.
        name: The model for a message.

    Returns:
        The model: whole, or, where its weights have a file of their own, with references to that.

    Raises:
        ModelError: it is too large for one protobuf, and no file is wanted.
        OutputError: it cannot be written there.
    """
    held = {t.name: arrays[t.name] for t in model.graph.initializer if _outside(t) and t.name in arrays}
    if model.ByteSize() + sum(array.nbytes for array in held.values()) < _ONE_FILE:
        embed(model, held)
        content = to_bytes(model, name)
        onnx.checker.check_model(content)
        if out is not None:
            with whole_file(out) as file:
                file.write(content)
        return model
    if out is None:
        raise ModelError(
            f"{name} is larger than 2 GiB, more than one protobuf can hold. Give the file to write it to, ",
            option("out", "explained.onnx"),
            "; its weights are then written beside it, explained.onnx.data.",
        )
    beside = _beside(out)
    with whole_file(beside) as file:
        for tensor in model.graph.initializer:
            if tensor.name not in held:
                continue
            file.write(b"\0" * (-file.tell() % _PAGE))
            array = np.ascontiguousarray(held[tensor.name])
            del tensor.external_data[:]
            for key, value in (("location", beside.name), ("offset", file.tell()), ("length", array.nbytes)):
                tensor.external_data.add(key=key, value=str(value))
            file.write(array.reshape(-1).view(np.uint8).data)
    with whole_file(out) as file:
        file.write(to_bytes(model, name))
    onnx.checker.check_model(str(out))
    return model


def _outside(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def _beside(out: Path) -> Path:
    """Where the weights of a file go."""
    return out.with_name(f"{out.name}.data")


def keep_apart(out: Path, own: Collection[Path]) -> None:
    """Refuse a place for a result that would be written over a model's own files.

    Raises:
        OutputError: ``out``, or the file that its weights would go to, is one of ``own``.
    """
    for place in (out, _beside(out)):
        if place.exists() and any(one.exists() and place.samefile(one) for one in own):
            raise OutputError(
                f"{out} cannot be written: {place} belongs to the model itself, which stays as it is. Choose another "
                "name."
            )
