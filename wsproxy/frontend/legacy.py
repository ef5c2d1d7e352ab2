"""Clients of the years before RFC 6455, where they are let in (C{--legacy}): the front door that knows them.

::

    Channel ─► LegacyDoor ─┬─ version 13, or 8 ──────────────► PendingUpgrade
                           └─ Hixie-75, -76 ─► AwaitedKey ───► HixieUpgrade, a PendingUpgrade

What decides about them is what decides about everybody. Version 8 (draft-ietf-hybi-thewebsocketprotocol-08 to -12) has
the frames of RFC 6455, and names its page in C{Sec-WebSocket-Origin}; the Hixie drafts name it in C{Origin}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Request as ServerRequest

from wsproxy.access.forwarded import TrustedProxies
from wsproxy.config import ClientsConfig
from wsproxy.ends.end import ignore
from wsproxy.ends.transport import TransportEnd
from wsproxy.frontend.answer import SERVER, withHeaders
from wsproxy.frontend.connection import Connection, Leave
from wsproxy.frontend.deadline import Deadline
from wsproxy.frontend.hixie import KEY_SIZE, HixieHandshake, isHixie
from wsproxy.frontend.upgrade import FrontDoor, PendingUpgrade
from wsproxy.frontend.web import WebRequest
from wsproxy.frontend.websocket import HandshakeFactory
from wsproxy.interfaces import Request
from wsproxy.sessions.sessions import Sessions
from wsproxy.wire.subprotocol import Draft

__all__ = ["LegacyDoor"]


class HixieUpgrade(PendingUpgrade):
    """@param key: what came behind the request, for its answer."""

    def __init__(self, connection: Connection, handshake: HixieHandshake, request: Request, key: bytes) -> None:
        super().__init__(connection, None, request)
        self.draft = handshake.draft
        self._hixie = handshake
        self._key = key

    def accept(self, subprotocol: str | None, headers: Sequence[tuple[str, str]] = ()) -> TransportEnd:
        answer = self._hixie.answer(self.request, subprotocol)
        return self._relayed(withHeaders(answer, headers) + self._hixie.proof(self._key))


class AwaitedKey(Protocol):
    """
    Reads the eight bytes.

    @param seconds: until they have come, or the connection is cut off.
    @param whole: called with them, and with what has come behind them.
    """

    transport: Any

    def __init__(self, clock: IReactorTime, seconds: float, whole: Callable[[bytes, bytes], None]) -> None:
        self._whole = whole
        self._held = bytearray()
        self._deadline = Deadline(clock, self._expired)
        self._deadline.start(seconds)

    def dataReceived(self, data: bytes) -> None:
        self._held += data
        if len(self._held) >= KEY_SIZE:
            whole = self._end()
            whole(bytes(self._held[:KEY_SIZE]), bytes(self._held[KEY_SIZE:]))

    def _expired(self) -> None:
        self._end()
        self.transport.abortConnection()

    def _end(self) -> Callable[[bytes, bytes], None]:
        self._deadline.close()
        whole, self._whole = self._whole, ignore  # it leads back to whoever holds this
        return whole

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end()


class _Handshakes(HandshakeFactory):
    """Begins those of the drafts, too."""

    def begin(self, headers: Headers) -> Any:
        """@return: a L{Handshake<wsproxy.frontend.websocket.Handshake>} or a L{HixieHandshake}."""
        return HixieHandshake(headers) if isHixie(headers) else super().begin(headers)


class LegacyDoor(FrontDoor):
    """
    The same, for old clients as well.

    @param handshakeTimeout: seconds for what comes behind a request of draft 76.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        sessions: Sessions,
        pages: IResource | None,
        leave: Leave = WebRequest.leave,
        proxies: TrustedProxies | None = None,
        handshakeTimeout: float = ClientsConfig().handshakeTimeout,
    ) -> None:
        super().__init__(reactor, sessions, pages, leave, proxies)
        self._clock = reactor
        self._handshakeTimeout = handshakeTimeout

    def _makeHandshakes(self, reactor: IReactorTime) -> HandshakeFactory:
        return _Handshakes(reactor, SERVER, versions=(13, 8))

    def _welcome(self, connection: Connection, handshake: Any, asked: Request, early: bytes) -> None:
        if not isinstance(handshake, HixieHandshake):
            super()._welcome(connection, handshake, asked, early)
            return

        def pend(key: bytes, early: bytes) -> None:
            upgrade = HixieUpgrade(connection, handshake, asked, key)
            connection.become(upgrade, early)
            self._sessions.open(upgrade)

        if handshake.draft is Draft.HIXIE_76:
            connection.become(AwaitedKey(self._clock, self._handshakeTimeout, pend), early)
        else:
            pend(b"", early)

    def _describe(self, request: ServerRequest, *args: Any, **named: Any) -> Request:
        asked = super()._describe(request, *args, **named)
        if asked.headers.get("sec-websocket-version", "").strip() != "8":
            return asked
        return replace(asked, headers=_withOrigin(asked.headers))


def _withOrigin(headers: Mapping[str, str]) -> Mapping[str, str]:
    """
    Where all look for the page of a client. One that is named twice, and not alike, is none that a browser sends: as
    with an C{Origin} that came twice, no policy lets it in but that of any.
    """
    named = [headers[name] for name in ("sec-websocket-origin", "origin") if name in headers]
    return {**headers, "origin": ", ".join(dict.fromkeys(named))} if named else headers
