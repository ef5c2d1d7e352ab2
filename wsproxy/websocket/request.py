"""What is asked of a server to have a WebSocket: where, as what, and with which headers."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from wsproxy.endpoints.weburl import WebSocketURL

__all__ = ["SUBPROTOCOLS", "TOKEN", "UpgradeRequest", "parseHeader"]

SUBPROTOCOLS = ("binary",)
"""What is offered by default: proxies of the old kind want to be told that bytes come as they are."""

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A name, of headers and subprotocols: RFC 9110 section 5.6.2."""
_OURS = ("connection", "upgrade", "content-length", "transfer-encoding")
_PREFIX = "sec-websocket-"


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """
    One handshake to come, perhaps often.

    @ivar headers: beside those that a handshake has by itself.
    @ivar subprotocols: by preference; a server may choose one, or none.
    @ivar origin: as a browser would say it; L{None}: we are none.
    """

    url: WebSocketURL
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    subprotocols: tuple[str, ...] = SUBPROTOCOLS
    origin: str | None = None

    def __post_init__(self) -> None:
        """@raise ValueError: it cannot be asked so."""
        if self.origin is not None and not (self.origin.isascii() and self.origin.isprintable()):
            raise ValueError("an origin has neither control characters nor others than those of ASCII")
        for name in self.subprotocols:
            if not TOKEN.fullmatch(name):
                raise ValueError(f"subprotocol {name!r}: not a name")

    @property
    def whole(self) -> tuple[tuple[str, str], ...]:
        """All headers, that of the URL's user included; one of C{headers} wins over it."""
        user = self.url.user
        if user is None or any(name.lower() == "authorization" for name, _ in self.headers):
            return self.headers
        return (*self.headers, basic(user, self.url.password))

    def withHeaders(self, headers: Iterable[tuple[str, str]]) -> UpgradeRequest:
        """@return: the same, with these as well."""
        return replace(self, headers=(*self.headers, *headers))


def basic(user: str, password: str) -> tuple[str, str]:
    """@return: the header that tells who comes: RFC 7617, in UTF-8."""
    return "Authorization", f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def parseHeader(line: str) -> tuple[str, str]:
    """
    @param line: C{NAME: VALUE}.
    @raise ValueError: it is none, or one that is the handshake's own. Says nothing of its value, which may be secret.
    """
    name, colon, value = line.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not TOKEN.fullmatch(name) or not value.isprintable():
        raise ValueError("expected NAME: VALUE")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"{name}: a header has no such characters") from None
    if name.lower() in _OURS or name.lower().startswith(_PREFIX):
        raise ValueError(f"{name}: that one the handshake says by itself")
    return name, value
