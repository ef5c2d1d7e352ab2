"""The key of links."""

from __future__ import annotations

from dataclasses import replace

from wsproxy.jose.keys import TokenKey, symmetricKey

__all__ = ["ALGORITHM", "linkKey"]

ALGORITHM = "HS256"


def linkKey(secret: bytes) -> TokenKey:
    """
    @param secret: the key as it is, nothing decoded: what other languages sign with.
    @return: good for signatures with L{ALGORITHM}, and for nothing else.
    @raise ConfigError: it is shorter than 32 bytes, or a public key.
    """
    key = symmetricKey(secret)
    return replace(key, signing={ALGORITHM: key.signing[ALGORITHM]}, encryption=())
