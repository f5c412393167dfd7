"""A class activation map from one function: ``weights(activations, gradients, places)``.

    @cam("grad-cam", paper=Paper("Selvaraju 2016", "arXiv:1610.02391"), unit="delta {score} through the layer")
    def grad_cam(activations, gradients, places):
        '''A deep layer's channels, each weighted by how the score depends on it on average, summed.'''
        return namespace(gradients).mean(gradients, axis=places, keepdims=True)

Everything else is the same for all of them, and written here: which layer, one sweep back to it, the weighted sum of
its channels, cutting off at 0, enlarging, and the documentation of the options that they share.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Required, TypedDict, Unpack

from xplain.core.arrays import summed
from xplain.core.declaring.docstrings import argument_docs, docstring_sections
from xplain.core.declaring.options import Cells, Natural
from xplain.core.declaring.registry import METHODS, Paper, facts_of, method_of
from xplain.core.query import Flow, Sweep, View
from xplain.core.rules import Rules
from xplain.explainers.cam.layers import map_layer, reading

__all__ = ["CamFacts", "cam"]

_ORDER = ("args", "returns", "cost", "differs from the paper", "raises", "source")


class CamFacts(TypedDict, total=False):
    """What ``@cam`` is told besides the name; see ``Method``."""

    paper: Required[Paper]
    unit: Required[str]
    aliases: tuple[str, ...]


def cam(name: str, **facts: Unpack[CamFacts]) -> Callable[[Callable[..., Any]], Callable[..., Flow]]:
    """Declare a class activation map; see ``Method`` for the arguments.

    The function takes the layer's activations and the target's gradients there, both ``[N, C, *cells]``, and the axes
    of the cells; it returns weights that broadcast against them. Keyword-only parameters of its own become options of
    the method. It must keep to the functions of ``namespace(activations)``: then the method can be compiled.

    The docstring needs a sentence of idea, the formula and the section Source; the shared sections are added, and one
    that is given, or one argument of it, stands in the place of the shared one.

    Returns:
        The method's generator, in the place of the function.
    """

    def declare(weights: Callable[..., Any]) -> Callable[..., Flow]:
        def flow(view: View, **options: Any) -> Flow:
            shared = {option: options.pop(option, default) for option, default in _SHARED.items()}
            chosen = map_layer(view, shared["layer"], shared["grid"], shared["tokens"])
            answer = yield Sweep(view.x[:, None], view.target, Rules(), (chosen.name,))
            activations, gradients = (chosen.maps(one) for one in answer[chosen.name])
            weighted = weights(activations, gradients, chosen.places, **options) * activations
            return reading(
                view,
                chosen,
                summed(weighted, 1),
                rectify=not shared["signed"],
                channels=lambda: summed(gradients * activations, chosen.places),
            )

        own, shared = (facts_of(one)["options"] for one in (weights, _shared))
        parameters = [*inspect.signature(_shared).parameters.values()]
        parameters += [one for one in inspect.signature(weights).parameters.values() if one.kind is one.KEYWORD_ONLY]
        flow.__name__, flow.__qualname__, flow.__module__ = weights.__name__, weights.__qualname__, weights.__module__
        flow.__doc__ = _documented(inspect.getdoc(weights) or "")
        flow.__dict__["__signature__"] = inspect.Signature(parameters)
        sections = docstring_sections(flow.__doc__)
        said = argument_docs(sections["args"])
        options = {one: replace(option, doc=said.get(one, "")) for one, option in {**shared, **own}.items()}
        read = {"function": flow, "options": options, "sections": sections}
        METHODS.add(method_of(name, read, needs=Sweep, signed=False, **facts))
        return flow

    return declare


def _shared(
    view: View, *, layer: str = "auto", grid: Cells | None = None, tokens: Natural = 0, signed: bool = False
) -> Flow:
    """What all maps share.

    Args:
        layer: A layer ``[N, C, h, w]`` or of tokens; ``auto`` takes the last one before the head.
        grid: Rows and columns of the layer, such as ``8x18``, where they could not be followed from the input.
        tokens: Tokens in front of that grid that are no positions, such as 1 class token.
        signed: Keep what argues against the target, instead of cutting it off at 0.

    Returns:
        ``[N, H, W]``, enlarged bilinearly from h x w; at least 0 unless ``signed``.

    Cost:
        1 sweep per item, backwards only as far as the layer.

    Raises:
        UnknownName: no such layer.
        UsageError: the layer has no positions.
    """
    raise NotImplementedError(view, layer, grid, tokens, signed)  # only its signature and docstring are used


_SHARED = {
    name: parameter.default
    for name, parameter in inspect.signature(_shared).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
}


def _documented(docstring: str) -> str:
    """A map's docstring with the sections that it leaves to all of them, in the usual order."""
    own, shared = docstring_sections(docstring), docstring_sections(inspect.getdoc(_shared) or "")
    told = {**shared, **own}
    arguments = {**argument_docs(shared["args"]), **argument_docs(own.get("args", ""))}
    told["args"] = "\n".join(f"{name}: {text}" for name, text in arguments.items())
    parts = [told["summary"], told.get("body", "")]
    for title in (*_ORDER, *(name for name in own if name not in {*_ORDER, "summary", "body"})):
        if told.get(title):
            lines = (f"    {line}".rstrip() for line in told[title].splitlines())
            parts.append("\n".join([f"{title.capitalize()}:", *lines]))
    return "\n\n".join(part for part in parts if part)
