"""Graphs under construction: values with arithmetic that emit nodes, and the file that comes of it."""
