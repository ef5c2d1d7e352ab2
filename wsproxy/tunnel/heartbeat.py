"""One timer for the heartbeats of every session: pinging thousands takes no timer of their own."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from wsproxy.fault import logFault
from wsproxy.tunnel.tunnel import Tunnel

__all__ = ["Heartbeat"]

_SLOTS = 16
"""Tunnels are spread over this many moments of each interval, so that pings do not leave in one burst."""


class Heartbeat:
    """Calls L{Tunnel.heartbeat} on each tunnel once per interval.

    @param interval: seconds; 0 means no heartbeats.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, interval: float) -> None:
        self._slots: list[set[Tunnel]] = [set() for _ in range(_SLOTS)]
        self._places: dict[Tunnel, set[Tunnel]] = {}  # the slot of each
        self._next = 0
        self._interval = interval
        self._loop = LoopingCall(self._beat)
        self._loop.clock = clock

    def add(self, tunnel: Tunnel) -> None:
        """Watch this tunnel. The timer runs only while there is something to watch."""
        if self._interval:
            slot = self._slots[(self._next - 1) % _SLOTS]  # the one just served: a whole interval from now
            slot.add(tunnel)
            self._places[tunnel] = slot
            if not self._loop.running:
                self._loop.start(self._interval / _SLOTS, now=False)

    def remove(self, tunnel: Tunnel) -> None:
        """Forget this tunnel, if it was watched."""
        slot = self._places.pop(tunnel, None)
        if slot is not None:
            slot.discard(tunnel)
            if not self._places:
                self._loop.stop()

    def _beat(self) -> None:
        slot, self._next = self._slots[self._next], (self._next + 1) % _SLOTS
        for tunnel in tuple(slot):
            try:
                tunnel.heartbeat()
            except BaseException:  # which would be the end of all heartbeats
                logFault(self._log, "sending a heartbeat")
                self.remove(tunnel)
                tunnel.abort()
