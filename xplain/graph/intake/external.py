"""Weights that lie outside the model file: its own are taken, others only where they are allowed, all with care.

A model can name any file as a weight and give its bytes away as scores, so "inside the folder" is not enough: a link,
or a neighbour such as ``.env``, would do. Taken without asking is what exporters write by themselves: a file beside the
model that has its name, such as ``m.onnx.data`` for ``m.onnx``. Others must be allowed. All are plain files with a
weight's extension, without a second name, of the model's owner, reached without following a link anywhere, and as long
as the tensors say.

Files up to 1 GiB together are read once, so nobody can change them under a running model. Larger ones stay where they
are, mapped, since a copy would be the process's own memory; before each use it is looked whether they still are what
was loaded (``Outside.unchanged``).
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import re
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import ModelError, Unsafe
from xplain.graph.safety import Check, Limits, Verdict, elements_bits, human
from xplain.graph.visit import external_tensors

__all__ = ["Outside", "embed", "open_external", "take_out_weights"]

_WEIGHTS = ("graph", "initializer")
_SUFFIX = re.compile(r"\.(data|bin|weights|onnx_data(_\d+)?)$")
_OWN = re.compile(r"((\.onnx)?\.(data|bin|weights)|\.onnx_data(_\d+)?)$")
"""What follows the model's name in the names of files that exporters write beside it."""
_PLAIN = frozenset(
    {
        TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT8, TensorProto.UINT8,
        TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32, TensorProto.UINT32, TensorProto.INT64,
    }
)  # fmt: skip
_INLINE = 1 << 16  # elements; smaller tensors are copied into the model, so that shape arithmetic can read them
_MAPPED = 2**30  # bytes of all files from which on they are mapped instead of read
_SHARED = 4  # times that the bytes of the files may be referred to; tied weights lie at one place


@dataclass
class Outside:
    """The weights of a model that lie in other files.

    Args:
        arrays: Large ones by name; small ones have moved into the model.
        digest: sha256 of the files; empty where there are none.
        verdict: What was taken.
        files: The files.
        size: Their bytes together.
        watched: Those that are mapped: name, a handle, and what it looked like.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    digest: str = ""
    verdict: Verdict = field(default_factory=lambda: Verdict((Check("external data", "none"),)))
    files: tuple[Path, ...] = ()
    size: int = 0
    watched: list[tuple[Path, int, tuple[int, int]]] = field(default_factory=list)

    def __del__(self) -> None:
        for _, file, _ in self.watched:
            os.close(file)

    def unchanged(self) -> None:
        """Look whether files that are read where they lie still are what was loaded.

        Raises:
            ModelError: one was cut or written over; its weights would no longer be those that the digest names.
        """
        for path, file, known in self.watched:
            if _state(os.fstat(file)) != known:
                raise ModelError(
                    f"{path} has changed since the model was loaded, which reads its weights there. Load the model "
                    "again; to replace such a file, write a new one and rename it over the old one."
                )


def open_external(model: ModelProto, path: Path | None, name: str, allowed: bool, limits: Limits) -> Outside:
    """Open the external weights of a model; small ones move into the model.

    Args:
        model: The model; small external tensors are changed into stored ones.
        path: Where the model lies; None for bytes, which have no folder.
        name: The model for a message.
        allowed: Whether the caller allows files that do not have the model's name.
        limits: How much is accepted.

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
    if not found:
        return Outside()
    tensors: list[TensorProto] = [place.message for place in found]
    places = sorted({_entry(tensor, "location") for tensor in tensors})
    listed = ", ".join(repr(p) for p in places[:4])
    if path is None:
        raise Unsafe(f"{name} refers to files ({listed}), which a model without a folder cannot have. Give its path.")
    own = _own_files(path, places)
    foreign = [place for place in places if place not in own]
    if foreign and not allowed:
        raise Unsafe(
            f"{name} keeps weights in other files ({', '.join(repr(p) for p in foreign[:4])}), which could be any file "
            f"on this machine: only one that has the model's name, such as {path.stem + '.onnx.data'!r}, is taken by "
            "itself. If you trust the model, give ",
            option("allow_external_data", True),
            ".",
        )
    opened = Outside(files=tuple(path.parent / own.get(place, place) for place in places))
    owner = path.stat().st_uid
    sources = {place: _open_plain(path.parent, own.get(place, place), owner, name) for place in places}
    try:
        contents = _contents(opened, sources, path.parent, name, limits)
    finally:
        for file in sources.values():
            os.close(file)
    needed = sum(math.ceil(math.prod(elements_bits(tensor)) / 8) for tensor in tensors)
    if needed > _SHARED * opened.size:
        raise Unsafe(
            f"{name} refers to {human(needed)} of weights in files of {human(opened.size)}: the same bytes again and "
            "again. The file is damaged or made to do harm."
        )
    for tensor in tensors:
        array = _cut(tensor, contents[_entry(tensor, "location")], name)
        if array.size <= _INLINE:
            tensor.ClearField("external_data")
            tensor.data_location = TensorProto.DEFAULT
            tensor.raw_data = array.tobytes()
        else:
            opened.arrays[tensor.name] = array
    sha = hashlib.sha256()
    for place in places:
        sha.update(contents[place])
    opened.digest = sha.hexdigest()
    renamed = [
        f"{place!r} as {own[place]!r}, which has the model's name" for place in places if own.get(place, place) != place
    ]
    said = f"{len(places)} plain files in the model's folder, {human(opened.size)}: {'; '.join(renamed) or listed}"
    opened.verdict = Verdict((Check("external data", said, notable=bool(foreign or renamed)),))
    return opened


