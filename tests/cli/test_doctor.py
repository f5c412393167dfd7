"""``xplain doctor``: what is installed, and what is wrong with it."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from xplain import models, native
from xplain.core.errors import MissingDependency


def test_a_sound_installation(xplain):
    ran = xplain("doctor", "--json")
    document = ran.document
    assert ran.code == 0, document["findings"]
    assert document["versions"]["numpy"] == np.__version__
    assert "CPUExecutionProvider" in document["providers"]
    assert document["native"] == native.status()
    text = xplain("doctor").out
    assert "No finding" in text
    assert native.status()["cpu"] in text


def test_a_runtime_that_is_missing_or_there_twice_is_a_finding(xplain, monkeypatch):
    def providers():
        raise MissingDependency("Both onnxruntime and onnxruntime-gpu are installed; keep one.")

    monkeypatch.setattr(models, "providers", providers)
    ran = xplain("doctor")
    assert ran.code == 1
    assert "Finding: Both onnxruntime and onnxruntime-gpu are installed; keep one." in ran.out
    assert xplain("doctor", "--json").document["providers"] == []


@pytest.mark.parametrize(("cuda", "devices"), [(True, 1), (True, 0), (False, 0)])
def test_what_the_kernels_can_do_is_told(xplain, monkeypatch, cuda, devices):
    status = {"cpu": "x86-64-v3", "threads": 2, "cuda": cuda, "archs": ["90"] if cuda else [], "devices": devices}
    monkeypatch.setattr(native, "status", lambda: status)
    out = xplain("doctor").out
    assert ("CUDA for 90" if cuda else "built without CUDA") in out
    assert ("1 CUDA devices" if devices else "none seen") in out


@pytest.mark.parametrize(("found", "told"), [((23, 23), "23 of 23 element-wise"), ((0, 23), "off: each operator")])
def test_whether_element_wise_operators_are_put_together_is_told(xplain, monkeypatch, found, told):
    monkeypatch.setattr(models, "chained", lambda: found)
    assert told in xplain("doctor").out
    assert told in xplain("doctor", "--json").document["chains"]


def test_kernels_that_cannot_be_imported_are_a_finding(xplain, monkeypatch):
    honest = builtins.__import__

    def broken(name, globals_=None, locals_=None, fromlist=(), level=0):
        if name == "xplain" and fromlist and "native" in fromlist:
            raise ImportError("libgomp.so.1 is not there")
        return honest(name, globals_, locals_, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", broken)
    ran = xplain("doctor")
    assert ran.code == 1
    assert "The compiled kernels cannot be imported (libgomp.so.1 is not there)" in ran.out
