"""Audits: a plan, its shards, what judges them, and a report: a door on ``session`` for a million items.

An audit is a folder. Its plan names every choice and is known by its hash; a shard of it is a function of that plan and
of a number, so that whoever makes it, and how often, the same bits come out; its seal, created once, is the only truth.
"""
