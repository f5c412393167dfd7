"""What a perturbation method asks: what hides a position, which windows, which coalitions."""
