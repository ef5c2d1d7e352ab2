"""A client that speaks neither TLS nor HTTP, passed to the target as it is (C{--raw})."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wsproxy.access.peer import unmapped
from wsproxy.ends.transport import TransportEnd
from wsproxy.errors import Refusal
from wsproxy.interfaces import Forwarded, Request
from wsproxy.tls.server import shownCertificate

__all__ = ["RawClient", "wordless"]


def wordless(transport: Any, secure: bool, named: Forwarded | None) -> Request:
    """
    What there is to say of a client that makes no request.

    @param named: who it is, where a header of the PROXY protocol has said so.
    """
    peer, host = unmapped(transport.getPeer()), unmapped(transport.getHost())
    shown = shownCertificate(transport) if secure else None
    return Request("", {}, peer, host, secure, certificate=shown, forwarded=named)


class RawClient:
    """
    An L{Upgrade<wsproxy.sessions.reception.Upgrade>} without a request: no path, no headers, no Origin and no token.

    @param end: the client; it reads nothing until it is relayed.
    """

    draft = None

    def __init__(self, end: TransportEnd, secure: bool, named: Forwarded | None = None) -> None:
        self.request = wordless(end.transport, secure, named)
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
