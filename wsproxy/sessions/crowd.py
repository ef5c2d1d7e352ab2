"""Clients about whom somebody is asked who answers later, when there are many of them: some at a time, in order.

A service that answers 500 questions a second is asked 5,000 at once when a proxy in front is started again. Were all of
them asked, and their time ran, those beyond the first few seconds would all be too late; they come again, and so on::

    decide ─┬─ fewer than AT_ONCE are asked about ──► asked; the time runs
            └─ else ──► waits ──► one of those has been answered ──► asked; the time runs from now

Where all that is asked is answered at once, nobody is ever counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from wsproxy.sessions.bounded import GivenUp

__all__ = ["AT_ONCE", "PATIENCE", "Crowd"]

AT_ONCE = 512
"""Clients who are asked about at a time: more than any service of ours is asked, or threads of plugins there are."""

PATIENCE = 60.0
"""Seconds that one waits for that at most, where nobody answers: as long as browsers do."""

T = TypeVar("T")


class Crowd(Generic[T]):
    """
    @ivar isFull: who comes has to L{wait}.
    """

    def __init__(self, clock: IReactorTime, atOnce: int = AT_ONCE) -> None:
        self._clock = clock
        self._atOnce = atOnce
        self._asked = 0
        self._waiting: deque[tuple[float, Deferred[None]]] = deque()
        self._goesOn = False
        self.isFull = False

    def enter(self, answer: Deferred[T]) -> None:
        """Somebody is asked, and will answer so."""
        self._asked += 1
        self._look()
        answer.addBoth(self._leave)

    def wait(self, ask: Callable[[], Deferred[T]]) -> Deferred[T]:
        """
        @param ask: called in its turn.
        @return: fires with its answer; fails with L{TimeoutError} where its turn does not come. To cancel it gives up,
            with L{GivenUp}, whether anybody has been asked or not.
        """
        turn: Deferred[None] = Deferred(lambda turn: turn.errback(GivenUp()))
        self._waiting.append((self._clock.seconds(), turn))
        return turn.addCallback(lambda _: ask())

    def _look(self) -> None:
        self.isFull = self._asked >= self._atOnce or bool(self._waiting)

    def _leave(self, result: T) -> T:
        self._asked -= 1
        if self._waiting:
            self._goOn()
        else:
            self._look()
        return result

    def _goOn(self) -> None:
        """In the next turn of the event loop: whoever has been answered is told first."""
        if not self._goesOn:
            self._goesOn = True
            self._clock.callLater(0, self._next)

    def _next(self) -> None:
        self._goesOn = False
        tooLate = self._clock.seconds() - PATIENCE
        for _ in range(self._atOnce - self._asked):
            if not self._waiting:
                break
            since, turn = self._waiting.popleft()
            if turn.called:
                continue  # it is gone
            if since < tooLate:
                turn.errback(TimeoutError())
            else:
                turn.callback(None)
        self._look()
        if self._waiting and self._asked < self._atOnce:
            self._goOn()
