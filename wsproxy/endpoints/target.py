"""Target strings: what C{--target} takes, and what a resolver answers.

    HOST:PORT  [ADDRESS]:PORT           TCP
    tls:HOST:PORT  tls:[ADDRESS]:PORT   TLS on TCP, the certificate verified for HOST or ADDRESS
    ws://HOST[:PORT]/PATH  wss://…      a WebSocket (L{wsproxy.endpoints.weburl})
    unix:PATH                           a unix stream socket; everything after the colon is its path
    demo:                               the line server built in (L{wsproxy.dialling.demo})
    tcp:host=H:port=P:timeout=5 …       any other Twisted client endpoint string

A registered endpoint prefix wins over a host of that name; these forms win over Twisted's of the same prefix.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

from twisted.internet.abstract import isIPv6Address
from twisted.internet.interfaces import IStreamClientEndpointStringParserWithReactor
from twisted.plugin import getPlugins

from wsproxy.endpoints.hostname import asciiName
from wsproxy.endpoints.hostport import HostPort, parseHostPort
from wsproxy.endpoints.weburl import WebSocketURL, discreetTarget, isWebSocketURL, parseWebSocketURL
from wsproxy.errors import WordsError
from wsproxy.escape import escape

__all__ = [
    "DemoTarget",
    "ParsedTarget",
    "StringTarget",
    "TCPTarget",
    "UNIXTarget",
    "parseTarget",
    "targetError",
]

_PATH_LIMIT = 107
"""unix(7): C{sun_path}, without the NUL at its end."""


@dataclass(frozen=True, slots=True)
class TCPTarget:
    """C{host} is a name in ASCII (IDNA encoded) or an IP address without brackets."""

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        return f"{'tls:' if self.tls else ''}{HostPort(self.host, self.port)}"


@dataclass(frozen=True, slots=True)
class UNIXTarget:
    """C{path} is absolute."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class DemoTarget:
    def __str__(self) -> str:
        return "demo:"


@dataclass(frozen=True, slots=True)
class StringTarget:
    """A string for Twisted's C{clientFromString}, which knows at least its prefix."""

    description: str

    def __str__(self) -> str:
        return self.description


ParsedTarget = TCPTarget | UNIXTarget | DemoTarget | StringTarget | WebSocketURL


def parseTarget(text: str) -> ParsedTarget:
    """
    Understand a target string. Nothing is resolved or opened. C{str()} of the result parses to the same, from
    any working directory.

    @raise WordsError: C{text} is none of the forms above. One line, which names C{--target} and the text.
    """
    prefix, _, rest = text.partition(":")
    prefix = prefix.lower()
    try:
        if isWebSocketURL(text):
            return parseWebSocketURL(text)
        if prefix == "demo" and not rest:
            return DemoTarget()
        if prefix == "unix":
            if not rest or "\0" in rest:
                raise ValueError("expected unix:PATH")
            path = os.path.abspath(rest)
            if len(os.fsencode(path)) > _PATH_LIMIT:
                raise ValueError(f"the path of a unix socket has at most {_PATH_LIMIT} bytes")
            return UNIXTarget(path)
        if prefix == "tls":
            return _parseTCP(rest, tls=True)
        if prefix in _registeredPrefixes():
            return StringTarget(text)
        return _parseTCP(text, tls=False)
    except ValueError as error:
        raise targetError(text, str(error)) from None


def targetError(text: str, reason: str) -> WordsError:
    """@return: the complaint about a target string, on one line whatever is in it, and without its secrets."""
    return WordsError(f"--target {escape(discreetTarget(text), None)}: {' '.join(reason.split())}")


@cache
def _registeredPrefixes() -> frozenset[str]:
    # cached, since looking for plugins reads directories
    plugins = getPlugins(IStreamClientEndpointStringParserWithReactor)
    return frozenset({"tcp", "ssl", *(plugin.prefix.lower() for plugin in plugins)})


def _parseTCP(text: str, tls: bool) -> TCPTarget:
    given = parseHostPort(text)
    if given is None:
        raise ValueError("expected HOST:PORT, [ADDRESS]:PORT, tls:HOST:PORT, wss://…, unix:PATH, demo: or an endpoint")
    if not 1 <= given.port <= 65535:
        raise ValueError("a port is 1 to 65535")
    return TCPTarget(given.host if isIPv6Address(given.host) else asciiName(given.host), given.port, tls)
