"""Whether explanations are true: curves, metrics beside maps that know nothing, weights drawn anew, effects."""
