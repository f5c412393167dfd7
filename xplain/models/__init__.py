"""Models that answer questions: ONNX files, torch modules, Python functions. One door to all of them: ``load``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from inspect import signature
from typing import TYPE_CHECKING, Any

from xplain.core.card import Card
from xplain.core.errors import UsageError, unknown
from xplain.core.query import Model
from xplain.models.rows.estimators import is_estimator

if TYPE_CHECKING:
    from xplain.graph.safety import Limits
    from xplain.models.onnx.providers import Wanted

__all__ = ["ENGINES", "load", "provider_findings", "providers"]

ENGINES = ("auto", "plain", "fast")
"""Ways in which an ONNX model answers hidden windows."""


def load(
    source: Any,
    *,
    card: Card | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    input: str | None = None,  # noqa: A002  (the word that people know)
    output: int | str | None = None,
    fixed: Mapping[str, Any] | None = None,
    providers: Wanted = None,
    threads: int | None = None,
    allow_external_data: bool = False,
    limits: Limits | None = None,
    engine: str = "auto",
    memory_format: str = "contiguous",
    precision: str = "float32",
    graphs: bool = False,
    layout: str | None = None,
    version: str = "",
    price: Any = None,
    **endpoint: Any,
) -> Model:
    """A model that answers questions.

    Threads may share it: results have the bits that one thread alone gets. A torch module is held by one thread at a
    time, also where two models share a part of it; a Python function is called by all of them at once. The caller's own
    code must not train a module, or change its mode or weights, while it is being explained.

    Args:
        source: Path of an ONNX file, its bytes, an ``onnx.ModelProto``, a ``torch.nn.Module`` or exported program, a
            Python function ``f(batch) -> scores``, or the URL of an endpoint.
        card: How pictures become tensors; None for the card beside the file or in its metadata.
        input: Name of the input that is explained, where there are several.
        output: Name of the tensor that is read as scores, instead of the one that is found; of what a torch module
            returns, a key, an attribute or a place (``1``, or ``"output:1"``).
        fixed: Values of the other inputs, by name, with or without a batch axis of 1.
        providers: ONNX Runtime execution providers, best first: full names, ``"tensorrt"``, ``"cuda"`` or ``"cpu"`` for
            short, ``"cuda:1"`` for a device, or ``(name, options)`` as the runtime takes them. None for CUDA where
            there is a device, else the CPU. Those that are not there or do not start are passed over, which the quirks
            and every result's notes say; if none is left, that is an error.
        threads: Threads of one run; None for all that the process may use.
        allow_external_data: Whether an ONNX file may read weights from any file of its folder. Those that exporters
            write beside it, such as ``m.onnx.data`` for ``m.onnx``, are read without.
        limits: How large an ONNX file may be; see ``xplain.graph.safety.Limits``.
        layout: How the axes of the explained input are named, a letter each, such as ``"NHWC"``, ``"NTC"``,
            ``"NCDHW"``; see ``xplain.core.layout``. None: what the model's operators, its card, the names of its
            dimensions and last the sizes of the items say, and where those leave a doubt, a question.
        version: Names what a function, or an endpoint that tells no version, answers with, so that its answers can be
            remembered (``explain(..., cache=)``); change it with the model.
        price: What an evaluation by a function or an endpoint costs.
        engine: How an ONNX model answers hidden windows (occlusion). ``"auto"``: incrementally, computing again only
            what a window changes, where that is predicted to pay; same answers to float32 rounding. ``"fast"``: the
            same, approximate: differences in bfloat16 where the processor gains by it, else Winograd convolutions
            without regard to their rounding; the result says by how much. ``"plain"``: every window in full.
        memory_format: How a torch module's pictures lie in memory: ``"contiguous"`` or ``"channels-last"``.
        precision: Of a torch module's passes: ``"float32"`` (its own types), or ``"bfloat16"`` or ``"float16"`` by
            ``torch.autocast``; approximate, and every result says so.
        graphs: Whether a torch module's full chunks on a CUDA device are captured as CUDA graphs.
        endpoint: Options of an endpoint; see ``xplain.models.endpoint.open_endpoint``.

    Raises:
        UsageError: an option that cannot be used, or a source that is none of the kinds above.
        Unsafe: refused by default; the message says why, and how to allow it.
        ModelError: the model cannot be loaded.
        CardError: the card does not fit.
        MissingDependency: ONNX Runtime or torch is needed and not there.
    """
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise UsageError(f"threads is {threads!r}; accepted: a whole number of at least 1, or None for all.")
    if engine not in ENGINES:
        raise UsageError(f"engine is {engine!r}; accepted: {', '.join(map(repr, ENGINES))}.")
    onnx_only: dict[str, Any] = {
        "input": input,
        "output": output,
        "fixed": fixed,
        "providers": providers,
        "allow_external_data": allow_external_data,
        "limits": limits,
        "engine": engine if engine != "auto" else None,
    }
    if _is(source, "torch.export", "ExportedProgram"):
        source = source.module()
    torch_only: dict[str, Any] = {"memory_format": memory_format, "precision": precision, "graphs": graphs}
    torch_given = [name for name, value in torch_only.items() if value not in ("contiguous", "float32", False)]
    if torch_given and not _is(source, "torch.nn", "Module"):
        raise UsageError(f"{', '.join(torch_given)}: only for torch modules; got {type(source).__name__}.")
    if isinstance(source, str) and source.startswith(("https://", "http://", "grpcs://", "grpc://")):
        from xplain.models.endpoint import open_endpoint

        for name in endpoint:
            if name not in signature(open_endpoint).parameters:
                raise unknown("option of an endpoint:", name, signature(open_endpoint).parameters)
        shared: dict[str, Any] = {"card": card, "input": input, "output": output, "fixed": fixed}
        shared |= {"version": version, "price": price, "layout": layout}
        return open_endpoint(source, **shared, **endpoint)
    if endpoint:
        raise UsageError(f"{', '.join(endpoint)}: only for endpoints (https://...), or not an option at all.")
    if isinstance(source, (str, os.PathLike, bytes)) or _is(source, "onnx", "ModelProto"):
        from xplain.graph.understood import understood
        from xplain.models.onnx.open import open_onnx

        with understood(str(source) if isinstance(source, (str, os.PathLike)) else type(source).__name__):
            return open_onnx(source, card=card, threads=threads, layout=layout, **{**onnx_only, "engine": engine})
    if _is(source, "torch.nn", "Module"):
        onnx_only.pop("output")
    given = [name for name, value in onnx_only.items() if value is not None and value is not False]
    if given:
        raise UsageError(f"{', '.join(given)}: only for ONNX models; {type(source).__name__} takes card and threads.")
    if _is(source, "torch.nn", "Module"):
        from xplain.models.torch.device import TorchOptions
        from xplain.models.torch.module import TorchModule

        return TorchModule(source, card, TorchOptions(**torch_only), layout, output)
    if callable(source):
        from xplain.models.rows.function import of_batches

        return of_batches(source, card=card, version=version, price=price, layout=layout)
    if is_estimator(source):
        from xplain.models.rows.table import table

        return table(source, version=version, price=price)  # its rows say what their columns are
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


def _is(source: Any, module: str, name: str) -> bool:
    """Whether ``source`` is an instance of a class of a package that is only looked up if somebody imported it."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(source, kind)
