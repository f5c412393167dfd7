"""``xplain doctor``: what is installed, what is live, and what to mend."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from xplain.cli.telling.console import FINDING, OK, Outcome, table
from xplain.core.errors import XplainError

__all__ = ["doctor"]

_PACKAGES = (
    "xplain",
    "numpy",
    "pillow",
    "scikit-image",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "shap",
    "captum",
    "httpx",
)


def doctor() -> Outcome:
    """Show versions, ONNX Runtime's providers, the native kernels and GPUs; say what is wrong and how to mend it."""
    versions = _versions()
    native, native_finding = _native()
    providers, runtime_findings = _providers()
    findings = [finding for finding in (native_finding, *runtime_findings) if finding]
    document = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
        "providers": providers,
        "telemetry": _telemetry(),
        "native": native,
        "chains": _chains(),
        "findings": findings,
    }
    return Outcome(document, _text(document), FINDING if findings else OK)


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _native() -> tuple[dict[str, Any] | None, str]:
    try:
        from xplain import native
    except ImportError as error:
        return None, f"The compiled kernels cannot be imported ({error}). Install again: python -m pip install -e ."
    return native.status(), ""


def _providers() -> tuple[list[str], list[str]]:
    from xplain import models

    try:
        return models.providers(), models.provider_findings()
    except XplainError as error:  # none installed, or two that overwrite each other
        return [], [str(error)]


def _chains() -> str:
    """Whether sweeps run their element-wise operators together; see ``xplain.models.onnx.chained``."""
    from xplain import models

    try:
        some, of = models.chained()
    except (ImportError, XplainError):  # no kernels or no runtime, which are findings already
        some, of = 0, 0
    return f"{some} of {of} element-wise operators are put together" if some else "off: each operator runs by itself"


def _telemetry() -> str:
    """Whether ONNX Runtime reports to its maker."""
    from xplain.graph.runtime import TELEMETRY, private

    if private():
        return f"ONNX Runtime's is off ({TELEMETRY}={os.environ[TELEMETRY]})"
    return f"ONNX Runtime's is on: {TELEMETRY}={os.environ[TELEMETRY]!r} is set; unset it, or set it to 1"


def _text(document: dict[str, Any]) -> str:
    native = document["native"]
    kernels = "not live"
    gpu = "none seen"
    if native is not None:
        archs = ", ".join(native["archs"])
        kernels = f"CPU {native['cpu']}, {native['threads']} threads; " + (
            f"CUDA for {archs}" if native["cuda"] else "built without CUDA"
        )
        gpu = f"{native['devices']} CUDA devices" if native["devices"] else gpu
    rows = [
        ("python", f"{document['python']} on {document['system']}"),
        *[(name, found or "not installed") for name, found in document["versions"].items()],
        ("telemetry", document["telemetry"]),
        ("providers", ", ".join(document["providers"]) or "none"),
        ("kernels", kernels),
        ("chains", document["chains"]),
        ("gpu", gpu),
    ]
    findings = [f"Finding: {finding}" for finding in document["findings"]] or [
        "No finding: everything needed is there."
    ]
    return "\n".join([table(rows), "", *findings])
