"""Change the input, watch the score: features x design x estimator. Every model can answer these questions."""
