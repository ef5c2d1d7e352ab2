"""TLS on both sides: contexts, certificates, and the files they come from."""
