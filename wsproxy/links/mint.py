"""Making a link: the claims, and the signature."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from joserfc.jwk import OctKey
from joserfc.jwt import encode

from wsproxy.errors import ConfigError
from wsproxy.jose.keys import symmetricKey
from wsproxy.links.cookie import PARAMETER

__all__ = ["PLACE", "claimsFor", "linkTo", "mint"]

PLACE = "{token}"
"""What stands for the token in an address."""


def claimsFor(
    target: str, *, now: float, lifetime: float, identity: str | None = None, once: bool = False, **more: str | None
) -> dict[str, Any]:
    """
    @param lifetime: seconds.
    @param more: claims by their names; L{None} for none.
    """
    claims = {
        "target": target,
        "sub": identity,
        # with its fraction: one that is made within the second in which a proxy begins is from after its start
        "iat": round(now, 3),
        "exp": int(now + lifetime),
        "jti": secrets.token_urlsafe(16),
        "once": once or None,
        **more,
    }
    return {name: value for name, value in claims.items() if value is not None}


def mint(secret: bytes, claims: Mapping[str, Any]) -> str:
    """
    @return: the token.
    @raise ConfigError: the secret is too short, or none.
    """
    key = symmetricKey(secret).key
    assert isinstance(key, OctKey)
    return encode({"alg": "HS256"}, dict(claims), key, ["HS256"])


def linkTo(url: str, token: str) -> str:
    """
    @return: C{url} with the token where L{PLACE} is in it, else as a parameter of its query.
    @raise ConfigError: there is a token in it already.
    """
    if PLACE in url:
        return url.replace(PLACE, token)
    address, mark, fragment = url.partition("#")
    path, _, query = address.partition("?")
    pairs = [pair for pair in query.split("&") if pair]
    if any(unquote_plus(pair.partition("=")[0]) == PARAMETER for pair in pairs):
        raise ConfigError("there is a token in it already")
    return f"{path}?{'&'.join([*pairs, f'{PARAMETER}={token}'])}{mark}{fragment}"
