"""The end over any Twisted transport: TCP, unix sockets, TLS, and whatever an embedder's endpoint yields.

The transport queues what the kernel refuses and, past 64 KiB (C{FileDescriptor.bufferSize}), pauses its registered
producer; that producer is this end, so C{pauseProducing} means I{congested} here, not I{stop reading}.
"""

from __future__ import annotations

import sys
import termios
from collections.abc import Callable, Sequence
from fcntl import ioctl
from typing import Any, cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, INegotiated, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.tunnel.end import Buffer, Receiver, ignore

__all__ = ["TransportEnd", "closeEmpty", "unsent"]


@implementer(IHalfCloseableProtocol, IPushProducer)
class TransportEnd(Protocol):
    """An L{End<wsproxy.tunnel.end.End>} that is the protocol of its transport."""

    transport: Any
    congested = False

    def __init__(self) -> None:
        self._receiver: Receiver | None = None
        self._early: list[bytes] = []
        self._eof = False
        self._closing = False
        self._lost: Failure | None = None
        self._released: Callable[[], None] | None = None

    def connectionMade(self) -> None:
        # TLS cannot: ending the TCP half under it would truncate the TLS stream (RFC 8446 section 6.1)
        self._halfClose = not INegotiated.providedBy(self.transport)
        self.transport.registerProducer(self, True)
        self.transport.pauseProducing()

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        early, self._early = self._early, []
        for data in early:
            receiver.received(data)
        if self._eof:
            receiver.ended()
        if self._lost is not None:
            self.connectionLost(self._lost)
        else:
            self.resume()

    def write(self, buffers: Sequence[Buffer]) -> None:
        if not self._closing:
            self.transport.writeSequence([bytes(buffer) for buffer in buffers])

    def pause(self) -> None:
        self.transport.pauseProducing()

    def resume(self) -> None:
        if not self._eof:  # reading on would report the end-of-file again, and again
            self.transport.resumeProducing()

    def finish(self) -> None:
        if self._eof or not self._halfClose:
            self.close()
        elif not self._closing:
            self._stopWriting()
            self.transport.loseWriteConnection()

    def close(self) -> None:
        self._stopWriting()
        self.transport.loseConnection()

    def abort(self) -> None:
        self._stopWriting()
        self.transport.abortConnection()

    def _stopWriting(self) -> None:
        # a transport with a producer waits for it to unregister before it closes
        if not self._closing:
            self._closing = True
            self.transport.unregisterProducer()

    def unsent(self) -> int:
        transport = self.transport
        while isinstance(transport, ProtocolWrapper):
            transport = transport.transport
        try:
            return unsent(transport.getHandle().fileno())
        except AttributeError:
            return 0

    def release(self, released: Callable[[], None], lost: Callable[[Exception | None], None]) -> list[bytes]:
        """
        Leave the socket to somebody else, once all that was written is with the kernel. Instead of L{start}.

        @param released: called when the transport no longer touches the socket; closing it remains its task.
        @param lost: called when the transport has closed it.
        @return: what was received so far.
        """
        self._receiver = Receiver(ignore, ignore, ignore, lost)
        self.transport.unregisterProducer()
        # as a pull producer we are asked for more whenever the transport has nothing left to send: once on
        # registration, whatever it has, and then when it is so
        self.transport.registerProducer(self, False)
        self._released = released
        if self.transport.doWrite() is not None:
            self.transport.abortConnection()
        early, self._early = self._early, []
        return early

    # what the transport says

    def dataReceived(self, data: bytes) -> None:
        if self._receiver is None:
            self._early.append(data)
        else:
            self._receiver.received(data)

    def readConnectionLost(self) -> None:
        self._eof = True
        if self._receiver is not None:
            self._receiver.ended()

    def writeConnectionLost(self) -> None:
        """The end-of-file we asked for has been sent."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closing = True
        self._lost = reason
        receiver, self._receiver = self._receiver, None  # it may lead back to this end
        if receiver is not None:
            # a unix socket that its peer has closed hangs up rather than ending a second time
            orderly = self._eof or isinstance(reason.value, ConnectionDone)
            receiver.lost(None if orderly else cast(Exception, reason.value))

    def pauseProducing(self) -> None:
        self.congested = True

    def resumeProducing(self) -> None:
        self.congested = False
        if self._released is not None:
            released, self._released = self._released, None
            self._stopWriting()
            released()
        if self._receiver is not None:
            self._receiver.drained()

    def stopProducing(self) -> None:
        """The transport is going away; C{connectionLost} says so too."""


def closeEmpty(transport: Connection) -> None:
    """
    Close a transport that has nothing left to send. Its C{loseConnection} would first have the reactor watch for
    room to write nothing: two turns at the epoll set, and an event between them.
    """
    reactor: Any = transport.reactor
    reactor.callLater(0, transport.connectionLost, connectionDone)


def unsent(descriptor: int) -> int:
    """Bytes in a socket's send queue which its peer has not acknowledged; 0 where the kernel does not say."""
    try:
        return int.from_bytes(ioctl(descriptor, termios.TIOCOUTQ, b"\0" * 4), sys.byteorder)
    except OSError:
        return 0
