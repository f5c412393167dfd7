"""Recipes: pictures that are made so that a model, or a unit in it, likes them. Flows of slopes; none holds a model."""
