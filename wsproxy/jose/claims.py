"""What a verified token says: RFC 7519 section 4. Its signature holds; that it makes sense is another question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["LEEWAY", "Claims", "TokenError", "checkTimes", "isFor", "targetOf", "timeOf"]

Claims = Mapping[str, Any]

LEEWAY = 30.0
"""Seconds that the clock of an issuer may be ahead for C{nbf}. C{exp} has none: an end is an end."""

_LATEST = 253402300799
"""The last second of the year 9999. What is beyond it counts milliseconds, and would never expire."""


class TokenError(Exception):
    """
    A token does not hold. C{str()} is for the log: it quotes nothing of the token but what its signature covers.
    """


def timeOf(claims: Claims, name: str) -> float | None:
    """
    @return: seconds since the epoch, as a NumericDate has them; L{None} where the token does not say.
    @raise TokenError: that is no time.
    """
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TokenError(f"{name} is no number")
    if not -_LATEST <= value <= _LATEST:
        raise TokenError(f"{name} is no time in seconds; milliseconds?")
    return float(value)


def checkTimes(claims: Claims, now: float) -> None:
    """@raise TokenError: it has expired, or does not hold yet, or says neither in numbers."""
    expires, begins = timeOf(claims, "exp"), timeOf(claims, "nbf")
    if expires is not None and now >= expires:
        raise TokenError(f"expired {now - expires:.0f} s ago (exp)")
    if begins is not None and now < begins - LEEWAY:
        raise TokenError(f"not valid before {begins - now:.0f} s from now (nbf); do the clocks differ?")


def isFor(claims: Claims, audience: str) -> bool:
    """Whether C{aud}, a name or several, has this one."""
    value = claims.get("aud")
    return value == audience or (isinstance(value, list) and audience in value)


def targetOf(claims: Claims) -> str:
    """
    @return: where it leads: C{target}, or C{host} and C{port} as websockify has them, to which the host
        C{unix_socket} has a path for its port.
    @raise TokenError: it leads nowhere.
    """
    target = claims.get("target")
    if isinstance(target, str) and target:
        return target
    host, port = claims.get("host"), claims.get("port")
    if target is not None or not isinstance(host, str) or not host:
        raise TokenError("neither target nor host and port")
    if host == "unix_socket" and isinstance(port, str) and port.startswith("/"):
        return f"{host}:{port}"
    if isinstance(port, bool) or not isinstance(port, (int, str)) or not _isPort(str(port)):
        raise TokenError("port is no port")
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _isPort(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536
