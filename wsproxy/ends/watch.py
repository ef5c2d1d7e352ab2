"""How a paused transport learns that its peer has gone: of a socket that it does not read, a reactor tells nothing.

Once in L{INTERVAL} the kernel is asked about all of them in one call of poll(2), which every kind of reactor leaves
room for. Sockets that are pumped need none of this.
"""

from __future__ import annotations

import select
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from wsproxy.fault import logFault

__all__ = ["INTERVAL", "Adopter", "Watch", "Watched"]

INTERVAL = 1.0
"""Seconds."""

_GONE, _ENDED = (
    (select.POLLERR | select.POLLHUP, getattr(select, "POLLRDHUP", 0)) if hasattr(select, "poll") else (0, 0)
)


class Watched(Protocol):
    """What has a socket, and may be told about it."""

    watch: Watch | None
    """Who is to be told of being paused and resumed."""

    @property
    def descriptor(self) -> int:
        """The socket's; -1 when there is none, or no longer."""

    def hangUp(self, gone: bool) -> None:
        """The peer has ended, or is C{gone}. Told again and again while that is so and the socket is not read."""

    def abort(self) -> None:
        """That has failed."""


class Watch:
    """Those that are paused, and the one timer that there is while there are any.

    @param clock: provides C{IReactorTime}.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._paused: set[Watched] = set()
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    def adopt(self, end: Any) -> Any:
        """@return: C{end}, which is watched from now on."""
        end.watch = self
        return end

    def add(self, end: Watched) -> None:
        """It is paused."""
        self._paused.add(end)
        if not self._loop.running:
            self._loop.start(INTERVAL, now=False)

    def remove(self, end: Watched) -> None:
        """It is read, or is no longer there."""
        self._paused.discard(end)
        if self._loop.running and not self._paused:
            self._loop.stop()

    def _look(self) -> None:
        if not _GONE:
            return
        poll = select.poll()
        ends = {end.descriptor: end for end in self._paused}
        ends.pop(-1, None)
        for descriptor in ends:
            poll.register(descriptor, _ENDED)
        for descriptor, event in poll.poll(0):
            if event & (_GONE | _ENDED):
                self._tell(ends[descriptor], bool(event & _GONE))

    def _tell(self, end: Watched, gone: bool) -> None:
        try:
            end.hangUp(gone)
        except BaseException:
            logFault(self._log, "giving up a transport")
            self._giveUp(end)

    def _giveUp(self, end: Watched) -> None:
        try:
            end.abort()
        except BaseException:
            self.remove(end)  # it would fail in each L{INTERVAL}


class Adopter(Protocol):
    """Who makes the ends of tunnels: a pump, or a L{Watch} over transports."""

    def adopt(self, end: Any) -> Any:
        """@return: the end to use instead of this one, or the same. Never raises."""
