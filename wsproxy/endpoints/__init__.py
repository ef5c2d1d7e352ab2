"""Where to listen and where to lead to, as people write it."""
