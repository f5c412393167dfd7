"""What a model file may not do, checked before anything of it runs. A model file is somebody else's program.

| danger | what is done |
|---|---|
| not ONNX (pickle, archive, TFLite ...) | refused by its first bytes, and said what it looks like |
| external data that read another file | refused, unless allowed and then only plain files inside the model's folder |
| operators that run foreign code | only the standard domains and the file's own functions: ``intake.foreign`` |
| size: file, nodes, nesting, function calls that multiply, tensors that are declared but not there | limits |
| a small file that unfolds to gigabytes | every tensor is bounded before a runtime sees it: ``intake.bounds`` |
| endless loops | the runtime stops a run with loops after a time limit |

Each check leaves a line in the ``Verdict`` that ``xplain inspect`` prints. A refusal is ``Unsafe`` and says how to
allow what was refused, where that can be allowed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

from xplain.core.declaring.wording import limit, option
from xplain.core.errors import ModelError, Piece, Unsafe
from xplain.core.keeping.plain import counted
from xplain.graph.attributes import check_attributes
from xplain.graph.naming import subgraphs_of
from xplain.graph.visit import Place, every, texts

__all__ = [
    "Check",
    "Key",
    "Limits",
    "Verdict",
    "called_by",
    "check_structure",
    "elements_bits",
    "foreign_in",
    "has_loops",
    "human",
    "key_of",
    "looks_like",
    "refuse_foreign",
    "tensors_of",
]

_STANDARD = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
_FOREIGN_CODE = frozenset({"EPContext", "PythonOp", "PythonOpGrad", "ATen", "OpaqueOp"})

_NAMED_BITS = {
    "FLOAT": 32, "UINT8": 8, "INT8": 8, "UINT16": 16, "INT16": 16, "INT32": 32, "INT64": 64, "STRING": 64, "BOOL": 8,
    "FLOAT16": 16, "DOUBLE": 64, "UINT32": 32, "UINT64": 64, "COMPLEX64": 64, "COMPLEX128": 128, "BFLOAT16": 16,
    "FLOAT8E4M3FN": 8, "FLOAT8E4M3FNUZ": 8, "FLOAT8E5M2": 8, "FLOAT8E5M2FNUZ": 8, "FLOAT8E8M0": 8,
    "UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2,
}  # fmt: skip
_BITS = {int(getattr(TensorProto, name)): bits for name, bits in _NAMED_BITS.items() if hasattr(TensorProto, name)}


_WITH_TEXT = texts()
"""Message types that hold text, and their fields that do: name, and whether it is a list."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a model may be before it is refused. Give ``load(..., limits=Limits(nodes=10**6))`` to move one.

    Args:
        file_bytes: The model file; protobuf itself ends at 2 GiB.
        external_bytes: All external data together, where they are allowed.
        nodes: Operators, after all function calls are counted out.
        depth: Graphs inside operators inside graphs.
        ends: Inputs and outputs of one operator together.
        tensor_bytes: Any one tensor, for a batch of one.
        constant_bytes: All tensors that follow from constants alone (a runtime unfolds those when it loads the file),
            beyond eight times the weights.
        seconds: One run of a model with loops.
        contact_seconds: Processor time of the first contact with a file, in a process of its own, and a second for each
            16 MiB; three times as much before the first sweep. 0 is no such process.
        contact_bytes: Memory of that process, and six times the file's size.
    """

    file_bytes: int = 2 * 2**30
    external_bytes: int = 64 * 2**30
    nodes: int = 100_000
    depth: int = 16
    ends: int = 10_000
    tensor_bytes: int = 2 * 2**30
    constant_bytes: int = 256 * 2**20
    seconds: float = 60.0
    contact_seconds: float = 8.0
    contact_bytes: int = 4 * 2**30


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, what was found, and whether a careful person should look too."""

    what: str
    found: str
    notable: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks that a model passed."""

    checks: tuple[Check, ...] = ()

    def __add__(self, more: Verdict) -> Verdict:
        return Verdict(self.checks + more.checks)

    @property
    def notable(self) -> tuple[Check, ...]:
        """The checks that a careful person should look at."""
        return tuple(check for check in self.checks if check.notable)


_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (
        0,
        b"PK\x03\x04",
        "a zip archive, as torch checkpoints (.pt, .pth), Keras (.keras) and numpy (.npz) files are",
        "",
    ),
    (0, b"\x80\x02", "a Python pickle", ""),
    (0, b"\x80\x03", "a Python pickle", ""),
    (0, b"\x80\x04", "a Python pickle", ""),
    (0, b"\x80\x05", "a Python pickle", ""),
    (0, b"\x89HDF\r\n", "an HDF5 file, as Keras saves (.h5)", "Convert it with tf2onnx."),
    (4, b"TFL3", "a TensorFlow Lite model", "Convert it with tf2onnx --tflite."),
    (4, b"ORTM", "an ONNX Runtime flatbuffer (.ort)", "Give the .onnx file it was made from."),
    (0, b"GGUF", "a GGUF file", ""),
    (0, b"\x93NUMPY", "a numpy array", ""),
    (0, b"\x1f\x8b", "a gzip archive", "Unpack it first."),
    (0, b"\x78\x9c", "zlib data, as joblib writes", ""),
    (0, b"\x7fELF", "a program", ""),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself", "Fetch the file with: git lfs pull."),
)
_RUNS_CODE = (b"PK", b"\x80", b"\x78\x9c", b"\x7fELF")
_EXPORT = (
    "Export the model to ONNX where you trust it (torch.onnx.export, skl2onnx, tf2onnx), or load it in Python and give "
    "xplain.load the module or a function."
)


def looks_like(content: bytes, name: str) -> None:
    """Refuse content that is something else than ONNX, by its first bytes.

    Raises:
        Unsafe: the format can run code when it is opened.
        ModelError: it is another format, text, or empty.
    """
    if not content:
        raise ModelError(f"{name} is empty. Give an ONNX file.")
    for at, magic, kind, advice in _MAGIC:
        if content[at : at + len(magic)] == magic:
            if magic.startswith(_RUNS_CODE):
                raise Unsafe(f"{name} is {kind}; opening one can run code, so only ONNX is read from files. {_EXPORT}")
            raise ModelError(f"{name} is {kind}, not ONNX. {advice or _EXPORT}")
    head = content[:512]
    if head.lstrip()[:1] in (b"<", b"{") and b"\0" not in head:
        page = head.lstrip()[:9].lower() in (b"<!doctype", b"<html>")
        kind = "a web page: the download went wrong" if page else "a text file (XML or JSON)"
        raise ModelError(f"{name} is {kind}, not ONNX. {_EXPORT}")
    if all(byte in b"\t\n\r\f" or 32 <= byte < 127 for byte in head):
        raise ModelError(f"{name} is a text file that begins {head[:30].decode()!r}, not ONNX. {_EXPORT}")


def human(size: float) -> str:
    """A number of bytes for a person."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def elements_bits(tensor: TensorProto | SparseTensorProto) -> tuple[int, int]:
    """Elements that a tensor declares, and bits of each.

    Raises:
        Unsafe: an extent is negative.
    """
    count = 1
    for extent in tensor.dims:
        if extent < 0:
            raise Unsafe(f"A tensor declares the negative extent {extent}. The file is damaged or made to do harm.")
        count *= int(extent)
    kind = tensor.values.data_type if isinstance(tensor, SparseTensorProto) else tensor.data_type
    return count, _BITS.get(kind, 8)


