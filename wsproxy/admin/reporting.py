"""What a worker has counted, said to its parent before it is asked: one that is killed cannot be asked any more."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall

from wsproxy.admin.crew import COUNTS
from wsproxy.admin.desk import Desk
from wsproxy.cluster.parent import Parent

__all__ = ["WITHIN", "Reporting"]

WITHIN = 0.25
"""Seconds until something new is said: so much is lost of what a worker has counted that is killed."""

EVERY = 1.0
"""Seconds between two times that it is said what open sessions have carried."""


class Reporting:
    """That of one worker. It costs nothing while there is no session, and nobody is turned away."""

    def __init__(self, reactor: Any, desk: Desk, parent: Parent) -> None:
        self._reactor = reactor
        self._desk = desk
        self._parent = parent
        self._due: IDelayedCall | None = None
        desk.counts.changed = self._changed
        # when all have stopped, and sessions have ended
        reactor.addSystemEventTrigger("after", "shutdown", self._tellNow)

    def _changed(self) -> None:
        if self._due is None:
            self._due = self._reactor.callLater(WITHIN, self._tell)
        elif self._due.getTime() > self._reactor.seconds() + WITHIN:
            self._due.reset(WITHIN)

    def _tell(self) -> None:
        """Unless the last has not been read: what is told then has all of it."""
        if self._parent.isBehind:
            self._due = self._reactor.callLater(EVERY, self._tell)
        else:
            self._tellNow()

    def _tellNow(self) -> None:
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._due = None
        self._parent.tell(COUNTS, counts=self._desk.snapshot())
        if self._desk.busy:
            self._due = self._reactor.callLater(EVERY, self._tell)
