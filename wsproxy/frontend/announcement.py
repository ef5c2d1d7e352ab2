"""What must come before all that a client says, where a proxy in front is trusted to tell who that is.

::

    Switch ─► Announcement ─┬─ PROXY header ──► Switch: what is spoken here?
                            └─ anything else ─► closed: nobody guesses who it is
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from wsproxy.access.forwarded import namedIn
from wsproxy.access.proxyheader import Malformed, parseHeader
from wsproxy.ends.end import ignore
from wsproxy.interfaces import Forwarded

__all__ = ["Announcement"]


class Announcement(Protocol):
    """
    Reads the header of the PROXY protocol. One of these is called, once, unless the connection is lost before:

    @param announced: who the client is, L{None} where the proxy speaks for itself; and what has come behind the header.
    @param refused: why it is no header.
    """

    def __init__(
        self, announced: Callable[[Forwarded | None, bytes], None], refused: Callable[[str], None]
    ) -> None:
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
