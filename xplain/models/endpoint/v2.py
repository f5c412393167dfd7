"""The Open Inference Protocol V2 over REST, with the binary tensor and the classification extension.

    GET  v2                                    which extensions the server speaks
    GET  v2/models/m[/versions/v]              inputs and outputs
    POST v2/models/m[/versions/v]/infer        {"inputs": [{name, shape, datatype, data}], "outputs": [...]}

With the binary extension the body is JSON, whose length stands in the header ``Inference-Header-Content-Length``,
followed by the raw tensors in the order of the JSON; a batch of 16 pictures of 224 is 9.6 MB in half a millisecond
instead of 50 MB in seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain.core.declaring.wording import fixed_input, option
from xplain.core.edits import Array
from xplain.core.errors import ModelError, UsageError, unknown
from xplain.core.keeping.plain import counted
from xplain.core.outline import TensorSpec
from xplain.models.endpoint.answers import LabelSpace, finite, strict_json
from xplain.models.endpoint.codec import Facts, Kind
from xplain.models.endpoint.outside import digits, extents, name_of, real, shown, whole
from xplain.models.endpoint.tensors import DTYPES, from_bytes, from_list, holds, numpy_name, to_bytes, to_list
from xplain.models.endpoint.transport import Request, Response
from xplain.models.outlines import not_finite

__all__ = [
    "V2",
    "Metadata",
    "Selection",
    "checked",
    "classified",
    "outputs_of",
    "read_metadata",
    "speaks_binary",
    "spec_of",
]

_LENGTH = "inference-header-content-length"
_BINARY = ("binary_tensor_data", "binary_data")
_LONGEST = 1000
_NOT_V2 = "are not those of the V2 protocol (name, inputs, outputs with name, datatype, shape)."


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a V2 server says of a model."""

    name: str
    version: str
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    datatypes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a model is asked and read.

    Args:
        input: Input to explain; needed where there are several.
        output: Output to read; needed where it cannot be told.
        fixed: Values of the other inputs, each ``[*item]`` or ``[1, *item]``.
        kind: What the scores are; None takes decisions for an output of labels and scores for any other.
        top_k: Ask for so many best classes through the classification extension; None asks for all scores.
    """

    input: str | None = None
    output: str | None = None
    fixed: Mapping[str, Any] | None = None
    kind: Kind | None = None
    top_k: int | None = None


class V2:
    """Speaks V2 for one input and one output of a model.

    Args:
        path: ``/v2/models/m``, with a version if one is pinned.
        metadata: What the server says of the model.
        labels: The classes.
        binary: Send and ask for raw tensors.
        selection: What is asked and read.

    Raises:
        UsageError: the input or output cannot be told, or a value for an input is missing.
    """

    def __init__(
        self, path: str, metadata: Metadata, labels: LabelSpace, selection: Selection, *, binary: bool
    ) -> None:
        self.path, self._metadata, self._labels, self._binary = path, metadata, labels, binary
        fixed, top_k = selection.fixed or {}, selection.top_k
        self._input = _chosen(metadata.inputs, selection.input, "input", fixed)
        self.output, found = _output(metadata.outputs, selection.output)
        self._fixed = {name: np.asarray(value) for name, value in fixed.items()}
        self.top_k = top_k
        missing = [s.name for s in metadata.inputs if s.name not in (self._input.name, *self._fixed)]
        if missing:
            raise UsageError(
                f"{metadata.name} also needs {', '.join(missing)}; give their values: ", fixed_input(missing[0]), "."
            )
        labelled = self.output.dtype == "str" or np.dtype(self.output.dtype).kind in "iub"
        self._kind: Kind = selection.kind or ("decisions" if labelled and top_k is None else "logits")
        if self._kind != "decisions" and len(self.output.shape) > 1:
            labels.expect(self.output.shape[1])
        first = self._input.shape[0] if self._input.shape else None
        if 0 in self._input.shape:
            raise ModelError(f"Input {self._input.name!r} has shape {list(self._input.shape)}: it holds no items.")
        self.facts = Facts(
            inputs=metadata.inputs,
            input=self._input.name,
            tensor=self.output.name,
            classes=labels.classes,
            kind=self._kind,
            found=found,
            partial="" if top_k is None else f"the endpoint answers its {top_k} best classes only",
            rows=first,
            identity={
                "metadata": [metadata.name, metadata.version, metadata.platform, repr(metadata.inputs)],
                "outputs": repr(metadata.outputs),
                "fixed": self._fixed,
                "top_k": top_k,
            },
            facts={"platform": metadata.platform, "version": metadata.version, "binary": binary} | not_finite(fixed),
        )

    def request(self, rows: Array) -> Request:
        """An infer request for ``rows``."""
        wanted: dict[str, Any] = {"name": self.output.name}
        if self.top_k is not None:
            wanted["parameters"] = {"classification": self.top_k}
        if self._binary:
            wanted["parameters"] = {**wanted.get("parameters", {}), "binary_data": True}
        inputs, raw = [], []
        for name, tensor, datatype in self.feeds(rows):
            one_input: dict[str, Any] = {"name": name, "shape": list(tensor.shape), "datatype": datatype}
            if self._binary:
                raw.append(to_bytes(tensor, datatype))
                one_input["parameters"] = {"binary_data_size": len(raw[-1])}
            else:
                one_input["data"] = to_list(tensor, datatype)
            inputs.append(one_input)
        text = json.dumps({"inputs": inputs, "outputs": [wanted]}, allow_nan=False, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json"}
        if self._binary:
            headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))}
        return Request("POST", f"{self.path}/infer", headers, b"".join([text, *raw]))

    def scores(self, response: Response, count: int) -> Array:
        """The scores in an infer response.

        Raises:
            ModelError: not the answer to what was asked.
            NonFinite: a score is NaN or infinite.
        """
        what = f"Output {self.output.name!r} of {self._metadata.name}"
        tensor = self.outputs_in(response, what).get(self.output.name)
        if tensor is None:
            raise ModelError(f"{what} is not in the answer.")
        if self.top_k is not None:
            return classified(tensor, count, self._labels, what)
        if self._kind == "decisions":
            named = tensor.reshape(-1).tolist()
            if len(named) != count:
                raise ModelError(f"{what} is {list(tensor.shape)}; {count} decisions were asked.")
            return self._labels.decided(named, what)
        return self._labels.rows(tensor, count, what)

    def feeds(self, rows: Array) -> list[tuple[str, Array, str]]:
        """Name, values and datatype of every input for ``rows``: the fixed ones are repeated."""
        feeds = [(self._input.name, self._shaped(rows), self._metadata.datatypes[self._input.name])]
        for name, value in self._fixed.items():
            rank = len(next(spec.shape for spec in self._metadata.inputs if spec.name == name))
            one = value[None] if value.ndim < rank else value
            repeated = np.broadcast_to(one, (len(rows), *one.shape[1:]))
            feeds.append((name, repeated, self._metadata.datatypes[name]))
        return feeds

    def outputs_in(self, response: Response, what: str) -> dict[str, Array]:
        """All tensors of an infer response."""
        return outputs_of(response, what, self.believed)

    def believed(self, name: str, datatype: str, what: str) -> None:
        """Hold the datatype of an answer against the metadata: a narrower one has cut the scores already.

        Raises:
            ModelError: it cannot carry what the metadata promise.
        """
        numpy_name(datatype)  # is one at all
        known = self._metadata.datatypes.get(name)
        if self.top_k is not None and name == self.output.name:
            known = "BYTES"  # the classification extension answers texts, whatever the output is
        if known is not None and not holds(datatype, known):
            raise ModelError(
                f"{what}: {name!r} is {known} in the model's metadata and {shown(datatype)} in the answer, which "
                "cannot hold it: numbers may have been cut. Correct the metadata, or the answer, on the server."
            )

    def _shaped(self, rows: Array) -> Array:
        """Texts ``[R]`` as the server wants them, ``[R]`` or ``[R, 1]``; other rows as they are."""
        shape = self._input.shape
        return rows.reshape(len(rows), *[1] * (len(shape) - 1)) if rows.dtype.kind in "OU" else rows


def read_metadata(response: Response) -> Metadata:
    """What a metadata response says.

    Raises:
        ModelError: it is none.
    """
    what = "The model's metadata"
    raw = strict_json(response.body, what)
    datatypes: dict[str, str] = {}
    try:
        inputs, outputs = (tuple(spec_of(one, datatypes) for one in raw[side]) for side in ("inputs", "outputs"))
        versions = ", ".join(map(str, raw.get("versions") or ()))
        return checked(
            Metadata(
                name_of(raw["name"], f"The name in {what}"),
                versions[:_LONGEST],
                str(raw.get("platform", ""))[:_LONGEST],
                inputs,
                outputs,
                datatypes,
            )
        )
    except (KeyError, TypeError, AttributeError):
        raise ModelError(f"{what} {_NOT_V2}") from None


def spec_of(raw: Mapping[str, Any], datatypes: dict[str, str]) -> TensorSpec:
    """One tensor of the metadata; its datatype is put into ``datatypes``.

    Raises:
        ModelError: it has no name, datatype or shape, or a name that another has.
    """
    name = name_of(raw["name"], "The name of a tensor in the model's metadata")
    datatype = name_of(raw["datatype"], f"The datatype of {name!r} in the model's metadata")
    shape = extents(raw["shape"], f"{name!r} in the model's metadata", open_axes=True)
    if name in datatypes:
        raise ModelError(f"The model's metadata have {name!r} twice; names must differ.")
    datatypes[name] = datatype
    return TensorSpec(name, tuple(None if n < 0 else n for n in shape), numpy_name(datatype))


def checked(metadata: Metadata) -> Metadata:
    """Metadata that describe something.

    Raises:
        ModelError: no inputs or no outputs.
    """
    if not metadata.inputs or not metadata.outputs:
        raise ModelError(f"The model's metadata {_NOT_V2}")
    return metadata


def speaks_binary(response: Response) -> bool:
    """Whether the server announces the binary tensor extension."""
    raw = strict_json(response.body, "The server's metadata")
    extensions = raw.get("extensions", ()) if isinstance(raw, dict) else ()
    return isinstance(extensions, list) and any(name in extensions for name in _BINARY)


def outputs_of(response: Response, what: str, believed: Callable[[str, str, str], None]) -> dict[str, Array]:
    """All tensors of an infer response, JSON or raw; ``believed`` looks at each one's name and datatype first.

    Raises:
        ModelError: its parts do not fit together.
    """
    announced, size = response.headers.get(_LENGTH, ""), len(response.body)
    length = digits(announced) if announced else size
    if length is None or length > size:
        raise ModelError(f"{what}: the answer announces {shown(announced)} bytes of JSON and has {size}.")
    raw, found = strict_json(response.body[:length], f"{what}: the answer"), {}
    at = length
    try:
        for one in raw["outputs"]:
            name = name_of(one["name"], f"{what}: the name of a tensor in the answer")
            datatype = name_of(one["datatype"], f"{what}: the datatype of {name!r} in the answer")
            shape = extents(one["shape"], f"{what}: {name!r} in the answer")
            believed(name, datatype, what)
            if name in found:
                raise ModelError(f"{what}: the answer holds {name!r} twice.")
            given = (one.get("parameters") or {}).get("binary_data_size")
            if given is None:
                found[name] = from_list(one["data"], datatype, shape, what)
            else:
                part = whole(given, f"{what}: the binary_data_size of {name!r}", most=2**40)
                found[name] = from_bytes(response.body[at : at + part], datatype, shape, what)
                at += part
    except (KeyError, TypeError, AttributeError):
        raise ModelError(
            f"{what}: the answer is not one of the V2 protocol (outputs with name, shape, datatype)."
        ) from None
    if at != size:
        raise ModelError(f"{what}: the answer has {size} bytes where {at} were announced.")
    return found


def classified(tensor: Array, count: int, labels: LabelSpace, what: str) -> Array:
    """Scores from the classification extension's texts ``value:index[:label]``; a class left out is NaN.

    Raises:
        ModelError: a text is not of this form, or a class is named twice or otherwise than before.
    """
    scores = np.full((count, labels.size(what)), np.nan)
    if tensor.size == 0 or tensor.size % count or (tensor.ndim > 1 and len(tensor) != count):
        raise ModelError(f"{what} is {list(tensor.shape)}; the best classes of {counted(count, 'item')} were asked.")
    for row, best in enumerate(tensor.reshape(count, -1)):
        for text in best:
            value, _, rest = str(text).partition(":")
            number, _, name = rest.partition(":")
            score, place = real(value), digits(number)
            if score is None or place is None:
                raise ModelError(f"{what} holds {shown(str(text))}; value:index[:label] is needed.")
            index = labels.place(place, what)
            if name:
                labels.pin(index, name, what)
            if not np.isnan(scores[row, index]):
                raise ModelError(f"{what} holds class {index} twice for one item.")
            scores[row, index] = finite(np.array([[score]]), what)[0, 0]
    return scores


def _chosen(specs: Sequence[TensorSpec], name: str | None, what: str, fixed: Mapping[str, Any]) -> TensorSpec:
    for wanted in (*fixed, *([name] if name is not None else [])):
        if wanted not in [spec.name for spec in specs]:
            raise unknown(what, wanted, [spec.name for spec in specs])
    if name is not None:
        return next(spec for spec in specs if spec.name == name)
    free = [spec for spec in specs if spec.name not in fixed]
    if len(free) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise UsageError(f"The endpoint's model has {len(specs)} {what}s ({names}). Say which to explain: {what}=.")
    return free[0]


def _output(specs: Sequence[TensorSpec], name: str | None) -> tuple[TensorSpec, str]:
    if name is not None:
        return _chosen(specs, name, "output", {}), f"output {name!r}, as asked"
    if len(specs) == 1:
        return specs[0], f"{specs[0].name!r} is the only output"
    real = [s for s in specs if s.dtype in (*(np.dtype(d).name for d in DTYPES.values() if "f" in d), "bfloat16")]
    if len(real) != 1:
        names = ", ".join(f"{s.name} ({s.dtype})" for s in specs)
        raise UsageError(f"Which output holds the scores cannot be told among {names}. Say it: ", option("output"), ".")
    return real[0], f"{real[0].name!r} is the only output of real numbers"
