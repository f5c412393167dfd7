"""Read an ONNX model that nobody vouches for: from a path, bytes or a ModelProto, to a graph that is safe to run.

Order matters: first bytes, then parsing, then what the file says of itself, then the bound on every tensor. Only after
that may a runtime see the model. The file is read once; what was checked is what is run.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from onnx import ModelProto, NodeProto, TensorProto, inliner, numpy_helper

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import ModelError, Unsafe, UsageError
from xplain.core.rules import Rules
from xplain.graph.analysis.order import ordered
from xplain.graph.analysis.quantised import Quantised, quantised_tensors
from xplain.graph.intake.bounds import Extents, Known, measure
from xplain.graph.intake.compiled import built_in, leave_out
from xplain.graph.intake.external import Outside, open_external, take_out_weights
from xplain.graph.intake.foreign import LeftOut, set_aside
from xplain.graph.intake.settle import contradicted, settle
from xplain.graph.operators import facts_of
from xplain.graph.passes.analysed import Analysed
from xplain.graph.safety import Check, Limits, Verdict, check_structure, has_loops, human, looks_like
from xplain.graph.understood import understood

__all__ = ["Loaded", "OnnxSource", "Read", "read", "to_bytes"]

OnnxSource: TypeAlias = "str | os.PathLike[str] | bytes | ModelProto"

_LONGEST_TEXT = 200
_VECTOR = 16
"""Numbers of the widest vector of a processor: rows of a multiple of it begin alike at every place."""


def nobody(rules: Rules) -> None:
    """Refuse nothing."""


@dataclass(eq=False)
class Loaded:
    """A model that passed every check.

    Args:
        model: The graph, its own functions written out, its nodes in order, without its large weights.
        source: Where it came from, for a person.
        digest: sha256 of the content, external data included.
        verdict: What was checked.
        known: Shapes, dtypes and constants for one item.
        free: Names of extents that are free, by tensor: the axes that changed when free extents got other numbers.
        outside: Large weights by name, which are not in the graph: taken out of it, or mapped from other files.
        path: The file, None for bytes and ModelProto.
        files: The file and those that it keeps weights in.
        size: Bytes of the model and its external data.
        opened: The other files, see ``xplain.graph.intake.external``.
        before_sweep: Called before a sweep with its table of rules; refuses a file whose sweeps mean harm.
        left: What was taken out, for it needs foreign code.
        explains: The method whose explanation was compiled into the file, which is left out; empty for none.
    """

    model: ModelProto
    source: str
    digest: str
    verdict: Verdict
    known: Known
    free: Mapping[str, frozenset[int]]
    outside: Mapping[str, Array] = field(default_factory=dict)
    path: Path | None = None
    files: tuple[Path, ...] = ()
    size: int = 0
    opened: Outside = field(default_factory=Outside)
    before_sweep: Callable[[Rules], None] = nobody
    left: LeftOut = field(default_factory=LeftOut)
    explains: str = ""
    defaults: frozenset[str] = frozenset()
    _analysed: Analysed | None = field(default=None, repr=False)

    @property
    def metadata(self) -> dict[str, str]:
        """The model's metadata, as it stands; text from a file is not trusted."""
        return {entry.key: entry.value for entry in self.model.metadata_props}

    @property
    def facts(self) -> dict[str, str | int]:
        """What a person may want to know of the file."""
        opsets = {entry.domain or "ai.onnx": int(entry.version) for entry in self.model.opset_import}
        found: dict[str, str | int] = {
            "opset": ", ".join(f"{domain} {version}" for domain, version in sorted(opsets.items())),
            "ir": int(self.model.ir_version),
            "producer": _printable(f"{self.model.producer_name} {self.model.producer_version}".strip()),
            "bytes": self.size,
            "nodes": len(self.model.graph.node),
        }
        if self.metadata.get("author"):
            found["author"] = _printable(self.metadata["author"])
        if self.explains:
            found["built in"] = f"an explanation by {_printable(self.explains)}, left out here: the model is explained"
        return found

    @property
    def loops(self) -> bool:
        """Whether a run may be endless: a loop at any depth."""
        return has_loops(self.model)

    @cached_property
    def quantised(self) -> dict[str, Quantised]:
        """Tensors of integers that stand for real numbers; everybody outside the graph room sees the real numbers."""
        return quantised_tensors(self.model.graph.node, self.known.shapes.get)

    @cached_property
    def place_free(self) -> bool:
        """Whether a row has the same bits at every place of a batch.

        Some operators follow where in memory a row begins (measured, onnxruntime 1.31: sums over the last axis begin at
        the first aligned number, some functions compute the last numbers of a buffer otherwise), which is a fact of
        theirs. Then each row of theirs has to fill whole vectors. Graphs inside nodes are not looked into.
        """
        nodes = self.model.graph.node
        follow = [node for node in nodes if facts_of(node).placed]
        return not any(facts_of(node).control for node in nodes) and all(map(self._fills_vectors, follow))

    def _fills_vectors(self, node: NodeProto) -> bool:
        shape = self.shape(node.output[0] if facts_of(node).elementwise else node.input[0])
        if shape is None or any(extent is None for extent in shape[1:]):
            return False
        return math.prod(extent or 0 for extent in shape[1:]) % _VECTOR == 0

    def analysed(self, model: ModelProto) -> Analysed:
        """What all sweeps and compiled files of the model, or of an edited copy that took its place, begin with."""
        found = self._analysed
        if found is None or found.model is not model:
            found = self._analysed = Analysed(model, outside=self.outside)
        return found

    def dtype(self, tensor: str) -> int | None:
        """The element type of a tensor, or of the real numbers that its integers stand for; None if not known."""
        way = self.quantised.get(tensor)
        return self.known.dtypes.get(tensor if way is None else way.scale)

    def content(self, tensor: str) -> Array | None:
        """What a constant that lies in the graph holds; None for any other tensor."""
        if tensor in self.known.content:
            return self.known.content[tensor]
        stored = self._stored.get(tensor)
        return None if stored is None or stored.external_data else numpy_helper.to_array(stored)

    @cached_property
    def _stored(self) -> dict[str, TensorProto]:
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    def shape(self, tensor: str) -> tuple[int | None, ...] | None:
        """The shape of a tensor with None for free extents; None where it is not known."""
        shape = self.known.shapes.get(tensor)
        if shape is None:
            return None
        free = self.free.get(tensor, frozenset())
        return tuple(None if axis in free else extent for axis, extent in enumerate(shape))


