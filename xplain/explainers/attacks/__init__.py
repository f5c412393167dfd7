"""Attacks: flows that change items until the model errs, judged on what can be saved and sent. For one's own models."""
