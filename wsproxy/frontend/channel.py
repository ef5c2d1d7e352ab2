"""The channel: HTTP on a connection that may become something else.

twisted.web parses. L{Channel} adds what an open port needs: caps on what it parses, a total deadline for each request,
no request bodies, and a way out for upgrades.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.protocols.basic import LineReceiver
from twisted.web.http import HTTPChannel
from twisted.web.server import Request as ServerRequest
from twisted.web.server import Site
from zope.interface import implementer

from wsproxy.access.refusallog import RefusalLog
from wsproxy.errors import Refusal
from wsproxy.frontend.answer import METHODS, methodNotAllowed, refusalBytes
from wsproxy.frontend.connection import Connection
from wsproxy.frontend.deadline import Deadline
from wsproxy.frontend.diagnosis import malformedCause

__all__ = ["BODY_LIMIT", "HEADERS", "HEAD_LIMIT", "KEEP_ALIVE", "NAME_LIMIT", "READ_AHEAD", "Carrier", "Channel"]

HEAD_LIMIT = 65536
"""Bytes that request line and headers may have in all. Cookies of 16 KiB are real."""

HEADERS = 500
"""How many lines of headers a request may have."""

NAME_LIMIT = 256
"""Bytes of the name of a header: twisted.web remembers ten thousand names for ever."""

READ_AHEAD = 16384
"""Bytes that a client may send ahead while a request of its is being answered; then it is not read."""

BODY_LIMIT = 1 << 20
"""Bytes of a request's body, where resources take any. It has to be there in the time that the request has."""

KEEP_ALIVE = 60.0
"""Seconds a connection may idle between requests, or a client may take nothing of its response."""


class Carrier(Connection, Protocol):
    """What carries a channel: a connection with a deadline for the stage that it is in."""

    deadline: Deadline
    transport: Any


@implementer(IHalfCloseableProtocol)
class Channel(HTTPChannel):
    """One connection's requests, until it closes or L{giveAway} ends its part.

    @param connection: what carries it; its deadline is running for the first request already.
    @param requestTimeout: seconds from the first byte of a request to the end of its headers.
    @param refusals: where it is told who was turned away.
    @ivar upgrade: see L{WebSite}.
    @ivar methods: L{METHODS}, and those that embedders' resources have besides.
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
        methods: tuple[bytes, ...] = METHODS,
    ) -> None:
        super().__init__()
        self.methods = methods
        self._bodyLeft = 0  # bytes of it that are still to come
        self._parsing = False
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
            self._parsing = True
            LineReceiver.dataReceived(self, data)  # not HTTPChannel's, which only sees to timeouts that are not in use
            self._parsing = False
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
        """The body of a request, where it may have one; else more requests, which wait until it has been answered."""
        if self._bodyLeft:
            self._receiveBody(data)
            return
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
        elif self._requestLine.partition(b" ")[0] in self.methods[len(METHODS) :]:
            self._expectBody()
        elif self._requestLine.startswith(_SERVED):
            self.refuse(Refusal(400, "A request body is not accepted", cause=_BODY))
        else:
            self.refuse(methodNotAllowed(methods=self.methods))

    def _expectBody(self) -> None:
        if self.length is None:
            self.refuse(Refusal(411, "A body needs a Content-Length"))
        elif self.length > BODY_LIMIT:
            self.refuse(Refusal(413, "Body too large"))
        else:
            self._bodyLeft = self.length
            super().allHeadersReceived()

    def _receiveBody(self, data: bytes) -> None:
        body, rest = data[: self._bodyLeft], data[self._bodyLeft :]
        self._bodyLeft -= len(body)
        super().rawDataReceived(body)
        if not rest:
            return
        if not self.line_mode:
            self.rawDataReceived(rest)
        elif self._parsing:  # and goes on with that
            LineReceiver.dataReceived(self, rest)
        else:
            self.dataReceived(rest)

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
        if not self.line_mode and not self._bodyLeft:
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
        named = self.connection.named
        client = None if named is None else named.client
        self._refusals.refused(self.getPeer(), refusal.status, refusal.reason, refusal.cause, client)
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


_BODY = "a proxy in front that adds one? nginx: no proxy_set_body"
_LONG = "cookies of other applications on this host?"

_SERVED = (b"GET ", b"HEAD ", b"OPTIONS ")
_RAW = re.compile(rb"[\x80-\xff]")

_tooLarge = Refusal(431, "Headers too large", cause=_LONG)


def _encode(raw: re.Match[bytes]) -> bytes:
    """A byte that a path should not have, as RFC 3986 section 2.1 has it."""
    return b"%%%02X" % raw[0][0]
