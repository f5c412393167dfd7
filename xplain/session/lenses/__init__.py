"""Looking inside: lenses on items that are read part by part, and on vectors that were kept."""
