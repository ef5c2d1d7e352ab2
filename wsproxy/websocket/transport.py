"""A WebSocket client as a transport: a protocol to the connection beneath, a transport to the protocol above.

::

    socket ◄─► TCP, TLS ◄─► WebSocketTransport ─┬─ handshake
                                                └─ frames ◄─► the protocol that a factory builds, once there was a 101

What is above may take it for TCP: it is paused and resumed both ways, it has its addresses, and it is told how it ends
(L{wsproxy.websocket.closed}). Three things differ, for a WebSocket has them otherwise:

- A Close ends both directions. C{loseWriteConnection} sends one and reads on; but most servers answer it at once, and
  say nothing more.
- An end-of-file without a Close is a loss: what was said may be incomplete.
- Somebody who is silent for two pings is lost, too.

Nobody is waited for in vain: see L{wsproxy.websocket.patience}. What the server is sent waits with the connection
beneath, which pauses the producer above; pings are answered when there is room for that. Of what the server sends
nothing is kept beyond one read.
"""

from __future__ import annotations

from enum import IntEnum
from socket import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, NoProtocol
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from wsproxy.ends.kernel import unanswered, unsent
from wsproxy.errors import Close, CloseCode
from wsproxy.websocket.closed import ending
from wsproxy.websocket.handshake import ClientHandshake
from wsproxy.websocket.patience import Heartbeat, Patience
from wsproxy.websocket.request import UpgradeRequest
from wsproxy.websocket.upside import Upside
from wsproxy.wire.serverframes import ClientWire, clientWireOf

__all__ = ["WebSocketTransport"]


class _State(IntEnum):
    """It only goes on."""

    SHAKING = 0
    """There is no WebSocket yet."""

    OPEN = 1

    CLOSING = 2
    """Our Close is on its way; the server's is awaited."""

    CLOSED = 3
    """Nothing more is said. The protocol has been told, and the connection beneath is to end."""


@implementer(IPushProducer)
class _Room:
    """What the connection beneath tells of how it gets rid of what it is given."""

    def __init__(self, transport: WebSocketTransport) -> None:
        self._transport = transport

    def pauseProducing(self) -> None:
        self._transport.hold()

    def resumeProducing(self) -> None:
        self._transport.proceed()

    def stopProducing(self) -> None:
        """C{connectionLost} says so too."""


