"""Wrapped programs: their supervisor, and its side of rebind."""
