"""What is known of a graph before anything is asked: constants, axes, scores and their logits, quantised tensors."""
