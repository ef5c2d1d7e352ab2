"""HTTP on a connection that may become something else: channel, request and refusal.

twisted.web parses. L{Channel} adds what an open port needs: caps on what it parses, a total deadline for each request,
no request bodies, and a way out for upgrades.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http.client import responses
from typing import Any, Protocol

from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorTime
from twisted.protocols.basic import LineReceiver
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request as ServerRequest
from twisted.web.server import Site
from zope.interface import implementer

from wsproxy.access.refusals import RefusalLog
from wsproxy.errors import Refusal
from wsproxy.frontend.connection import Connection
from wsproxy.frontend.deadline import Deadline
from wsproxy.frontend.diagnosis import hostCause, isUpgrade, malformedCause, methodCause

__all__ = [
    "HEADERS",
    "HEAD_LIMIT",
    "KEEP_ALIVE",
    "NAME_LIMIT",
    "READ_AHEAD",
    "SERVER",
    "Carrier",
    "Channel",
    "WebRequest",
    "WebSite",
    "refusalBytes",
]

HEAD_LIMIT = 65536
"""Bytes that request line and headers may have in all. Cookies of 16 KiB are real."""

HEADERS = 500
"""How many lines of headers a request may have."""

NAME_LIMIT = 256
"""Bytes of the name of a header: twisted.web remembers ten thousand names for ever."""

READ_AHEAD = 16384
"""Bytes that a client may send ahead while a request of its is being answered; then it is not read."""

KEEP_ALIVE = 60.0
"""Seconds a connection may idle between requests, or a client may take nothing of its response."""

SERVER = "wsproxy"
"""The C{Server} header: who answers, not which version of it."""


class Carrier(Connection, Protocol):
    """What carries a channel: a connection with a deadline for the stage that it is in."""

    deadline: Deadline


def refusalBytes(refusal: Refusal, *, body: bool = True) -> bytes:
    """
    A whole HTTP response that says no and ends the connection.

    @param body: C{False} to answer HEAD.
    """
    text = f"{refusal.status} {refusal.reason}\n".encode(errors="replace")
    lines = [
        f"HTTP/1.1 {refusal.status} {responses.get(refusal.status, '')}",
        f"Server: {SERVER}",
        "Connection: close",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(text)}",
        "X-Content-Type-Options: nosniff",
        *(f"{name}: {value}".translate(_ONE_LINE) for name, value in refusal.headers),
    ]
    return "\r\n".join([*lines, "", ""]).encode(errors="replace") + (text if body else b"")


_ONE_LINE = dict.fromkeys([*range(0x20), 0x7F], " ")
"""Nothing that a plugin repeats of its client's words ends a header."""


