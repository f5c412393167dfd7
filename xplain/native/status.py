"""What the compiled module can do here, for ``xplain doctor``."""

from __future__ import annotations

from typing import Any

from xplain import _native

__all__ = ["library", "status"]


def status() -> dict[str, Any]:
    """What is compiled in and what is in use on this machine.

    Returns:
        ``cpu``: variant of the CPU loops that was chosen (``x86-64-v4`` has AVX-512, ``x86-64-v3`` AVX2);
        ``threads``: threads that a call may use; ``cuda``: whether CUDA kernels are compiled in; ``archs``: for which
        GPU architectures; ``devices``: CUDA devices found, 0 without a driver.
    """
    return {
        "cpu": _native.cpu_variant(),
        "threads": _native.available_threads(),
        "cuda": _native.built_with_cuda,
        "archs": [arch for arch in _native.cuda_archs.split(",") if arch],
        "devices": _native.cuda_device_count(),
    }


def library() -> str:
    """The file of the compiled module, which is also a library of operators for ONNX Runtime (``csrc/runtime``)."""
    return str(_native.__file__)
