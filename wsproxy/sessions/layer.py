"""TLS within a session: what the client sends as its payload is a connection of TLS, which ends here.

::

    client ◄─► tunnel ◄─► LayeredEnd ◄─► Layer (OpenSSL, in memory) ◄─► LayeredEnd ◄─► target's end
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.ends.end import Buffer, End, Receiver
from wsproxy.errors import DialError
from wsproxy.tls.client import describeTLSFailure

__all__ = ["Layer", "LayeredEnd"]


class Layer:
    """
    TLS as a server, between what arrives and what was meant. It may be told of more at any time.

    @param settings: the server side, as for a listening port.
    @param tell: sends bytes to the client.
    @param heard: called when more is L{decrypted}, or nothing more will be.
    @ivar decrypted: what the client has said, and nobody has taken.
    @ivar error: why nothing more will come; L{None} while something may.
    @ivar shaken: fires when the handshake is done; fails with L{DialError<wsproxy.errors.DialError>}.
    """

    def __init__(
        self,
        settings: IOpenSSLServerConnectionCreator,
        tell: Callable[[bytes], None],
        heard: Callable[[], None],
        clock: IReactorTime,
    ) -> None:
        self.decrypted = bytearray()
        self.error: Exception | None = None
        self.shaken: Deferred[None] = Deferred()
        self._heard = heard
        self._way = _Way(tell, self._closed)
        factory = TLSMemoryBIOFactory(settings, False, Factory.forProtocol(lambda: _Inside(self)), clock)
        factory.protocol = TLSMemoryBIOProtocol  # what is written is sent within the call
        self._tls: Any = factory.buildProtocol(None)
        self._tls.makeConnection(self._way)

    def receive(self, data: bytes) -> None:
        """This has arrived, encrypted."""
        if data and self.error is None:
            self._tls.dataReceived(data)

    def write(self, data: bytes) -> None:
        """Say this to the client."""
        if self.error is None:
            self._tls.write(data)

    def close(self) -> None:
        """Say nothing more: close_notify, RFC 8446 section 6.1."""
        if self.error is None:
            self._tls.loseConnection()

    def relay(self, tell: Callable[[bytes], None], heard: Callable[[], None]) -> None:
        """From here on somebody else hears of both sides."""
        self._way.tell = tell
        self._heard = heard

    def _closed(self) -> None:
        self._tls.connectionLost(Failure(ConnectionDone()))

    def shake(self) -> None:
        if not self.shaken.called:
            self.shaken.callback(None)

    def say(self, data: bytes) -> None:
        self.decrypted += data
        self._heard()

    def end(self, reason: Failure) -> None:
        if self.error is None:
            self.error = ConnectionDone("the client has ended TLS")
            if not self.shaken.called:
                self.shaken.errback(DialError(f"Client TLS: {describeTLSFailure(reason)}"))
            self._heard()


@implementer(IHandshakeListener)
class _Inside(Protocol):
    """The protocol inside of TLS."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    def handshakeCompleted(self) -> None:
        self._layer.shake()

    def dataReceived(self, data: bytes) -> None:
        self._layer.say(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._layer.end(reason)


@implementer(ITransport)
class _Way:
    """The transport beneath TLS: the client's session."""

    def __init__(self, tell: Callable[[bytes], None], closed: Callable[[], None]) -> None:
        self.tell = tell
        self._closed = closed
        self.disconnecting = False

    def write(self, data: bytes) -> None:
        self.tell(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.tell(b"".join(data))

    def loseConnection(self) -> None:
        if not self.disconnecting:
            self.disconnecting = True
            self._closed()

    abortConnection = loseConnection

    def unregisterProducer(self) -> None:
        """There is none."""

    def getPeer(self) -> IAddress:
        return UNIXAddress(None)

    getHost = getPeer


class LayeredEnd:
    """An L{End<wsproxy.ends.end.End>}: a target's, for a client that speaks TLS to us within its session."""

    def __init__(self, layer: Layer, target: End) -> None:
        self._layer = layer
        self._target = target
        self._receiver: Receiver | None = None

    @property
    def congested(self) -> bool:
        return self._target.congested

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._layer.relay(receiver.received, self._heard)
        self._target.start(Receiver(self._fromTarget, self._ended, receiver.drained, self._lost, receiver.leaving))
        self._heard()

    def _fromTarget(self, data: Buffer) -> None:
        self._layer.write(bytes(data))

    def _ended(self) -> None:
        self._layer.close()
        if self._receiver is not None:
            self._receiver.ended()

    def _lost(self, error: Exception | None) -> None:
        self._layer.close()
        receiver, self._receiver = self._receiver, None  # it may lead back to this end
        if receiver is not None:
            receiver.lost(error)

    def _heard(self) -> None:
        layer = self._layer
        if layer.decrypted:
            self._target.write([bytes(layer.decrypted)])
            layer.decrypted.clear()
        if layer.error is not None:
            self._target.finish()

    def write(self, buffers: Sequence[Buffer]) -> None:
        self._layer.receive(b"".join(buffers))

    def pause(self) -> None:
        self._target.pause()

    def resume(self) -> None:
        self._target.resume()

    def finish(self) -> None:
        self._target.finish()

    def close(self) -> None:
        self._target.close()

    def abort(self) -> None:
        self._target.abort()

    def sendAt(self, rate: float) -> None:
        self._target.sendAt(rate)

    def receiveAt(self, rate: float) -> bool:
        return self._target.receiveAt(rate)

    def queued(self) -> int:
        return self._target.queued()

    def unsent(self) -> int:
        return self._target.unsent()

    def unanswered(self) -> bool:
        return self._target.unanswered()
