"""Addresses of WebSockets, C{ws://} and C{wss://} (RFC 6455 section 3), and what may be shown of them.

A query holds tokens, and what is before an C{@} a password: neither is for logs. C{str()} is for the connection,
C{shown} for people; L{discreetTarget} shows any target string.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from twisted.internet.abstract import isIPv6Address

from wsproxy.endpoints.hostname import asciiName
from wsproxy.endpoints.hostport import HostPort

__all__ = ["WebSocketURL", "discreetTarget", "isWebSocketURL", "parseWebSocketURL"]

_PORTS = {"ws": 80, "wss": 443}
_URL = re.compile(r"wss?://", re.IGNORECASE)
_STRING = re.compile(r"wss?:", re.IGNORECASE)
_VALUE = re.compile(r"=(?:\\.|[^:\\])*", re.DOTALL)
_HIDDEN = "…"
_SAFE = "/!$&'()*+,;=:@%~?"
"""What stands in a path or a query as it is (RFC 3986 section 3.3); C{%}, for it is encoded already."""


@dataclass(frozen=True, slots=True)
class WebSocketURL:
    """
    Where a WebSocket is.

    @ivar host: a name in ASCII, or an IP address without brackets.
    @ivar resource: path and query, as they are asked for.
    @ivar user: with C{password}, for HTTP Basic; L{None} for neither.
    """

    secure: bool
    host: str
    port: int
    resource: str = field(default="/", repr=False)
    user: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)

    @property
    def authority(self) -> str:
        """The C{Host} that is asked for: without a port that is the scheme's own (RFC 9110 section 7.2)."""
        whole = str(HostPort(self.host, self.port))
        return whole.removesuffix(f":{self.port}") if self.port == _PORTS[self._scheme] else whole

    @property
    def _scheme(self) -> str:
        return "wss" if self.secure else "ws"

    @property
    def shown(self) -> str:
        """Without what may be secret of it."""
        path, asks, _ = self.resource.partition("?")
        return f"{self._scheme}://{self.authority}{path}{asks and '?' + _HIDDEN}"

    def __str__(self) -> str:
        who = "" if self.user is None else f"{quote(self.user, '')}:{quote(self.password, '')}@"
        return f"{self._scheme}://{who}{self.authority}{self.resource}"


def isWebSocketURL(text: str) -> bool:
    """Whether C{text} says that it is one."""
    return _URL.match(text) is not None


def parseWebSocketURL(text: str) -> WebSocketURL:
    """@raise ValueError: it is none. Says nothing of what is in it."""
    if not isWebSocketURL(text):
        raise ValueError("expected ws://HOST[:PORT]/PATH or wss://…")
    if not text.isprintable() or " " in text:
        raise ValueError("a URL has neither spaces nor control characters; percent-encode them")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError("not a URL: its host or port is none") from None
    if url.fragment or text.endswith("#"):
        raise ValueError("a WebSocket's URL has no fragment (#…)")  # RFC 6455 section 3
    host = url.hostname or ""
    if not host or port == 0:
        raise ValueError("expected ws://HOST[:PORT]/PATH or wss://…")
    scheme = url.scheme.lower()
    resource = quote((url.path or "/") + (f"?{url.query}" if url.query else ""), safe=_SAFE)
    return WebSocketURL(
        scheme == "wss",
        host if isIPv6Address(host) else asciiName(host),
        port or _PORTS[scheme],
        resource,
        None if url.username is None else unquote(url.username),
        unquote(url.password or ""),
    )


def discreetTarget(text: str) -> str:
    """@return: a target string for people: that of a WebSocket without query and password, each other as it is."""
    if _STRING.match(text) is None:
        return text
    if not isWebSocketURL(text):
        return _VALUE.sub(f"={_HIDDEN}", text)
    try:
        return parseWebSocketURL(text).shown
    except ValueError:
        return f"{text.partition(':')[0]}://{_HIDDEN}"
