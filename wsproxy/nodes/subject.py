"""Whom a revocation is about: an identity, a token, an id of a token, a session. No Twisted in here.

What stands for them where others might read it is a hash under the cluster's key, but for a session's id, which gives
nobody access.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any

from wsproxy.interfaces import Admitted, Request

__all__ = ["KINDS", "Subjects", "claimsOf", "nameOf", "tokenExpiry"]

KINDS = ("identity", "token", "jti", "session")

_LAST = 253402300799
"""The year 9999: of what is beyond, and of what is no number, nothing is to be made."""

_DIGITS = 32
"""Of a hash, hexadecimal: 128 bits."""


class Subjects:
    """
    @param hide: a hash under a key that all nodes have: L{Cluster.hidden<wsproxy.cluster.cluster.Cluster>}.
    @param tokenOf: the token that a request came with; L{None} where there are no tokens.
    """

    def __init__(
        self, hide: Callable[[str | bytes], str], tokenOf: Callable[[Request], str | None] | None = None
    ) -> None:
        self._hide = hide
        self._tokenOf = tokenOf

    def hidden(self, kind: str, name: str) -> str:
        """@return: what stands for this one."""
        if kind == "session":
            return name
        shown = _granted(name) if kind == "token" else name
        return self._hide(f"revoked:{kind}:{shown}")[:_DIGITS]

    def of(self, admitted: Admitted) -> tuple[str, ...]:
        """
        @param admitted: its C{request} is whole: nobody finds the token later.
        @return: what stands for whoever this is. Of that a session keeps 300 bytes.
        """
        found = []
        name = nameOf(admitted)
        if name is not None:
            found.append(self.hidden("identity", name))
        jti = claimsOf(admitted).get("jti")
        if isinstance(jti, str):
            found.append(self.hidden("jti", jti))
        token = None if self._tokenOf is None else self._tokenOf(admitted.request)
        if token:
            found.append(self.hidden("token", token))
        return tuple(found)


def nameOf(admitted: Admitted) -> str | None:
    """@return: the user; where nobody was asked for one, that of the token."""
    if admitted.identity is not None:
        return admitted.identity.name
    name = admitted.target.claims.get("sub")
    return name if isinstance(name, str) else None


def claimsOf(admitted: Admitted) -> Mapping[str, Any]:
    """@return: what the token says that let this one in, as far as there is one that says anything."""
    claims = admitted.target.claims
    if not claims and admitted.identity is not None:
        claims = admitted.identity.claims
    return claims


def _granted(token: str) -> str:
    """
    What of a token grants something. Of a signed one (RFC 7515 section 7.1) that is all but the signature, which can be
    written in more than one way: the last digit of base64url has bits to spare.
    """
    return token.rpartition(".")[0] if _isSigned(token) else token


def _isSigned(token: str) -> bool:
    return token.startswith("eyJ") and token.count(".") == 2


def tokenExpiry(token: str) -> float | None:
    """@return: until when a signed token says that it is good; nobody has verified that."""
    if not _isSigned(token):
        return None
    payload = token.split(".")[1]
    try:
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        expires = claims.get("exp")
    except (ValueError, AttributeError):
        return None
    if type(expires) not in (int, float) or not 0 <= expires <= _LAST:
        return None
    return float(expires)
