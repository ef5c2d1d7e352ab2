"""Requests and the Site that serves them: what no resource should have to check is checked here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource
from twisted.web.server import Request as ServerRequest
from twisted.web.server import Site

from wsproxy.access.refusallog import RefusalLog
from wsproxy.errors import Refusal
from wsproxy.frontend.answer import METHODS, SERVER, allowed, methodNotAllowed
from wsproxy.frontend.channel import Carrier, Channel
from wsproxy.frontend.connection import Connection
from wsproxy.frontend.diagnosis import hostCause, isUpgrade, methodCause
from wsproxy.frontend.head import isHost

__all__ = ["WebRequest", "WebSite"]

_NO_PATH = "a proxy in front that rewrites it? It begins with a slash"


class WebRequest(ServerRequest):
    """One request; what no resource should have to check is checked here."""

    channel: Channel

    def __repr__(self) -> str:
        """For twisted.web's lines in the log; its own has the query."""
        return f"<{type(self).__name__} {self.method!r}>"

    def process(self) -> None:
        refusal = self._check()
        if refusal is not None:
            self.channel.refuse(refusal)
        elif self.method == b"OPTIONS":
            self._tellOptions()
        elif self.method == b"GET" and self.channel.upgrade is not None and isUpgrade(self.requestHeaders):
            self.channel.upgrade(self)
        else:
            super().process()

    def leave(self) -> tuple[Connection, bytes]:
        """See L{Leave<wsproxy.frontend.connection.Leave>}."""
        return self.channel.connection, self.channel.giveAway()

    def _tellOptions(self) -> None:
        """Most often it is a front proxy that asks whether there is anybody."""
        self.setResponseCode(204)
        self.setHeader(b"server", SERVER.encode("ascii"))
        self.setHeader(b"allow", allowed(self.channel.methods).encode("ascii"))
        self.finish()

    def _check(self) -> Refusal | None:
        methods = self.channel.methods
        if self.method not in methods and self.method != b"OPTIONS":
            return methodNotAllowed(methodCause(self.method, self.requestHeaders), methods)
        hosts = self.requestHeaders.getRawHeaders(b"host", ())
        if len(hosts) > 1 or (not hosts and self.clientproto == b"HTTP/1.1"):  # RFC 9112 section 3.2
            return Refusal(400, "Exactly one Host header is needed", cause=hostCause(hosts))
        if hosts and not isHost(hosts[0].strip().decode("latin-1")):
            return Refusal(400, "The Host header must be a name and a port")
        if not self.path.startswith(b"/") and not (self.method == b"OPTIONS" and self.path == b"*"):
            scheme, _, rest = self.path.partition(b"://")
            if scheme.lower() not in (b"http", b"https", b"ws", b"wss"):
                return Refusal(400, "The request target must be a path", cause=_NO_PATH)
            authority, _, path = rest.partition(b"/")
            self.path = b"/" + path  # absolute-form, whose authority is the host: RFC 9112 section 3.2.2
            self.requestHeaders.setRawHeaders(b"host", [authority.rpartition(b"@")[2]])
        return None


class WebSite(Site):
    """
    A Site whose channels know the connection that carries them. Its access log stays off: it has query strings.

    @param upgrade: answers requests to become a WebSocket, past the headers and paths of resources, and raises nothing;
        without it they are requests like any other.
    @param arrive: is shown what a connection begins with, and says whether it has answered that: the short way of
        ordinary requests to become a WebSocket, past twisted.web.
    @param refusals: where it is told who was turned away.
    @param methods: those that resources have.
    @ivar requestTimeout: seconds for the headers of a request; of connections from now on.
    """

    displayTracebacks = False

    def __init__(
        self,
        root: IResource,
        reactor: IReactorTime,
        requestTimeout: float,
        upgrade: Callable[[WebRequest], None] | None = None,
        arrive: Callable[[Carrier, bytes], bool] | None = None,
        refusals: RefusalLog | None = None,
        methods: Sequence[bytes] = METHODS,
    ) -> None:
        super().__init__(root, WebRequest, reactor=reactor)
        self.upgrade = upgrade
        self._arrive = arrive
        self.refusals = refusals if refusals is not None else RefusalLog(reactor)
        self.requestTimeout = requestTimeout
        self._methods = tuple(methods)

    def arrive(self, connection: Carrier, early: bytes) -> bool:
        """@return: whether what a connection begins with was answered already, and it needs no L{channel}."""
        return self._arrive is not None and self._arrive(connection, early)

    def channel(self, connection: Carrier) -> Channel:
        """@return: a protocol for a connection that speaks HTTP."""
        channel = Channel(connection, self.requestTimeout, self.refusals, self.upgrade, self._methods)
        channel.site = self
        channel.requestFactory = WebRequest
        return channel
