"""Attacks: made within a budget, verified by a plain run, and what the explanation and simple defences did."""
