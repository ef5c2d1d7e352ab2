"""The opening handshake as a client (RFC 6455 section 4.1), by C{websockets}' own, without I/O.

C{websockets} sees the head of one answer, which is bounded, and never a frame: the bytes behind it are left to the
transport, as they are.
"""

from __future__ import annotations

import logging
import re
from typing import cast

from twisted.internet.error import ConnectError

from wsproxy.escape import escape
from wsproxy.websocket.request import UpgradeRequest

__all__ = ["LONGEST", "ClientHandshake", "UpgradeFailed"]

LONGEST = 65536
"""Bytes of an answer's head: what the proxy itself allows to a request."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: ([^\r\n]*))?\r?\n")

_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!01)[0-9]{2}[ \r\n]")
"""What comes before an answer, and is none: RFC 9110 section 15.2."""

_SILENT = logging.Logger("wsproxy.websocket.handshake", logging.CRITICAL)
"""C{websockets} tells loggers what it sends: tokens and passwords."""


class UpgradeFailed(ConnectError):
    """
    There is no WebSocket: C{str()} says why, in words that fit a close reason, and none of them secret.

    @ivar status: the HTTP status that was answered instead; L{None} where it was none, or 101.
    """

    def __init__(self, words: str, status: int | None = None) -> None:
        super().__init__(string=words)
        self.status = status
        self._words = words

    def __str__(self) -> str:
        return self._words


class ClientHandshake:
    """One handshake.

    @ivar subprotocol: that the server has chosen, once it is complete; L{None} for none.
    """

    subprotocol: str | None = None

    def __init__(self, request: UpgradeRequest) -> None:
        from websockets.client import ClientProtocol  # late: 30 ms, for WebSocket targets alone
        from websockets.typing import Origin, Subprotocol
        from websockets.uri import WebSocketURI

        url = request.url
        path, _, query = url.resource.partition("?")
        offered = [Subprotocol(name) for name in request.subprotocols] or None
        origin = None if request.origin is None else Origin(request.origin)
        where = WebSocketURI(url.secure, url.host, url.port, path, query, None, None)
        self._protocol = ClientProtocol(where, origin=origin, subprotocols=offered, logger=_SILENT)
        self._head = bytearray()
        self._skipped = 0  # bytes of interim answers
        self._headers = request.whole

    def begin(self) -> bytes:
        """@return: what the server is to be sent."""
        request = self._protocol.connect()
        for name, value in self._headers:
            if name.lower() == "host":
                del request.headers["Host"]
            request.headers[name] = value
        self._protocol.send_request(request)
        return b"".join(self._protocol.data_to_send())

    def receive(self, data: bytes) -> bytes | None:
        """
        @param data: what the server has sent next, split anywhere.
        @return: what followed its answer, if that is complete, and a WebSocket has begun; L{None} while it is not.
        @raise UpgradeFailed: it will not.
        """
        searched = max(0, len(self._head) - 3)
        self._head += data
        while (end := self._endOfHead(searched)) is not None:
            head = bytes(self._head[:end])
            del self._head[:end]
            searched = 0
            if not _INTERIM.match(head):
                self._conclude(head)
                return bytes(self._head)
            self._skipped += end
        return None

    def _endOfHead(self, searched: int) -> int | None:
        """@return: where the next answer's head ends, once it does."""
        if not self._head.startswith(b"HTTP/1."[: len(self._head)]):
            raise UpgradeFailed("Target speaks no HTTP")
        end = self._head.find(b"\r\n\r\n", searched)
        if self._skipped + (len(self._head) if end < 0 else end + 4) > LONGEST:
            raise UpgradeFailed(f"Target answered more than {LONGEST} bytes")
        return None if end < 0 else end + 4

    def _conclude(self, head: bytes) -> None:
        match = _STATUS.match(head)
        if match is None:
            raise UpgradeFailed("Target speaks no HTTP")
        status = int(match[1])
        if status != 101:
            phrase = escape((match[2] or b"").decode("latin-1").strip(), 60)
            raise UpgradeFailed(f"Target answered {status} {phrase}".rstrip(), status)
        self._protocol.receive_data(head)
        from websockets.exceptions import InvalidHandshake

        problem = self._protocol.handshake_exc
        if problem is not None:
            known = isinstance(problem, InvalidHandshake)
            raise UpgradeFailed("Target answered 101, but not to this handshake" if known else "Target speaks no HTTP")
        self.subprotocol = cast("str | None", self._protocol.subprotocol)
