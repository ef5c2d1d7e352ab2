"""What the ends of pumped sockets have in common: the state, the queue, and being read or not.

::

    start ─► HELD ─► DIRECT ─┬─ no room ──► HELD ─ drained ─► DIRECT
                             ├─ finish ───► FINISHING ─ drained ─► FINISHED      close_notify, over TLS
                             ├─ close ────► CLOSING ─── drained ─► CLOSED        as finish, over TLS
                             ├─ the peer takes no more ──► FINISHED, and congested for good
                             └─ abort, lost ─► CLOSED
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable

from twisted.internet.tcp import Connection

from wsproxy.ends.end import Buffer
from wsproxy.ends.epollset import EpollSet
from wsproxy.ends.kernel import unanswered, unsent
from wsproxy.ends.room import limitUnread, limitUnsent
from wsproxy.ends.states import Peer, Sending
from wsproxy.ends.transport import TransportEnd

__all__ = ["PumpedEnd"]


class PumpedEnd(ABC):
    """
    The half of an L{End<wsproxy.ends.end.End>} over a socket of a transport, which is left to close it.

    @ivar congested: whether anything is queued, or the peer takes no more. Kept beside the state, because tunnels ask
        for it with every piece.
    @ivar events: what the pump watches for: C{EPOLLIN} unless paused, C{EPOLLOUT} while congested; else L{QUIET}.
    """

    __slots__ = (
        "_drained",
        "_ended",
        "_leaving",
        "_lost",
        "_paused",
        "_peer",
        "_pump",
        "_queue",
        "_received",
        "_sending",
        "_socket",
        "_transport",
        "_waiting",
        "congested",
        "descriptor",
        "events",
    )

    # of the receiver, each by itself: they are called with every piece
    _received: Callable[[Buffer], None]
    _ended: Callable[[], None]
    _drained: Callable[[], None]
    _lost: Callable[[Exception | None], None]
    _leaving: Callable[[bool], None]

    def __init__(self, pump: EpollSet, end: TransportEnd, transport: Connection) -> None:
        self._pump = pump
        self._waiting: TransportEnd | None = end  # for its transport to have sent what it had
        self._transport = transport
        self._socket: socket.socket = transport.getHandle()
        self.descriptor = self._socket.fileno()
        limitUnsent(self._socket)
        self.events = 0
        self.congested = False
        self._sending = Sending.HELD
        self._peer = Peer.PRESENT
        self._queue: list[Buffer] = []  # none of them a view
        self._paused = False

    @abstractmethod
    def _watch(self) -> None:
        """Have the pump watch for what the state asks for."""

    def _letGo(self) -> None:
        """Nothing more is done here: the socket is its transport's again, to close."""
        self._sending = Sending.CLOSED
        self._queue = []
        self._pump.watch(self, 0)

    def _unwritable(self) -> None:
        """
        The peer takes no more, but what it sent before that can still be read, and then how it ended. Nobody is told
        that there was room: the other side would be read for a peer that is not there.
        """
        self._queue = []
        self._sending = Sending.FINISHED
        self.congested = True
        self._watch()

    # what the pump says: see L{Pumped<wsproxy.ends.epollset.Pumped>}

    @abstractmethod
    def read(self) -> bool: ...

    @abstractmethod
    def flush(self) -> None: ...

    @abstractmethod
    def hangUp(self, gone: bool) -> None: ...

    # what the tunnel says, and means the same whatever is on the socket

    def pause(self) -> None:
        self._paused = True
        self._watch()

    def resume(self) -> None:
        self._paused = False
        self._watch()

    def abort(self) -> None:
        self._letGo()
        self._transport.abortConnection()

    def sendAt(self, rate: float) -> None:
        limitUnsent(self._socket, rate)

    def receiveAt(self, rate: float) -> bool:
        return limitUnread(self._socket, rate)

    def queued(self) -> int:
        return sum(map(len, self._queue))

    def unsent(self) -> int:
        return unsent(self.descriptor)

    def unanswered(self) -> bool:
        return unanswered(self._socket)
