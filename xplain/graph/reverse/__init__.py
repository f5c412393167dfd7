"""Reverse mode: the walk from a target back to a tap, what starts it, and explanations compiled into the model."""
