"""The request that becomes a WebSocket, or asks why it would not: found on any path, answered by its session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from wsproxy.access.peer import unmapped
from wsproxy.ends.transport import TransportEnd
from wsproxy.errors import Refusal
from wsproxy.frontend.diagnosis import diagnosed
from wsproxy.frontend.explanation import TYPE, asIfUpgraded, asksForExplanation, explanation
from wsproxy.frontend.web import SERVER, Connection, WebRequest, refusalBytes
from wsproxy.frontend.websocket import Handshake, HandshakeFactory
from wsproxy.interfaces import Request
from wsproxy.sessions.sessions import Sessions

__all__ = ["FrontDoor", "PendingUpgrade"]

EARLY_LIMIT = 65536
"""Bytes an undecided client may send ahead; then it is not read."""


class PendingUpgrade(Protocol):
    """An L{Upgrade<wsproxy.sessions.sessions.Upgrade>}, and its connection's protocol until the session has decided."""

    transport: Any

    def __init__(self, connection: Connection, handshake: Handshake, request: Request) -> None:
        self.request = request
        self._connection = connection
        self._handshake = handshake
        self._early = bytearray()
        self._lost: Callable[[], None] | None = None

    def accept(self, subprotocol: str | None) -> TransportEnd:
        self.transport.write(self._handshake.accept(subprotocol))
        end = TransportEnd()
        self._connection.become(end, bytes(self._early))
        return end

    def refuse(self, refusal: Refusal) -> None:
        self.transport.write(refusalBytes(refusal))
        self._connection.linger()

    def abort(self) -> None:
        self.transport.abortConnection()

    def notifyLost(self, lost: Callable[[], None]) -> None:
        self._lost = lost

    def dataReceived(self, data: bytes) -> None:
        self._early += data
        if len(self._early) > EARLY_LIMIT:
            self.transport.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._lost is not None:
            self._lost()


@implementer(IResource)
class FrontDoor:
    """Upgrades, on any path, go to a session; for everything else it is the root resource, and leads to C{pages}.

    @param pages: what plain requests see; L{None} to answer them 405.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, reactor: IReactorTime, sessions: Sessions, pages: IResource | None) -> None:
        self._handshakes = HandshakeFactory(reactor, SERVER)
        self._sessions = sessions
        self._pages = pages

    def getChildWithDefault(self, name: bytes, request: WebRequest) -> FrontDoor:
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        raise NotImplementedError("the front door has no children; give it pages")

    def render(self, request: WebRequest) -> Any:
        request.setHeader(b"server", SERVER.encode("ascii"))
        if request.method == b"GET" and asksForExplanation(request.requestHeaders):
            self._explain(request)
            return NOT_DONE_YET
        if self._pages is None:
            request.channel.dismiss(Refusal(405, "Only WebSocket is spoken here", (("Allow", ""),)))
            return NOT_DONE_YET
        return getChildForRequest(self._pages, request).render(request)

    def _explain(self, request: WebRequest) -> None:
        """Say what an upgrade would be answered. The same questions are asked, within the same time."""
        asking = self._sessions.explain(asIfUpgraded(_describe(request, ())))
        gone: Deferred[None] = request.notifyFinish()
        gone.addErrback(lambda _: asking.cancel())

        def answer(result: Refusal | Failure | None) -> None:
            if gone.called:
                return
            if isinstance(result, Failure):
                self._log.failure("explaining to a page", result)
                result = Refusal(503, "Service unavailable")
            body = explanation(result)
            request.setHeader(b"content-type", TYPE.encode("ascii"))
            request.setHeader(b"content-length", b"%d" % len(body))
            request.setHeader(b"cache-control", b"no-store")
            request.setHeader(b"x-content-type-options", b"nosniff")
            request.write(body)
            request.finish()

        asking.addBoth(answer)

    def upgrade(self, request: WebRequest) -> None:
        """Answer a request to become a WebSocket, or have its session do so."""
        channel = request.channel
        try:
            if request.clientproto != b"HTTP/1.1":
                raise Refusal(400, "A WebSocket needs HTTP/1.1")
            handshake = self._handshakes.begin(request.requestHeaders)
        except Refusal as refusal:
            channel.refuse(diagnosed(refusal, request.requestHeaders, request.clientproto))
            return
        upgrade = PendingUpgrade(channel.connection, handshake, _describe(request, handshake.offered))
        channel.connection.become(upgrade, channel.giveAway())
        self._sessions.open(upgrade)


def _describe(request: WebRequest, offered: tuple[str, ...]) -> Request:
    query = request.uri.partition(b"?")[2].decode("latin-1")
    return Request(
        path=request.path.decode("latin-1"),
        query=dict(reversed(parse_qsl(query, keep_blank_values=True))) if query else {},
        headers={
            name.decode("latin-1").lower(): _SEPARATORS.get(name, b", ").join(values).decode("latin-1")
            for name, values in request.requestHeaders.getAllRawHeaders()
        },
        peer=unmapped(request.client),
        host=unmapped(request.host),
        secure=request.channel.connection.secure,
        subprotocols=offered,
    )


_SEPARATORS = {b"Cookie": b"; "}
"""What joins the values of a header that came twice: RFC 6265 section 5.4, for RFC 9110 section 5.3's comma."""