def has_loops(model: ModelProto) -> bool:
    """Whether a model holds a loop, at any depth: whatever holds a graph and is no branch runs it many times."""
    return any(_repeats(place.message) for place in every(model, "NodeProto"))


def _repeats(node: NodeProto) -> bool:
    """Whether a node may run a graph many times: Loop, Scan, searches of a runtime, what later versions bring."""
    return node.op_type != "If" and any(True for _ in subgraphs_of(node))


def tensors_of(holder: GraphProto | ModelProto | NodeProto) -> Iterator[TensorProto]:
    """All stored tensors, at any depth; of a sparse one its values and its indices."""
    for place in every(holder, "TensorProto"):
        yield place.message


def _check_names(places: Sequence[Place]) -> None:
    """All names must be text; protobuf hands out bytes that are none as they are.

    What only a person reads is dropped instead: such notes are no reason to refuse a model.
    """
    for place in places:
        message = place.message
        for name, repeated in _WITH_TEXT.get(message.DESCRIPTOR.name, ()):
            value = getattr(message, name)
            if all(isinstance(text, str) for text in (value if repeated else (value,))):
                continue
            if name != "doc_string" and "metadata_props" not in place.path:
                raise ModelError(
                    f"The model has a {message.DESCRIPTOR.name}.{name} that is no text. The file is damaged; export it "
                    "again."
                )
            message.ClearField(name)


