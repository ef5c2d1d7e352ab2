"""The end over a plain socket: bytes go straight from one socket to the other, past the reactor's transports.

A transport copies what it writes, waits for the reactor to say that it may write it, and reads 64 KiB at a time. The
pump reads into one buffer that all ends share, tries to send at once, and queues only what the kernel refuses; while
anything is queued the other side is not read. Measured: 1.9 GB/s downstream where transports move 1.0.

All pumped sockets live in one private epoll set, which is itself a single reader of the reactor, so that a busy
proxy needs one C{epoll_wait} for many sockets: 82 k messages per CPU-second over 50 connections, against 55 k with one
reactor descriptor each. A socket stays in it until it is closed, read or not: the kernel tells of a peer that is gone
whatever it was asked for.

Linux only; elsewhere, and with C{--no-pump}, the L{TransportEnd} serves. For TLS see L{wsproxy.ends.securepump}.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.ends.end import Buffer, End, Receiver
from wsproxy.ends.kernel import unanswered, unread, unsent
from wsproxy.ends.transport import TransportEnd, closeEmpty, isBare
from wsproxy.ends.watch import Watch

__all__ = ["Pump", "Pumped", "SocketEnd"]

BUFFER = 192 * 1024 - 10
"""
Bytes read at a time: with a frame's header, as many as make 12 full records of TLS. Downstream, by 128, 192 and 256
KiB: 1.6, 1.9 and 2.2 GB/s.
"""

LESS = 64 * 1024
"""And by an end that is congested itself. What both ends queue is thus at most 256 KiB."""

TURN = 0.005
"""Seconds for which the private set is polled again while there is anything in it, before the reactor has its turn."""

_SMALL = 4096
_VECTOR = 64
"""Up to so many bytes, or from so many buffers on, joining them is cheaper than sendmsg(2) of all of them."""

_IN, _OUT = (select.EPOLLIN, select.EPOLLOUT) if hasattr(select, "epoll") else (1, 4)
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

    def read(self) -> None:
        """There is something to read, or an error."""

    def flush(self) -> None:
        """There is room to write, or an error."""

    def hangUp(self, gone: bool) -> None:
        """The peer has ended, or is C{gone}, while the socket is not read."""

    def abort(self) -> None:
        """One of the above has failed."""


@implementer(IReadDescriptor)
class Pump:
    """The sockets that are pumped, and the one reader that stands for them in the reactor.

    @param reactor: watches the private epoll set while there is anything in it.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._epoll = select.epoll()
        self._ends: dict[int, Pumped] = {}
        self.view = memoryview(bytearray(BUFFER))
        """What an end reads into; valid until the next end reads."""
        self._reactor = reactor
        self._watch = Watch(reactor)

    @staticmethod
    def available(reactor: object) -> bool:
        """Whether this machine and this reactor can pump."""
        return hasattr(select, "epoll") and IReactorFDSet.providedBy(reactor)

    def adopt(self, end: TransportEnd) -> End:
        """@return: an end that pumps this one's socket; C{end} itself where its transport is more than a socket."""
        return SocketEnd(self, end) if isBare(end.transport) else self._watch.adopt(end)

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

    def fileno(self) -> int:
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        return "pump"

    def doRead(self) -> None:
        poll, ends = self._epoll.poll, self._ends
        limit = monotonic() + TURN
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
                    if event != _IN and end.events & _OUT:
                        end.flush()
                    if event != _OUT and end.events & _IN:
                        end.read()
                    elif event & _LEFT and end.events:
                        end.hangUp(bool(event & _GONE))
                except Exception:
                    self._log.failure("pumping")
                    self._giveUp(end)

    def _giveUp(self, end: Pumped) -> None:
        try:
            end.abort()
        except Exception:
            self._log.failure("giving up a socket")
            self.watch(end, 0)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is going down."""


class SocketEnd:
    """An L{End<wsproxy.ends.end.End>} over the socket of a transport, which is left to close it."""

    __slots__ = (
        "_closing",
        "_direct",
        "_drained",
        "_ended",
        "_eof",
        "_finishing",
        "_leaving",
        "_lost",
        "_paused",
        "_pump",
        "_queue",
        "_received",
        "_socket",
        "_told",
        "_transport",
        "_waiting",
        "congested",
        "descriptor",
        "events",
    )

    def __init__(self, pump: Pump, end: TransportEnd) -> None:
        self._pump = pump
        self._direct = False  # whether the kernel can be given bytes at once: nothing is before them, nothing has ended
        self._waiting: TransportEnd | None = end
        self._transport = end.transport
        self._socket: socket.socket = end.transport.getHandle()
        self.descriptor = self._socket.fileno()
        self.events = 0
        """What the pump watches for: C{EPOLLIN} unless paused, C{EPOLLOUT} while congested; else L{QUIET}."""
        self.congested = False
        self._queue: list[bytes] = []
        self._paused = False
        self._told = 0  # of the peer's leaving: the end, or the loss
        self._eof = False
        self._finishing = False
        self._closing = False

    def start(self, receiver: Receiver) -> None:
        end = self._waiting
        assert end is not None
        self._received, self._ended, self._drained, self._lost, self._leaving = receiver
        early = end.release(self._released, self._gone)
        if early:
            self._received(early)

    def _released(self) -> None:
        """The transport has sent what it had: from now on the socket is ours."""
        self._waiting = None
        if self._queue or self._closing or self._finishing:
            self.flush()
        else:
            self._direct = True
        self._watch()

    def _watch(self) -> None:
        if self._waiting is not None:
            return
        if not (self._paused or self._eof or self._closing):
            events = _IN | _OUT if self._queue else _IN
        elif self._queue:
            # told of once only: it would be true in every round until there is room
            events = _OUT if self._told or self._eof or self._closing else _OUT | ENDED
        else:
            events = 0 if self._closing else QUIET
        self._pump.watch(self, events)

    def write(self, buffers: Sequence[Buffer]) -> None:
        if not self._direct:
            if not (self._closing or self._finishing):
                self._queue.append(b"".join(buffers))
                self.congested = True
            return
        size = 0
        for buffer in buffers:
            size += len(buffer)
        try:
            if len(buffers) == 1:
                sent = self._socket.send(buffers[0])
            elif size > _SMALL and len(buffers) <= _VECTOR:
                sent = self._socket.sendmsg(buffers)
            else:
                sent = self._socket.send(b"".join(buffers))
        except BlockingIOError:
            sent = 0
        except OSError:
            self._unwritable()
            return
        if sent != size:
            self._queue = [b"".join(buffers)[sent:]]
            self.congested = True
            self._direct = False
            self._watch()

    def flush(self) -> None:
        """The socket takes bytes again."""
        queue = self._queue
        if queue:
            try:
                sent = self._socket.sendmsg(queue[:_VECTOR])
            except BlockingIOError:
                return
            except OSError:
                self._unwritable()
                return
            while queue and sent >= len(queue[0]):
                sent -= len(queue.pop(0))
            if queue:
                queue[0] = queue[0][sent:]
                return
        self._flushed()

    def _flushed(self) -> None:
        self.congested = False
        if self._closing:
            self._close()
            return
        if self._finishing:
            self._shutdown()
        else:
            self._direct = True
        self._watch()
        self._drained()

    def hangUp(self, gone: bool) -> None:
        """The peer has ended, or is C{gone}, while the socket is not read."""
        if self._closing:
            return  # and is told when what is queued cannot be written
        if self._eof:
            if gone:
                self.abort()
        elif not unread(self.descriptor):
            self.read()
        else:
            told, self._told = self._told, max(self._told, 1 + gone)
            self._watch()
            if self._told > told:
                self._leaving(not gone)

    def read(self) -> None:
        """The socket has bytes, its peer's end-of-file, or an error."""
        view = self._pump.view
        try:
            count = self._socket.recv_into(view, LESS if self._queue else BUFFER)
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        if count:
            self._received(view[:count])
        else:
            self._eof = True
            self._watch()
            self._ended()

    def pause(self) -> None:
        self._paused = True
        self._watch()

    def resume(self) -> None:
        self._paused = False
        self._watch()

    def finish(self) -> None:
        if self._eof:
            self.close()
        elif not (self._finishing or self._closing):
            self._finishing = True
            self._direct = False
            if not self._queue and self._waiting is None:
                self._shutdown()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._direct = False
            if self._queue or self._waiting is not None:
                self._watch()
            else:
                self._close()

    def abort(self) -> None:
        self._closing = True
        self._direct = False
        self._queue = []
        self._pump.watch(self, 0)
        self._transport.abortConnection()

    def unsent(self) -> int:
        return unsent(self.descriptor)

    def unanswered(self) -> bool:
        return unanswered(self._socket)

    def _unwritable(self) -> None:
        """
        The peer takes no more, but what it sent before that can still be read, and then how it ended. Nobody is told
        that there was room: the other side would be read for a peer that is not there.
        """
        self._queue = []
        self._finishing = True
        self._direct = False
        if self._closing:
            self._close()
        else:
            self.congested = True
            self._watch()

    def _shutdown(self) -> None:
        with suppress(OSError):  # the peer may be gone; reading will tell
            self._socket.shutdown(socket.SHUT_WR)

    def _close(self) -> None:
        self._pump.watch(self, 0)
        closeEmpty(self._transport)

    def _gone(self, error: Exception | None) -> None:
        self._closing = True
        self._direct = False
        self._pump.watch(self, 0)
        self._lost(None if self._eof else error)
