"""Weights that lie outside the model file: refused by default, and opened with care where they are allowed.

A model can name any file as a weight and give its bytes away as scores, so "inside the folder" is not enough: a link,
or a neighbour such as ``.env``, would do. Allowed are plain files with a weight's extension, without a second name, of
the model's owner, reached without following a link anywhere, and as long as the tensor says.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from xplain.core.edits import Array
from xplain.core.errors import Unsafe
from xplain.graph.safety import Check, Limits, Verdict, elements_bits, human
from xplain.graph.visit import external_tensors

__all__ = ["embed", "open_external", "take_out_weights"]

_WEIGHTS = ("graph", "initializer")
_SUFFIX = re.compile(r"\.(data|bin|weights|onnx_data(_\d+)?)$")
_PLAIN = frozenset(
    {
        TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT8, TensorProto.UINT8,
        TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32, TensorProto.UINT32, TensorProto.INT64,
    }
)  # fmt: skip
_INLINE = 1 << 16  # elements; smaller tensors are copied into the model, so that shape arithmetic can read them


def open_external(
    model: ModelProto, path: Path | None, name: str, allowed: bool, limits: Limits
) -> tuple[dict[str, Array], str, Verdict]:
    """Map the external weights of a model into memory; small ones move into the model.

    Args:
        model: The model; small external tensors are changed into stored ones.
        path: Where the model lies; None for bytes, which have no folder.
        name: The model for a message.
        allowed: Whether the caller allows external data at all.
        limits: How much is accepted.

    Returns:
        Large tensors by name, a digest of the files, and the verdict.

    Raises:
        Unsafe: not allowed, or a file that is not plainly the model's own.
    """
    found = external_tensors(model)
    hidden = next((place for place in found if place.path != _WEIGHTS), None)
    if hidden is not None:
        raise Unsafe(
            f"Tensor {hidden.message.name!r} in {'.'.join(hidden.path)} of {name} refers to an external file, which is "
            "never read there; only weights of the main graph may lie in another file. Save the model again with "
            "onnx.save(..., save_as_external_data=False)."
        )
    outside = [place.message for place in found]
    if not outside:
        return {}, "", Verdict((Check("external data", "none"),))
    places = sorted({_entry(tensor, "location") for tensor in outside})
    listed = ", ".join(repr(p) for p in places[:4])
    if path is None:
        raise Unsafe(f"{name} refers to files ({listed}), which a model without a folder cannot have. Give its path.")
    if not allowed:
        raise Unsafe(
            f"{name} keeps weights in other files ({listed}), which could be any file on this machine. If you trust "
            "the model, give allow_external_data=True."
        )
    owner = path.stat().st_uid
    files = {place: _open_plain(path.parent, place, owner, name) for place in places}
    total = sum(len(content) for content in files.values())
    if total > limits.external_bytes:
        raise Unsafe(f"{name} has {human(total)} of external data; accepted: {human(limits.external_bytes)}.")
    arrays = {}
    for tensor in outside:
        array = _cut(tensor, files[_entry(tensor, "location")], name)
        if array.size <= _INLINE:
            tensor.ClearField("external_data")
            tensor.data_location = TensorProto.DEFAULT
            tensor.raw_data = array.tobytes()
        else:
            arrays[tensor.name] = array
    sha = hashlib.sha256()
    for place in places:
        sha.update(files[place])
    said = f"{len(places)} plain files in the model's folder, {human(total)}: {listed}"
    return arrays, sha.hexdigest(), Verdict((Check("external data", said, notable=True),))


def take_out_weights(model: ModelProto) -> tuple[ModelProto, dict[str, Array]]:
    """A copy of a model without its large weights, and these by name.

    Every session then reads the same memory, and a graph that is made from the model costs next to nothing. Weights
    that old exporters also list among the inputs are no longer inputs, so a runtime may fold them.
    """
    light = ModelProto(ir_version=max(4, model.ir_version))  # before 4, weights had to be inputs
    for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        setattr(light, name, getattr(model, name))
    light.opset_import.extend(model.opset_import)
    light.metadata_props.extend(model.metadata_props)
    graph, source = light.graph, model.graph
    graph.name = source.name
    graph.node.extend(source.node)
    graph.sparse_initializer.extend(source.sparse_initializer)
    graph.output.extend(source.output)
    stored = {tensor.name for tensor in source.initializer} | {t.values.name for t in source.sparse_initializer}
    graph.input.extend(entry for entry in source.input if entry.name not in stored)
    arrays = {}
    for tensor in source.initializer:
        large = math.prod(tensor.dims) > _INLINE and tensor.data_type in _PLAIN
        if large and tensor.data_location != TensorProto.EXTERNAL:
            arrays[tensor.name] = np.ascontiguousarray(numpy_helper.to_array(tensor))
            mark = graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
            mark.data_location = TensorProto.EXTERNAL
            mark.external_data.add(key="location", value="memory")
        else:
            graph.initializer.add().CopyFrom(tensor)
    return light, arrays


def embed(model: ModelProto, arrays: Mapping[str, Array]) -> None:
    """Move weights that ``open_external`` mapped or ``take_out_weights`` took out (back) into the model."""
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL and tensor.name in arrays:
            tensor.ClearField("external_data")
            tensor.data_location = TensorProto.DEFAULT
            tensor.raw_data = arrays[tensor.name].tobytes()


def _entry(tensor: TensorProto, key: str) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == key), "")


def _open_plain(folder: Path, place: str, owner: int, name: str) -> mmap.mmap:
    """Map a file that lies in ``folder``, refusing links in any component and everything that is no plain file."""
    parts = PurePosixPath(place).parts
    if not parts or PurePosixPath(place).is_absolute() or ".." in parts or "\\" in place or "\0" in place:
        raise Unsafe(f"{name} refers to {place!r}; accepted: a relative path inside the model's folder.")
    if not _SUFFIX.search(parts[-1]):
        raise Unsafe(
            f"{name} refers to {place!r} as weights; accepted are files that end in .data, .bin, .weights or "
            ".onnx_data. Save the model again with onnx.save(..., save_as_external_data=True, location='name.data')."
        )
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = deeper
        # O_NONBLOCK: opening a named pipe must not wait for its other end
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    except OSError as error:
        raise Unsafe(
            f"{name} refers to {place!r}, which cannot be opened without following a link ({error.strerror}). "
            "Accepted: a plain file inside the model's folder; copy it there."
        ) from None
    finally:
        os.close(at)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
            raise Unsafe(f"{name} refers to {place!r}, which is not a plain file with content.")
        if status.st_nlink != 1:
            raise Unsafe(f"{name} refers to {place!r}, which has {status.st_nlink} names (hard links). Copy the file.")
        if status.st_uid != owner:
            raise Unsafe(f"{name} refers to {place!r}, which belongs to another user than the model file.")
        return mmap.mmap(file, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(file)


def _cut(tensor: TensorProto, content: mmap.mmap, name: str) -> Array:
    """The tensor's own part of a file, without copying it."""
    count, bits = elements_bits(tensor)
    needed = math.ceil(count * bits / 8)
    try:
        start = int(_entry(tensor, "offset") or 0)
        length = int(_entry(tensor, "length") or needed)
    except ValueError:
        raise Unsafe(f"{name}: tensor {tensor.name!r} has an offset or length that is no number.") from None
    if start < 0 or length != needed or start + length > len(content) or bits < 8:
        raise Unsafe(
            f"{name}: tensor {tensor.name!r} declares {list(tensor.dims)} = {needed} bytes, but refers to {length} "
            f"bytes at {start} of a file of {len(content)}. The files do not belong together, or are damaged."
        )
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return np.frombuffer(content, dtype=dtype, count=count, offset=start).reshape(tuple(tensor.dims))
