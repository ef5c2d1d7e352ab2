"""How a WebSocket has ended, as its protocol is told: what it would be told of a TCP connection, and the close code."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from wsproxy.errors import Close, CloseCode, PeerClosed

__all__ = ["WebSocketDone", "WebSocketLost", "ending"]

_ORDERLY = frozenset({CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.NO_STATUS})
"""What an end-of-file stands for over TCP: somebody was done, or stopped (RFC 6455 section 7.4.1)."""


class WebSocketDone(PeerClosed, ConnectionDone):
    """Closed in good order: 1000, 1001, or a Close without a code."""

    def __str__(self) -> str:
        return f"Connection was closed cleanly: {self.told}"


class WebSocketLost(PeerClosed, ConnectionLost):
    """Ended in any other way."""

    def __str__(self) -> str:
        return f"Connection to the other side was lost in a non-clean fashion: {self.told}"


def ending(close: Close) -> Failure:
    """@return: what C{connectionLost} is given of this."""
    return Failure(WebSocketDone(close) if close.code in _ORDERLY else WebSocketLost(close))
