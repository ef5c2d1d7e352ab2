"""The end over any Twisted transport: TCP, unix sockets, TLS, and whatever an embedder's endpoint yields.

The transport queues what the kernel refuses and, past 64 KiB (C{FileDescriptor.bufferSize}), pauses its registered
producer; that producer is this end, so C{pauseProducing} means I{congested} here, not I{stop reading}.

While it is paused a transport tells nothing of its peer: see L{wsproxy.ends.watch}.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard, cast
from typing import Protocol as Structural

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, INegotiated, IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.ends.end import Buffer, Receiver, ignore
from wsproxy.ends.kernel import unanswered, unread, unsent
from wsproxy.ends.room import limitUnread, limitUnsent
from wsproxy.ends.states import Peer
from wsproxy.ends.watch import Watch

__all__ = ["TransportEnd", "closeEmpty", "isBare", "isEmpty", "isSecured", "releasable", "sendAtOnce"]


class EndTransport(Structural):
    """
    What an end uses of its transport, whatever it is. Half-closing and aborting are used as well, where it can: with
    TLS there is no half, and an embedder's may have nothing but C{loseConnection}.
    """

    def write(self, data: bytes) -> None: ...

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def loseConnection(self) -> None: ...

    def loseWriteConnection(self) -> None:
        """Only called where it does not speak TLS."""

    def getPeer(self) -> IAddress: ...

    def getHost(self) -> IAddress: ...


@implementer(IHalfCloseableProtocol, IPushProducer)
class TransportEnd(Protocol):
    """An L{End<wsproxy.ends.end.End>} that is the protocol of its transport."""

    transport: EndTransport  # type: ignore[assignment]  # ITransport promises less than each of them keeps
    congested = False
    watch: Watch | None = None
    greeting = b""
    """What the peer is told before everything else, once the end is started."""

    def __init__(self) -> None:
        self._receiver: Receiver | None = None
        self._early = bytearray()
        self._peer = Peer.PRESENT
        self._closing = False
        self._lost: Failure | None = None
        self._released: Callable[[], None] | None = None

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        self.transport.pauseProducing()

    def start(self, receiver: Receiver, paused: bool = False) -> None:
        self._receiver = receiver
        if self.greeting:
            self.transport.write(self.greeting)
        if self.watch is not None:  # else another end has the socket, or is to
            self.sendAt(0.0)
        early, self._early = self._early, bytearray()
        if early:
            receiver.received(bytes(early))
        if self._peer is Peer.ENDED:
            receiver.ended()
        if self._lost is not None:
            self.connectionLost(self._lost)
        elif not paused:
            self.resume()

    def write(self, buffers: Sequence[Buffer]) -> None:
        if not self._closing:
            self.transport.write(b"".join(buffers))  # small pieces are held at many times their size

    def pause(self) -> None:
        self.transport.pauseProducing()
        self._unread()

    def resume(self) -> None:
        if self._peer is not Peer.ENDED:  # reading on would report the end-of-file again, and again
            if self.watch is not None:
                self.watch.remove(self)
            self.transport.resumeProducing()

    def _unread(self) -> None:
        """From here on the reactor tells nothing of the peer."""
        if self.watch is not None and self._lost is None:
            self.watch.add(self)

    def finish(self) -> None:
        # TLS cannot: ending the TCP half under it would truncate the TLS stream (RFC 8446 section 6.1)
        if self._peer is Peer.ENDED or isSecured(self.transport):
            self.close()
        elif not self._closing:
            self._stopWriting()
            self.transport.loseWriteConnection()

    def close(self) -> None:
        self._stopWriting()
        self.transport.loseConnection()

    def abort(self) -> None:
        try:
            self._stopWriting()
        finally:  # an embedder's transport may fail in anything
            abort = getattr(self.transport, "abortConnection", self.transport.loseConnection)
            abort()

    def _stopWriting(self) -> None:
        # a transport with a producer waits for it to unregister before it closes
        if not self._closing:
            self._closing = True
            self.transport.unregisterProducer()

    @property
    def descriptor(self) -> int:
        """The socket's under it, whatever is in between; -1 without one."""
        connection = _socket(self.transport)
        return -1 if connection is None else connection.fileno()

    def sendAt(self, rate: float) -> None:
        connection = _socket(self.transport)
        if connection is not None:
            limitUnsent(connection, rate)

    def receiveAt(self, rate: float) -> bool:
        connection = _socket(self.transport)
        return connection is None or limitUnread(connection, rate)

    def queued(self) -> int:
        return _waiting(self.transport)

    def unsent(self) -> int:
        return unsent(self.descriptor)

    def unanswered(self) -> bool:
        connection = _socket(self.transport)
        return connection is not None and unanswered(connection)

    def hangUp(self, gone: bool) -> None:
        """See L{wsproxy.ends.watch.Watched}."""
        if self._peer is Peer.ENDED:
            if gone:
                self.abort()
            return
        if not unread(self.descriptor):
            self.resume()  # to read how it ended
            return
        found = Peer.GONE if gone or isSecured(self.transport) else Peer.LEAVING
        if found > self._peer:
            self._peer = found
            if self._receiver is not None:
                self._receiver.leaving(found is Peer.LEAVING)

    def release(self, released: Callable[[], None], lost: Callable[[Exception | None], None]) -> bytes:
        """
        Leave the socket to somebody else, once all that was written is with the kernel. Instead of L{start}.

        @param released: called when the transport no longer touches the socket; closing it remains its task.
        @param lost: called when the transport has closed it.
        @return: what was received so far.
        """
        transport = self.transport
        assert isinstance(transport, Connection)  # which isBare
        self._receiver = Receiver(ignore, ignore, ignore, lost)
        early, self._early = bytes(self._early), bytearray()
        transport.unregisterProducer()
        if isEmpty(transport):
            self._closing = True
            released()
            return early
        # as a pull producer we are asked for more whenever the transport has nothing left to send: once on
        # registration, whatever it has, and then when it is so
        transport.registerProducer(self, False)
        self._released = released
        if transport.doWrite() is not None:
            if _isUNIX(transport):
                # its peer has closed, and even to write nothing fails then; what it said last is still to be read
                transport.stopWriting()
                self.resumeProducing()
            else:
                transport.abortConnection()
        return early

    # what the transport says

    def dataReceived(self, data: bytes) -> None:
        if self._receiver is None:
            self._early += data
        else:
            self._receiver.received(data)

    def readConnectionLost(self) -> None:
        self._peer = Peer.ENDED
        self._unread()
        if self._receiver is not None:
            self._receiver.ended()

    def writeConnectionLost(self) -> None:
        """The end-of-file we asked for has been sent."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closing = True
        self._lost = reason
        if self.watch is not None:
            self.watch.remove(self)
        receiver, self._receiver = self._receiver, None  # it may lead back to this end
        if receiver is not None:
            # a unix socket that its peer has closed hangs up rather than ending a second time
            orderly = self._peer is Peer.ENDED or type(reason.value) is ConnectionDone  # a WebSocket's says more
            receiver.lost(None if orderly else cast(Exception, reason.value))

    def pauseProducing(self) -> None:
        self.congested = True

    def resumeProducing(self) -> None:
        if not self._closing and _isClosing(self.transport):
            self._stopWriting()  # TLS has failed, and drops what is written from now on
            return
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


def isEmpty(transport: Connection) -> bool:
    """Whether it has nothing to send or to do: what is written to its socket now comes behind all that was said."""
    return not (_waiting(transport) or transport.disconnecting)


def sendAtOnce(transport: Connection, data: bytes) -> None:
    """Write this to a bare transport, which else waits for its reactor to come by before it sends anything."""
    if isEmpty(transport):
        try:
            sent = transport.getHandle().send(data)
        except OSError:  # there is no room, or the transport will meet it as well
            sent = 0
        data = data[sent:]
    if data:
        transport.write(data)


def isSecured(transport: object) -> bool:
    """Whether it speaks TLS, from the start or since its C{startTLS}."""
    return bool(INegotiated.providedBy(transport) or ISSLTransport.providedBy(transport))


def isBare(transport: object) -> TypeGuard[Connection]:
    """Whether it is a connected socket and nothing else, which can be read and written without it."""
    return releasable and isinstance(transport, Connection) and bool(transport.connected) and not isSecured(transport)


def _socket(transport: object) -> socket.socket | None:
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    for name in ("getHandle", "socket"):  # after startTLS the first of them is OpenSSL's
        try:
            found = getattr(transport, name)
            connection = found() if name == "getHandle" else found
        except BaseException:
            continue  # gone with the connection, or an embedder's, and with faults of its own
        if isinstance(connection, socket.socket):
            return connection
    return None


def _waiting(transport: object) -> int:
    """
    Bytes in the buffers of a transport and those below it, as Twisted's name them; 0 of those that have other names.

    No interface says so: L{_tryOut} does.
    """
    size = 0
    while isinstance(transport, ProtocolWrapper):
        size += sum(map(len, vars(transport).get("_appSendBuffer", ())))
        transport = transport.transport
    size += len(getattr(transport, "dataBuffer", b"")) - getattr(transport, "offset", 0)
    return int(size + getattr(transport, "_tempDataLen", 0))


def _isUNIX(transport: object) -> bool:
    connection = _socket(transport)
    return connection is not None and connection.family == socket.AF_UNIX


def _isClosing(transport: object) -> bool:
    """Whether a layer of it closes, which waits for its producer to have nothing more to say."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return bool(getattr(transport, "disconnecting", False))


