"""What a model does over a whole table: flows that no single item is the subject of."""
