"""New code in the place of the old, while workers serve: one upgrade of a parent, from SIGUSR2 to execv.

::

    SIGUSR2 ─► rehearsed: the new code, in a process of its own, could start ──► no: one line
                    ▼
               paused: what workers have asked is answered, and no more is heard of them
                    ▼
               execv: same process, same sockets, same workers ──► fails: resumed, one line
                    ▼
    caretaker: runs the new code; where that fails, workers serve on, and it is run again ──► one line
                    ▼
    new code:  adopts all of that; starts workers of its own, and, when they are up, has the old ones retire

Workers serve on meanwhile, and accept: nobody but whoever asks the parent something waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from wsproxy.daemon.successor import Successor, Unfit

__all__ = ["PAUSED_WITHIN", "Upgrade", "Upgraded"]

PAUSED_WITHIN = 3.0
"""Seconds for answers that are due, to come from Redis say; who is owed one still does not get it."""


class Upgraded(Protocol):
    """What is taken over."""

    @property
    def isEnding(self) -> bool:
        """Whether it is too late."""

    async def pause(self) -> None: ...

    def resume(self) -> None: ...

    def state(self) -> dict[str, Any]: ...

    def descriptors(self, state: Mapping[str, Any]) -> list[int]:
        """@return: those that C{state} speaks of."""

    def channels(self, state: Mapping[str, Any]) -> list[int]:
        """@return: those of them whose end is the end of a worker."""


class _Step(Enum):
    NONE = "none is under way"
    REHEARSAL = "the new code is tried out"
    PAUSE = "the last answers are awaited"


class Upgrade:
    """One after the other."""

    _log = Logger()

    def __init__(self, reactor: Any, successor: Successor, upgraded: Upgraded) -> None:
        self._reactor = reactor
        self._successor = successor
        self._upgraded = upgraded
        self._step = _Step.NONE

    def start(self) -> Deferred[None]:
        """@return: fires when this code goes on, and never where another one does."""
        if self._step is not _Step.NONE:
            self._log.warn("An upgrade is under way already")
            return Deferred.fromCoroutine(_nothing())
        upgrading = Deferred.fromCoroutine(self._run())
        upgrading.addErrback(lambda failure: self._log.failure("The upgrade failed", failure))
        return upgrading

    async def _run(self) -> None:
        self._log.info("Upgrading: the new version is tried out")
        self._step = _Step.REHEARSAL
        try:
            await self._successor.rehearse(self._reactor, self._upgraded.state())
            if not self._upgraded.isEnding:
                self._step = _Step.PAUSE
                await self._replace()
        except (Unfit, OSError) as error:
            self._log.error("The new version cannot start, and this one goes on: {error}", error=error)
        finally:
            self._step = _Step.NONE

    async def _replace(self) -> None:
        """@raise OSError: that is impossible."""
        pausing = Deferred.fromCoroutine(self._upgraded.pause())
        pausing.addTimeout(PAUSED_WITHIN, self._reactor, onTimeoutCancel=lambda result, seconds: None)
        try:
            await pausing
            if not self._upgraded.isEnding:
                state = self._upgraded.state()
                self._log.info("Upgrading: the new version takes over")
                self._successor.become(state, self._upgraded.descriptors(state), self._upgraded.channels(state))
        finally:
            self._upgraded.resume()


async def _nothing() -> None:
    """Nothing happens."""
