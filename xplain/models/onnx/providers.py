"""Which execution provider runs a model: what was asked for, what is installed, and what is left when one fails.

Falling back is allowed where the caller named something to fall back to, and it is told: ``Choice.fallback`` and
``Opened.fallback`` are sentences that end up in the model's quirks and in every result's notes.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from xplain import native
from xplain.core.declaring.wording import option
from xplain.core.errors import ModelError, UsageError, unknown
from xplain.models.options import Wanted

__all__ = ["CPU", "CUDA", "TENSORRT", "Choice", "Opened", "Provider", "choose", "devices", "usable"]
__all__ += ["open_first"]

Provider: TypeAlias = tuple[str, Mapping[str, str]]
"""A provider's full name and its options, as ONNX Runtime takes them."""
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
_SHORT = {"cpu": CPU, "cuda": CUDA, "gpu": CUDA, "tensorrt": TENSORRT, "trt": TENSORRT}
_ON_DEVICE = (CUDA, TENSORRT, "NvTensorRTRTXExecutionProvider")
_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    # results that do not depend on which algorithm happened to win a timing race
    CUDA: {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
}


@dataclass(frozen=True)
class Choice:
    """Providers to try, best first, and what had to be left out.

    Args:
        used: Names and options, in the order asked for.
        fallback: One sentence where the first that was asked for cannot be used, else empty.
    """

    used: tuple[Provider, ...]
    fallback: str = ""

    @property
    def names(self) -> list[str]:
        """Full names, best first."""
        return [name for name, _ in self.used]


@dataclass(frozen=True)
class Opened:
    """A session of the runtime.

    Args:
        session: The runtime's own object.
        used: The providers that it was opened with and has.
        fallback: One sentence where a provider failed and another took its place, else empty.
    """

    session: Any
    used: tuple[Provider, ...]
    fallback: str = ""


def devices() -> int:
    """CUDA devices of this machine: as our kernels see them, or, in a build without, as the driver's library does."""
    status = native.status()
    if status["devices"] or status.get("cuda"):
        return int(status["devices"])
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        count = ctypes.c_int(0)
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return 0
    except (OSError, AttributeError):
        return 0
    return count.value


def usable(available: Sequence[str]) -> list[str]:
    """Those of the runtime's providers that can work here: the ones that need a CUDA device only where there is one."""
    needing = [name for name in available if name in _ON_DEVICE]
    there = not needing or devices() > 0
    return [name for name in available if there or name not in needing]


def choose(wanted: Wanted, available: Sequence[str], known: Sequence[str]) -> Choice:
    """The providers to use, in the order asked for.

    Args:
        wanted: What the caller gave; None for CUDA where there is a device, else the CPU.
        available: Full names that the installed runtime was built with.
        known: Full names that any build of the runtime may have.

    Raises:
        UnknownName: no provider has this name.
        UsageError: none of the providers is usable here, one is named twice, or an option makes no sense.
    """
    here = usable(available)
    if wanted is None:
        return Choice(tuple((name, _options(name, {})) for name in (CUDA, CPU) if name in here), _unused_device(here))
    asked = [_read(one, available, known) for one in _several(wanted)]
    names = [name for name, _ in asked]
    if not asked or len(set(names)) < len(names):
        raise UsageError(option="providers", got=wanted, accepted="one or more, best first, each once")
    left = tuple((name, options) for name, options in asked if name in here)
    missing = [name for name in names if name not in here]
    if not left:
        raise UsageError(f"Provider {', '.join(missing)} is not usable here; usable: {', '.join(here)}.{_why(missing)}")
    for name, options in left:
        _check_device(name, options)
    if not missing:
        return Choice(left)
    return Choice(left, f"{', '.join(missing)} was asked for and is not usable here; {left[0][0]} is used.")