class _Trial:
    """A reactor that does nothing, a protocol, and a pull producer that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.lost: list[Failure] = []

    def addReader(self, reader: object) -> None: ...

    addWriter = removeReader = removeWriter = addReader

    def resumeProducing(self) -> None:
        self.asked += 1

    def stopProducing(self) -> None: ...

    def connectionLost(self, reason: Failure) -> None:
        self.lost.append(reason)


def _tryOut() -> bool:
    """
    Whether a transport can be made to send what it has and then be let alone, and be closed, without its reactor.

    No interface says so: L{TransportEnd.release} and L{closeEmpty} rest on how Twisted's own are made.
    """
    ours, theirs = socket.socketpair()
    trial: Any = _Trial()
    with ours, theirs:
        try:
            transport = Connection(ours, trial, trial)
            transport.connected = 1
            transport.registerProducer(trial, False)
            transport.write(b"x")
            if trial.asked != 1 or _waiting(transport) != 1:
                return False
            if transport.doWrite() is not None or trial.asked != 2 or _waiting(transport):
                return False
            transport.unregisterProducer()
            transport.connectionLost(connectionDone)
            return theirs.recv(2) == b"x" and theirs.recv(1) == b"" and trial.lost == [connectionDone]
        except Exception:
            return False


releasable = _tryOut()
"""Whether L{TransportEnd.release} works with this Twisted. Where it does not, all goes through the transports."""
