"""C{TokenRedis}: a token is a key, and its value says where it leads.

::

    HOST[:PORT[:DB[:PASSWORD[:NAMESPACE]]]]     parts with colons in them in double quotes: ::::"one:two"

    NAMESPACE:TOKEN ─► HOST:PORT  or  {"host": "HOST:PORT"}

What Redis says is not the operator's own word, for whatever writes into it: see L{asTarget<wsproxy.tokens.targets>}.
"""

from __future__ import annotations

import json
import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wsproxy.access.secrets import shown
from wsproxy.cluster.address import PORT, Address
from wsproxy.cluster.errors import RedisAway, RedisError
from wsproxy.cluster.redis import Redis, connect
from wsproxy.errors import ConfigError
from wsproxy.tokens.resolver import unavailable

__all__ = ["TokenRedis", "parseSource"]

_OPTION = "--token-plugin TokenRedis"
_FORM = "--token-source: not HOST[:PORT[:DB[:PASSWORD[:NAMESPACE]]]]"

_ENCLOSED = re.compile(r'(?:"(?P<quoted>(?:[^"]|"(?!:|\Z))*)"|\[(?P<address>[^]]+)\])(?::(?P<rest>.*))?', re.DOTALL)
"""A part that colons do not end, and what follows; a double quote within one is closed by no colon, and no end."""

_LONGEST = 4096
"""Bytes of a value that says where a token leads."""


class TokenRedis:
    """
    A L{TokenSource<wsproxy.tokens.resolver.TokenSource>}.

    @param source: as in the module.
    @ivar redis: to be stopped with the rest; connected when it is first needed.
    @raise ConfigError: there can be no such Redis, or what speaks to it is not installed.
    """

    def __init__(self, source: str, reactor: Any) -> None:
        address, namespace = parseSource(source)
        self.redis: Redis = connect(reactor, address, _OPTION)
        self._prefix = f"{namespace}:" if namespace else ""

    def lookup(self, token: str) -> Deferred[str | None]:
        """@return: fails with L{Refusal<wsproxy.errors.Refusal>}, 503, where Redis is away, or says nonsense."""
        asked = self.redis.execute("GET", f"{self._prefix}{token}")
        return asked.addCallbacks(_target, _unknown, callbackArgs=(token,))


def _unknown(failure: Failure) -> None:
    failure.trap(RedisError)
    if failure.check(RedisAway) or not str(failure.value).startswith("WRONGTYPE"):
        raise unavailable(str(failure.value)) from None
    # a key that holds no text is not one of ours, whoever has guessed its name


def _target(value: object, token: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes) and len(value) <= _LONGEST:
        try:
            text = value.decode("utf-8").strip()
            target = json.loads(text)["host"] if text.startswith("{") else text
        except (ValueError, LookupError, RecursionError):
            target = None
        if isinstance(target, str):
            return target
    raise unavailable(f'token {shown(token)} leads nowhere: neither HOST:PORT nor {{"host": "HOST:PORT"}}')


def parseSource(source: str) -> tuple[Address, str]:
    """
    @return: where that is, and the namespace.
    @raise ConfigError: it is no such thing; nothing of it is in the complaint, for it may hold a password.
    """
    parts = _parts(source)
    if not 1 <= len(parts) <= 5 or not parts[0]:
        raise ConfigError(_FORM)
    host, port, db, password, namespace = (*parts, "", "", "", "")[:5]
    if not all(number.isascii() and (number or "0").isdecimal() for number in (port, db)):
        raise ConfigError(_FORM)
    if port and not 0 < int(port) < 65536:
        raise ConfigError(_FORM)
    address = Address(host, int(port or PORT), int(db or 0), password=password or None)
    return address, namespace


def _parts(source: str) -> list[str]:
    """Split at colons, but not within a part that is in double quotes; nor within an IPv6 address in brackets."""
    parts: list[str] = []
    rest: str | None = source
    while rest is not None:
        part, rest = _part(rest)
        parts.append(part)
    return parts


def _part(text: str) -> tuple[str, str | None]:
    """@return: the first part, and what follows its colon; L{None} where it is the last one."""
    if text.startswith(('"', "[")):
        match = _ENCLOSED.fullmatch(text)
        if match is not None:
            return match["quoted"] or match["address"] or "", match["rest"]
        if text.startswith('"'):
            raise ConfigError(f"{_FORM}; a double quote is not closed")
    part, colon, rest = text.partition(":")
    return part, rest if colon else None
