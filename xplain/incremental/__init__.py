"""Incremental inference in delta form: what a hidden window changes, followed through an ONNX graph.

Occlusion asks a network the same question hundreds of times with a small window changed. Only what the window reaches
has to be computed again. Each tensor keeps ``delta = masked - base`` on one rectangle per mask and is exactly zero
outside it, so linear operators act on deltas alone and need no context, and the base is read where a value matters:
``act(base + delta) - act(base)``.

``plan`` walks a graph and returns a ``Plan``; ``Runner`` carries batches of masks through it; the models room runs the
head and the tail of the plan. The approach goes back to incremental view maintenance for CNNs (Nakandala, Kumar and
Papakonstantinou, Incremental and Approximate Inference for Faster Occlusion-based Deep CNN Explanations, SIGMOD 2019).
"""

from __future__ import annotations

from xplain.incremental.accuracy import affordable, measure
from xplain.incremental.plan import LayerGain, Plan, Refused, Way, digest_of, plan
from xplain.incremental.run import Bases, Runner

__all__ = ["Bases", "LayerGain", "Plan", "Refused", "Runner", "Way", "affordable", "digest_of", "measure", "plan"]
