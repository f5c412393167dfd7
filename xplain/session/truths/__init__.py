"""What is known to be in items: boxes and masks of the caller, as tables, annotation files and folders state them."""
