"""The nouns of making pictures and attacks: canvases, objectives, views, what is commissioned and what comes of it."""
