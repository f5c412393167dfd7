"""A saved attribution may come from anyone: it is bounded, checked field by field, and shown without a surprise."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import struct
import zipfile

import numpy as np
import pytest

import xplain
from xplain import Attribution, report
from xplain.core.errors import UsageError, XplainError


def f(b):
    return np.stack([b.mean((1, 2, 3)), b.max((1, 2, 3))], 1)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A sound file: its members and its meta."""
    path = tmp_path_factory.mktemp("good") / "good.npz"
    x = np.random.default_rng(0).random((2, 3, 8, 8)).astype(np.float32)
    xplain.explain(f, x, "rise", samples=64, cells=4).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def head(text, content=b""):
    text = text.encode()
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + content


def pack(members, **how):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how.get("method", zipfile.ZIP_DEFLATED)) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def meta_of(members):
    return json.loads(str(np.load(io.BytesIO(members["meta.npy"]))))


def with_meta(members, **fields):
    return pack({**members, "meta.npy": npy(np.array(json.dumps({**meta_of(members), **fields})))})


def loaded(content, tmp_path):
    path = tmp_path / "t.npz"
    path.write_bytes(content)
    return Attribution.load(path)


def shown(a):
    """Whatever shows a result; refusals are fine, anything else is not."""
    for show in (lambda: a.overlay(0), lambda: report.page(a), lambda: str(a), lambda: repr(a), a._repr_html_, a.meta):
        with contextlib.suppress(XplainError):
            show()


BROKEN = {
    "text values": ("values.npy", npy(np.array(["a", "b"])), "its values are <U1"),
    "whole values": ("values.npy", npy(np.zeros((2, 8, 8), np.int32)), "its values are int32"),
    "complex values": ("values.npy", npy(np.zeros((2, 8, 8), np.complex64)), "no array of numbers"),
    "objects": ("values.npy", npy(np.zeros((2, 8, 8), object)), "no array of numbers"),
    "records": ("values.npy", npy(np.zeros(2, [("a", "f4")])), "no array of numbers"),
    "no items": ("values.npy", npy(np.zeros((0, 8, 8), np.float32)), "its values are float32"),
    "no axes": ("values.npy", npy(np.float32(1)), "its values are float32"),
    "nan": ("values.npy", npy(np.full((2, 8, 8), np.nan, np.float32)), "its values holds NaN"),
    "other items": ("values.npy", npy(np.zeros((3, 8, 8), np.float32)), "its error is float32|its scores is float64"),
    "one score": ("scores.npy", npy(np.zeros(1)), r"its scores is float64 \[1\]; real numbers \[2\]"),
    "endless score": ("scores.npy", npy(np.array([1, np.inf])), "its scores holds NaN or infinity"),
    "base": ("base.npy", npy(np.zeros((2, 2))), r"its base is float64 \[2, 2\]"),
    "error": ("error.npy", npy(np.zeros((2, 8, 9))), r"its error is float64 \[2, 8, 9\]"),
    "grey pictures": ("pictures.npy", npy(np.zeros((2, 8, 8), np.uint8)), "its pictures are uint8"),
    "real pictures": ("pictures.npy", npy(np.zeros((2, 8, 8, 3))), "its pictures are float64"),
    "8 GB said": ("values.npy", head("{'descr':'<f4','fortran_order':False,'shape':(2000000000,)}\n"), "8,000,000,000"),
    "negative": ("values.npy", head("{'descr':'<f4','fortran_order':False,'shape':(-1,4)}\n"), "no array of numbers"),
    "66 axes": (
        "values.npy",
        head("{'descr':'<f4','fortran_order':False,'shape':(" + "1," * 66 + ")}\n", b"1234"),
        "no",
    ),
    "cut": ("values.npy", head("{'descr':'<f4','fortran_order':False,'shape':(2,4)}\n", b"1234"), "bytes"),
    "padded": ("values.npy", npy(np.zeros((2, 8, 8), np.float32)) + b"more", "other bytes than its shape"),
    "head of code": ("values.npy", head("__import__('os').system('touch /tmp/pwned')\n"), "damaged"),
    "head nested": ("values.npy", head("(" * 5000 + "\n"), "damaged"),
    "empty member": ("values.npy", b"", "damaged"),
    "text for meta": ("meta.npy", b"{}", "damaged"),
    "meta nested": ("meta.npy", npy(np.array("[" * 100_000)), "not JSON"),
    "meta deep": ("meta.npy", npy(np.array("[" * 100 + "]" * 100)), "nested more than 64 deep"),
    "meta NaN": ("meta.npy", npy(np.array('{"format": NaN}')), "NaN is no JSON number"),
    "meta a list": ("meta.npy", npy(np.array("[]")), "another format"),
    "meta a number": ("meta.npy", npy(np.array(5)), "its meta is no text"),
    "meta twice": ("meta.npy", npy(np.array(["{}", "{}"])), "its meta is no text"),
}


