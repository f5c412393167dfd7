"""Everything that is done to a model before it is walked. Each pass changes a model without weights in place.

The order matters. Once for a model (``analysed``): weights out, so that nothing heavy is copied; local functions
inlined, names freed, opset raised, shapes inferred, constant branches taken, recurrent, integer and fused operators
opened (in one walk, also inside branches), products of integers made real for relevance, operators without a rule
replaced by their definition, shape arithmetic followed. Then for each sweep: batch norms folded, quotients and
softmaxes that were written out found for rules that compare two passes, and the shapes that nobody could see probed by
one run. For a plain gradient, rows are picked before they are computed, maxima taken before ReLUs, bounds left to the
quantisers behind them, and GELUs found.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from onnx import ModelProto, TensorProto

from xplain.core.rules import Rules
from xplain.graph.naming import tell_apart
from xplain.graph.ops.gelu import Gelu
from xplain.graph.passes.analysed import Analysed
from xplain.graph.passes.gather_early import pick_early
from xplain.graph.passes.gelus import share_gelus
from xplain.graph.passes.norms import fold_norms
from xplain.graph.passes.ratios import write_ratios
from xplain.graph.passes.relu_after_pool import pool_early
from xplain.graph.passes.saturated import leave_to_quantisers
from xplain.graph.passes.shapes import probe_missing

__all__ = ["Analysed", "Prepared", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """A model that is ready to be walked.

    Args:
        model: Without its weights.
        weights: Name to tensor, as they were; put back when a file is written.
        folder: Where external data lie.
        notes: What a person should know.
        gelus: GELUs that are differentiated as one function, by the tensor they make.
    """

    model: ModelProto
    weights: Mapping[str, TensorProto]
    folder: str = ""
    notes: tuple[str, ...] = ()
    gelus: Mapping[str, Gelu] = field(default_factory=dict)


def prepare(
    model: ModelProto | Analysed, rules: Rules, wanted: Set[str] = frozenset(), as_it_is: bool = False
) -> Prepared:
    """Make a model ready to be walked with a table of rules; the given model is not changed.

    Args:
        model: Any ONNX model, or what was found in it before; that knows of weights outside the model.
        rules: The table; it may ask for batch norms to be folded and for operators to be opened.
        wanted: Tensors that must stay, because they are taps or seeds.
        as_it_is: Nothing is moved that comes to the same only while nothing stands between operators.
    """
    if isinstance(model, ModelProto):
        model = Analysed(model)
    light, notes = model.form(rules, wanted)
    folder, weights = model.folder, model.weights
    if rules.fold_norms:
        fold_norms(light, wanted)
    if rules.reference:
        write_ratios(light, weights, folder)
    tell_apart(light.graph.node)
    probe_missing(light, weights, folder, notes, model.outside)
    if rules.entries or as_it_is:
        return Prepared(light, weights, folder, tuple(notes))
    pick_early(light, weights, folder, wanted)
    pool_early(light, wanted)
    leave_to_quantisers(light, weights, wanted)
    return Prepared(light, weights, folder, tuple(notes), share_gelus(light, weights, folder, wanted))
