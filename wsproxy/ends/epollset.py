"""The private epoll set in which all pumped sockets live.

It is itself a single reader of the reactor, so that a busy proxy needs one C{epoll_wait} for many sockets: 82 k
messages per CPU-second over 50 connections, against 55 k with one reactor descriptor each. A socket stays in it until
it is closed, read or not: the kernel tells of a peer that is gone whatever it was asked for.
"""

from __future__ import annotations

import select
from contextlib import suppress
from time import monotonic
from typing import Protocol

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.ends.transport import closeEmpty
from wsproxy.fault import logFault

__all__ = ["BUFFER", "ENDED", "IN", "LESS", "MUCH", "OUT", "QUIET", "EpollSet", "Pumped"]

BUFFER = 192 * 1024 - 10
"""
Bytes read at a time: with a frame's header, as many as make 12 full records of TLS. Downstream, by 128, 192 and 256
KiB: 1.6, 1.9 and 2.2 GB/s.
"""

LESS = 64 * 1024
"""
And by an end that is congested itself: what both ends queue is thus at most 256 KiB. And by all, while there are others
that say little, which wait for each piece. A hundred of those, beside one in bulk: the p99 of a round trip is 0.7 ms
instead of 1.1. Without them, many in bulk would lose a quarter of their throughput by it.
"""

MUCH = 32 * 1024
"""Bytes in one read that make an end one of those that others wait for."""

TURN = 0.005
"""Seconds for which the private set is polled again while there is anything in it, before the reactor has its turn."""

REVIEW = 0.05
"""Seconds from one look at who says how much to the next."""

IN, OUT = (select.EPOLLIN, select.EPOLLOUT) if hasattr(select, "epoll") else (1, 4)
ENDED = getattr(select, "EPOLLRDHUP", 0x2000)
"""The peer will send nothing more."""

_GONE = (select.EPOLLERR | select.EPOLLHUP) if hasattr(select, "epoll") else 0x18
_LEFT = _GONE | ENDED

QUIET = ENDED | getattr(select, "EPOLLET", 1 << 31)
"""For a socket that neither is read nor has anything to write. It tells once that its peer leaves, and not again."""


class Pumped(Protocol):
    """What the pump calls when something happens to a socket."""

    @property
    def descriptor(self) -> int:
        """The socket's."""

    events: int
    """What the pump watches for; its own to set."""

    def read(self) -> bool:
        """There is something to read, or an error. @return: whether it was L{MUCH}."""

    def flush(self) -> None:
        """There is room to write, or an error."""

    def hangUp(self, gone: bool) -> None:
        """The peer has ended, or is C{gone}, while the socket is not read."""

    def abort(self) -> None:
        """One of the above has failed."""


@implementer(IReadDescriptor)
class EpollSet:
    """The sockets that are pumped, and the one reader that stands for them in the reactor.

    @param reactor: watches the private epoll set while there is anything in it.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorFDSet) -> None:
        self._epoll = select.epoll()
        self._ends: dict[int, Pumped] = {}
        self.view = memoryview(bytearray(BUFFER))
        """What an end reads into; valid until the next end reads."""
        self.most = BUFFER
        """Bytes that an end reads at a time."""
        self._reactor = reactor
        self._turning = False
        self._closing: list[Connection] = []
        self._much: set[int] = set()
        self._little: set[int] = set()
        self._reviewed = 0.0

    def watch(self, end: Pumped, events: int) -> None:
        """
        Call C{end} on these events from now on, and on a hang-up or an error; on none of them for 0, which is for a
        socket that is about to be closed.
        """
        descriptor = end.descriptor
        if events == end.events:
            return
        if not events:
            del self._ends[descriptor]
            with suppress(OSError):  # the socket may be closed already
                self._epoll.unregister(descriptor)
            if not self._ends:
                self._reactor.removeReader(self)
        elif not end.events:
            if not self._ends:
                self._reactor.addReader(self)
            self._epoll.register(descriptor, events)
            self._ends[descriptor] = end
        else:
            self._epoll.modify(descriptor, events)
        end.events = events

    def close(self, transport: Connection) -> None:
        """Have a transport close its socket that has nothing left to send, soon, and not within this call."""
        if self._turning:
            self._closing.append(transport)
        else:
            closeEmpty(transport)

    def _closeAll(self) -> None:
        while self._closing:
            try:
                self._closing.pop().connectionLost(connectionDone)
            except BaseException:
                logFault(self._log, "closing a socket")

    def fileno(self) -> int:
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        return "pump"

    def doRead(self) -> None:
        self._turning = True
        try:
            self._turn()
        finally:
            self._turning = False

    def _turn(self) -> None:
        poll, ends, much, little = self._epoll.poll, self._ends, self._much, self._little
        limit = monotonic() + TURN
        if limit - self._reviewed > REVIEW:
            self._review(limit)
        while monotonic() < limit:
            events = poll(0, 256)
            if not events:
                return
            for descriptor, event in events:
                end = ends.get(descriptor)
                if end is None:
                    continue  # an earlier one of these events ended it
                try:
                    # an error or a hang-up shows itself to whichever call is made
                    if event != IN and end.events & OUT:
                        end.flush()
                    if event != OUT and end.events & IN:
                        (much if end.read() else little).add(descriptor)
                    elif event & _LEFT and end.events:
                        end.hangUp(bool(event & _GONE))
                except BaseException:  # raised to the reactor, it would be the end of all that are pumped
                    logFault(self._log, "pumping")
                    self._giveUp(end)
            if self._closing:
                self._closeAll()

    def _review(self, now: float) -> None:
        """A session that sends much has another side that says little; where there are more, others are there."""
        much, little = self._much, self._little
        self.most = LESS if len(little - much) > len(much) else BUFFER
        much.clear()
        little.clear()
        self._reviewed = now

    def _giveUp(self, end: Pumped) -> None:
        try:
            end.abort()
        except BaseException:
            logFault(self._log, "giving up a socket")
            self.watch(end, 0)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is going down."""