@implementer(ITCPTransport)
class WebSocketTransport(Upside, Protocol):
    """
    One connection. L{WebSocketFactory<wsproxy.websocket.factory.WebSocketFactory>} makes them.

    @ivar opened: fires with the protocol above, connected; or fails, with
        L{UpgradeFailed<wsproxy.websocket.handshake.UpgradeFailed>} or as the connection did. To cancel it is to end
        that.
    @ivar gone: fires when the connection beneath has ended.
    @ivar subprotocol: on which both sides have agreed; L{None} for none.
    """

    transport: Any
    subprotocol: str | None = None

    def __init__(
        self, request: UpgradeRequest, factory: IProtocolFactory, clock: IReactorTime, heartbeat: float
    ) -> None:
        super().__init__(clock)
        self.opened: Deferred[IProtocol] = Deferred(lambda _: self._drop())
        self.gone: Deferred[None] = Deferred()
        self._handshake = ClientHandshake(request)
        self._factory = factory
        self._interval = heartbeat
        self._state = _State.SHAKING
        self._wire = ClientWire()
        self._protocol: Any = None
        self._received = 0
        self._heard = self._pinged = False
        self._pulse: Heartbeat | None = None
        self._patience = Patience(clock, self._moving, self._giveUp)

    # What the connection beneath says

    def connectionMade(self) -> None:
        if ISSLTransport.providedBy(self.transport):
            alsoProvides(self, ISSLTransport)
        self.transport.registerProducer(_Room(self), True)
        self.transport.write(self._handshake.begin())

    def dataReceived(self, data: bytes) -> None:
        self._heard = True
        self._received += len(data)
        if self._state is _State.SHAKING:
            self._shake(data)
        elif self._kept:
            self._kept += data  # of the read in which it was paused
        elif self._state < _State.CLOSED:
            self._feed(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        shaking, self._held = self._state is _State.SHAKING, False
        if self._kept and self._state in (_State.OPEN, _State.CLOSING):
            self._deliver()
        if self._state is _State.OPEN and reason.check(ConnectionDone):
            reason = ending(Close(CloseCode.ABNORMAL, "no Close"))
        self._lose(reason)
        self._patience.stop()
        if shaking and not self.opened.called:
            self.opened.errback(reason)
        self.gone.callback(None)

    # The handshake

    def _shake(self, data: bytes) -> None:
        try:
            rest = self._handshake.receive(data)
            if rest is None:
                return
            self._open(rest)
        except BaseException:
            self._fail()
            return
        protocol = self._protocol
        self.opened.callback(protocol)
        if not self._held:
            self._deliver()

    def _open(self, rest: bytes) -> None:
        self.subprotocol = self._handshake.subprotocol
        self._wire = clientWireOf(self.subprotocol)
        protocol: Any = self._factory.buildProtocol(self.transport.getPeer())
        if protocol is None:
            raise NoProtocol()
        self._state, self._protocol, self._kept = _State.OPEN, protocol, rest
        self._pulse = Heartbeat(self._clock, self._interval, self._isSilent, self._ping, self._vanished)
        protocol.makeConnection(self)

    def _fail(self) -> None:
        """It has come to nothing, for the exception of this moment."""
        failure = Failure()
        self._drop()
        if not self.opened.called:
            self.opened.errback(failure)

    def _drop(self) -> None:
        self._stopBeating()
        self._state, self._protocol = _State.CLOSED, None
        if self.transport is not None:
            self.transport.abortConnection()

    def _giveUp(self) -> None:
        self.transport.abortConnection()

    # Frames

    def _deliver(self) -> None:
        """What was kept is read at last."""
        if self._kept and not self._held and self._state in (_State.OPEN, _State.CLOSING):
            kept, self._kept = self._kept, b""
            self._feed(kept)

    def _feed(self, data: bytes) -> None:
        chunks = self._wire.feed(data)
        if chunks and not self.disconnecting:
            self._protocol.dataReceived(b"".join(chunks))
        if self._wire.due and self._state < _State.CLOSED:
            self._answer()

    def _answer(self) -> None:
        wire = self._wire
        close = wire.closed if wire.error is None else wire.error.close
        if close is not None:
            self._conclude(close)
        elif self._state is _State.OPEN and not self._congested:
            pong = wire.pong()
            if pong is not None:
                self.transport.write(pong)

    def _conclude(self, close: Close) -> None:
        """The server has closed, or is told that it has broken the rules: there is nothing more to come of it."""
        if self._state is _State.OPEN:
            self.transport.write(self._wire.close(close))
        asked = self._state is _State.CLOSING and self._wire.error is None
        self._lose(connectionDone if asked else ending(close))
        self._patience.start()
        if self._wire.error is None:
            self.transport.resumeProducing()  # to see its end, which is for the server to make: RFC 6455 section 7.1.1
        else:
            self.transport.unregisterProducer()
            self.transport.loseConnection()  # section 7.1.7

    def _lose(self, reason: Failure) -> None:
        """Tell the protocol, once."""
        self._stopBeating()
        self._state = _State.CLOSED
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            self._stopProducer()
            protocol.connectionLost(reason)

    # The protocol above, see L{Upside}

    @property
    def _writable(self) -> bool:
        return self._state is _State.OPEN

    @property
    def _isOver(self) -> bool:
        return self._state is _State.CLOSED

    def _send(self, payload: list[bytes]) -> None:
        self.transport.write(self._wire.send(payload))

    def _sendClose(self) -> None:
        if self._state is _State.OPEN:
            self._stopBeating()
            self._state = _State.CLOSING
            self.transport.write(self._wire.close(Close(CloseCode.NORMAL)))
        self._patience.start()
        self.resumeProducing()  # to see the answer

    def hurry(self) -> None:
        """
        Nobody has anything to add to what waits: a server that neither takes it nor says anything has L{PATIENCE}
        seconds, as after a Close. Harmless when it is said again.
        """
        if self._state is _State.OPEN:
            self._patience.start()

    def loseWriteConnection(self) -> None:
        """Send a Close, which is the end of what we say, and read on until the server's."""
        if self._state is _State.OPEN and not self.disconnecting:
            self._sendClose()
            if IHalfCloseableProtocol.providedBy(self._protocol):
                self._clock.callLater(0, self._tellWriteLost)

    def _tellWriteLost(self) -> None:
        if self._protocol is not None:
            self._protocol.writeConnectionLost()

    def _leave(self) -> None:
        """The protocol wants no more of it."""
        if self._state is _State.CLOSING:
            self._clock.callLater(0, self._lose, connectionDone)
        else:
            self._sendClose()

    # How much it is waited for

    @property
    def socket(self) -> socket | None:
        """That beneath; L{None} where there is none, or no longer."""
        found = getattr(self.transport, "socket", None)
        return found if isinstance(found, socket) else None

    def _unsent(self) -> int:
        connection = self.socket
        return 0 if connection is None else unsent(connection.fileno())

    def _moving(self) -> object:
        return self._congested, self._unsent(), self._received

    def _isSilent(self) -> bool:
        """
        Silence counts from a ping that the kernel took. Whoever is not read, or does not read, is silent where its
        kernel is.
        """
        heard, self._heard = self._heard, False
        if self._held or self._congested or self._unsent():
            connection = self.socket
            return connection is not None and unanswered(connection)
        return self._pinged and not heard

    def _ping(self) -> None:
        if not self._congested and self._state is _State.OPEN:
            self.transport.write(self._wire.ping())
            self._pinged = True

    def _vanished(self) -> None:
        self._lose(ending(Close(CloseCode.HEARTBEAT_LOST, "Heartbeat lost")))
        self.transport.abortConnection()

    def _stopBeating(self) -> None:
        if self._pulse is not None:
            self._pulse.stop()
            self._pulse = None

    # What the connection beneath has room for

    def hold(self) -> None:
        """It has enough for now."""
        self._congested = True
        self._pauseProducer()

    def proceed(self) -> None:
        """It has got rid of all that."""
        self._congested = False
        if self._state is _State.OPEN and self._wire.due:
            self._answer()
        self._resumeProducer()
