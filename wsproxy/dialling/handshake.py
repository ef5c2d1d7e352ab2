"""A TLS handshake with a target, before its protocol is there."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import NoProtocol
from twisted.internet.interfaces import IAddress, IHandshakeListener, IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Handshake", "HandshakeFactory", "HandshakeFailed"]


class HandshakeFailed(Exception):
    """TLS did not come about, for the reason in C{__cause__}."""


class HandshakeFactory(Factory[Protocol]):
    noisy = False

    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory = factory

    def buildProtocol(self, addr: Any) -> Handshake:
        return Handshake(self._factory, addr)


@implementer(IHandshakeListener)
class Handshake(Protocol):
    """
    Holds the place of a protocol until the TLS handshake under it is done.

    Twisted connects the protocol of a TLS client before the first byte is sent. C{completed} fires with the
    protocol that C{factory} built, connected to the TLS transport in place of this one.
    """

    transport: Any  # a TLSMemoryBIOProtocol, most of which is untyped

    def __init__(self, factory: IProtocolFactory, address: IAddress) -> None:
        self._factory = factory
        self._address = address
        self.completed: Deferred[IProtocol] = Deferred(lambda _: self.transport.abortConnection())

    def handshakeCompleted(self) -> None:
        try:
            protocol = self._factory.buildProtocol(self._address)
            if protocol is None:
                raise NoProtocol()
            self.transport.wrappedProtocol = protocol
            protocol.makeConnection(self.transport)
        except BaseException:
            self.completed.errback()
            self.transport.abortConnection()
        else:
            self.completed.callback(protocol)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.completed.called:
            error = HandshakeFailed()
            error.__cause__ = reason.value
            self.completed.errback(error)
