"""Where tensors lie: the one place that decides between the CPU's kernels and a device's.

Every function of ``xplain.native`` takes numpy arrays, or tensors of one CUDA device: anything that exports DLPack,
such as torch's and cupy's, or ``DeviceArray`` where there is neither. On a device a kernel runs in the stream that is
named and nothing is waited for. Results and workspaces come from the library of the inputs, which reuses memory in the
order of its own current stream: name that stream, or order the two.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xplain import _native
from xplain.core.arrays import namespace
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, UsageError

__all__ = [
    "call",
    "contiguous_strides",
    "device_of",
    "empty",
    "need_device_kernels",
    "pack",
    "reshape",
    "strided",
    "upload",
]

_CUDA = (2, 13)  # DLPack's kinds of device: memory of the device, and managed memory


def device_of(kernel: str, **tensors: Any) -> int | None:
    """The number of the CUDA device that all tensors lie on, or None for the CPU.

    Args:
        kernel: Name for the message.
        tensors: By the name of the argument; None is passed over.

    Raises:
        UsageError: They lie on different devices.
        MissingDependency: They lie on a device, and this build has no device kernels.
    """
    found = {name: _device(tensor) for name, tensor in tensors.items() if tensor is not None}
    where = next(iter(found.values()), None)
    if any(other != where for other in found.values()):
        places = ", ".join(f"{name} on {'the CPU' if at is None else f'cuda:{at}'}" for name, at in found.items())
        raise UsageError(f"{kernel} got {places}; accepted: all on one device. Move them there first.")
    if where is not None:
        need_device_kernels()
    return where


def _device(tensor: Any) -> int | None:
    if isinstance(tensor, np.ndarray) or not hasattr(tensor, "__dlpack_device__"):
        return None
    kind, number = tensor.__dlpack_device__()
    return int(number) if _own(tensor) or int(kind) in _CUDA else None


def _own(tensor: Any) -> bool:
    return _native.built_with_cuda and isinstance(tensor, _native.DeviceArray)


def empty(like: Any, shape: Sequence[int], dtype: str | None = None) -> Any:
    """Uninitialised memory beside ``like``, from the same library; ``dtype`` None means that of ``like``."""
    if _own(like):
        return _native.DeviceArray(list(shape), dtype or like.dtype, like.__dlpack_device__()[1])
    xp = namespace(like)
    return xp.empty(tuple(shape), dtype=getattr(xp, dtype) if dtype else like.dtype, device=like.device)


def reshape(tensor: Any, shape: Sequence[int]) -> Any:
    """A contiguous tensor with another shape."""
    if _own(tensor):
        return tensor.as_strided(list(shape), contiguous_strides(shape))
    return tensor.reshape(tuple(shape))


def strided(tensor: Any, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> Any:
    """A view of a contiguous tensor by strides in elements; ``offset`` elements on from its start."""
    if hasattr(tensor, "as_strided"):  # torch's and our own
        return tensor.as_strided(list(shape), list(strides), offset)
    library = importlib.import_module(type(tensor).__module__.partition(".")[0])  # cupy, which counts in bytes as numpy
    flat = tensor.reshape(-1)[offset:]
    return library.lib.stride_tricks.as_strided(flat, tuple(shape), [step * tensor.itemsize for step in strides])


def contiguous_strides(shape: Sequence[int]) -> list[int]:
    """Element strides of a C-contiguous tensor."""
    return [math.prod(shape[k + 1 :]) for k in range(len(shape))]


def call(kernel: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Runs a kernel; what it refuses becomes a ``UsageError``."""
    try:
        return kernel(*arguments, **options)
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from error


def upload(view: Array, device: int, stream: int) -> Any:
    """The numbers behind a view on a device, once each, and the view again over them.

    Raises:
        MissingDependency: This build has no device kernels.
    """
    need_device_kernels()
    compact = np.ascontiguousarray(view[tuple(slice(0, 1) if step == 0 else slice(None) for step in view.strides)])
    array = _native.DeviceArray(list(compact.shape), compact.dtype.name, device)
    array.copy_from(compact, stream)
    steps = [0 if view.strides[k] == 0 else compact.strides[k] // compact.itemsize for k in range(view.ndim)]
    return array.as_strided(list(view.shape), steps)


def pack(keep: Array) -> Array:
    """Bit-packed coalitions int32 ``[N, ceil(M / 32), S]``, as devices want them; one copy where items share them."""
    own = keep[:1] if keep.strides[0] == 0 else keep
    padded = np.zeros((own.shape[0], -(-own.shape[1] // 32) * 32, own.shape[2]), np.uint8)
    padded[:, : own.shape[1]] = own != 0
    bits = np.packbits(padded, axis=1, bitorder="little").reshape(own.shape[0], -1, 4, own.shape[2])
    words = np.ascontiguousarray(np.moveaxis(bits, 2, 3)).view("<i4")[..., 0]
    return np.broadcast_to(words, (keep.shape[0], *words.shape[1:]))


def need_device_kernels() -> None:
    """Raises where this build has no device kernels.

    Raises:
        MissingDependency: It has none.
    """
    if not _native.built_with_cuda:
        raise MissingDependency(
            "xplain was built without CUDA kernels. Reinstall it with XPLAIN_CUDA=ON where nvcc is found, or run on "
            "the CPU."
        )
