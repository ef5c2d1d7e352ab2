"""C{HOST:PORT} and C{[ADDRESS]:PORT}, as they stand in the values of C{--listen} and C{--target}."""

from __future__ import annotations

import re
from typing import NamedTuple

from twisted.internet.abstract import isIPv6Address

__all__ = ["HostPort", "parseHostPort"]

_HOST_PORT = re.compile(r"(?:\[(?P<literal>[^\]]+)\]|(?P<name>[^:\[\]]+)):(?P<port>[0-9]+)")


class HostPort(NamedTuple):
    """
    C{host} is a name, an IPv4 address, or an IPv6 address without its brackets. Whether there can be such a name or
    port is for those to say who use it.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parseHostPort(text: str) -> HostPort | None:
    """
    @return: L{None} for what has not this form.
    @raise ValueError: what is in brackets is no IPv6 address.
    """
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        return None
    literal = match["literal"]
    if literal and not isIPv6Address(literal):
        raise ValueError("only an IPv6 address goes in brackets")
    return HostPort(literal or match["name"], int(match["port"]))
