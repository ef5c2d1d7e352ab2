"""A transport in memory, nearer to a TCP connection than Twisted's own."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["MemoryTransport"]


@implementer(ITCPTransport)
class MemoryTransport(StringTransport):
    """
    Adds to its base what an accepted TCP connection does when it is half-closed, congested or aborted. What a protocol
    has written is C{value()}.

    @param peer: the address of who is on the other side.
    @param host: that of this one.
    @ivar options: the socket options that were set.
    @ivar writeDisconnecting: C{loseWriteConnection} was called.
    @ivar aborted: C{abortConnection} was called.
    """

    protocol: Any = None

    def __init__(self, peer: IAddress | None = None, host: IAddress | None = None) -> None:
        super().__init__(hostAddress=host, peerAddress=peer, lenient=True)
        self.options: dict[str, bool] = {}
        self.writeDisconnecting = False
        self.aborted = False

    def connect(self, protocol: Protocol) -> None:
        """Make this the connection of C{protocol}."""
        self.protocol = protocol
        protocol.makeConnection(self)

    # what a protocol may do

    def write(self, data: bytes) -> None:
        if not (self.disconnecting or self.writeDisconnecting):
            super().write(data)

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def unregisterProducer(self) -> None:
        self.producer = None  # a real transport does not mind that there is none

    def loseWriteConnection(self) -> None:
        self.writeDisconnecting = True

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()

    def getTcpNoDelay(self) -> bool:
        return self.options.get("no delay", False)

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.options["no delay"] = enabled

    def getTcpKeepAlive(self) -> bool:
        return self.options.get("keep alive", False)

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.options["keep alive"] = enabled

    # what its peer does

    def receive(self, data: bytes) -> None:
        """The peer sent this, and it is read, unless the protocol has closed the connection."""
        assert self.producerState == "producing", "not reading"
        if not self.disconnecting:
            self.protocol.dataReceived(data)

    def halfClose(self) -> None:
        """The peer sends no more, but may read on."""
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self.lose()

    def congest(self) -> None:
        """The peer does not read, and more than a little was written."""
        assert self.producer is not None and self.streaming
        self.producer.pauseProducing()

    def drain(self) -> None:
        """The peer has read what was written."""
        assert self.producer is not None and self.streaming
        self.producer.resumeProducing()

    def lose(self) -> None:
        """The connection is gone: as the protocol wished, or because the peer closed it."""
        if self.connected:
            self.connected = False
            self.disconnecting = True
            self.protocol.connectionLost(Failure(ConnectionAborted() if self.aborted else ConnectionDone()))
