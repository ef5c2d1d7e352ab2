"""A question to somebody's HTTP service: one GET, and the whole of a short answer, or why there is none.

::

    get ─► a turn, of so many ─► a connection, kept or new ─► GET ─► all of the answer, or WebServiceError
                                 └─────────── one deadline, one size ────────────┘

The service may hang, lie, flood, break off or be gone: that is a L{WebServiceError}, within the time. Half of an answer
is none. Each question is asked by itself: Twisted's L{Agent} keeps no cookies, so that nothing which the service said
of one client reaches it for another; it follows no redirects, and unpacks nothing that could be larger than it looks.
(treq does all three.)
"""

# twisted.web and the policies leave much without annotations
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionRefusedError, DNSLookupError, VerifyError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, RequestGenerationFailed, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from wsproxy.tls.client import clientTLS

__all__ = ["HEAD_LIMIT", "LONGEST", "PATIENCE", "Answer", "TooLong", "WebService", "WebServiceError"]

PATIENCE = 5.0
"""Seconds from the beginning of a connection to the end of an answer: half of what all decisions on a client have."""

LONGEST = 65536
"""Bytes of an answer's body."""

HEAD_LIMIT = 2 * LONGEST
"""Bytes of its head, which a connection reads at most until it is whole; and of its body, chunks and all."""

_TURNS = 64
"""Questions at a time; others wait."""

_KEPT = 30
"""Seconds that a connection waits for the next question."""


class WebServiceError(Exception):
    """
    There is no answer. C{str()} says why, for the log: one line, without what was asked.

    @ivar cause: what it comes of, for who has words of his own for that; L{None} where nobody was asked.
    """

    def __init__(self, why: str, cause: BaseException | None = None) -> None:
        super().__init__(why)
        self.cause = cause


class TooLong(Exception):
    """More has come than an answer may have."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service says."""

    status: int
    headers: Headers
    body: bytes = b""


class WebService:
    """
    @param reactor: for time, and to connect with.
    @param patience: seconds.
    @param turns: how many questions there are at a time; others wait.
    @param queue: how many wait; L{None}: all.
    """

    def __init__(
        self, reactor: Any, patience: float = PATIENCE, turns: int = _TURNS, queue: int | None = None
    ) -> None:
        self._reactor = reactor
        self._patience = patience
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = turns
        self._pool.cachedConnectionTimeout = _KEPT
        self._agent = Agent.usingEndpointFactory(reactor, _Endpoints(reactor, patience), self._pool)
        self._turns = DeferredSemaphore(turns)
        self._queue = queue

    def close(self) -> Deferred[None]:
        """Drop the connections that are kept. @return: fires when they are gone."""
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing

    async def get(self, url: bytes, headers: Headers) -> Answer:
        """
        @param url: of C{http:} or C{https:}, percent-encoded.
        @raise WebServiceError: no answer has come, in time, whole.
        """
        if self._queue is not None and len(self._turns.waiting) >= self._queue:
            raise WebServiceError("too many wait for it already")
        await self._turns.acquire()
        try:
            exchange: Deferred[Answer] = Deferred.fromCoroutine(self._exchange(url, headers))
            return await exchange.addTimeout(self._patience, self._reactor, _timedOut)
        except Exception as error:
            cause = _cause(error)
            if isinstance(cause, CancelledError):
                raise cause from None  # nobody waits any longer
            raise WebServiceError(self._why(cause), cause) from None
        finally:
            self._turns.release()

    async def _exchange(self, url: bytes, headers: Headers) -> Answer:
        response: IResponse = await self._agent.request(b"GET", url, headers.copy())
        body = _Body()
        response.deliverBody(body)
        return Answer(response.code, response.headers, await body.whole)

    def _why(self, error: BaseException) -> str:
        match error:
            case TimeoutError():
                return f"no answer within {self._patience:g} s"
            case ConnectionRefusedError():
                return "it refuses connections"
            case DNSLookupError():
                return "its name is not found"
            case VerifyError():
                return f"TLS: {error}"
            case ConnectError():
                return "it cannot be reached"
            case TooLong():
                return f"an answer of more than {LONGEST} bytes"
        return f"it breaks off, or answers what is no HTTP ({type(error).__name__})"


def _cause(error: Exception) -> BaseException:
    """What is behind Twisted's words for an exchange that came to nothing."""
    cause: BaseException = error
    while isinstance(cause, (ResponseFailed, RequestGenerationFailed)) and cause.reasons:
        cause = cause.reasons[0].value
    return cause


def _timedOut(result: object, seconds: float) -> Failure:
    return Failure(TimeoutError())


class _Body(Protocol):
    """C{whole}: fires with all of a body; to cancel it ends the connection."""

    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self._drop())
        self._received = bytearray()

    def _drop(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        if self.whole.called:
            return
        self._received += data
        if len(self._received) > LONGEST:
            self.whole.errback(TooLong())
            self._drop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):  # the latter has no length but its connection's
            self.whole.callback(bytes(self._received))
        else:
            self.whole.errback(reason)


class _Capped(ProtocolWrapper):
    """
    A connection that is cut off by a head that is too long, and at once by whoever has had enough of it. A body is
    L{_Body}'s to count: where it has no length of its own, nobody could tell our end of it from the other side's.
    """

    _left = HEAD_LIMIT

    def writeSequence(self, data: list[bytes]) -> None:
        """A request."""
        self._left = HEAD_LIMIT
        super().writeSequence(data)

    def resumeProducing(self) -> None:
        """Somebody wants the body."""
        self._left = HEAD_LIMIT
        self.transport.resumeProducing()  # type: ignore[union-attr]  # one of sockets

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self.loseConnection()
        else:
            super().dataReceived(data)

    def loseConnection(self) -> None:
        """Over TLS, too, without waiting for the other side."""
        self.disconnecting = 1
        self.transport.abortConnection()  # type: ignore[union-attr]  # one of sockets


class _CappedFactory(WrappingFactory[_Capped]):
    protocol = _Capped

    def doStart(self) -> None:
        """Without a line in the log for each connection."""

    doStop = doStart


@implementer(IStreamClientEndpoint)
class _CappedEndpoint:
    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        connecting: Deferred[Any] = self._endpoint.connect(_CappedFactory(protocolFactory))
        return connecting.addCallback(lambda capped: capped.wrappedProtocol)


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Where connections go."""

    def __init__(self, reactor: Any, patience: float) -> None:
        self._reactor = reactor
        self._patience = patience
        self._tls = lru_cache(1)(lambda host: clientTLS(host, authorities=None, insecure=False))

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = HostnameEndpoint(self._reactor, uri.host, uri.port, self._patience)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._tls(uri.host.decode("ascii")), endpoint)
        return _CappedEndpoint(endpoint)
