"""Sessions: the decision about a client, its way to a target, and its end."""
