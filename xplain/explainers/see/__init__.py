"""Lenses: what a model has learnt to look at, layer by layer, unit by unit, picture by picture."""
