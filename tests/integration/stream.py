"""Both ends of a bridge under test: a connection that is read by asking, and a target that does as it is told."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Stream", "Target", "adopt"]

reactor: Any = _reactor


@implementer(IHalfCloseableProtocol, IPushProducer)
class Stream(Protocol):
    """
    One end of a connection. What nobody asks for is not read, so that not to ask is to stall the peer.

    @ivar lost: how the connection ended, once that has been noticed.
    @ivar port: this end's, over TCP.
    """

    transport: Any

    def __init__(self) -> None:
        self.lost: Failure | None = None
        self._buffer = bytearray()
        self._ended = False
        self._leaving = False
        self._congested = False
        self._waiting: list[Deferred[None]] = []

    async def some(self, atLeast: int = 1) -> bytes:
        """
        What has arrived. Fewer bytes than C{atLeast} at the end of the stream, then none.

        @raise Exception: the connection was lost in another way than by an end-of-file.
        """
        while len(self._buffer) < atLeast and not self._ended:
            if self.lost is not None:
                self.lost.raiseException()
            self.transport.resumeProducing()
            await self._change()
            if self.lost is None and not self._ended:
                self.transport.pauseProducing()
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    async def exactly(self, size: int) -> bytes:
        """@raise EOFError: the stream ended before."""
        data = await self.some(size)
        if len(data) < size:
            raise EOFError(data)
        self._buffer[:] = data[size:]
        return data[:size]

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and with C{mark}. @raise EOFError: the stream ended before."""
        data = b""
        while mark not in data:
            more = await self.some()
            if not more:
                raise EOFError(data)
            data += more
        head, _, rest = data.partition(mark)
        self._buffer[:] = rest
        return head + mark

    async def rest(self) -> bytes:
        """Everything up to the end of the stream."""
        data = b""
        while more := await self.some():
            data += more
        return data

    async def gone(self) -> BaseException:
        """How the connection ended, once the peer has ended it; what still arrives is thrown away."""
        while self.lost is None:
            if self._ended:
                self.close()
            elif not self._leaving:
                self.transport.resumeProducing()
            await self._change()
            self._buffer.clear()
        assert self.lost.value is not None
        return self.lost.value

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    async def send(self, data: bytes) -> None:
        """Write, and return once the kernel has taken most of it. @raise EOFError: there is nobody left to take it."""
        self.transport.write(data)
        while self._congested and self.lost is None:
            await self._change()
        if self.lost is not None:
            raise EOFError

    def finish(self) -> None:
        """Send an end-of-file, after what was written."""
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()

    def close(self) -> None:
        """Close both directions, after what was written."""
        if not self._leaving:
            self._leaving = True
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def reset(self) -> None:
        """Vanish: what is not sent yet is lost, and the peer gets a reset."""
        self._leaving = True
        if self.lost is None:
            self.transport.abortConnection()

    async def _change(self) -> None:
        changed: Deferred[None] = Deferred()
        self._waiting.append(changed)
        await changed

    def _changed(self) -> None:
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    # what the transport says

    def connectionMade(self) -> None:
        self.port = getattr(self.transport.getHost(), "port", None)
        self.transport.registerProducer(self, True)
        self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        self._changed()

    def readConnectionLost(self) -> None:
        self._ended = True
        self.transport.pauseProducing()
        self._changed()

    def writeConnectionLost(self) -> None:
        """The end-of-file has been sent."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason
        self._ended = self._ended or reason.check(ConnectionDone) is not None
        self._changed()

    def pauseProducing(self) -> None:
        self._congested = True

    def resumeProducing(self) -> None:
        self._congested = False
        self._changed()

    def stopProducing(self) -> None:
        """C{connectionLost} says so too."""


def adopt(connection: socket.socket, tls: Any = None) -> Stream:
    """
    @param connection: a connected socket, which is closed here: the transport has a duplicate.
    @param tls: the settings of a TLS client, for a connection that is to speak it.
    """
    stream = Stream()
    factory: Any = Factory.forProtocol(lambda: stream)
    factory.noisy = False
    if tls is not None:
        factory = TLSMemoryBIOFactory(tls, True, factory)
        factory.noisy = False
    with connection:
        connection.setblocking(False)
        reactor.adoptStreamConnection(connection.fileno(), connection.family, factory)
    return stream


class Target(Factory[Stream]):
    """A server whose connections a test plays itself.

    @param listener: a listening socket, which stays the caller's.
    @param tls: the settings of a TLS server, for a target that is to speak it.
    """

    noisy = False

    def __init__(self, listener: socket.socket, tls: Any = None) -> None:
        self.streams: list[Stream] = []
        self._accepted: DeferredQueue[Stream] = DeferredQueue()
        factory = self if tls is None else TLSMemoryBIOFactory(tls, False, self)
        self._port = reactor.adoptStreamPort(listener.fileno(), listener.family, factory)
        self.port: int = listener.getsockname()[1]

    def buildProtocol(self, address: IAddress | None) -> Stream:
        stream = Stream()
        self.streams.append(stream)
        reactor.callLater(0, self._accepted.put, stream)  # once it is connected
        return stream

    def accept(self) -> Deferred[Stream]:
        """The next connection."""
        return self._accepted.get()

    def stop(self) -> Any:
        """Listen no longer. @return: fires when that is done."""
        return self._port.stopListening()
