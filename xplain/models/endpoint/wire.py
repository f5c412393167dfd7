"""As much of the protobuf wire format as the inference protocol needs: fields with varints, bytes and messages.

A message is a list of ``(number, value)``; an ``int`` travels as a varint, ``bytes``, ``str`` and messages with their
length before them. See https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from xplain.core.errors import ModelError
from xplain.models.endpoint.secrets import heard

__all__ = ["Field", "decode", "encode", "floats", "numbers", "text", "varints"]

Field: TypeAlias = tuple[int, "int | str | bytes"]

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_SIGN = 1 << 63


def encode(fields: Iterable[Field]) -> bytes:
    """The bytes of a message."""
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            out += _varint(number << 3 | _VARINT) + _varint(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            out += _varint(number << 3 | _BYTES) + _varint(len(content)) + content
    return bytes(out)


def varints(values: Sequence[int]) -> bytes:
    """A packed list of whole numbers."""
    return b"".join(_varint(value) for value in values)


def decode(raw: bytes, what: str) -> dict[int, list[int | bytes]]:
    """The fields of a message: number to its values in order; a field of four or eight bytes stays ``bytes``.

    Raises:
        ModelError: these are not the bytes of a message.
    """
    fields: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(raw):
        tag, at = _read_varint(raw, at, what)
        kind = tag & 7
        value: int | bytes
        if kind == _VARINT:
            value, at = _read_varint(raw, at, what)
        elif kind in (_EIGHT, _FOUR, _BYTES):
            size = {_EIGHT: 8, _FOUR: 4}.get(kind, 0)
            if kind == _BYTES:
                size, at = _read_varint(raw, at, what)
            if at + size > len(raw):
                raise ModelError(f"{what} ends in the middle of a field.")
            value, at = raw[at : at + size], at + size
        else:
            raise ModelError(f"{what} holds a field of kind {kind}, which the protocol does not use.")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def numbers(values: Sequence[int | bytes], what: str) -> list[int]:
    """A repeated whole number, packed or not, signed."""
    found: list[int] = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
            continue
        at = 0
        while at < len(value):
            one, at = _read_varint(value, at, what)
            found.append(one)
    return [one - 2 * _SIGN if one >= _SIGN else one for one in found]


def floats(values: Sequence[int | bytes], code: str, what: str) -> list[float]:
    """A repeated number of four (``f``) or eight (``d``) bytes, packed or not.

    Raises:
        ModelError: the bytes do not make whole numbers.
    """
    raw = b"".join(value for value in values if isinstance(value, bytes))
    if len(raw) % struct.calcsize(code) or not all(isinstance(value, bytes) for value in values):
        raise ModelError(
            f"{what} holds {len(raw)} bytes that are not a list of numbers of {struct.calcsize(code)} bytes."
        )
    return [one for (one,) in struct.iter_unpack(f"<{code}", raw)]


def text(values: Sequence[int | bytes] | None) -> str:
    """A single text field, without secrets; empty where it is not there."""
    last = values[-1] if values else b""
    return heard(last) if isinstance(last, bytes) else ""


def _varint(value: int) -> bytes:
    value &= 2 * _SIGN - 1  # negative numbers are ten bytes of two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(raw: bytes, at: int, what: str) -> tuple[int, int]:
    value = shift = 0
    while at < len(raw) and shift < 70:
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value & (2 * _SIGN - 1), at
    raise ModelError(f"{what} ends in the middle of a number.")