@pytest.mark.parametrize(("name", "content", "message"), BROKEN.values(), ids=BROKEN)
def test_members_that_are_none(good, tmp_path, name, content, message):
    with pytest.raises(UsageError, match=f"(?s)not a saved attribution: .*({message})"):
        loaded(pack({**good, name: content}), tmp_path)


FIELDS = {
    "target": [None, 5, ["a"]],
    "unit": [None, 1.5],
    "method": [None, {}],
    "notes": ["x", [], None, {"a": {"__array__": "extra.99"}}, {"a": {"__array__": []}}, {"a": {"__float__": "x"}}],
    "options": ["x", [], None, {"__tuple__": [1]}],
    "resolution": [[1], [1, 2, 3], [0, 4], ["a", "b"], "xy", 5, [4, True], [-1, 4]],
    "labels": [5, ["a"], [1], [1, 2, 3], [1.5, 2], [True, False], [-1, 0]],
    "names": ["ab", [1, 2], ["a"], ["a", "b", "c"]],
    "targets": ["ab", [1, 2], ["a"]],
    "signed": [1, None, "yes"],
    "explained": [5, ["a"], [{}], {"weight": 1.0}],
    "each": [5, [], {"gap": 5}, {"gap": [1]}, {"gap": "ab"}, {"gap": {"a": 1, "b": 2}}],
    "rows_per_call": [5, {"scores": 5}, {"scores": [-1]}],
    "source": [5],
    "seed": [-1, 1.5, "x", None],
    "cost": [5, {"queries": -1}, {"money": "x"}, {"more": 1}, {"seconds": True}, None],
    "versions": [[], {"a": 1}],
    "columns": [5, {"names": ["a"]}, {"names": ["a"], "values": []}, {"names": 5, "values": 5}],
    "texts": [5, [{"text": "a", "spans": [[0, 1]]}], [{"text": 5, "spans": []}] * 2, [{"spans": []}] * 2],
    "warnings": [5, ["a"], [{"text": 5}], [{"text": "a", "item": 7}], [{"text": "a", "item": -1}], [{"kind": "x"}]],
    "strange": [1],
    "values": [[1, 2]],
}


@pytest.mark.parametrize(("field", "value"), [(name, value) for name, values in FIELDS.items() for value in values])
def test_fields_that_are_none_are_named(good, tmp_path, field, value):
    named = f"field '?{field}" if field != "options" else "options"
    with pytest.raises(UsageError, match=f"not a saved attribution: .*({named}|options or notes)"):
        loaded(with_meta(good, **{field: value}), tmp_path)


