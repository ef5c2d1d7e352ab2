"""Where a wrapped program takes connections at the moment."""

from __future__ import annotations

from collections import defaultdict

from twisted.internet.defer import Deferred

__all__ = ["Listeners"]

_LIMIT = 8
"""Addresses remembered for a port: one for each family, and some for a program that listens again and again."""


class Listeners:
    """The addresses of a program's listening sockets, by the port that it believes to have.

    @ivar running: whether the program runs; not so while it waits to be started again.
    @ivar served: whether a client has reached it since it was started.
    """

    def __init__(self) -> None:
        self.running = False
        self.served = False
        self._addresses: defaultdict[int, list[str]] = defaultdict(list)
        self._waiting: set[Deferred[None]] = set()

    def add(self, port: int, address: str) -> None:
        """The program takes connections at C{address}, a target string."""
        addresses = self._addresses[port]
        if address in addresses:
            addresses.remove(address)
        addresses.insert(0, address)
        del addresses[_LIMIT:]
        waiting, self._waiting = self._waiting, set()
        for deferred in waiting:
            deferred.callback(None)

    def discard(self, port: int, address: str) -> None:
        """Nothing listens at C{address} any more; the kernel may soon give it to somebody else."""
        if address in self._addresses[port]:
            self._addresses[port].remove(address)

    def clear(self) -> None:
        """Nothing listens anywhere."""
        self._addresses.clear()

    def at(self, port: int) -> tuple[str, ...]:
        """@return: its addresses, the newest first."""
        return tuple(self._addresses[port])

    def __bool__(self) -> bool:
        """Whether there is any address at all."""
        return any(self._addresses.values())

    def added(self) -> Deferred[None]:
        """Fires at the next L{add}."""
        deferred: Deferred[None] = Deferred(self._waiting.discard)
        self._waiting.add(deferred)
        return deferred
