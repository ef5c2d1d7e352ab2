"""The request that becomes a WebSocket, or asks why it would not: found on any path, answered by its session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as ServerRequest
from zope.interface import implementer

from wsproxy.access.forwarded import TrustedProxies
from wsproxy.access.peer import unmapped
from wsproxy.ends.transport import TransportEnd
from wsproxy.errors import Refusal
from wsproxy.fault import logFault
from wsproxy.frontend.answer import SERVER, refusalBytes, withHeaders
from wsproxy.frontend.channel import Carrier
from wsproxy.frontend.connection import Connection, Leave
from wsproxy.frontend.diagnosis import diagnosed
from wsproxy.frontend.explanation import TYPE, asIfUpgraded, asksForExplanation, explanation
from wsproxy.frontend.head import Head, readHead
from wsproxy.frontend.query import parseQuery
from wsproxy.frontend.visit import isForAnybody, visit
from wsproxy.frontend.web import WebRequest
from wsproxy.frontend.websocket import Handshake, HandshakeFactory
from wsproxy.interfaces import Forwarded, Request
from wsproxy.sessions.sessions import Sessions
from wsproxy.tls.server import shownCertificate
from wsproxy.wire.subprotocol import Draft

__all__ = ["Doors", "FrontDoor", "PendingUpgrade"]

EARLY_LIMIT = 65536
"""Bytes an undecided client may send ahead; then it is not read."""


class PendingUpgrade(Protocol):
    """
    An L{Upgrade<wsproxy.sessions.reception.Upgrade>}, and its connection's protocol until it is decided about.

    @param handshake: L{None} where C{accept} does without.
    """

    transport: Any
    draft: Draft | None = None

    def __init__(self, connection: Connection, handshake: Handshake | None, request: Request) -> None:
        self.request = request
        self._connection = connection
        self._handshake = handshake
        self._early = bytearray()
        self._lost: Callable[[], None] | None = None

    def accept(self, subprotocol: str | None, headers: Sequence[tuple[str, str]] = ()) -> TransportEnd:
        assert self._handshake is not None
        answer = self._handshake.accept(subprotocol)
        return self._relayed(withHeaders(answer, headers) if headers else answer)

    def _relayed(self, greeting: bytes) -> TransportEnd:
        end = TransportEnd()
        end.greeting = greeting
        self._connection.become(end, bytes(self._early))
        return end

    def refuse(self, refusal: Refusal) -> None:
        self._connection.linger(refusalBytes(refusal))

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
    @param leave: how a request's connection is taken over, which depends on the Site that it came to.
    @param proxies: which proxies in front are believed what they say of their clients; L{None}: none.
    """

    isLeaf = True
    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        sessions: Sessions,
        pages: IResource | None,
        leave: Leave = WebRequest.leave,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self._handshakes = self._makeHandshakes(reactor)
        self._sessions = sessions
        self._pages = pages
        self._leave = leave
        self._proxies = proxies

    def _makeHandshakes(self, reactor: IReactorTime) -> HandshakeFactory:
        return HandshakeFactory(reactor, SERVER)

    def become(self, other: FrontDoor) -> None:
        """Serve its pages, and believe whom it believes, from now on."""
        self._pages, self._proxies = other._pages, other._proxies

    def getChildWithDefault(self, name: bytes, request: ServerRequest) -> FrontDoor:
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        raise NotImplementedError("the front door has no children; give it pages")

    def render(self, request: ServerRequest) -> Any:
        request.setHeader(b"server", SERVER.encode("ascii"))
        if request.method == b"GET" and asksForExplanation(request.requestHeaders):
            self._explain(request)
            return NOT_DONE_YET
        if self._pages is None:
            connection, _ = self._leave(request)
            connection.linger(refusalBytes(_webSocketOnly, body=request.method != b"HEAD"))
            return NOT_DONE_YET
        if self._sessions.coverPages:
            asked = self._describe(request, request.isSecure(), _namedBefore(request), page=True)
            asking = self._sessions.visit(asked, forAnybody=isForAnybody(request.path))
            visit(request, asking, self._pages)
            return NOT_DONE_YET
        return getChildForRequest(self._pages, request).render(request)

    def _explain(self, request: ServerRequest) -> None:
        """Say what an upgrade would be answered. The same questions are asked, within the same time."""
        asked = self._describe(request, request.isSecure(), _namedBefore(request))
        asking = self._sessions.explain(asIfUpgraded(asked))
        gone: Deferred[None] = request.notifyFinish()
        gone.addErrback(lambda _: asking.cancel())

        def answer(result: Refusal | Failure | None) -> None:
            if gone.called:
                return
            if isinstance(result, Failure):
                logFault(self._log, "explaining to a page", result)
                result = Refusal(503, "Service unavailable")
            body = explanation(result)
            request.setHeader(b"content-type", TYPE.encode("ascii"))
            request.setHeader(b"content-length", b"%d" % len(body))
            request.setHeader(b"cache-control", b"no-store")
            request.setHeader(b"x-content-type-options", b"nosniff")
            request.write(body)
            request.finish()

        asking.addBoth(answer)

    def upgrade(self, request: ServerRequest) -> None:
        """Answer a request to become a WebSocket, or have its session do so. Raises nothing."""
        connection, early = self._leave(request)
        try:
            if request.clientproto != b"HTTP/1.1":
                raise Refusal(400, "A WebSocket needs HTTP/1.1")
            handshake = self._handshakes.begin(request.requestHeaders)
            asked = self._describe(request, connection.secure, connection.named, handshake.offered)
        except Refusal as refusal:
            self._refuse(request, connection, refusal)
        except BaseException:
            logFault(self._log, "beginning a WebSocket")
            connection.linger(refusalBytes(_broken))
        else:
            self._welcome(connection, handshake, asked, early)

    def arrive(self, connection: Carrier, early: bytes) -> bool:
        """
        Answer what a connection begins with, if that is an ordinary request to become a WebSocket: as L{upgrade} would,
        and without a channel. Raises nothing.

        @return: whether it was answered. Otherwise nothing has happened yet: the channel's way is for all that is
            unusual, or wrong.
        """
        try:
            head = readHead(early)
            if head is None:
                return False
            handshake = self._handshakes.beginOrdinary(head.headers)
            asked = self._describeHead(head, connection, handshake.offered)
        except BaseException:  # which upgrade is going to meet, and to tell
            return False
        connection.deadline.cancel()
        self._welcome(connection, handshake, asked, early[head.size :])
        return True

    def _welcome(self, connection: Connection, handshake: Handshake, asked: Request, early: bytes) -> None:
        upgrade = PendingUpgrade(connection, handshake, asked)
        connection.become(upgrade, early)
        self._sessions.open(upgrade)

    def _refuse(self, request: ServerRequest, connection: Connection, refusal: Refusal) -> None:
        told = diagnosed(refusal, request.requestHeaders, request.clientproto)
        asked = self._describe(request, connection.secure, connection.named)
        self._sessions.refusals.refused(asked.peer, told.status, told.reason, told.cause, asked.client)
        connection.linger(refusalBytes(told))

    def _describe(
        self,
        request: ServerRequest,
        secure: bool,
        named: Forwarded | None,
        offered: tuple[str, ...] = (),
        *,
        page: bool = False,
    ) -> Request:
        peer, proxies = unmapped(request.client), self._proxies
        headers = {
            name.decode("latin-1").lower(): _SEPARATORS.get(name, b", ").join(values).decode("latin-1")
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        query = request.uri.partition(b"?")[2].decode("latin-1")
        return Request(
            path=request.path.decode("latin-1"),
            queryAll=parseQuery(query) if query else {},
            headers=headers,
            peer=peer,
            host=unmapped(request.host),
            secure=secure,
            subprotocols=offered,
            certificate=shownCertificate(getattr(request.channel, "transport", None)) if secure else None,
            rawQuery=query,
            page=page,
            method=request.method.decode("latin-1"),
            forwarded=None if proxies is None else proxies.read(peer, named, headers),
        )

    def _describeHead(self, head: Head, connection: Carrier, offered: tuple[str, ...]) -> Request:
        transport, headers, secure, proxies = connection.transport, head.headers, connection.secure, self._proxies
        path, _, query = head.target.partition("?")
        peer = unmapped(transport.getPeer())
        return Request(
            path,
            headers,
            peer,
            unmapped(transport.getHost()),
            secure,
            parseQuery(query) if query else {},
            offered,
            shownCertificate(transport) if secure else None,
            rawQuery=query,
            forwarded=None if proxies is None else proxies.read(peer, connection.named, headers),
        )


Doors = Callable[..., FrontDoor]
"""L{FrontDoor}, or what is called as that is."""

_webSocketOnly = Refusal(405, "Only WebSocket is spoken here", (("Allow", ""),))
_broken = Refusal(500, "Internal error")


def _namedBefore(request: ServerRequest) -> Forwarded | None:
    """Who its client is, by what has come before the first request, on a connection of ours."""
    connection: Connection | None = getattr(request.channel, "connection", None)
    return None if connection is None else connection.named


_SEPARATORS = {b"Cookie": b"; "}
"""What joins the values of a header that came twice: RFC 6265 section 5.4, for RFC 9110 section 5.3's comma."""
