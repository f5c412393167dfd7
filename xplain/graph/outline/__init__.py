"""What a loaded model is to a person: its layers, its scores, which axis of a tensor is which."""
