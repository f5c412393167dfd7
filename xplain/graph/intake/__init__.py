"""A model file taken in: loaded, checked, bounded, brought into one form, and written out again."""
