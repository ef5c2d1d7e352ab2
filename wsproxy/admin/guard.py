"""Who may ask the admin side for anything.

A browser on the operator's machine reaches what listens on its loopback, and so do all the pages that it shows. Such a
page has a name of its own as C{Host} (DNS rebinding), or an C{Origin}; and it does not have the token, which is sent as
C{Authorization: Bearer} (RFC 6750 section 2.1), never by the browser itself as a cookie is. So no page of anybody else
gets anywhere.
"""

from __future__ import annotations

import hmac
import math
import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from wsproxy.admin.reply import Reply, problem
from wsproxy.limits.guesses import Guesses

__all__ = ["Guard"]

_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]]+))(?::[0-9]{1,5})?")
"""RFC 9112 section 3.2: an address of IPv6 in brackets, or anything else; and a port."""

_CHALLENGE = ("WWW-Authenticate", 'Bearer realm="wsproxy"')


class Guard:
    """
    @param token: what an operator shows; L{None}: whoever gets here may do anything.
    @param readToken: what is good for C{GET} alone, of Prometheus say.
    @param hosts: names by which the admin side is called, beside addresses and C{localhost}.
    @param seconds: the time, for durations.
    """

    def __init__(
        self, token: str | None, readToken: str | None, hosts: tuple[str, ...], seconds: Callable[[], float]
    ) -> None:
        self._token = _asBytes(token)
        self._readToken = _asBytes(readToken)
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts) | {"localhost"}
        self._guesses = Guesses(seconds)

    def foreign(self, request: Any) -> Reply | None:
        """@return: what a request is told that comes by a name that is not ours, or from somebody's page."""
        hosts = request.requestHeaders.getRawHeaders("host", [])
        if len(hosts) != 1 or not self._isOurs(hosts[0]):
            return problem(403, "Host not allowed: use an address, localhost, or a name of --admin-host")
        origins = request.requestHeaders.getRawHeaders("origin", [])
        scheme = "https" if request.isSecure() else "http"
        if any(origin.lower() != f"{scheme}://{hosts[0].lower()}" for origin in origins):
            return problem(403, "Origin not allowed")
        return None

    def _isOurs(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = (match[1] or match[2]).lower().rstrip(".")
        try:
            ip_address(name)
        except ValueError:
            return name in self._hosts
        return True

    def unknown(self, request: Any, client: str) -> Reply | None:
        """
        @param client: its address, for which wrong tokens are counted.
        @return: what a request is told that shows no token, or the wrong one.
        """
        if self._token is None:
            return None
        wait = self._guesses.wait(client)
        if wait:
            return problem(429, "Too many wrong tokens", ("Retry-After", str(math.ceil(wait))))
        shown = _shown(request)
        if shown is None:
            return problem(401, "A token is needed: Authorization: Bearer …", _CHALLENGE)
        if hmac.compare_digest(shown, self._token):
            return None
        if self._readToken is not None and hmac.compare_digest(shown, self._readToken):
            return None if request.method in (b"GET", b"HEAD") else problem(403, "This token is for reading")
        self._guesses.count(client)
        return problem(401, "Wrong token", _CHALLENGE)


def _asBytes(token: str | None) -> bytes | None:
    return None if token is None else token.encode("utf-8", "surrogateescape")


def _shown(request: Any) -> bytes | None:
    for header in request.requestHeaders.getRawHeaders(b"authorization", []):
        scheme, _, token = header.partition(b" ")
        if scheme.lower() == b"bearer":
            return bytes(token.strip())
    return None
