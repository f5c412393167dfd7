"""How things are declared once, above their function: registries, options, and how messages mention them."""
