"""Connecting to a name that has several addresses: Happy Eyeballs, RFC 8305.

Addresses are tried in the order of the resolver, families taking turns. The next attempt starts when the
previous one has failed, or has not succeeded within L{ATTEMPT_DELAY}; the first to connect wins, the
others are given up.

Twisted's C{HostnameEndpoint} sits out its delay even after a refusal, 0.3 s on each connection to a
C{localhost} where only the second address listens; asks the resolver, that is a thread, about literal
addresses; and keeps only the last of the failures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, zip_longest
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.access.reach import Reach
from wsproxy.dialling.attempt import connectAddress, isLiteral
from wsproxy.dialling.reactor import IRacingReactor
from wsproxy.errors import NotAllowed

__all__ = ["ATTEMPT_DELAY", "HappyEyeballsEndpoint", "addressesOf"]

ATTEMPT_DELAY = 0.25
"""Seconds between attempts: RFC 8305 section 5, the recommended value."""


@implementer(IStreamClientEndpoint)
class HappyEyeballsEndpoint:
    """
    A TCP port of a host. Connecting to a name fails with an L{ExceptionGroup} of what each address answered, or with
    L{DNSLookupError} where it has none.

    @param reactor: what L{connectAddress} needs, and C{IReactorTime}.
    @param nameResolver: asked about names; never about an IP address.
    @param timeout: of each attempt, in seconds.
    @param reach: asked about each address, in the moment in which it is connected to. One that it does not allow
        counts as one that did not answer.
    """

    def __init__(
        self,
        reactor: IRacingReactor,
        nameResolver: IHostnameResolver,
        host: str,
        port: int,
        timeout: float,
        reach: Reach | None = None,
    ) -> None:
        self._reactor = reactor
        self._nameResolver = nameResolver
        self._host = host
        self._port = port
        self._timeout = timeout
        self._reach = reach

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        if isLiteral(self._host):
            return self._attempt(self._host, protocolFactory)
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        hosts = _takingTurns(await addressesOf(self._nameResolver, self._host, self._port))
        if not hosts:
            raise DNSLookupError(f"no address for {self._host}")
        return await _Race(self._reactor, [partial(self._attempt, host) for host in hosts], factory).start()

    def _attempt(self, host: str, factory: IProtocolFactory) -> Deferred[IProtocol]:
        if self._reach is not None:
            try:
                self._reach.checkAddress(host, self._port, None if host == self._host else self._host)
            except NotAllowed:
                return fail()
        return connectAddress(self._reactor, host, self._port, factory, self._timeout)


def addressesOf(nameResolver: IHostnameResolver, host: str, port: int) -> Deferred[list[IAddress]]:
    """@return: fires with what C{host} is called by, with this port; empty for nothing. It can be cancelled."""
    receiver = _Addresses()
    nameResolver.resolveHostName(receiver, host, port)
    return receiver.complete


@implementer(IResolutionReceiver)
class _Addresses:
    def __init__(self) -> None:
        self._found: list[IAddress] = []
        self._resolution: IHostResolution | None = None
        self.complete: Deferred[list[IAddress]] = Deferred(self._cancelled)

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        self._resolution = resolutionInProgress

    def _cancelled(self, complete: Deferred[list[IAddress]]) -> None:
        if self._resolution is not None:
            with suppress(BaseException):  # Twisted's own cannot be cancelled, and raises
                self._resolution.cancel()

    def addressResolved(self, address: IAddress) -> None:
        self._found.append(address)

    def resolutionComplete(self) -> None:
        if not self.complete.called:
            self.complete.callback(self._found)


def _takingTurns(addresses: Sequence[IAddress]) -> list[str]:
    """RFC 8305 section 4: the first family and the other alternate."""
    hosts: dict[type, list[str]] = {}
    for address in addresses:
        if isinstance(address, (IPv4Address, IPv6Address)):
            scope = getattr(address, "scopeID", 0)
            hosts.setdefault(type(address), []).append(f"{address.host}%{scope}" if scope else address.host)
    return [host for host in chain.from_iterable(zip_longest(*hosts.values())) if host is not None]


class _Race:
    """Attempts that start one after the other, of which the first to connect wins."""

    def __init__(
        self,
        clock: IReactorTime,
        attempts: Sequence[Callable[[IProtocolFactory], Deferred[IProtocol]]],
        factory: IProtocolFactory,
    ) -> None:
        self._clock = clock
        self._factory = factory
        self._waiting = deque(attempts)
        self._running: set[Deferred[IProtocol]] = set()
        self._failures: list[Any] = []
        self._timer: IDelayedCall | None = None
        self._over = False
        self._winner: Deferred[IProtocol] = Deferred(lambda _: self._stop())

    def start(self) -> Deferred[IProtocol]:
        self._next()
        return self._winner

    def _next(self) -> None:
        self._cancelTimer()
        attempt = self._waiting.popleft()(self._factory)
        self._running.add(attempt)
        attempt.addCallbacks(self._won, self._lost, callbackArgs=(attempt,), errbackArgs=(attempt,))
        if self._waiting and attempt in self._running:  # not over already, as it is for a neighbour on the same machine
            self._timer = self._clock.callLater(ATTEMPT_DELAY, self._timerFired)

    def _timerFired(self) -> None:
        self._timer = None
        self._next()

    def _won(self, protocol: IProtocol, attempt: Deferred[IProtocol]) -> None:
        self._running.discard(attempt)
        self._stop()
        self._winner.callback(protocol)

    def _lost(self, failure: Failure, attempt: Deferred[IProtocol]) -> None:
        self._running.discard(attempt)
        if self._over:
            return
        self._failures.append(failure.value)
        if self._waiting:
            self._next()
        elif not self._running:
            self._winner.errback(ExceptionGroup("no address answered", self._failures))

    def _stop(self) -> None:
        self._over = True
        self._cancelTimer()
        for attempt in tuple(self._running):
            attempt.cancel()

    def _cancelTimer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