def check_structure(model: ModelProto, limits: Limits) -> Verdict:
    """Check what a model says of itself: nesting, calls and stored tensors. Nothing is unfolded.

    Raises:
        Unsafe: a limit is passed, or a tensor declares more than the file holds.
        ModelError: the model holds no graph.
    """
    if not model.graph.node and not model.graph.output:
        raise ModelError("The model holds no graph. The file is truncated, or no ONNX model.")
    places = list(every(model, "SparseTensorProto", *_WITH_TEXT))  # one walk for all checks
    _check_names(places)
    functions = {key_of(f): f for f in model.functions}
    if len(functions) < len(model.functions):
        raise ModelError("Two functions of the model have one name, and one overload. The file is damaged.")
    found = _count_nodes(model.graph, functions, limits)
    depth = found.depth
    loops: set[str] = set()
    for place in places:
        if place.message.DESCRIPTOR.name != "NodeProto":
            continue
        node, depth = place.message, max(depth, place.graphs)
        if depth > limits.depth:
            raise Unsafe(_TOO_DEEP.format(depth, limits.depth))
        if len(node.input) + len(node.output) > limits.ends:
            raise Unsafe(
                f"Node {node.name!r} ({node.op_type}) has {counted(len(node.input), 'input')} and "
                f"{counted(len(node.output), 'output')}; "
                f"accepted: {limits.ends} (limits.ends)."
            )
        if _repeats(node):
            loops.add(node.op_type)
    declared = 0
    for place in places:
        if place.message.DESCRIPTOR.name == "TensorProto":
            declared += _check_tensor(place.message)
        elif place.message.DESCRIPTOR.name == "SparseTensorProto":
            elements_bits(place.message)  # its dense form is bounded with all other tensors
    check_attributes(places)
    checks = [
        Check("operators", f"{found.nodes} nodes (limit {limits.nodes}), standard domains only, nested {depth} deep"),
        Check("stored tensors", f"{human(declared)}, none declares more than the file holds"),
    ]
    if loops:
        checks.append(
            Check("loops", f"{', '.join(sorted(loops))}: a run is stopped after {limits.seconds:g} s", notable=True)
        )
    return Verdict(tuple(checks))


def foreign_in(holder: ModelProto | FunctionProto | NodeProto, own: Collection[Key]) -> list[str]:
    """Operators outside the standard at any depth, with their nodes; ``own`` are functions that the model defines."""
    found: dict[str, str] = {}
    for place in every(holder, "NodeProto"):
        node = place.message
        if called_by(node) not in own and (node.domain not in _STANDARD or node.op_type in _FOREIGN_CODE):
            found[f"{node.domain}:{node.op_type}"] = node.name or (node.output[0] if node.output else "")
    return [f"{op} (node {name!r})" for op, name in sorted(found.items())]


