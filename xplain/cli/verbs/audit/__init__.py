"""Explain a million items so that somebody can sign for it: planned, run through any crash, verified, reported.

An audit is a folder. Its plan is known by its hash; what is sealed is done, whoever made it; whatever runs it again
goes on where it stopped.
"""

from __future__ import annotations

__all__ = ["FIRST"]

FIRST = ("plan", "run", "status", "verify", "analyse", "report", "diff", "export")
"""The order in which help lists its verbs; others follow by name."""
