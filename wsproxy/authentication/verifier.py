"""The server that C{--auth-url} names: one GET to it, and the status and the headers of its answer.

::

    ask ─► a turn, of so many ─► a connection of the pool, or a new one ─► GET ─► the whole answer, or VerifierError
                                 └────────────── one deadline, and one cap ──────────────┘

It may hang, lie, break off, flood or be gone; each is a L{VerifierError}, within a time. An answer counts once all of
it has come, so that half of one lets nobody in.

This is Twisted's own L{Agent}, without what treq puts around it: a client there keeps cookies, and would show those
that the verifier has given one visitor as the next one's; it follows redirects, which are meant for a browser, and
unpacks what is thrown away here.
"""

# twisted.web and the policies leave much without annotations
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectionAborted,
    ConnectionRefusedError,
    DNSLookupError,
    VerifyError,
)
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from wsproxy.tls.client import clientTLS

__all__ = ["ANSWER_TIMEOUT", "BODY_LIMIT", "HEAD_LIMIT", "Answer", "Verifier", "VerifierError"]

ANSWER_TIMEOUT = 5.0
"""Seconds from the beginning of a connection to the end of an answer: half of what all questions may take."""

HEAD_LIMIT = 131072
"""Bytes of the head of an answer, which a connection reads at most until it is whole."""

BODY_LIMIT = 65536
"""Bytes of its body. Nobody reads it, but there may be a page for people in it."""

_IDLE = 30
"""Seconds that a connection waits for the next request."""


class VerifierError(Exception):
    """There is no answer that could count. C{str()} is for the log: one line without a secret."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the verifier says."""

    status: int
    headers: Headers


class Verifier:
    """
    @param reactor: for time, and to connect with.
    @param url: C{http} or C{https}, without credentials.
    @param turns: how many requests there are at a time; others wait.
    @param queue: how many wait; L{None}: all.
    """

    def __init__(self, reactor: Any, url: str, *, turns: int, queue: int | None = None) -> None:
        self._reactor = reactor
        self._url = url.encode("ascii")
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = turns
        self._pool.cachedConnectionTimeout = _IDLE
        self._agent = Agent.usingEndpointFactory(reactor, _Endpoints(reactor), self._pool)
        self._turns = DeferredSemaphore(turns)
        self._queue = queue

    def close(self) -> Deferred[None]:
        """Drop the connections that wait for a next request. @return: fires when they are gone."""
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing

    async def ask(self, headers: Headers) -> Answer:
        """
        GET the url with these headers.

        @raise VerifierError: no answer has come, in time, whole.
        """
        if self._queue is not None and len(self._turns.waiting) >= self._queue:
            raise VerifierError("too many wait for it already")
        await self._turns.acquire()
        try:
            exchange: Deferred[Answer] = Deferred.fromCoroutine(self._exchange(headers))
            return await exchange.addTimeout(ANSWER_TIMEOUT, self._reactor, _timedOut)
        except CancelledError:
            raise  # nobody waits any longer
        except Exception as error:
            raise VerifierError(_why(error)) from error
        finally:
            self._turns.release()

    async def _exchange(self, headers: Headers) -> Answer:
        response: IResponse = await self._agent.request(b"GET", self._url, headers)
        body = _Unread()
        response.deliverBody(body)
        await body.whole
        return Answer(response.code, response.headers)


def _timedOut(result: object, seconds: float) -> Failure:
    return Failure(TimeoutError())


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, f"no answer within {ANSWER_TIMEOUT:g} s"),
    (ConnectionRefusedError, "it refuses connections"),
    (DNSLookupError, "its name is not found"),
    (ConnectBindError, "no connection can be made"),
    (ConnectError, "it cannot be reached"),
    (VerifyError, "its certificate is not accepted"),
    (ConnectionAborted, f"its answer is too long: {BODY_LIMIT >> 10} KiB at most"),  # of all that we abort, it is left
)


def _why(error: BaseException) -> str:
    causes = [error]
    while isinstance(causes[-1], ResponseFailed) and causes[-1].reasons:
        causes.append(causes[-1].reasons[0].value)
    for kind, reason in _REASONS:
        if isinstance(causes[-1], kind):
            return reason
    return f"it breaks off, or answers what is no HTTP ({type(causes[-1]).__name__})"


class _Unread(Protocol):
    """A body that nobody wants. C{whole}: fires once all of it has come; to cancel it ends the connection."""

    def __init__(self) -> None:
        self.whole: Deferred[None] = Deferred(self._end)
        self._left = BODY_LIMIT

    def _end(self, whole: Deferred[None]) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0 and not self.whole.called:
            self.whole.errback(ConnectionAborted())
            self._end(self.whole)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):  # the latter has no length but the connection's
            self.whole.callback(None)
        else:
            self.whole.errback(reason)


class _Capped(ProtocolWrapper):
    """
    A connection that is cut off by a head that is too long, and at once by whoever has had enough of it. A body is
    L{_Unread}'s to count: where it has no length of its own, nobody could tell our end of it from the other side's.
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

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._tls = lru_cache(1)(lambda host: clientTLS(host, authorities=None, insecure=False))

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = HostnameEndpoint(self._reactor, uri.host, uri.port, ANSWER_TIMEOUT)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._tls(uri.host.decode("ascii")), endpoint)
        return _CappedEndpoint(endpoint)
