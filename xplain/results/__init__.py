"""One run, one result: what an explanation is, with everything needed to draw, compare, repeat and sign it."""
