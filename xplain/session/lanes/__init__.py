"""Lanes: a model and a method opened once and asked batch after batch, by one compiled graph or by the engine."""
