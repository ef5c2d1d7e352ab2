"""Who may come in: origin, the client's identity, authentication, limits."""
