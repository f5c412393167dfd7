"""The slope of the score: saliency, its refinements along paths, and averages over noise."""
