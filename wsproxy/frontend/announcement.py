"""What must come before all that a client says, where a proxy in front is trusted to tell who that is.

::

    Switch ─► Announcement ─┬─ PROXY header ──► Switch: what is spoken here?
                            └─ anything else ─► closed: nobody guesses who it is
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from wsproxy.access.forwarded import namedIn
from wsproxy.access.proxyheader import Malformed, parseHeader
from wsproxy.ends.end import ignore
from wsproxy.interfaces import Forwarded

__all__ = ["Announcement", "Foregoing"]


class Announcement(Protocol):
    """
    Reads the header of the PROXY protocol. One of these is called, once, unless the connection is lost before:

    @param announced: who the client is, L{None} where the proxy speaks for itself; and what has come behind the header.
    @param refused: why it is no header.
    """

    def __init__(self, announced: Callable[[Forwarded | None, bytes], None], refused: Callable[[str], None]) -> None:
        self._announced = announced
        self._refused = refused
        self._held = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._held += data
        header = parseHeader(self._held)
        if isinstance(header, Malformed):
            self._refused(header.why)
        elif header is not None:
            self._announced(namedIn(header), bytes(self._held[header.size :]))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._announced = self._refused = ignore  # they lead back to whoever holds this


class Foregoing(Protocol):
    """
    Reads the header where it is the endpoint that speaks TLS, in whose place it stands until then: proxies in front
    send it before TLS. Of a connection that begins otherwise TLS gets every byte, and the header is still to come.

    @param tls: the endpoint's protocol on its socket.
    @param announced: called with who the client is, if there is a header.
    """

    def __init__(self, tls: Any, announced: Callable[[Forwarded | None], None]) -> None:
        self._tls = tls
        self._announced = announced
        self._held = bytearray()

    def stand(self) -> None:
        """Begin, unless there is no socket in reach."""
        socket = self._tls.transport
        if getattr(socket, "protocol", None) is self._tls:
            socket.protocol = self

    def dataReceived(self, data: bytes) -> None:
        self._held += data
        header = parseHeader(self._held)
        if header is None:
            return
        tls = self._leave()
        if not isinstance(header, Malformed):
            del self._held[: header.size]
            self._announced(namedIn(header))
        if self._held:
            tls.dataReceived(bytes(self._held))

    def _leave(self) -> Any:
        self._tls.transport.protocol = self._tls
        return self._tls

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._leave().connectionLost(reason)
