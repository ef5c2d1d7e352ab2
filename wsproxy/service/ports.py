"""The listening ports of one factory: opened together, stopped together."""

from __future__ import annotations

from collections.abc import Collection, Iterator
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
        self._open: list[tuple[str, IListeningPort]] = []
        self._stopping: list[Deferred[None]] = []

    def __iter__(self) -> Iterator[IListeningPort]:
        return iter([port for _, port in self._open])

    def listen(self, listen: Bindable, factory: IProtocolFactory | None = None) -> Deferred[list[IListeningPort]]:
        """
        @param factory: instead of the one for all.
        @return: fires with the new ports; fails with L{ConfigError<wsproxy.errors.ConfigError>}.
        """

        def listening(ports: list[IListeningPort]) -> list[IListeningPort]:
            self._open += ((str(listen), port) for port in ports)
            self.addresses += [port.getHost() for port in ports]
            return ports

        return listen.bind(self._factory if factory is None else factory).addCallback(listening)

    def nameOf(self, port: IListeningPort) -> str:
        """@return: the C{--listen} value that it stands for."""
        return next((text for text, known in self._open if known is port), "")

    def stop(self) -> Deferred[Any]:
        """@return: fires when none is left, including those that were stopped before."""
        self.stopAt({text for text, _ in self._open})
        return DeferredList(self._stopping)

    def stopAt(self, texts: Collection[str]) -> None:
        """Stop listening at these C{--listen} values alone."""
        ports = [port for text, port in self._open if text in texts]
        self._open = [each for each in self._open if each[0] not in texts]
        self._stopping += [Deferred.fromCoroutine(stopped(port)) for port in ports]


async def stopped(port: IListeningPort) -> None:
    """Stop listening there."""
    with suppress(OSError):  # a socket file may have been deleted by somebody else
        stopping = port.stopListening()
        if stopping is not None:
            await stopping
