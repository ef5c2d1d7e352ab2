"""What tokens stand for, as files and services write it, and what the proxy makes of it.

::

    HOST:PORT   [ADDRESS]:PORT   tls:HOST:PORT   unix:/PATH   unix_socket:/PATH   any Twisted client endpoint string
    HOST:PORT proxy=v1           the same, to a server that wants a header of the PROXY protocol: v1 or v2
    ("HOST", PORT)               what the original's classes answer; the port a str, an int or bytes
    ("unix_socket", "/PATH")
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from twisted.internet.abstract import isIPv6Address

from wsproxy.endpoints.target import StringTarget, UNIXTarget, parseTarget
from wsproxy.errors import ConfigError
from wsproxy.interfaces import Target

__all__ = ["asTarget", "fromPair"]

_PROXY = re.compile(r"(?P<text>.*?)\s+proxy=(?P<version>\S*)", re.DOTALL)
_VERSIONS = ("v1", "v2")
_SOCKET = "unix_socket"
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")

_OPEN = ("tcp", "ssl")
_FILES = re.compile(r"(?:^|:)(?:privateKey|certKey|caCertsDir)=", re.IGNORECASE)
"""Arguments of C{ssl:} that name files."""


@lru_cache(maxsize=1024)  # 4 µs of each connection, else
def asTarget(text: str, ours: bool = False) -> Target:
    """
    Understand what a token stands for. Nothing is resolved or opened.

    @param ours: whether a file of the operator's says so, which may name sockets and files. Anybody else's words name
        sockets only where C{--allow-target} has a pattern for them, and of endpoint strings only C{tcp:} and C{ssl:}.
    @raise ConfigError: it is no target, or not from there. The complaint is of one line, and holds C{text}.
    """
    text = text.strip()
    match = _PROXY.fullmatch(text)
    version = None
    if match is not None:
        text, version = match["text"], match["version"]
        if version not in _VERSIONS:
            raise ConfigError(f"proxy={version!r}: neither v1 nor v2")
    if _CONTROLS.search(text):
        raise ConfigError(f"{text!r}: a target has no control characters")
    if text.startswith(f"{_SOCKET}:"):
        text = f"unix:{text.removeprefix(f'{_SOCKET}:')}"
    try:
        parsed = parseTarget(text)
    except ConfigError as error:
        raise ConfigError(str(error).removeprefix("--target ")) from None
    if isinstance(parsed, UNIXTarget) and not text.partition(":")[2].startswith("/"):
        raise ConfigError(f"{text!r}: the path of a socket is absolute")
    if isinstance(parsed, StringTarget) and not ours and not _isOpen(parsed.description):
        raise ConfigError(f"{text!r}: of endpoint strings, others than files of ours say tcp: and ssl: alone")
    return Target(str(parsed), proxyHeader=version, sockets=ours)


def _isOpen(description: str) -> bool:
    """Whether an endpoint string names nothing but an address of a network."""
    return description.partition(":")[0].lower() in _OPEN and not _FILES.search(description)


def fromPair(pair: Sequence[object], ours: bool = False) -> Target:
    """
    @param pair: host and port, as the original's classes answer them: L{asTarget} of C{HOST:PORT}. The host may be an
        IPv6 address with brackets or without; beside C{unix_socket} the port is a path.
    @raise ConfigError: as L{asTarget} does; also for what is no pair of such things.
    """
    if len(pair) != 2:
        raise ConfigError(f"{len(pair)} values, where a host and a port are wanted")
    host, port = map(_text, pair)
    if isIPv6Address(host):
        host = f"[{host}]"
    return asTarget(f"{host}:{port.strip()}", ours)


def _text(value: object) -> str:
    match value:
        case str():
            return value
        case bytes():
            return value.decode("utf-8", "replace")
        case int() if not isinstance(value, bool):
            return str(value)
    raise ConfigError(f"{type(value).__name__}, where a host and a port are wanted")
