"""A client that speaks neither TLS nor HTTP, passed to the target as it is (C{--raw})."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wsproxy.access.peer import unmapped
from wsproxy.ends.transport import TransportEnd
from wsproxy.errors import Refusal
from wsproxy.interfaces import Request
from wsproxy.tls.server import shownCertificate

__all__ = ["RawClient"]


class RawClient:
    """
    An L{Upgrade<wsproxy.sessions.reception.Upgrade>} without a request: no path, no headers, no Origin and no token.

    @param end: the client; it reads nothing until it is relayed.
    """

    def __init__(self, end: TransportEnd, secure: bool) -> None:
        peer, host = unmapped(end.transport.getPeer()), unmapped(end.transport.getHost())
        shown = shownCertificate(end.transport) if secure else None
        self.request = Request(path="", headers={}, peer=peer, host=host, secure=secure, certificate=shown)
        self._end = end

    def accept(self, subprotocol: str | None, headers: Sequence[tuple[str, str]] = ()) -> TransportEnd:
        """Headers it would not understand."""
        return self._end

    def refuse(self, refusal: Refusal) -> None:
        """It speaks no language in which to say why."""
        self.abort()

    def abort(self) -> None:
        self._end.abort()

    def notifyLost(self, lost: Callable[[], None]) -> None:
        """That it has vanished shows when it is read."""
