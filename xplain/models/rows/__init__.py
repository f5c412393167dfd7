"""Functions, tables and texts that answer questions: rows of features, and what they stand for."""
