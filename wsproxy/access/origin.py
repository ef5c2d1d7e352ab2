"""Which web pages may connect: the C{Origin} that browsers send with an upgrade (RFC 6455 section 10.2).

A browser lets any page open a WebSocket to any host, with the visitor's address and cookies; the C{Origin}
header is all that tells the proxy's own page from a stranger's. Programs that are not browsers send none,
or what they like: this protects visitors, it does not authenticate clients.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wsproxy.errors import ConfigError

__all__ = ["OriginPolicy"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_][a-z0-9._-]*)(?::(?P<port>[0-9]{1,5}))?"
_AUTHORITY = re.compile(_HOST)
_ORIGIN = re.compile(rf"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<wildcard>\*\.)?{_HOST}")


@dataclass(frozen=True)
class _Origin:
    """RFC 6454 section 4: scheme, host and port, lower case, the scheme's default port filled in."""

    scheme: str
    host: str
    port: int | None


def _parse(text: str) -> tuple[_Origin, bool] | None:
    """@return: the origin, and whether its host began with a C{*.} (now gone); L{None} for anything else."""
    match = _ORIGIN.fullmatch(text.lower()) if text.isascii() else None
    if match is None:
        return None
    scheme = match["scheme"]
    port = int(match["port"]) if match["port"] else _DEFAULT_PORTS.get(scheme)
    if port is not None and port > 65535:
        return None
    return _Origin(scheme, match["host"], port), match["wildcard"] is not None


class OriginPolicy:
    """
    The values of C{--origin}, or without any, the host that the client connected to.

    @param allowed: each C{*} for every origin, C{null} for pages without one, C{SCHEME://HOST[:PORT]}, or
        C{SCHEME://*.DOMAIN[:PORT]} for every host below a domain. They replace the default, not add to it.
    @raise ConfigError: a value is none of these.
    """

    def __init__(self, allowed: tuple[str, ...] = ()) -> None:
        self._sameHost = not allowed
        self._any = "*" in allowed
        self._null = "null" in allowed
        self._exact: set[_Origin] = set()
        self._below: set[_Origin] = set()
        for text in allowed:
            if text in ("*", "null"):
                continue
            parsed = _parse(text)
            if parsed is None:
                shown = text if text.isprintable() else ascii(text)
                raise ConfigError(f"--origin {shown}: expected SCHEME://HOST[:PORT], '*' or 'null'")
            origin, wildcard = parsed
            (self._below if wildcard else self._exact).add(origin)

    def allows(self, origin: str | None, host: str | None, secure: bool) -> bool:
        """
        Whether an upgrade may go ahead.

        @param origin: its C{Origin} header; without one it does not come from a web page, and may.
        @param host: its C{Host} header, the authority that the browser connected to.
        @param secure: whether it came over TLS to us.
        """
        if origin is None or self._any:
            return True
        if origin == "null":
            return self._null
        parsed = _parse(origin)
        if parsed is None or parsed[1]:
            return False
        page = parsed[0]
        if self._sameHost:
            return _isSameHost(page, host, secure)
        return page in self._exact or any(_isBelow(page, domain) for domain in self._below)


def _isSameHost(page: _Origin, host: str | None, secure: bool) -> bool:
    """
    Whether a page came from the host and port that its request is for.

    The schemes need not agree: behind a proxy that ends TLS, a page of C{https://h} arrives here in plain
    with C{Host: h}. A C{Host} without a port then stands for the default of the scheme that the browser
    used, which is the page's, since browsers do not let a page at C{https:} speak C{ws:}. Over TLS to us
    it stands for 443 and nothing else: a page at C{http://h} may be anyone's who sits on the visitor's
    network.
    """
    match = _AUTHORITY.fullmatch((host or "").lower())
    if match is None or page.scheme not in _DEFAULT_PORTS or page.host != match["host"]:
        return False
    implied = _DEFAULT_PORTS["https" if secure else page.scheme]
    return page.port == (int(match["port"]) if match["port"] else implied)


def _isBelow(page: _Origin, domain: _Origin) -> bool:
    return (page.scheme, page.port) == (domain.scheme, domain.port) and page.host.endswith("." + domain.host)
