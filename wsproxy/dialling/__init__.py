"""The way to a target: names, addresses, attempts, TLS."""
