"""Signed links: one token that says who comes, where it leads, and until when; good once, if it says so."""
