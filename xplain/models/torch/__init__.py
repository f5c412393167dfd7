"""Torch modules that answer questions natively: the only place that imports torch."""
