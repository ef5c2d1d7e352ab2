r"""The opening handshakes of draft-hixie-thewebsocketprotocol-75 and -76, from before there were versions.

::

    -75   Upgrade: WebSocket, and a WebSocket-Protocol       101, where it leads and who may read it
    -76   Sec-WebSocket-Key1 and -Key2; behind the           101, the same, and behind the headers
          headers eight bytes more, which are no body        MD5(number 1 | number 2 | the eight bytes)

A number is the digits of its key, divided by how many spaces are among them (-76 section 5.2). HTTP does not know of
the eight bytes: they are the first that arrive behind the request, perhaps later.
"""

from __future__ import annotations

import re
from hashlib import md5

from twisted.web.http_headers import Headers

from wsproxy.errors import Refusal
from wsproxy.frontend.websocket import offeredIn
from wsproxy.interfaces import Request
from wsproxy.wire.subprotocol import Draft

__all__ = ["KEY_SIZE", "HixieHandshake", "isHixie"]

KEY_SIZE = 8
"""Bytes behind the headers of draft 76."""

_NEWER = (b"Sec-WebSocket-Version", b"Sec-WebSocket-Key")
_KEYS = (b"Sec-WebSocket-Key1", b"Sec-WebSocket-Key2")

_INVISIBLE = re.compile("[^ -~]")
"""What no browser sends, and nobody is told what it means."""

_LARGEST = 0xFFFFFFFF
"""Of a number, and of what its key's digits say."""


def isHixie(headers: Headers) -> bool:
    """Whether an upgrade request is one of those; what has lost just one header on its way is not."""
    return not any(map(headers.hasHeader, _NEWER))


class HixieHandshake:
    """
    One valid upgrade request.

    @ivar offered: its subprotocols. That is but one by the drafts; libraries send several. C{binary}, which text cannot
        be, is passed over.
    @raise Refusal: 400, it is not valid.
    """

    def __init__(self, headers: Headers) -> None:
        if not (_has(headers, b"Upgrade", b"websocket") and _has(headers, b"Connection", b"upgrade")):
            raise Refusal(400, "A WebSocket needs Upgrade: WebSocket and Connection: Upgrade")
        self.draft = Draft.HIXIE_76 if any(map(headers.hasHeader, _KEYS)) else Draft.HIXIE_75
        self._prefix = "Sec-" if self.draft is Draft.HIXIE_76 else ""
        self._numbers = b"" if self.draft is Draft.HIXIE_75 else b"".join(_number(headers, key) for key in _KEYS)
        self._origin = _only(headers, b"Origin")
        names = headers.getRawHeaders(f"{self._prefix}WebSocket-Protocol".encode("ascii"), ())
        self.offered = tuple(name for name in offeredIn(names) if name != "binary")

    def answer(self, asked: Request, subprotocol: str | None) -> bytes:
        """
        @param asked: what was asked for, and where. A client compares that with what it meant.
        @return: the 101 response, to its empty line.
        """
        scheme = "wss" if asked.publicSecure else "ws"
        query = f"?{asked.rawQuery}" if asked.rawQuery else ""
        fields = {
            "Origin": self._origin,
            "Location": f"{scheme}://{asked.publicHost}{asked.path}{query}",
            "Protocol": subprotocol,
        }
        lines = [
            # these three to the letter: draft 75 section 4.1
            f"HTTP/1.1 101 Web{' ' if self.draft is Draft.HIXIE_75 else ''}Socket Protocol Handshake",
            "Upgrade: WebSocket",
            "Connection: Upgrade",
            *(f"{self._prefix}WebSocket-{name}: {value}" for name, value in fields.items() if value is not None),
        ]
        return "\r\n".join([_INVISIBLE.sub("?", line) for line in [*lines, "", ""]]).encode("ascii")

    def proof(self, key: bytes) -> bytes:
        """
        What comes behind the answer.

        @param key: the eight bytes; none in draft 75.
        """
        return md5(self._numbers + key, usedforsecurity=False).digest() if self._numbers else b""


def _has(headers: Headers, name: bytes, token: bytes) -> bool:
    values = headers.getRawHeaders(name, ())
    return any(token == each.strip().lower() for value in values for each in value.split(b","))


def _only(headers: Headers, name: bytes) -> str | None:
    values = headers.getRawHeaders(name, ())
    return None if len(values) != 1 else values[0].decode("latin-1")


def _number(headers: Headers, name: bytes) -> bytes:
    """@return: four bytes."""
    values = headers.getRawHeaders(name, ())
    key = values[0] if len(values) == 1 else b""
    digits = bytes(filter(b"0123456789".__contains__, key))
    spaces = key.count(b" ")
    said = int(digits) if 0 < len(digits) <= 10 else _LARGEST + 1
    if said > _LARGEST or not spaces or said % spaces:
        raise Refusal(400, "Malformed WebSocket handshake", cause=f"{name.decode('ascii')} is no key of draft 76")
    return (said // spaces).to_bytes(4, "big")