@implementer(IHalfCloseableProtocol)
class Channel(HTTPChannel):
    """One connection's requests, until it closes or L{giveAway} ends its part.

    @param connection: what carries it; its deadline is running for the first request already.
    @param requestTimeout: seconds from the first byte of a request to the end of its headers.
    @param refusals: where it is told who was turned away.
    @ivar upgrade: see L{WebSite}.
    """

    transport: Any
    site: Site

    MAX_LENGTH = HEAD_LIMIT
    # Out of reach, for the caps are ours: a raw path grows threefold when it is encoded.
    totalHeadersSize = 4 * HEAD_LIMIT
    maxHeaders = 2 * HEADERS

    def __init__(
        self,
        connection: Carrier,
        requestTimeout: float,
        refusals: RefusalLog,
        upgrade: Callable[[Any], None] | None = None,
    ) -> None:
        super().__init__()
        self.connection = connection
        self.upgrade = upgrade
        self._refusals = refusals
        self._requestTimeout = requestTimeout
        self._idle = False
        self._held = bytearray()
        self._requestLine = b""
        self._size = self._lines = 0

    def dataReceived(self, data: bytes) -> None:
        """
        The beginning of a line waits here for its end: L{LineReceiver<twisted.protocols.basic.LineReceiver>} would copy
        and search all of it again for each byte that trickles in.
        """
        if self._idle:
            self._nextRequest()
        if not self.line_mode:
            return self.rawDataReceived(data)
        self._held += data
        if b"\n" in data:
            data, self._held = bytes(self._held), bytearray()
            LineReceiver.dataReceived(self, data)  # not HTTPChannel's, which only sees to timeouts that are not in use
            if not self.line_mode:
                return
            rest = self.clearLineBuffer()
            if b"\n" in rest:
                self._requestLine = self._requestLine or rest
                return self.refuse(Refusal(400, "Lines must end with CR LF"))
            self._held += rest
        if self._size + len(self._held) > HEAD_LIMIT:
            self.lineLengthExceeded(bytes(self._held))

    def lineReceived(self, line: bytes) -> None:
        if self._idle:  # it came together with the last one
            self._nextRequest()
        self._size += len(line) + 2
        self._lines += 1
        if not self._requestLine:
            line = self._requestLine = line if line.isascii() else _RAW.sub(_encode, line)
        elif len(line) > NAME_LIMIT or self._size > HEAD_LIMIT or self._lines > HEADERS:
            refusal = self._check(line)
            if refusal is not None:
                return self.refuse(refusal)
        try:
            super().lineReceived(line)
        except ValueError:  # int() takes 4,300 digits and no more
            self.refuse(self._malformed())

    def _check(self, line: bytes) -> Refusal | None:
        if self._size > HEAD_LIMIT:
            return _tooLarge
        if self._lines > HEADERS + 2:  # with the request line, and the line that ends them
            return Refusal(431, "Too many headers")
        if b":" not in line[: NAME_LIMIT + 1] and line[:1] not in b" \t" and len(line) > NAME_LIMIT:
            return Refusal(431, "Header name too long")
        return None

    def rawDataReceived(self, data: bytes) -> None:
        """Further requests wait until this one has been answered."""
        self._held += data
        if len(self._held) > READ_AHEAD:
            self.transport.pauseProducing()

    def _nextRequest(self) -> None:
        self._idle = False
        self.connection.deadline.start(self._requestTimeout)

    def lineLengthExceeded(self, line: bytes) -> None:
        refusal = _tooLarge if self._requestLine else Refusal(414, "Request line too long")
        self._requestLine = self._requestLine or line
        self.refuse(refusal)

    def allHeadersReceived(self) -> None:
        if self.length == 0:
            super().allHeadersReceived()
        elif self._requestLine.startswith(_SERVED):
            self.refuse(Refusal(400, "A request body is not accepted", cause=_BODY))
        else:
            self.refuse(_methodNotAllowed())

    def allContentReceived(self) -> None:
        self.connection.deadline.cancel()
        super().allContentReceived()

    def requestDone(self, request: ServerRequest) -> None:
        self._idle = True
        self._requestLine = b""
        self._size = self._lines = 0
        self.connection.deadline.start(KEEP_ALIVE)
        super().requestDone(request)
        if self._held:
            waiting, self._held = bytes(self._held), bytearray()
            self.dataReceived(waiting)

    def pauseProducing(self) -> None:
        self.connection.deadline.start(KEEP_ALIVE)
        super().pauseProducing()
        # While a request is being answered, HTTPChannel would read on, into a buffer without a limit.
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        if not self.line_mode:
            self.connection.deadline.cancel()
        elif not self._idle:
            self._nextRequest()
        super().resumeProducing()

    def readConnectionLost(self) -> None:
        """The client has asked its last request; it may still read the answer, unless there will be none."""
        self.persistent = False
        if self.line_mode:
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """Never: the connection is given away before it is half-closed."""

    def loseConnection(self) -> None:
        self.giveAway()
        self.connection.linger()

    def refuse(self, refusal: Refusal) -> None:
        """Answer the request being read with this, and close."""
        self._refusals.refused(self.getPeer(), refusal.status, refusal.reason, refusal.cause)
        body = not self._requestLine.startswith(b"HEAD ")
        self.giveAway()
        self.setRawMode()  # no line of it is looked at any more
        self.connection.linger(refusalBytes(refusal, body=body))

    def _respondToBadRequestAndDisconnect(self) -> None:
        # Not public. Without it the answer is twisted.web's own, which says neither that the connection closes nor
        # where it ends, and then closes by loseConnection.
        self.refuse(self._malformed())

    def _malformed(self) -> Refusal:
        return Refusal(400, "Malformed request", cause=malformedCause(self._requestLine))

    def giveAway(self) -> bytes:
        """Take no further part in the connection. @return: what arrived behind the request."""
        early: bytes = self.clearLineBuffer()
        self._held.clear()
        self.requests.clear()  # lest request and channel keep each other in memory
        return early


