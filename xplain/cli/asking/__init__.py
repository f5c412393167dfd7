"""What a command line may say: the model, the items, the method and its options, and what may be spent."""