@pytest.mark.parametrize("field", ["unit", "method", "options", "notes", "cost"])
def test_fields_that_are_missing_are_named(good, tmp_path, field):
    meta = meta_of(good)
    del meta[field]
    with pytest.raises(UsageError, match=f"it has no field '{field}'"):
        loaded(pack({**good, "meta.npy": npy(np.array(json.dumps(meta)))}), tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_that_are_not_read(good, tmp_path, method):
    with pytest.raises(UsageError, match="packed in a way that is not read"):
        loaded(pack(good, method=method), tmp_path)


def test_an_archive_with_a_member_twice(good, tmp_path):
    buffer = io.BytesIO(pack(good))
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("values.npy", good["values.npy"])
    with pytest.raises(UsageError, match="it holds 'values' twice"):
        loaded(buffer.getvalue(), tmp_path)


def test_a_bomb_is_not_unpacked(good, tmp_path):
    """A small file that unpacks to a thousand times as many zeros, with a head that says so honestly."""
    buffer, size = io.BytesIO(), 2**28
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in good.items():
            if name != "values.npy":
                archive.writestr(name, content)
        with archive.open("values.npy", "w", force_zip64=True) as member:
            member.write(head(f"{{'descr':'<f4','fortran_order':False,'shape':(2,{size // 8})}}\n"))
            for _ in range(16):
                member.write(bytes(size // 16))
    path = tmp_path / "bomb.npz"
    path.write_bytes(buffer.getvalue())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UsageError, match=r"unpacks to 268,\d+,\d+ bytes, and at most 1,000,000 are read. If you trust"):
        Attribution.load(path, most_bytes=1_000_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB


def test_the_advice_about_size_works(good, tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(pack(good))
    with pytest.raises(UsageError, match="allow more: ") as told:
        Attribution.load(path, most_bytes=100)
    advised = int(str(told.value).rpartition("most_bytes=")[2].rstrip(")."))
    assert len(Attribution.load(path, most_bytes=advised)) == 2


def test_places_that_are_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    for place, message in ((tmp_path / "pipe.npz", "no file"), (tmp_path, "no file"), (tmp_path / ("x" * 300), "long")):
        with pytest.raises(UsageError, match=message):
            Attribution.load(place)
    with pytest.raises(UsageError):
        Attribution.load("x\0y.npz")


def test_encrypted_members(good, tmp_path):
    raw = bytearray(pack(good))
    for at in range(len(raw) - 4):
        if raw[at : at + 4] == b"PK\1\2":
            raw[at + 8] |= 1
    with pytest.raises(UsageError, match="encrypted"):
        loaded(bytes(raw), tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_is_noticed_or_harmless(good, tmp_path, seed):
    rng, raw, refused = random.Random(seed), pack(good), 0
    assert loaded(raw, tmp_path).values.shape == (2, 8, 8)
    for _ in range(150):
        content = bytearray(raw)
        for _ in range(rng.choice([1, 2, 8, 50])):
            content[rng.randrange(len(content))] = rng.randrange(256)
        if rng.random() < 0.1:
            del content[rng.randrange(len(content)) :]
        try:
            a = loaded(bytes(content), tmp_path)
        except UsageError:
            refused += 1
        else:  # of a date, say: what is held in an archive is under its checksum
            assert a.values.shape == (2, 8, 8)
    assert refused


ANYTHING = [
    None,
    True,
    5,
    -1,
    1e308,
    "x" * 1000,
    "<b>\x1b[31m",
    [],
    [[]],
    {},
    {"a": [1, {"b": None}]},
    ["x", 5],
    [0.5] * 2,
]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_loads_can_be_shown(good, tmp_path, seed):
    """Random values in random fields, notes and options: refused, or shown without an error of Python's own."""
    rng = random.Random(seed)
    for _ in range(12):
        meta = meta_of(good)
        for _ in range(rng.randrange(1, 3)):
            place = rng.choice([meta, meta["notes"], meta["options"], meta["each"]])
            names = [*place, "layer", "kept", "relevance", "rule", "labels", "samples", "gap", "cells"]
            if isinstance(place, dict):
                place[rng.choice(names if place is not meta else list(meta))] = rng.choice(ANYTHING)
            if not all(isinstance(meta[name], dict) for name in ("notes", "options", "each")):
                break
        try:
            a = loaded(pack({**good, "meta.npy": npy(np.array(json.dumps(meta)))}), tmp_path)
        except UsageError:
            continue
        shown(a)


@pytest.mark.parametrize("field", ["method", "unit", "targets", "warnings", "method chosen"])
def test_names_in_a_file_steer_no_terminal(good, tmp_path, field):
    meta, said = meta_of(good), "\x1b]0;owned\x07\x1b[31m"
    if field == "method chosen":
        meta["notes"][field] = said
    else:
        meta[field] = {"targets": [said] * 2, "warnings": [{"text": said, "kind": "gap"}]}.get(field, said)
    a = loaded(pack({**good, "meta.npy": npy(np.array(json.dumps(meta)))}), tmp_path)
    assert "\x1b" not in repr(a) + str(a)
    assert "owned" in repr(a) + str(a)


def test_pictures_of_another_size_are_refused_when_drawn(good, tmp_path):
    a = loaded(pack({**good, "pictures.npy": npy(np.zeros((2, 5, 9, 3), np.uint8))}), tmp_path)
    shown(a)


def test_arrays_of_another_byte_order_are_read(good, tmp_path):
    values = np.load(io.BytesIO(good["values.npy"]))
    other = npy(np.asfortranarray(values).astype(values.dtype.newbyteorder(">")))
    a = loaded(pack({**good, "values.npy": other}), tmp_path)
    np.testing.assert_array_equal(a.values, values)
    assert a.values.dtype == np.float32