@dataclass(frozen=True, slots=True)
class Read:
    """A file whose content was read, and whose structure passed its checks; nothing of it was run or unfolded.

    Args:
        name: The file for a message.
        path: Where it lies, absolute; None for bytes and ModelProto.
        content: What was read.
        digest: sha256 of that, external data included.
        size: Bytes, those of external data included.
    """

    name: str
    path: str | None
    content: bytes
    digest: str
    size: int


def read(
    source: OnnxSource,
    *,
    allow_external_data: bool = False,
    limits: Limits | None = None,
    content: bytes | None = None,
    output: int | str | None = None,
    meet: Callable[[Read], Verdict] | None = None,
    free: bool = True,
) -> Loaded:
    """Read and check a model.

    Args:
        source: A path, the content of a file, or a ModelProto.
        allow_external_data: Whether weights may lie in other files of the model's folder than those that have its name.
        limits: How large a model may be.
        content: What ``source``, a path, holds, where that was read before.
        output: What will be read as scores; None for the likeliest output. Only decides whether foreign code is needed.
        meet: Called before anything is unfolded, and after all that is linear in the file's size; may refuse it.
        free: Whether it is found out, by a second walk, which extents are free; not for who asks about one item alone.

    Raises:
        UsageError: no such file, or no file.
        Unsafe: refused; the message says why, and how to allow it where that is possible.
        ModelError: not an ONNX model, or damaged.
    """
    limits = limits or Limits()
    path = None
    if isinstance(source, ModelProto):
        name = source.graph.name or "ModelProto"
        model = ModelProto()
        model.CopyFrom(source)
        content = to_bytes(model, name)
    else:
        if isinstance(source, bytes):
            name, content = "bytes", source
        else:
            path = Path(source)
            name, content = str(path), _read_file(path, limits) if content is None else content
        looks_like(content, name)
        model = _parse(content, name)
    if len(content) > limits.file_bytes:
        raise Unsafe(f"{name} has {human(len(content))}; accepted: {human(limits.file_bytes)} (limits.file_bytes).")
    digest = hashlib.sha256(content).hexdigest()
    first = Check("format", f"ONNX, {human(len(content))}")
    size = len(content)
    with understood(name):
        settle(model, 10 * limits.nodes)
        verdict = check_structure(model, limits)
        left = set_aside(model, output)
        verdict += Verdict(left.checks)
        outside = open_external(model, path, name, allow_external_data, limits)
        if outside.digest:
            digest = hashlib.sha256((digest + outside.digest).encode()).hexdigest()
        verdict += outside.verdict
        if meet is not None:
            at = None if path is None else str(path.absolute())
            verdict += meet(Read(name, at, content, digest, size + outside.size))
        del content  # weights are large: nothing is held twice
        found = _examine(model, path, name, outside, limits, free)
    found.digest, found.left = digest, left
    found.verdict = Verdict((first,)) + verdict + found.verdict
    found.size += size
    return found


