"""The language of targets: what a person asks for, how it is written and read, and what it comes to at the items."""
