"""Sessions on file: the format, and what writes it."""