def _examine(
    model: ModelProto, path: Path | None, name: str, outside: Outside, limits: Limits, free_too: bool
) -> Loaded:
    """What is inside, unfolded in numbers alone; the size is that of external data."""
    stored = {tensor.name for tensor in model.graph.initializer}
    defaults = frozenset(entry.name for entry in model.graph.input if entry.name in stored)
    if model.functions:
        model = inliner.inline_local_functions(model)
    nodes = ordered(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    explains = built_in(model)
    leave_out(model)
    known = measure(model, limits)
    other = measure(model, limits, Extents(batch=3, picture=256, steps=160)) if free_too else known
    free = {
        tensor: frozenset(k for k, (a, b) in enumerate(zip(shape, other.shapes[tensor], strict=True)) if a != b)
        for tensor, shape in known.shapes.items()
        if tensor in other.shapes and len(other.shapes[tensor]) == len(shape)
    }
    wrong = contradicted(model, known.shapes, free)
    found = f"of {', '.join(map(repr, wrong[:3]))} the nodes make another shape than the file says; theirs is taken"
    checks = (Check("declared shapes", found, notable=True),) if wrong else ()
    light, weights = take_out_weights(model)
    return Loaded(
        model=light,
        source=name,
        digest="",
        verdict=known.verdict(limits) + Verdict(checks),
        known=known,
        free=free,
        outside=outside.arrays | weights,
        path=path,
        files=() if path is None else (path, *outside.files),
        size=sum(array.nbytes for array in outside.arrays.values()),
        opened=outside,
        explains=explains,
        defaults=defaults,
    )


def to_bytes(model: ModelProto, name: str = "The model") -> bytes:
    """The model as the content of a file.

    Raises:
        ModelError: it is larger than protobuf's 2 GiB.
    """
    try:
        content: bytes = model.SerializeToString(deterministic=True)
    except Exception:  # protobuf's own class, or ValueError, by its version
        raise ModelError(
            f"{name} is larger than 2 GiB, more than one protobuf can hold. Save it with "
            "onnx.save(..., save_as_external_data=True), and load the path with ",
            option("allow_external_data", True),
            ".",
        ) from None
    return content


def _read_file(path: Path, limits: Limits) -> bytes:
    try:
        folder = path.is_dir()
    except (OSError, ValueError) as error:  # longer than a name may be, or with a character that none has
        raise UsageError(f"{str(path)[:200]} cannot be opened: {getattr(error, 'strerror', None) or error}.") from None
    if folder:
        inside = sorted(p.name for p in path.glob("*.onnx"))[:3]
        hint = f" It holds {', '.join(inside)}." if inside else " It holds no .onnx file."
        raise UsageError(f"{path} is a folder; a model is a file.{hint}")
    try:
        # O_NONBLOCK: opening a named pipe must not wait for its other end
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.onnx"))[:3] if path.parent.is_dir() else []
        hint = f" In that folder: {', '.join(near)}." if near else ""
        raise UsageError(f"There is no file {path}.{hint}") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"{str(path)[:200]} cannot be opened: {why}.") from None
    with os.fdopen(file, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path} is not a plain file.")
        if status.st_size > limits.file_bytes:
            raise Unsafe(
                f"{path} has {human(status.st_size)}; accepted: {human(limits.file_bytes)} (limits.file_bytes)."
            )
        return stream.read(limits.file_bytes + 1)


def _printable(text: str) -> str:
    """As much of a text from a file as is shown."""
    return "".join(c for c in text if c.isprintable())[:_LONGEST_TEXT]


def _parse(content: bytes, name: str) -> ModelProto:
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except Exception:  # protobuf's own class, which differs between its implementations
        raise ModelError(
            f"{name} is not a whole ONNX model: {human(len(content))} were read, but they cannot be decoded. The file "
            "is truncated (compare its size or checksum with the original), nested too deep, or of another format."
        ) from None
    return model
