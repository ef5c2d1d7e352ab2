"""The way to a wrapped program: which port of it a request leads to, and waiting for the program to take connections.

A browser shows close reasons but no HTTP statuses, so the waiting is part of dialling, after the 101: a client that
comes while the program is down or starting is connected when it is up, or told why not by close code 1011.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from wsproxy.dialling.dial import DialError
from wsproxy.interfaces import Identity, IDialer, IResolver, Request, Session, Target
from wsproxy.process.accepted import Acceptance, acceptance, canTell
from wsproxy.process.listeners import Listeners

__all__ = ["ProgramDialer"]

POLL = 0.1
"""Seconds until an address is tried again at which the program was told to listen."""

LOOK, LOOK_MAX = 0.001, 0.02
"""Seconds until a connection is looked at again that the program has not accepted: twice as many each time."""

_PATIENCE = 0.9
"""Of the time that a client waits, what it waits to be accepted; it is then connected all the same."""

_DOWN = (
    ConnectionRefusedError,
    ConnectionLost,
    builtins.ConnectionRefusedError,
    builtins.ConnectionResetError,
    FileNotFoundError,
)


@implementer(IResolver, IDialer)
class ProgramDialer:
    """
    @param name: the program's, for logs and reasons.
    @param listeners: where it listens.
    @param port: the port of the program that every request leads to; L{None}: the one that the client connected to.
    @param announced: whether the program's listening is reported; else an address is tried until it answers.
    @param connect: connects to an address, for a target and a factory, and says this C{header} first if there is one;
        fails with L{DialError}.
    @param header: what the program is told of a client before everything else.
    @param timeout: seconds a client waits.
    @param again: whether the program is started again when it ends. What it has not accepted by then, of clients that
        came just before, is for its next run.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        name: str,
        listeners: Listeners,
        port: int | None,
        *,
        announced: bool,
        connect: Callable[..., Deferred[IProtocol]],
        header: Callable[[Session], bytes] = lambda session: b"",
        timeout: float,
        again: bool = False,
    ) -> None:
        self._reactor = reactor
        self._name = name
        self._listeners = listeners
        self._port = port
        self._announced = announced
        self._connectTo = connect
        self._header = header
        self._timeout = timeout
        self._looks = again and canTell()

    def resolve(self, request: Request, identity: Identity | None) -> Target:
        if self._port is None and isinstance(request.host, (IPv4Address, IPv6Address)):
            return Target(f"{self._name}:{request.host.port}")
        return Target(self._name)

    def dial(self, session: Session, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See L{IDialer.dial}. @return: fires with the protocol, or fails with L{DialError}."""

        def timedOut(result: object, timeout: float) -> NoReturn:
            raise DialError(f"Program is not {'listening' if self._listeners.running else 'running'}")

        port = self._port if self._port is not None else int(session.target.text.rpartition(":")[2])
        header = self._header(session)
        connect = partial(self._connectTo, header=header) if header else self._connectTo
        connecting = Deferred.fromCoroutine(self._connect(port, factory, connect))
        return connecting.addTimeout(self._timeout, self._reactor, timedOut)

    async def _connect(
        self, port: int, factory: IProtocolFactory, connect: Callable[..., Deferred[IProtocol]]
    ) -> IProtocol:
        deadline = self._reactor.seconds() + self._timeout * _PATIENCE
        lost: set[str] = set()
        while True:
            addresses = self._listeners.at(port)
            if not addresses:
                await self._listeners.added()
                continue
            for address in addresses:
                try:
                    protocol: IProtocol = await connect(Target(address), factory)
                except DialError as error:
                    if not _nobodyListens(error):
                        raise
                    if self._announced:
                        self._listeners.discard(port, address)
                    continue
                if not self._looks or await self._accepted(protocol, deadline):
                    self._listeners.served = True
                    return protocol
                if address in lost:  # it was not about to end
                    raise DialError("Target connection lost")
                lost.add(address)
            if not self._announced or lost:
                await deferLater(self._reactor, POLL)

    async def _accepted(self, protocol: Any, deadline: float) -> bool:
        """Whether the program takes this connection, and not only the kernel; one that is not taken is aborted."""
        transport, pause = protocol.transport, LOOK
        try:
            while (found := acceptance(transport.getHandle())) is Acceptance.WAITING:
                if self._reactor.seconds() >= deadline:
                    break
                await deferLater(self._reactor, pause)
                pause = min(2 * pause, LOOK_MAX)
        except CancelledError:
            transport.abortConnection()
            raise
        if found is Acceptance.GONE:
            transport.abortConnection()
        return found is not Acceptance.GONE


def _nobodyListens(error: DialError) -> bool:
    cause = error.__cause__
    causes = cause.exceptions if isinstance(cause, ExceptionGroup) else (cause,)
    return all(isinstance(each, _DOWN) for each in causes)