ALLOWED = "GET, HEAD, OPTIONS"

_BODY = "a proxy in front that adds one? nginx: no proxy_set_body"
_LONG = "cookies of other applications on this host?"
_NO_PATH = "a proxy in front that rewrites it? It begins with a slash"

_SERVED = (b"GET ", b"HEAD ", b"OPTIONS ")
_RAW = re.compile(rb"[\x80-\xff]")

_tooLarge = Refusal(431, "Headers too large", cause=_LONG)


def _methodNotAllowed(cause: str = "") -> Refusal:
    return Refusal(405, "Only GET and HEAD are served", (("Allow", ALLOWED),), cause=cause)


def _encode(raw: re.Match[bytes]) -> bytes:
    """A byte that a path should not have, as RFC 3986 section 2.1 has it."""
    return b"%%%02X" % raw[0][0]


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
        self.setHeader(b"allow", ALLOWED.encode("ascii"))
        self.finish()

    def _check(self) -> Refusal | None:
        if self.method not in (b"GET", b"HEAD", b"OPTIONS"):
            return _methodNotAllowed(methodCause(self.method, self.requestHeaders))
        hosts = self.requestHeaders.getRawHeaders(b"host", ())
        if len(hosts) > 1 or (not hosts and self.clientproto == b"HTTP/1.1"):  # RFC 9112 section 3.2
            return Refusal(400, "Exactly one Host header is needed", cause=hostCause(hosts))
        if not self.path.startswith(b"/") and not (self.method == b"OPTIONS" and self.path == b"*"):
            scheme, _, rest = self.path.partition(b"://")
            if scheme.lower() not in (b"http", b"https", b"ws", b"wss"):
                return Refusal(400, "The request target must be a path", cause=_NO_PATH)
            self.path = b"/" + rest.partition(b"/")[2]  # absolute-form, RFC 9112 section 3.2.2
        return None


class WebSite(Site):
    """
    A Site whose channels know the connection that carries them. Its access log stays off: it has query strings.

    @param upgrade: answers requests to become a WebSocket, past the headers and paths of resources, and raises nothing;
        without it they are requests like any other.
    @param refusals: where it is told who was turned away.
    """

    displayTracebacks = False

    def __init__(
        self,
        root: IResource,
        reactor: IReactorTime,
        requestTimeout: float,
        upgrade: Callable[[WebRequest], None] | None = None,
        refusals: RefusalLog | None = None,
    ) -> None:
        super().__init__(root, WebRequest, reactor=reactor)
        self.upgrade = upgrade
        self.refusals = refusals if refusals is not None else RefusalLog(reactor)
        self._requestTimeout = requestTimeout

    def channel(self, connection: Carrier) -> Channel:
        """@return: a protocol for a connection that speaks HTTP."""
        channel = Channel(connection, self._requestTimeout, self.refusals, self.upgrade)
        channel.site = self
        channel.requestFactory = WebRequest
        return channel
