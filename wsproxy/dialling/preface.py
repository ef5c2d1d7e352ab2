"""What a target is told before everything else, TLS included: who its client is, in a header of the PROXY protocol."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from wsproxy.access.proxyheader import Endpoint, makeHeader
from wsproxy.interfaces import Request

__all__ = ["PrefacedEndpoint", "headerFor"]


def headerFor(version: str, request: Request) -> bytes:
    """
    @param version: C{"v1"} or C{"v2"}.
    @return: who has made C{request}, and what that connected to; that nobody is known, of a client on a unix socket.
    """
    named = request.forwarded and request.forwarded.server
    return makeHeader(version, _endpoint(request.client), _endpoint(named or request.host))


def _endpoint(address: IAddress) -> Endpoint | None:
    if isinstance(address, (IPv4Address, IPv6Address)):
        return Endpoint(address.host.partition("%")[0], address.port)
    return None


@implementer(IStreamClientEndpoint)
class PrefacedEndpoint:
    """
    An endpoint whose connections begin with this, before their protocol can say anything.

    @param endpoint: its transports are sockets, and call their C{protocol}.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, preface: bytes) -> None:
        self._endpoint = endpoint
        self._preface = preface

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        connected: Deferred[Any] = self._endpoint.connect(_PrefaceFactory(protocolFactory, self._preface))
        return connected.addCallback(lambda preface: preface.protocol)


class _PrefaceFactory(Factory[Protocol]):
    noisy = False

    def __init__(self, factory: IProtocolFactory, preface: bytes) -> None:
        self._factory = factory
        self._preface = preface

    def buildProtocol(self, addr: Any) -> Any:
        protocol = self._factory.buildProtocol(addr)
        return None if protocol is None else _Preface(protocol, self._preface)


class _Preface(Protocol):
    """Has its word, and makes way for C{protocol}."""

    def __init__(self, protocol: Any, preface: bytes) -> None:
        self.protocol = protocol
        self._preface = preface

    def makeConnection(self, transport: Any) -> None:
        transport.write(self._preface)
        transport.protocol = self.protocol
        self.protocol.makeConnection(transport)
