"""Where things lie: the axes of tensors, followed from the item, its layout, and the grid of a layer."""
