"""Models that answer questions: ONNX files, torch modules, Python functions. One door to all of them: ``load``."""

from __future__ import annotations

import os
import sys
from typing import Any

from xplain.core.errors import UsageError
from xplain.core.query import Model
from xplain.models.options import (
    ENGINES,
    AskedOptions,
    EndpointOptions,
    FunctionOptions,
    OnnxOptions,
    TorchOptions,
    options_for,
)
from xplain.models.rows.estimators import is_estimator, refuse_class

__all__ = ["ENGINES", "chained", "load", "provider_findings", "providers"]

_SCHEMES = ("https://", "http://", "grpcs://", "grpc://")


def load(source: Any, **options: Any) -> Model:
    """A model that answers questions.

    Threads may share it: results have the bits that one thread alone gets. A torch module is held by one thread at a
    time, also where two models share a part of it; a Python function is called by all of them at once. The caller's own
    code must not train a module, or change its mode or weights, while it is being explained.

    Args:
        source: Path of an ONNX file, its bytes, an ``onnx.ModelProto``, a ``torch.nn.Module`` or exported program, a
            Python function ``f(batch) -> scores``, a fitted estimator, or the URL of an endpoint.
        options: Those of its door, see ``xplain.models.options``: ``OnnxOptions`` (``card``, ``input``, ``output``,
            ``fixed``, ``layout``, ``providers``, ``threads``, ``engine``, ``allow_external_data``, ``limits``),
            ``TorchOptions`` (``card``, ``layout``, ``output``, ``memory_format``, ``precision``, ``graphs``),
            ``FunctionOptions`` (``card``, ``layout``, ``version``, ``price``), ``EndpointOptions``.

    Raises:
        UsageError: an option that cannot be used, or a source that is none of the kinds above.
        Unsafe: refused by default; the message says why, and how to allow it.
        ModelError: the model cannot be loaded.
        CardError: the card does not fit.
        MissingDependency: ONNX Runtime or torch is needed and not there.
    """
    if _is(source, "torch.export", "ExportedProgram"):
        source = source.module()
    if isinstance(source, str) and source.startswith(_SCHEMES):
        from xplain.models.endpoint.open import open_at

        return open_at(source, options_for(EndpointOptions, options, source))
    if isinstance(source, (str, os.PathLike, bytes)) or _is(source, "onnx", "ModelProto"):
        from xplain.graph.understood import understood
        from xplain.models.onnx.open import open_onnx

        of_file = options_for(OnnxOptions, options, source)
        with understood(str(source) if isinstance(source, (str, os.PathLike)) else type(source).__name__):
            return open_onnx(source, of_file)
    if _is(source, "torch.nn", "Module"):
        from xplain.models.torch.module import TorchModule

        return TorchModule(source, options_for(TorchOptions, options, source))
    refuse_class(source, "load")
    if callable(source):
        from xplain.models.rows.function import of_batches

        return of_batches(source, options_for(FunctionOptions, options, source))
    if is_estimator(source):
        from xplain.models.rows.table import of_estimator

        return of_estimator(source, options_for(AskedOptions, options, source))  # its rows say what their columns are
    raise UsageError(
        f"{type(source).__name__} is no model; accepted: a path of an ONNX file, its bytes, an onnx.ModelProto, a "
        "torch.nn.Module, a function f(batch) -> scores, or the URL of an endpoint."
    )


def providers() -> list[str]:
    """Execution providers that can be used here.

    Raises:
        MissingDependency: no ONNX Runtime is installed, or two that overwrite each other.
    """
    from xplain.models.onnx.session import providers as usable

    return usable()


def provider_findings() -> list[str]:
    """What keeps this machine's devices from being used: providers that do not start, a device that none can use."""
    from xplain.models.onnx.providers import CPU
    from xplain.models.onnx.session import choose_providers, trial

    choice = choose_providers(None)
    found = [choice.fallback] if choice.fallback else []
    return found + [why for name in choice.names if name != CPU and (why := trial(name))]


def chained() -> tuple[int, int]:
    """Element-wise operators that ONNX Runtime's sessions put together here, and how many there are of them."""
    from xplain.graph.build.chains import CHAINED
    from xplain.models.onnx.session import chained as here

    return len(here()), len(CHAINED)


def _is(source: Any, module: str, name: str) -> bool:
    """Whether ``source`` is an instance of a class of a package that is only looked up if somebody imported it."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(source, kind)