def _own_files(path: Path, places: list[str]) -> dict[str, str]:
    """Which of the places are the model's own by their name, and the file that is meant.

    A model and its weights are often renamed together, which leaves the old name inside: what is gone is looked for
    under the model's present name.
    """
    own = {}
    for place in places:
        ending = _OWN.search(place)
        if ending is None or not place[: ending.start()] or "/" in place or "\\" in place:
            continue
        now = f"{path.stem}{ending[0]}"
        if place == now or (not os.path.lexists(path.parent / place) and os.path.lexists(path.parent / now)):
            own[place] = now
    times = Counter(own.values())
    return {place: now for place, now in own.items() if times[now] == 1}


def _contents(
    opened: Outside, sources: Mapping[str, int], folder: Path, name: str, limits: Limits
) -> dict[str, memoryview | mmap.mmap]:
    """What the files hold: read, or mapped where that would be much memory."""
    sizes = {place: os.fstat(file).st_size for place, file in sources.items()}
    opened.size = sum(sizes.values())
    if opened.size > limits.external_bytes:
        raise Unsafe(f"{name} has {human(opened.size)} of external data; accepted: {human(limits.external_bytes)}.")
    contents: dict[str, memoryview | mmap.mmap] = {}
    for place, file in sources.items():
        if opened.size < _MAPPED:
            contents[place] = _read(file, sizes[place], name, place)
            continue
        state = _state(os.fstat(file))
        contents[place] = mmap.mmap(file, sizes[place], access=mmap.ACCESS_READ)
        opened.watched.append((folder / place, os.dup(file), state))
    return contents


def _read(file: int, size: int, name: str, place: str) -> memoryview:
    """A whole file, once; its memory is aligned as numbers want it."""
    held: Any = np.empty(size, np.uint8)
    view, done = memoryview(held), 0
    while done < size:
        got = os.readv(file, [view[done:]])
        if got == 0:
            raise ModelError(f"{name}: {place!r} was cut while it was read. Load the model again.")
        done += got
    held.flags.writeable = False
    return memoryview(held)


def _state(status: os.stat_result) -> tuple[int, int]:
    """What changes when a file is cut or written over."""
    return status.st_size, status.st_mtime_ns


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


def _open_plain(folder: Path, place: str, owner: int, name: str) -> int:
    """Open a file that lies in ``folder``, refusing links in any component and everything that is no plain file."""
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
    status = os.fstat(file)
    problem = ""
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        problem = "which is not a plain file with content."
    elif status.st_nlink != 1:
        problem = f"which has {status.st_nlink} names (hard links). Copy the file."
    elif status.st_uid != owner:
        problem = "which belongs to another user than the model file."
    if problem:
        os.close(file)
        raise Unsafe(f"{name} refers to {place!r}, {problem}")
    return file


def _cut(tensor: TensorProto, content: memoryview | mmap.mmap, name: str) -> Array:
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
