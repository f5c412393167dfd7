"""The nouns of looking inside a model: what a lens sees, what it keeps of a layer, and what it returns."""
