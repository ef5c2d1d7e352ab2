"""Which web pages may connect: the C{Origin} that browsers send with an upgrade (RFC 6455 section 10.2).

A browser lets any page open a WebSocket to any host, with the visitor's address and cookies; the C{Origin}
header is all that tells the proxy's own page from a stranger's. Programs that are not browsers send none,
or what they like: this protects visitors, it does not authenticate clients.

By default a page may connect to the host that it came from. Neither scheme nor port need agree: pages are served
on port 80 beside a proxy on 6080, proxies in front end TLS and lose the port of C{Host}, and cookies do not tell
ports apart either. Two exceptions hold:

- On a loopback host the ports must agree: any local server, of any user, is of that host.
- Where a browser is let in by something that it sends by itself (a cookie, Basic credentials, a client certificate),
  a page of C{http:} may not connect over TLS: it may be anyone's who sits on the visitor's network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from wsproxy.errors import ConfigError
from wsproxy.escape import escape

__all__ = ["OriginPolicy"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_][a-z0-9._-]*)(?::(?P<port>[0-9]{1,5}))?"
_AUTHORITY = re.compile(_HOST)
_ORIGIN = re.compile(rf"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<wildcard>\*\.)?{_HOST}")

_ANY, _SELF = "*", "'self'"
_NAMED = ("null", "file://")
"""Origins without a host: what browsers send for files and sandboxed frames, and what some web views do."""

_SHOWN = 100
"""Characters of a stranger's value in the log."""


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


def _page(text: str) -> _Origin | None:
    """The origin that a browser sent, where it has a host."""
    parsed = (_parseAgain if len(text) <= _SHOWN else _parse)(text)
    return None if parsed is None or parsed[1] else parsed[0]


_parseAgain = lru_cache(256)(_parse)
"""What is asked about most is one of a few."""


class OriginPolicy:
    """
    The values of C{--origin}, or without any, the host that the client connected to.

    @param allowed: each C{*} for every origin, C{'self'} (with its quotes, as in a Content-Security-Policy) for the
        host that the client connected to, C{null} or C{file://} for pages without a host, C{SCHEME://HOST[:PORT]}, or
        C{SCHEME://*.DOMAIN[:PORT]} for every host below a domain. They replace the default, not add to it.
    @param strictScheme: refuse pages of C{http:} over TLS, unless they are listed.
    @param required: refuse those who send no origin.
    @raise ConfigError: a value is none of these.
    """

    def __init__(self, allowed: tuple[str, ...] = (), *, strictScheme: bool = False, required: bool = False) -> None:
        self._sameHost = not allowed or _SELF in allowed
        self._listed = bool(allowed)
        self._strictScheme = strictScheme
        self._required = required
        self._any = _ANY in allowed
        self._named = {text for text in allowed if text in _NAMED}
        self._exact: set[_Origin] = set()
        self._below: set[_Origin] = set()
        for text in allowed:
            if text not in (_ANY, _SELF, *_NAMED):
                self._list(text)

    def _list(self, text: str) -> None:
        parsed = _parse(text)
        if parsed is None:
            shown = escape(text, None)
            raise ConfigError(f"--origin {shown}: expected SCHEME://HOST[:PORT], \"'self'\", '*', file:// or null")
        origin, wildcard = parsed
        (self._below if wildcard else self._exact).add(origin)

    def allows(self, origin: str | None, host: str | None, secure: bool) -> bool:
        """
        Whether an upgrade may go ahead.

        @param origin: its C{Origin} header; without one it does not come from a web page, and may, unless one is
            required.
        @param host: its C{Host} header, the authority that the browser connected to.
        @param secure: whether the browser came over TLS, to us or to a proxy in front that we believe.
        """
        if origin is None:
            return not self._required
        if self._any or origin in self._named:
            return True
        page = _page(origin)
        if page is None:
            return False
        if self._listed and (page in self._exact or any(_isBelow(page, domain) for domain in self._below)):
            return True
        return self._sameHost and _objection(page, host, secure, self._strictScheme) is None

    def cause(self, origin: str | None, host: str | None, secure: bool) -> str:
        """Why L{allows} says no, and what cures it, for the log."""
        if origin is None:
            return "no Origin, as programs send that are no browsers; ExpectOrigin wants one"
        shown = _shown(origin)
        page = _page(origin)
        if page is None and origin not in _NAMED:
            return f"Origin {shown} is no origin: sent twice, or changed by a proxy in front?"
        allow = f"allow it with --origin {shown}"
        if page is None:
            return f"Origin {shown}, a page that has no host, such as a file or a sandboxed frame: {allow}"
        objection = _objection(page, host, secure, self._strictScheme)
        if objection is None:
            return f"Origin {shown} is not listed: {allow}, or all pages of the same host with --origin \"'self'\""
        if self._sameHost:
            return f"Origin {shown} {objection}, or {allow}"
        alike = any(page.host == listed.host for listed in self._exact)
        return f"Origin {shown} is not listed{', but with another scheme or port' if alike else ''}: {allow}"


def _shown(text: str) -> str:
    """What a stranger sent as an origin or a host, for the log: without what may be secret in an URL."""
    return escape(", ".join(_bare(part) for part in text[:1000].split(", ")), _SHOWN)


def _bare(url: str) -> str:
    """Without user and password, path and query, which no origin has."""
    scheme = re.match("(?:[A-Za-z][A-Za-z0-9+.-]*://)?", url)
    assert scheme is not None
    rest = url[scheme.end() :]
    authority = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    return scheme[0] + authority + ("" if authority == rest else "…")


def _objection(page: _Origin, host: str | None, secure: bool, strictScheme: bool) -> str | None:
    """What keeps this page from being one of the host that its request is for, and the cure; L{None} for nothing."""
    match = _AUTHORITY.fullmatch((host or "").lower())
    if match is None:
        other = f" but {_shown(host)}" if host else ""
        return f"has no Host to agree with{other}: a proxy in front that drops it? Set Host there"
    if page.scheme not in _DEFAULT_PORTS or page.host != match["host"]:
        return f"is not the Host {_shown(host or '')}: a proxy in front that does not keep Host? Set Host there"
    if page.port != _port(page, match["port"], secure) and _isLoopback(page.host):
        return (
            f"is not the Host {_shown(host or '')}, where ports count, on loopback: "
            "a proxy in front that loses the port? Set Host there (nginx: proxy_set_header Host $http_host)"
        )
    if strictScheme and secure and page.scheme == "http":
        return "is not https, as is needed where browsers show who they are by themselves: open the page with https://"
    return None


def _port(page: _Origin, text: str | None, secure: bool) -> int:
    """
    The port that a C{Host} means.

    Without one it is the default of the scheme that the browser used: C{https} over TLS, else the page's, since
    browsers do not let a page at C{https:} speak C{ws:}, and a proxy in front may have ended TLS.
    """
    return int(text) if text else _DEFAULT_PORTS["https" if secure else page.scheme]


def _isLoopback(host: str) -> bool:
    """Whether a browser means its own machine: RFC 6761 section 6.3, RFC 1122 section 3.2.1.3, RFC 4291."""
    host = host.rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return host in _LOOPBACK_NAMES
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_unspecified  # which connects to the same machine, too


_LOOPBACK_NAMES = ("localhost.localdomain", "localhost6", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback")
"""What hosts(5) of the common distributions call it."""


def _isBelow(page: _Origin, domain: _Origin) -> bool:
    return (page.scheme, page.port) == (domain.scheme, domain.port) and page.host.endswith("." + domain.host)
