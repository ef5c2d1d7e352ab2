"""Where a wrapped program takes connections at the moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

__all__ = ["Listeners", "ListenersElsewhere"]

_LIMIT = 8
"""Addresses remembered for a port: one for each family, and some for a program that listens again and again."""


class Listeners:
    """The addresses of a program's listening sockets, by the port that it believes to have.

    @ivar changed: called after each change.
    @ivar generation: the number of changes so far.
    """

    def __init__(self) -> None:
        self.changed: Callable[[], object] = lambda: None
        self.generation = 0
        self._running = False
        self._served = False
        self._addresses: defaultdict[int, list[str]] = defaultdict(list)
        self._waiting: set[Deferred[None]] = set()

    @property
    def running(self) -> bool:
        """Whether the program runs; not so while it waits to be started again."""
        return self._running

    @running.setter
    def running(self, running: bool) -> None:
        self._running = running
        self._change()

    @property
    def served(self) -> bool:
        """Whether a client has reached it since it was started."""
        return self._served

    @served.setter
    def served(self, served: bool) -> None:
        if served is not self._served:
            self._served = served
            self._change()

    def add(self, port: int, address: str) -> None:
        """The program takes connections at C{address}, a target string."""
        addresses = self._addresses[port]
        if address in addresses:
            addresses.remove(address)
        addresses.insert(0, address)
        del addresses[_LIMIT:]
        self._change()
        self._wake()

    def discard(self, port: int, address: str) -> None:
        """Nothing listens at C{address} any more; the kernel may soon give it to somebody else."""
        if address in self._addresses[port]:
            self._addresses[port].remove(address)
            self._change()

    def reached(self) -> None:
        """A client has reached it, in another process."""
        self.served = True

    def left(self, generation: int, port: int, address: str) -> None:
        """L{discard}, as another process has found out; unless there is newer word of it."""
        if generation == self.generation:
            self.discard(port, address)

    def clear(self) -> None:
        """Nothing listens anywhere."""
        self._addresses.clear()
        self._change()

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

    def state(self) -> list[Any]:
        """@return: all of this, as JSON can say it, for L{ListenersElsewhere}."""
        return [self.generation, self._running, self._served, list(self._addresses.items())]

    def resume(self, state: list[Any]) -> None:
        """Know what another one knew, whose L{state} this is, and go on from there."""
        self.generation, self._running, self._served, items = state
        self._addresses = defaultdict(list, {int(port): list(addresses) for port, addresses in items})

    def _change(self) -> None:
        self.generation += 1
        self.changed()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for deferred in waiting:
            deferred.callback(None)


class ListenersElsewhere(Listeners):
    """
    Those of a program that another process supervises.

    @param tell: tells that process what is found out here: C{"served"}; C{"gone"}, with C{generation}, C{port} and
        C{address}. The generation is the one that it was true of: the program may listen there again by the time that
        is read.
    """

    def __init__(self, tell: Callable[..., object]) -> None:
        super().__init__()
        self._tell = tell

    def become(self, state: list[Any]) -> None:
        """Take over a L{state<Listeners.state>} from there."""
        before = {(port, address) for port, addresses in self._addresses.items() for address in addresses}
        self.generation, self._running, self._served, items = state
        self._addresses = defaultdict(list, dict(items))
        if any((port, address) not in before for port, addresses in items for address in addresses):
            self._wake()

    @property
    def served(self) -> bool:
        return self._served

    @served.setter
    def served(self, served: bool) -> None:
        if served and not self._served:
            self._served = True
            self._tell("served")

    def discard(self, port: int, address: str) -> None:
        if address in self._addresses[port]:
            self._addresses[port].remove(address)
            self._tell("gone", generation=self.generation, port=port, address=address)
