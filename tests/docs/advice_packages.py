"""Advice of messages about what is not installed or not there, followed with a package that cannot be imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from docs.advice_models import PICTURES, brightness, graph, occlusion
from docs.advice_table import Case

import xplain
from xplain.core.edits import Windows
from xplain.core.positions.layout import Layout
from xplain.core.query import Score
from xplain.explainers.see.regions import proposed
from xplain.metrics.localisation import segment
from xplain.models.onnx.providers import CPU, open_first
from xplain.native.place import need_device_kernels
from xplain.serve.site import RUNTIME, runtime

__all__ = ["PACKAGES"]


@contextmanager
def without(*names: str) -> Iterator[None]:
    """As if packages were not installed."""
    with mock.patch.dict(sys.modules, dict.fromkeys(names)):
        yield


def lacking(call: Callable[[], Any], *names: str) -> Callable[[Path], Any]:
    """A call where packages are not installed."""

    def asked(_: Path) -> Any:
        with without(*names):
            return call()

    return asked


def covered(**options: Any) -> Any:
    return xplain.explain(brightness, PICTURES[:1], "ablation", target=0, **options)


def cut_out(with_: str) -> Any:
    values = np.add.outer(np.arange(16.0), np.arange(16.0))
    picture = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    return segment(picture, values, with_=with_)


def fallen_back() -> Any:
    """A session that was asked for on a device, and that the runtime opened on the CPU."""
    return open_first(lambda _: SimpleNamespace(get_providers=lambda: [CPU]), [("CUDAExecutionProvider", {})])


def page_files(folder: Path) -> Path:
    """Files under the names of onnxruntime-web's."""
    for name in RUNTIME:
        (folder / name).write_bytes(b"")
    return runtime(str(folder))


def wheel(folder: Path) -> Path:
    """The same from a wheel."""
    page_files(folder)
    made: Any = ModuleType("xplain_web")
    made.folder = lambda: folder
    with mock.patch.dict(sys.modules, {"xplain_web": made}):
        return runtime()


def no_device() -> Any:
    with mock.patch("xplain.native.place._native", SimpleNamespace(built_with_cuda=False)):
        need_device_kernels()


def on_the_cpu() -> Any:
    patch = Windows(np.int32([[0, 0, 2, 2]]), np.zeros((1, 1, 1, 1), np.float32))
    return xplain.load(brightness).answer(Score(PICTURES, patch, xplain.label(0), layout=Layout("NCHW", (3, 8, 8))))


PACKAGES = [
    Case(
        "scikit-image. Or use grid cells: features='grid:7'.",
        lacking(lambda: covered(features="slic:9"), "skimage"),
        [lacking(lambda: covered(features="grid:7"), "skimage"), lambda _: covered(features="slic:9")],
        needs=("skimage",),
    ),
    Case(
        "-m pip install scikit-image. Or use baseline='blur:10'.",
        lacking(lambda: covered(features="grid:2", baseline="inpaint"), "skimage"),
        [
            lacking(lambda: covered(features="grid:2", baseline="blur:10"), "skimage"),
            lambda _: covered(features="grid:2", baseline="inpaint"),
        ],
        needs=("skimage",),
    ),
    Case(
        "GrabCut needs OpenCV: pip install opencv",
        lacking(lambda: cut_out("grabcut"), "cv2"),
        [lacking(lambda: cut_out("random-walker"), "cv2"), lambda _: cut_out("grabcut")],
        needs=("skimage", "cv2"),
    ),
    Case(
        "Selective search is in OpenCV's contrib modules. Install",
        lacking(lambda: proposed(np.zeros((20, 20, 3), np.uint8), "selective-search", 5), "cv2.ximgproc"),
        [lacking(lambda: proposed(np.zeros((20, 20, 3), np.uint8), "superpixels", 5), "cv2.ximgproc")],
        needs=("skimage",),
    ),
    Case(
        "or the driver do not fit ('xplain doctor'); give providers='cpu' to use the CPU on purp",
        lambda _: fallen_back(),
        [lambda _: occlusion(xplain.load(graph(), providers="cpu"))],
    ),
    Case(
        "CUDA kernels. Reinstall it with XPLAIN_CUDA=ON where nvcc is found, or run on the CPU.",
        lambda _: no_device(),
        [lambda _: on_the_cpu()],
    ),
    Case(
        "A page needs onnxruntime-web. Install it: pip install ./plugins/xplain-web; or give the folder",
        lacking(runtime, "xplain_web"),
        [page_files, wheel],
    ),
]
