"""The head of an ordinary upgrade request, read at a glance: as browsers and libraries send it, complete, nothing odd.

::

    first bytes ─┬─ ordinary ──────────► Head ─► FrontDoor.arrive
                 └─ anything else ─────► Channel ─► twisted.web ─► FrontDoor.upgrade, a page, a refusal

twisted.web takes a request apart with a call or two for each line, 100 µs in all, for it has bodies, folded lines and
answers to think of. What is read here has none of that, and is what twisted.web would make of the same bytes, which
C{tests/frontend/test_head.py} asks it. So there are no refusals here: whatever is unusual is left to the channel.

Sans-IO.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["LONGEST", "Head", "isHost", "readHead"]

LONGEST = 16384
"""Bytes of a head that is ordinary; all of what the channel counts is more generous."""

_HEAD = re.compile(
    rb"GET (/[!-~]*) HTTP/1\.1\r\n"
    rb"((?:[0-9A-Za-z_-]{1,64}:[\t -~]*\r\n){1,64})\r\n"
)

_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%~_-]+\]|[0-9A-Za-z._~%!$&'()*+,;=-]*)(?::[0-9]*)?")

_ODD = frozenset({"content-length", "expect", "transfer-encoding"})
"""Headers that ask for more than a handshake."""


class Head(NamedTuple):
    """
    @ivar target: as sent; it begins with a slash.
    @ivar headers: values by lower-case name, in the order in which they came; none of them twice.
    @ivar size: bytes of it, with the empty line.
    """

    target: str
    headers: dict[str, str]
    size: int


def isHost(text: str) -> bool:
    """Whether it is what a C{Host} may be (RFC 9112 section 3.2): a name or an address, and perhaps a port."""
    return _HOST.fullmatch(text) is not None


def readHead(data: bytes) -> Head | None:
    """
    @param data: what a connection begins with.
    @return: L{None} for what is no ordinary upgrade request to version 13, or not complete.
    """
    match = _HEAD.match(data, 0, LONGEST)
    if match is None:
        return None
    target, lines = match.group(1, 2)
    headers: dict[str, str] = {}
    fields = lines.decode("ascii").split("\r\n")
    del fields[-1]
    for field in fields:
        name, _, value = field.partition(":")
        headers[name.lower()] = value.strip()
    get = headers.get
    if (
        len(headers) != len(fields)
        or "host" not in headers
        or not isHost(headers["host"])
        or "upgrade" not in get("connection", "").lower()
        or get("upgrade", "").lower() != "websocket"
        or get("sec-websocket-version") != "13"
        or not _ODD.isdisjoint(headers)
    ):
        return None
    return Head(target.decode("ascii"), headers, match.end())
