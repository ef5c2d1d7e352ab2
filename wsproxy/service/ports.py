"""The listening ports of one factory: opened together, stopped together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory

from wsproxy.endpoints.listen import Bindable

__all__ = ["Ports", "stopped"]


class Ports:
    """
    What listens for C{factory}.

    @ivar addresses: where it has listened so far.
    """

    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory = factory
        self.addresses: list[IAddress] = []
        self._open: list[IListeningPort] = []
        self._stopping: list[Deferred[None]] = []

    def __iter__(self) -> Iterator[IListeningPort]:
        return iter(self._open)

    def listen(self, listen: Bindable) -> Deferred[list[IListeningPort]]:
        """@return: fires with the new ports; fails with L{ConfigError<wsproxy.errors.ConfigError>}."""

        def listening(ports: list[IListeningPort]) -> list[IListeningPort]:
            self._open += ports
            self.addresses += [port.getHost() for port in ports]
            return ports

        return listen.bind(self._factory).addCallback(listening)

    def stop(self) -> Deferred[Any]:
        """@return: fires when none is left, including those that were stopped before."""
        ports, self._open = self._open, []
        self._stopping += [Deferred.fromCoroutine(stopped(port)) for port in ports]
        return DeferredList(self._stopping)


async def stopped(port: IListeningPort) -> None:
    """Stop listening there."""
    with suppress(OSError):  # a socket file may have been deleted by somebody else
        stopping = port.stopListening()
        if stopping is not None:
            await stopping
