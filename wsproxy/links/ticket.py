"""What makes two links the same, where one is good once: the name by which it is remembered. No Twisted in here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256

from wsproxy.jose.claims import Claims, TokenError, timeOf

__all__ = ["Ticket", "ticketOf"]


@dataclass(frozen=True, slots=True)
class Ticket:
    """
    @ivar name: the same for the same link: 32 hexadecimal digits, from which it cannot be made.
    @ivar expires: until when it is to be remembered; seconds since the epoch, as below.
    @ivar issued: when it was made (C{iat}); L{None} where it does not say.
    """

    name: str
    expires: float
    issued: float | None


def ticketOf(claims: Claims) -> Ticket | None:
    """
    @return: L{None} for a link that is good until it expires.
    @raise TokenError: it has no C{exp}, or what it says about being good once makes no sense.
    """
    expires = timeOf(claims, "exp")
    if expires is None:
        raise TokenError("no exp: links expire")
    once = claims.get("once", False)
    if not isinstance(once, bool):
        raise TokenError("once is neither true nor false")
    return Ticket(_name(claims), expires, timeOf(claims, "iat")) if once else None


def _name(claims: Claims) -> str:
    """Its C{jti}; of one without, all that it says."""
    jti = claims.get("jti", "")
    if not isinstance(jti, str):
        raise TokenError("jti is no text")
    text = f"jti {jti}" if jti else json.dumps(claims, sort_keys=True)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
