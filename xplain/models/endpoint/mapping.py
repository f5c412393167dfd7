"""Any JSON service, described by a small TOML file: how an item is sent, and where the scores lie in the answer.

input = "picture"                        # picture, tensor or text
labels = ["cat", "dog", "owl"]           # or classes = 3
kind = "probabilities"                   # logits, probabilities, log-probabilities, decisions

[picture]
size = [224, 224]                        # height and width; leave out if the service takes any
format = "png"                           # or jpeg, with quality = 95

[request]
encoding = "json"                        # json, multipart (a form with a file) or raw (the picture is the body)
body = {image = "$item", detail = "all"} # "$item" is the picture in base64, the tensor, or the text;
                                         # "$items" is the list of them, for a service that takes several
batch = 1                                # items per request
field = "file"                           # multipart: the name of the file's field
idempotent = true                        # asking twice does no more than asking once
query = {model = "v3"}                   # and headers = {...}, form = {...}: fixed parameters, no secrets

[response]
items = "results"                        # where the list of items lies, if batch is above 1
scores = "tags[*].confidence"            # the scores of one item
labels = "tags[*].name"                  # the classes they belong to; leave out if all come, in order
label = "result.name"                    # instead of scores: the one class decided for

[auth]                                   # header = text that names environment variables
X-Api-Key = "${VENDOR_KEY}"

[price]
per_call = 0.002
currency = "USD"
"""

from __future__ import annotations

import base64
import hashlib
import json
import tomllib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import numpy as np

from xplain.core.card import Card
from xplain.core.edits import Array
from xplain.core.errors import ModelError, UsageError, unknown
from xplain.core.keeping.files import read_text
from xplain.core.keeping.plain import counted
from xplain.core.outline import TensorSpec
from xplain.models.endpoint.answers import LabelSpace, score_rows, strict_json
from xplain.models.endpoint.codec import Facts, Kind
from xplain.models.endpoint.fields import FieldPath
from xplain.models.endpoint.outside import shown
from xplain.models.endpoint.pictures import encode_picture
from xplain.models.endpoint.transport import Request, Response

__all__ = ["Mapped", "read_mapping"]

_KNOWN: dict[str, tuple[str, ...] | None] = {
    "": ("input", "labels", "classes", "kind", "picture", "request", "response", "auth", "price"),
    "picture": ("size", "format", "quality", "mode"),
    "request": ("method", "encoding", "body", "batch", "field", "idempotent", "query", "headers", "form"),
    "response": ("items", "scores", "labels", "label"),
    "auth": None,  # any header
    "price": ("per_row", "per_call", "rows_per_call", "currency"),
}
_INPUTS = ("picture", "tensor", "text")
_ENCODINGS = ("json", "multipart", "raw")
_KINDS = ("logits", "probabilities", "log-probabilities", "decisions")


def read_mapping(source: Any) -> dict[str, Any]:
    """A mapping from a TOML file or a dictionary of the same form, its keys checked.

    Raises:
        UsageError: no such file, no TOML, or a key that is not known; names the nearest.
    """
    if isinstance(source, Mapping):
        raw = dict(source)
    else:
        try:
            raw = tomllib.loads(read_text(source, UsageError, f"The mapping file {str(source)!r:.200}"))
        except UsageError:
            raise
        except (ValueError, RecursionError, TypeError) as error:  # TOML's errors are ValueErrors
            raise UsageError(f"The mapping file {str(source)!r:.200} cannot be read: {error}.") from None
    for section, known in _KNOWN.items():
        values = raw.get(section, {}) if section else raw
        if not isinstance(values, Mapping):
            raise UsageError(f"The mapping's {section!r} is {values!r}; a section [{section}] is needed.")
        for key in values if known is not None else ():
            if key not in (known or ()):
                raise unknown(f"key in the mapping's {f'[{section}]' if section else 'file'}:", str(key), known or ())
    return raw


