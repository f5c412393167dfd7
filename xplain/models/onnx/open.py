"""From an ONNX source to a model that answers: read, check, find the scores, choose the input, attach the card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from xplain.core.card import Card, find_card, load_card
from xplain.core.caveat import Caveat
from xplain.core.keeping.content import fingerprint
from xplain.core.outline import Outline
from xplain.core.targets.units import stated_scores
from xplain.graph.intake.load import Loaded, OnnxSource, read
from xplain.graph.outline.fields import fields
from xplain.graph.outline.follow import follow
from xplain.graph.outline.kernels import kernels
from xplain.graph.outline.layers import activations_of, draws_of, layers_of, quirks_of
from xplain.graph.outline.layout import axes_of
from xplain.graph.outline.logits import both_sides, find_scores
from xplain.graph.outline.picks import detects_of
from xplain.graph.safety import Limits
from xplain.models.onnx.contact import Contact
from xplain.models.onnx.device import OnnxOnDevice
from xplain.models.onnx.file import OnnxFile, Running
from xplain.models.onnx.inputs import arranged
from xplain.models.onnx.places import lanes_for
from xplain.models.onnx.providers import CPU
from xplain.models.onnx.session import choose_providers
from xplain.models.options import OnnxOptions
from xplain.models.outlines import not_finite, settled, tell_providers, warned

__all__ = ["open_onnx"]


def open_onnx(
    source: OnnxSource,
    options: OnnxOptions | None = None,
    *,
    trusted: bool = False,
    edit: Callable[[Loaded], Any] | None = None,
) -> OnnxFile:
    """An ONNX model that answers questions; see ``xplain.models.load``.

    A model that is ``trusted`` was made in this process: there is no first contact in another, and what it calls its
    scores is read as it is. ``edit`` changes the graph in place before its inputs are looked at, and returns what the
    answers depend on beside the file.
    """
    options = options or OnnxOptions()
    choice = choose_providers(options.providers)
    limits, output, fixed = options.limits or Limits(), options.output, options.fixed or {}
    contact = None if trusted else Contact(options.allow_external_data, limits, output, options.input, fixed)
    meet = None if contact is None else contact.load
    loaded = read(source, allow_external_data=options.allow_external_data, limits=limits, output=output, meet=meet)
    if contact is not None:
        loaded.before_sweep = contact.sweep
    edited = None if edit is None else edit(loaded)
    inputs, explained, others = arranged(loaded, options.input, fixed)
    found = find_scores(loaded, output, as_is=trusted)
    found = replace(found, scores=stated_scores(found.scores, options.scores))
    own = _card(loaded, options.card)
    if own is not None and len(own.labels) == 2 and found.scores.classes == 1:
        found = both_sides(loaded, found)
    facts = {**loaded.facts, **not_finite({**fixed, **others})}
    found.write_into(loaded.model)
    beside = {name: one.shape for name, one in others.items()}
    walked = lru_cache(maxsize=4)(partial(fields, loaded, fixed=beside))
    outline = Outline(
        source=loaded.source,
        kind="onnx",
        digest=_digest(loaded, {**fixed, **others}, edited),
        inputs=inputs,
        input=explained.name,
        layout=None,
        scores=found.scores,
        layers=layers_of(loaded),
        labels=found.labels,
        quirks=(*found.quirks, *quirks_of(loaded, found.scores.tensor)),
        facts={
            **facts,
            **{f"checked: {check.what}": check.found for check in loaded.verdict.checks},
        },
        activations=activations_of(loaded),
        outputs=tuple(entry.name for entry in loaded.model.graph.output),
        detects=detects_of(loaded, found.scores),
        follow=lru_cache(maxsize=8)(partial(follow, loaded, fixed=beside)),
        kernels=kernels(loaded),
        fields=lambda layer, layout: walked(layout)(layer),
    )
    away = [f"Left out: {check.found}." for check in loaded.left.checks if output is None]
    said = tuple(Caveat(sentence, "output") for sentence in (*found.quirks, *away))
    outline = replace(outline, warnings=(*outline.warnings, *said))
    outline = warned(outline, *draws_of(loaded, found.scores.tensor))
    outline = settled(outline, own, options.layout, axes_of(loaded, explained.name))
    lanes, used, why = lanes_for(choice.used)
    how = Running(used, options.threads, limits.seconds if loaded.loops else None, options.engine)
    on_cpu = used[0][0] == CPU
    model = (
        OnnxFile(loaded, outline, others, how) if on_cpu else OnnxOnDevice(loaded, outline, others, how, lanes=lanes)
    )
    model.outline = tell_providers(model.outline, model.providers, choice.fallback, model.fallback)
    if why:
        model.outline = replace(model.outline, quirks=(*model.outline.quirks, why))
    return model


def _digest(loaded: Loaded, others: Mapping[str, Any], edited: Any) -> str:
    """What answers depend on: the file, the values of its other inputs, and how its graph was edited."""
    if edited is not None:
        return fingerprint(loaded.digest, others, edited)
    return fingerprint(loaded.digest, others) if others else loaded.digest


def _card(loaded: Loaded, given: Any) -> Card | None:
    if given is not None:
        return load_card(given)
    if loaded.path is not None:
        return find_card(loaded.path, loaded.metadata)
    text = loaded.metadata.get("xplain.card")
    return None if text is None else Card.from_toml(text, "in the model's metadata")
