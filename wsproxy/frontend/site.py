"""Upgrades on any port that twisted.web serves: a resource in somebody else's L{Site<twisted.web.server.Site>}.

Its channel is Twisted's own, and knows of no way out. What takes its connection over is public calls, from within
C{render}: the channel gives back what arrived behind the request (C{clearLineBuffer}), and the transport is told that
the channel produces nothing any more (C{unregisterProducer}), and who has its bytes from now on::

    socket ◄─► transport ─► HTTPChannel ─► render                    a request
    socket ◄─► transport ─► PendingUpgrade, TransportEnd             what became of it

L{WebSockifyResource<wsproxy.resource.WebSockifyResource>} is what embedders are given of it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as ServerRequest
from zope.interface import implementer

from wsproxy.errors import Refusal
from wsproxy.frontend.answer import phrase
from wsproxy.frontend.connection import Connection, Leave
from wsproxy.frontend.diagnosis import isUpgrade
from wsproxy.frontend.explanation import asksForExplanation
from wsproxy.frontend.lingering import Lingering
from wsproxy.frontend.upgrade import Doors, FrontDoor
from wsproxy.interfaces import Forwarded
from wsproxy.sessions.sessions import Sessions

__all__ = ["SiteConnection", "UpgradeResource", "leaving"]


class SiteConnection:
    """The L{Connection<wsproxy.frontend.connection.Connection>} of a request to a Site.

    @param transport: the channel's: a socket's, or what wraps it, such as TLS.
    @param secure: whether it is inside of TLS, ours or that of a proxy in front which the Site believes.
    """

    named: Forwarded | None = None  # that is for whoever listens there

    def __init__(self, transport: Any, secure: bool, clock: IReactorTime) -> None:
        self.secure = secure
        self._transport = transport
        self._clock = clock

    def become(self, protocol: IProtocol, early: bytes = b"") -> None:
        transport = self._transport
        transport.unregisterProducer()
        if isinstance(transport, ProtocolWrapper):
            transport.wrappedProtocol = protocol
        elif isinstance(transport.protocol, ProtocolWrapper):  # it has started TLS on its way
            transport.protocol.wrappedProtocol = protocol
        else:
            transport.protocol = protocol
        protocol.makeConnection(transport)
        if early:
            protocol.dataReceived(early)

    def linger(self, words: bytes = b"") -> None:
        if words:
            self._transport.write(words)
        self.become(Lingering(self._clock))


def leaving(clock: IReactorTime) -> Leave:
    """@return: how requests of Twisted's own L{HTTPChannel} leave it."""

    def leave(request: ServerRequest) -> tuple[Connection, bytes]:
        channel: Any = request.channel
        connection = SiteConnection(channel.transport, request.isSecure(), clock)
        early = channel.clearLineBuffer()
        channel.requests.clear()  # lest request and channel keep each other in memory
        return connection, early

    return leave


@implementer(IResource)
class UpgradeResource:
    """
    Opens a session for each GET that asks for a WebSocket, on whatever path below it. Pages are told why it would not.

    @param others: what all other requests see; L{None} to answer them 405.
    @param door: makes what they come in by.
    """

    isLeaf = True

    def __init__(
        self, clock: IReactorTime, sessions: Sessions, others: IResource | None = None, door: Doors = FrontDoor
    ) -> None:
        self._door = door(clock, sessions, others, leaving(clock))
        self._others = others

    def getChildWithDefault(self, name: bytes, request: ServerRequest) -> UpgradeResource:
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        raise NotImplementedError("it answers for all paths below itself")

    def render(self, request: ServerRequest) -> Any:
        asks = request.method == b"GET"
        if asks and isUpgrade(request.requestHeaders):
            if not isinstance(request.channel, HTTPChannel):
                return _answer(request, Refusal(400, "A WebSocket needs HTTP/1.1"))
            if request.content is not None and request.content.read(1):
                return _answer(request, Refusal(400, "A request body is not accepted"))
            self._door.upgrade(request)
            return NOT_DONE_YET
        if self._others is None and not (asks and asksForExplanation(request.requestHeaders)):
            return _answer(request, Refusal(405, "Only WebSocket is spoken here", (("Allow", "GET"),)))
        return self._door.render(request)


def _answer(request: ServerRequest, refusal: Refusal) -> bytes:
    """Refuse it, and no more than it: the connection stays with HTTP."""
    request.setResponseCode(refusal.status, phrase(refusal.status).encode())
    request.setHeader(b"content-type", b"text/plain; charset=utf-8")
    for name, value in refusal.headers:
        request.setHeader(name.encode(), value.encode())
    return f"{refusal.status} {refusal.reason}\n".encode()
