"""The proxy as a service: it listens, and it ends."""
