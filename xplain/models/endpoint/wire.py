"""The messages of the inference protocol, as far as they are read and written here, coded by protobuf.

They stand in one table instead of generated code. Texts are declared as bytes, which are the same on the wire: what a
server sends need not be UTF-8, and is read by ``heard``. Fields that are not declared are passed over.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from xplain.core.errors import ModelError

__all__ = ["parsed", "written"]

_KINDS = {"double": 1, "float": 2, "int64": 3, "uint64": 4, "int32": 5, "bool": 8, "bytes": 12, "uint32": 13}
_MESSAGE, _ONE, _MANY = 11, 1, 3
_MESSAGES = {
    "Contents": "bool* bools 1, int32* ints 2, int64* longs 3, uint32* uints 4, uint64* ulongs 5, float* floats 6, "
    "double* doubles 7, bytes* texts 8",
    "Tensor": "bytes name 1, bytes datatype 2, int64* shape 3, Contents contents 5",
    "Described": "bytes name 1, bytes datatype 2, int64* shape 3",
    "Parameter": "int64 whole 2",
    "Named": "bytes key 1, Parameter value 2",  # an entry of a map
    "Wanted": "bytes name 1, Named* parameters 2",
    "ModelMetadataRequest": "bytes name 1, bytes version 2",
    "ModelMetadataResponse": "bytes name 1, bytes* versions 2, bytes platform 3, Described* inputs 4, "
    "Described* outputs 5",
    "ModelInferRequest": "bytes name 1, bytes version 2, Tensor* inputs 5, Wanted* outputs 6, bytes* raw 7",
    "ModelInferResponse": "Tensor* outputs 5, bytes* raw 6",
}
"""Message to its fields: kind (``*`` for a list), name, number."""


@lru_cache(maxsize=1)
def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="xplain/inference.proto", package="xplain", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for kind, field, number in (one.split() for one in fields.split(", ")):
            made = message.field.add(name=field, number=int(number), label=_MANY if kind.endswith("*") else _ONE)
            made.type = _KINDS.get(kind.rstrip("*"), _MESSAGE)
            if made.type == _MESSAGE:
                made.type_name = f".xplain.{kind.rstrip('*')}"
    pool = descriptor_pool.DescriptorPool()  # of our own: another package may know the protocol too
    pool.Add(file)
    found = pool.FindFileByName(file.name).message_types_by_name
    return {name: message_factory.GetMessageClass(found[name]) for name in _MESSAGES}


def written(message: str, /, **fields: Any) -> bytes:
    """The bytes of a message; messages inside are given as dictionaries."""
    return bytes(_classes()[message](**fields).SerializeToString())


def parsed(name: str, raw: bytes, what: str) -> Any:
    """A message from its bytes.

    Raises:
        ModelError: these are not the bytes of one.
    """
    try:
        return _classes()[name].FromString(raw)
    except DecodeError:
        raise ModelError(f"{what} is no {name}: {len(raw)} bytes that protobuf cannot read.") from None