class Mapped:
    """Speaks to a service as a mapping says.

    Args:
        path: Path of the service on its host.
        raw: The mapping, as ``read_mapping`` gives it.

    Raises:
        UsageError: the mapping contradicts itself or leaves out what is needed.
    """

    def __init__(self, path: str, raw: Mapping[str, Any]) -> None:
        request, response = raw.get("request", {}), raw.get("response", {})
        self._kind_of_input = _one_of("input", raw.get("input", "picture"), _INPUTS)
        self._encoding = _one_of("request.encoding", request.get("encoding", "json"), _ENCODINGS)
        self._picture = dict(raw.get("picture", {}))
        self._method = _one_of("request.method", request.get("method", "POST"), ("POST", "PUT"))
        self._request = request
        for key in ("query", "headers", "form"):
            _texts(f"request.{key}", request.get(key, {}))
        query = urlencode(request.get("query", {}))
        self._path = (path or "/") + (f"?{query}" if query else "")
        most = _whole("request.batch", request.get("batch", 1))
        self.labels = LabelSpace(raw.get("labels", ()), raw.get("classes"))
        self._paths = {
            name: FieldPath(_text(f"response.{name}", response[name]))
            for name in _KNOWN["response"] or ()
            if name in response
        }
        decides = "label" in self._paths
        self._check(decides, most)
        kind: Kind = _one_of("kind", raw.get("kind", "decisions" if decides else "logits"), _KINDS)  # type: ignore[assignment]
        if decides != (kind == "decisions"):
            raise UsageError(
                f"The mapping's kind is {kind!r}; decisions are read from response.label, and only they are."
            )
        mode = _one_of("picture.mode", self._picture.get("mode", "RGB"), ("RGB", "BGR", "L"))
        _one_of("picture.format", self._picture.get("format", "png"), ("png", "jpeg"))
        _whole("picture.quality", self._picture.get("quality", 95), 100)
        channels = 1 if mode == "L" else 3
        picture = self._kind_of_input == "picture"
        plane = _size(self._picture.get("size"))
        spec = TensorSpec("item", (None, channels, *plane), "float32") if picture else TensorSpec("item", (), "float32")
        if self._kind_of_input == "text":
            spec = TensorSpec("item", (None,), "str")
        public = {key: value for key, value in raw.items() if key not in ("auth", "price")}
        lossy = picture and self._picture.get("format", "png") == "jpeg"
        self.facts = Facts(
            inputs=(spec,),
            input="item",
            axes="NCHW" if picture else "",
            tensor=self._paths["label" if decides else "scores"].text,
            classes=self.labels.classes,
            kind=kind,
            found="where the mapping says",
            partial="the endpoint answers its best classes only" if "labels" in self._paths else "",
            most=most,
            identity={"mapping": json.dumps(public, sort_keys=True, default=str)},
            facts={"encoding": self._encoding, "lossy": lossy},
        )

    @property
    def card(self) -> Card | None:
        """Pictures go through untouched, but for their size: the service prepares them itself."""
        if self._kind_of_input != "picture":
            return None
        return Card(mode=self._picture.get("mode", "RGB"), scale=1.0, labels=self.labels.labels, name="of the mapping")

    def request(self, rows: Array) -> Request:
        """The request for ``rows``."""
        headers = {str(k): str(v) for k, v in self._request.get("headers", {}).items()}
        idempotent = bool(self._request.get("idempotent", True))
        items = [self._item(row) for row in rows]
        if self._encoding == "raw":
            return Request(
                self._method, self._path, {"Content-Type": self._media, **headers}, _raw(items[0]), idempotent
            )
        if self._encoding == "multipart":
            body, media = self._form(_raw(items[0]))
            return Request(self._method, self._path, {"Content-Type": media, **headers}, body, idempotent)
        shown = [base64.b64encode(i).decode() if isinstance(i, bytes) else i for i in items]
        filled = _filled(self._request.get("body", {"instances": "$items"}), shown)
        try:
            body = json.dumps(filled, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as error:  # TOML has dates, nan and inf
            raise UsageError(f"The mapping's request.body cannot be written as JSON: {error}.") from None
        return Request(self._method, self._path, {"Content-Type": "application/json", **headers}, body, idempotent)

    def scores(self, response: Response, count: int) -> Array:
        """The scores in the answer.

        Raises:
            ModelError: they do not lie where the mapping says, or do not fit.
            NonFinite: a score is NaN or infinite.
        """
        what = "The answer"
        raw = strict_json(response.body, what)
        found = self._paths["items"].find(raw, what) if "items" in self._paths else [raw]
        if not isinstance(found, list) or len(found) != count:
            got = counted(len(found), "item") if isinstance(found, list) else type(found).__name__
            raise ModelError(f"{what} holds {got}; {count} were asked.")
        if "label" in self._paths:
            return self.labels.decided([self._paths["label"].find(one, what) for one in found], what)
        scores = [self._paths["scores"].find(one, what) for one in found]
        if "labels" not in self._paths:
            return self.labels.rows(scores, count, what)
        rows = np.full((count, self.labels.size(what)), np.nan)
        for row, one in enumerate(found):
            names = self._paths["labels"].find(one, what)
            if not isinstance(names, list) or not isinstance(scores[row], list) or len(names) != len(scores[row]):
                raise ModelError(
                    f"{what} holds {names!r:.80} beside {scores[row]!r:.80}: one label per score is needed."
                )
            for name, score in zip(names, score_rows(scores[row], len(names), what)[:, 0], strict=True):
                index = self.labels.place(name, what)
                if not np.isnan(rows[row, index]):
                    raise ModelError(f"{what} names {name!r:.80} twice for one item; one score per class is needed.")
                rows[row, index] = score
        return rows

    def _check(self, decides: bool, most: int) -> None:
        if decides == ("scores" in self._paths):
            raise UsageError("The mapping's [response] needs either scores or label: where the answer lies.")
        if ("labels" in self._paths or decides) and self.labels.classes is None:
            raise UsageError("The mapping reads classes by name, so it must list them: labels = [...], or classes = K.")
        if most > 1 and "items" not in self._paths:
            raise UsageError("The mapping's request.batch is above 1, so response.items must say where the list lies.")
        if self._encoding != "json" and (most > 1 or self._kind_of_input == "tensor"):
            raise UsageError(
                f"Encoding {self._encoding!r} sends one picture or text at a time; batch and tensors need json."
            )

    @property
    def _media(self) -> str:
        return f"image/{self._picture.get('format', 'png')}" if self._kind_of_input == "picture" else "text/plain"

    def _item(self, row: Any) -> Any:
        if self._kind_of_input == "picture":
            options = {key: self._picture[key] for key in ("format", "quality") if key in self._picture}
            return encode_picture(np.asarray(row), **options)
        return row.tolist() if isinstance(row, np.ndarray) else str(row)

    def _form(self, content: bytes) -> tuple[bytes, str]:
        """A multipart form whose boundary follows from its content, so that equal items make equal requests."""
        boundary = hashlib.sha256(content).hexdigest()[:32]
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(k)}"\r\n\r\n{v}\r\n'.encode()
            for k, v in self._request.get("form", {}).items()
        ]
        field = _quoted(str(self._request.get("field", "file")))
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="item"\r\n'
        parts.append(f"{head}Content-Type: {self._media}\r\n\r\n".encode() + content + b"\r\n")
        return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def _filled(template: Any, items: list[Any]) -> Any:
    """The template with ``$items`` and ``$item`` replaced."""
    if isinstance(template, Mapping):
        return {key: _filled(value, items) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, items) for value in template]
    if template == "$items":
        return items
    if template == "$item":
        return items[0]
    if isinstance(template, str) and "$item" in template and isinstance(items[0], str):
        return template.replace("$item", items[0])
    return template


def _raw(item: Any) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode("utf-8")


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "").replace("\n", "")


def _one_of(what: str, value: Any, accepted: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in accepted:
        raise UsageError(f"The mapping's {what} is {shown(value)}; accepted: {', '.join(accepted)}.")
    return value


def _whole(what: str, value: Any, most: int = 1_000_000) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise UsageError(
            f"The mapping's {what} is {shown(value)}; accepted: a whole number of at least 1, at most {most}."
        )
    return value


def _size(value: Any) -> tuple[int | None, int | None]:
    if value is None:
        return None, None
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise UsageError(f"The mapping's picture.size is {value!r:.80}; accepted: [height, width].")
    return _whole("picture.size", value[0], 65536), _whole("picture.size", value[1], 65536)


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"The mapping's {what} is {shown(value)}; accepted: a text.")
    return value


def _texts(what: str, value: Any) -> None:
    scalar = (str, int, float)
    if not isinstance(value, Mapping) or not all(isinstance(one, scalar) for one in value.values()):
        raise UsageError(f"The mapping's {what} is {value!r:.80}; accepted: names with a text or number each.")
