"""JSON Web Tokens (RFC 7515 to 7519), by joserfc: keys and signatures, what a token says, and whether it holds."""
