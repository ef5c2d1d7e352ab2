"""What several nodes have in common, in Redis."""