def refuse_foreign(foreign: Sequence[str], output: str = "", other: str = "") -> NoReturn:
    """Refuse a model for operators that need foreign code.

    Args:
        foreign: What ``foreign_in`` found.
        output: What is asked for and needs them; empty where that is not known.
        other: A tensor that does not need them.

    Raises:
        Unsafe: always.
    """
    why = f"Output {output!r} needs foreign code, which is not loaded." if output else "They need foreign code."
    way_out: tuple[Piece, ...] = (
        "Export without custom operators, or run the model yourself and give xplain.load a function",
    )
    way_out += ("; ", option("output", other, of="load"), " explains a tensor that needs none.") if other else (".",)
    if any(op.startswith("com.microsoft.nchwc:") for op in foreign):
        why = "onnxruntime saved them for the memory layout of one machine."
        way_out = ("Use the file from before, or save the optimised one at level ORT_ENABLE_EXTENDED.",)
    raise Unsafe(
        f"The model uses operators outside the standard: {', '.join(foreign[:5])}. {why} Accepted domains: ai.onnx, "
        "ai.onnx.ml, com.microsoft.",
        advice=way_out,
    )


_TOO_DEEP = "The model nests graphs {} deep; accepted: {} (limits.depth)."

Key: TypeAlias = tuple[str, str, str]


def key_of(function: FunctionProto) -> Key:
    """What calls a function: domain, name, and which of several with that name."""
    return function.domain, function.name, function.overload


def called_by(node: NodeProto) -> Key:
    """The function that a node calls, if the model defines it."""
    return node.domain, node.op_type, node.overload


@dataclass(frozen=True, slots=True)
class _Written:
    """What a graph or function is once all calls of the model's own functions are written out."""

    nodes: int = 0
    size: int = 0
    depth: int = 0


def _count_nodes(graph: GraphProto, functions: dict[Key, FunctionProto], limits: Limits) -> _Written:
    """Nodes, bytes and nesting once all calls of the model's own functions are written out; counted, not made."""
    known: dict[Key, _Written] = {}
    open_calls: set[Key] = set()

    def written(holder: GraphProto | FunctionProto) -> _Written:
        nodes = size = depth = 0
        for node in holder.node:
            key = called_by(node)
            inner = [written(one) for one in subgraphs_of(node)]
            depth = max(depth, *(1 + one.depth for one in inner), 0) if inner else depth
            nodes += sum(one.nodes for one in inner)
            if key not in functions:
                nodes, size = nodes + 1, size + node.ByteSize()
            elif key in open_calls:
                raise Unsafe(f"The model's function {node.op_type!r} calls itself, which would never end.")
            else:
                if key not in known:
                    open_calls.add(key)
                    known[key] = written(functions[key])
                    open_calls.remove(key)
                body = known[key]
                nodes, size, depth = nodes + body.nodes, size + body.size, max(depth, body.depth)
            if nodes > limits.nodes:
                raise Unsafe(
                    f"The model has more than {limits.nodes} nodes once its functions are written out. Give ",
                    limit("nodes"),
                    " if you trust it.",
                )
        if depth > limits.depth:
            raise Unsafe(_TOO_DEEP.format(depth, limits.depth))
        if size > limits.file_bytes:
            raise Unsafe(
                f"The model has more than {human(limits.file_bytes)} once its functions are written out "
                "(limits.file_bytes)."
            )
        return _Written(nodes, size, depth)

    return written(graph)


def _check_tensor(tensor: TensorProto) -> int:
    """Bytes that a stored tensor declares, which must be there."""
    count, bits = elements_bits(tensor)
    if tensor.data_location == TensorProto.EXTERNAL:
        return 0
    typed = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    held = len(tensor.raw_data) * 8 // bits + sum(len(field) for field in typed) * (8 // bits if bits < 8 else 1)
    held += len(tensor.string_data)
    if tensor.data_type not in _BITS:
        raise ModelError(
            f"Tensor {tensor.name!r} has element type {tensor.data_type}, which is not known. The file is damaged, or "
            "newer than the installed onnx: pip install -U onnx."
        )
    if count > held:
        raise Unsafe(
            f"Tensor {tensor.name!r} declares {list(tensor.dims)}, {human(count * bits / 8)}, but the file holds "
            f"{held} of its {count} elements. The file is truncated or made to do harm."
        )
    return count * bits // 8
