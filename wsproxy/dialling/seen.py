"""A reactor that looks at each address before it connects: for those who connect by themselves.

Twisted's endpoint strings make their attempts on their own, and have nowhere to put a question in between; C{tcp:} and
C{ssl:} leave even the name to the reactor. But all of them connect by the reactor that they were given::

    clientFromString(SeenReactor, "tcp:192.0.2.7:80") ─► connectTCP ──────────────────► looked at ─► the reactor
    clientFromString(SeenReactor, "tcp:name:80") ──────► connectTCP ─► its addresses ─► looked at ─┘

What is looked at is what is connected to: a name, or C{0x7f.1}, goes no further than here.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IAddress, IConnector, IHostnameResolver
from twisted.internet.protocol import ClientFactory, Factory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from wsproxy.access.reach import Reach
from wsproxy.dialling.attempt import isLiteral
from wsproxy.dialling.eyeballs import addressesOf
from wsproxy.errors import NotAllowed

__all__ = ["SEEN", "SeenReactor", "asLiteral", "destination"]

SEEN = ("tcp", "ssl")
"""Prefixes of endpoint strings that connect to where they say, and nowhere else by other means."""


class SeenReactor:
    """
    Another reactor, but for what it connects to.

    @param nameResolver: asked about names, in place of the reactor's own.
    @param text: of the target, for what cannot be seen.
    @param named: whether whoever named it may name sockets.
    """

    def __init__(self, reactor: Any, nameResolver: IHostnameResolver, reach: Reach, text: str, named: bool) -> None:
        self._reactor = reactor
        self._nameResolver = nameResolver
        self._reach = reach
        self._text = text
        self._named = named
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(self, host: str, port: int, factory: ClientFactory, *args: Any, **named: Any) -> Any:
        """@raise NotAllowed: that must not be dialled."""
        return self._connect(self._reactor.connectTCP, host, port, factory, *args, **named)

    def connectSSL(self, host: str, port: int, factory: ClientFactory, *args: Any, **named: Any) -> Any:
        """@raise NotAllowed: that must not be dialled."""
        if not isLiteral(host):
            self._reach.checkUnseen(self._text)
        return self._connect(self._reactor.connectSSL, host, port, factory, *args, **named)

    def connectUNIX(self, address: str, *args: Any, **named: Any) -> Any:
        """@raise NotAllowed: that must not be dialled."""
        self._reach.checkUnseen(self._text)
        self._reach.checkSocket(address, self._named)
        return self._reactor.connectUNIX(address, *args, **named)

    def _connect(
        self, connect: Callable[..., Any], host: str, port: int, factory: ClientFactory, *args: Any, **named: Any
    ) -> Any:
        if isLiteral(host):
            self._reach.checkAddress(host, port)
            return connect(host, port, factory, *args, **named)

        def attempt(address: str) -> None:
            self._reach.checkAddress(address, port, host)
            connect(address, port, factory, *args, **named)

        return _NamedConnector(host, port, factory, attempt).start(self._nameResolver)


@implementer(IConnector)
class _NamedConnector:
    """
    Stands in for the connector to an address, until it is known which: of those of IPv4, as in Twisted's own, the first
    that is allowed.
    """

    def __init__(self, host: str, port: int, factory: ClientFactory, attempt: Callable[[str], None]) -> None:
        self._name = IPv4Address("TCP", host, port)
        self._factory = factory
        self._attempt = attempt

    def start(self, nameResolver: IHostnameResolver) -> _NamedConnector:
        self._factory.doStart()
        self._factory.startedConnecting(self)
        self._looking: Deferred[Any] = addressesOf(nameResolver, self._name.host, self._name.port)
        self._looking.addCallback(self._found).addErrback(self._failed)
        return self

    def _found(self, addresses: list[IAddress]) -> None:
        failure: Exception = DNSLookupError(f"no address for {self._name.host}")
        for address in addresses:
            if isinstance(address, IPv4Address):
                try:
                    self._attempt(address.host)
                    break
                except NotAllowed as error:
                    failure = error
        else:
            raise failure
        self._factory.doStop()  # the other connector has started it, too

    def _failed(self, failure: Failure) -> None:
        self._factory.clientConnectionFailed(self, failure)
        self._factory.doStop()

    def stopConnecting(self) -> None:
        self._looking.cancel()

    def disconnect(self) -> None:
        self.stopConnecting()

    def connect(self) -> None:
        """Nobody has this one try again."""
        raise NotImplementedError

    def getDestination(self) -> IAddress:
        return self._name


class _Onlooker:
    """In a reactor's place: is told where to connect to, and does not."""

    def __init__(self) -> None:
        self.destination: tuple[str, int] | None = None

    def connectTCP(self, host: str, port: int, *args: Any, **named: Any) -> None:
        self.destination = host, port

    connectSSL = connectTCP


def destination(description: str) -> tuple[str, int] | None:
    """
    @param description: an endpoint string with one of the prefixes that are L{SEEN}.
    @return: the host, as it is written there, and the port; L{None} where it is not understood.
    """
    onlooker = _Onlooker()
    try:
        clientFromString(onlooker, description).connect(Factory())
    except Exception:  # a parser complains with whatever exception came up
        return None
    return onlooker.destination


def asLiteral(host: str) -> str | None:
    """
    @return: the IP address that C{host} is, be it in hexadecimal, in octal, short, or one number (inet_aton(3)), all of
        which resolvers take; L{None} for a name.
    """
    if isLiteral(host):
        return host
    try:
        return None if host.split() != [host] else socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, ValueError):
        return None