def open_first(make: Callable[[Sequence[Provider]], Any], wanted: Sequence[Provider]) -> Opened:
    """A session with the first providers that work.

    Args:
        make: Opens the runtime's session with providers; raises where one of them fails, or leaves it out silently, as
            ONNX Runtime does when a provider's libraries cannot be loaded.
        wanted: Names and options, best first.

    Raises:
        ModelError: the runtime left out every provider that was asked for.
        Exception: whatever the last attempt raised.
    """
    left, why = list(wanted), ""
    while True:
        try:
            session = make(left)
        except Exception as error:
            if len(left) == 1:
                raise
            why = f" ({(str(error).strip().splitlines() or [type(error).__name__])[0]})"
            left = left[1:]
            continue
        break
    got = session.get_providers()
    used = tuple((name, options) for name, options in left if name in got)
    if not used:
        raise ModelError(
            f"{wanted[0][0]} was asked for, but ONNX Runtime fell back to {', '.join(got)}. Its libraries or the "
            "driver do not fit ('xplain doctor'); give ",
            option("providers", "cpu"),
            " to use the CPU on purpose.",
        )
    lost = [name for name, _ in wanted if name not in got]
    if not lost:
        return Opened(session, used)
    return Opened(
        session,
        used,
        f"{', '.join(lost)} was asked for, but could not be started{why}; {used[0][0]} is used. Its libraries or the "
        "driver do not fit, see 'xplain doctor'.",
    )


def _several(wanted: Any) -> list[Any]:
    if isinstance(wanted, str) or (isinstance(wanted, tuple) and len(wanted) == 2 and isinstance(wanted[1], Mapping)):
        return [wanted]
    return list(wanted)


def _read(one: Any, available: Sequence[str], known: Sequence[str]) -> Provider:
    name, options = one if isinstance(one, tuple) and len(one) == 2 else (one, {})
    if not isinstance(name, str) or not isinstance(options, Mapping):
        raise UsageError(f"Provider {one!r} is not understood; accepted: a name, or (name, options).")
    word, _, device = name.partition(":")
    full = _SHORT.get(word.lower(), word)
    if full not in {*available, *known}:
        short = [key for key, value in _SHORT.items() if value in {*available, *known}]
        raise unknown("provider", name, [*short, *known], f"Installed here: {', '.join(usable(available))}.")
    if device:
        if full not in _ON_DEVICE or not device.isdecimal() or "device_id" in options:
            raise UsageError(f"Provider {name!r} is not understood; a device's number is given once, as in 'cuda:1'.")
        options = {**options, "device_id": device}
    return full, _options(full, options)


def _options(name: str, given: Mapping[str, Any]) -> dict[str, str]:
    return {**_DEFAULTS.get(name, {}), **{str(key): str(value) for key, value in given.items()}}


def _check_device(name: str, options: Mapping[str, str]) -> None:
    if name not in _ON_DEVICE or "device_id" not in options:
        return
    number, there = options["device_id"], devices()
    if not re.fullmatch(r"\d+", number) or int(number) >= there:
        raise UsageError(f"device_id of {name} is {number}; accepted: 0 to {there - 1}, the CUDA devices found here.")


def _why(missing: Sequence[str]) -> str:
    if not set(missing) & set(_ON_DEVICE):
        return ""
    word = "CUDA" if CUDA in missing else "TensorRT"
    return f" {word} needs pip install 'xplain[gpu]' and a device with its driver; see 'xplain doctor'."


def _unused_device(here: Sequence[str]) -> str:
    """A sentence where a device is there that the installed runtime cannot use."""
    # asking the driver would tie this process to it, for a runtime that cannot use it
    if CUDA in here or not _device_files():
        return ""
    return (
        "A CUDA device is here, but the installed ONNX Runtime has no CUDAExecutionProvider; CPUExecutionProvider is "
        "used. To use the device: pip uninstall -y onnxruntime, then pip install 'xplain[gpu]'; providers 'cpu' "
        "says that the CPU is meant."
    )


def _device_files() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*"))
