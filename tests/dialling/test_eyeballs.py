"""Happy Eyeballs, on a clock of its own."""

import socket
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import (
    IHostnameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from wsproxy.dialling.eyeballs import ATTEMPT_DELAY, HappyEyeballsEndpoint

realReactor: Any = _reactor


@implementer(IHostnameResolver)
class Resolver:
    """Answers with what it was given; with nothing at all for L{None}."""

    def __init__(self, *hosts: str | None) -> None:
        self.hosts = hosts
        self.asked: list[str] = []

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        self.asked.append(hostName)
        if None in self.hosts:
            return None
        resolutionReceiver.resolutionBegan(None)
        for host in self.hosts:
            family = IPv6Address if ":" in host else IPv4Address
            resolutionReceiver.addressResolved(family("TCP", host, portNumber))
        resolutionReceiver.resolutionComplete()
        return None


class EndpointReactor(MemoryReactorClock):
    """Addresses are reached by C{connectTCP}, where a test decides what becomes of them."""


class HappyEyeballsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = EndpointReactor()

    def connect(self, resolver: Resolver, host: str = "name.example") -> Deferred[Any]:
        self.endpoint = HappyEyeballsEndpoint(self.reactor, resolver, host, 80, 30)
        return self.endpoint.connect(Factory.forProtocol(Protocol))

    def tried(self) -> list[str]:
        return [attempt[0] for attempt in self.reactor.tcpClients]

    def refuse(self, attempt: int) -> None:
        factory, connector = self.reactor.tcpClients[attempt][2], self.reactor.connectors[attempt]
        factory.clientConnectionFailed(connector, Failure(ConnectionRefusedError(attempt)))

    def accept(self, attempt: int) -> Protocol:
        protocol = self.reactor.tcpClients[attempt][2].buildProtocol(None)
        protocol.makeConnection(StringTransport())
        return protocol

    def test_interface(self) -> None:
        """It is an endpoint like any other."""
        self.connect(Resolver(None))
        verifyObject(IStreamClientEndpoint, self.endpoint)
        verifyObject(IHostnameResolver, Resolver())

    def test_literal(self) -> None:
        """The resolver is not asked about an IP address."""
        resolver = Resolver()
        for host in ("192.0.2.1", "2001:db8::1", "fe80::1%lo"):
            self.connect(resolver, host)
        self.assertEqual(self.tried(), ["192.0.2.1", "2001:db8::1", "fe80::1%lo"])
        self.assertEqual(resolver.asked, [])

    def test_unknown(self) -> None:
        """A name without addresses fails as such."""
        self.failureResultOf(self.connect(Resolver()), DNSLookupError)

    def test_takingTurns(self) -> None:
        """Families take turns, the resolver's first choice first, one attempt each quarter of a second."""
        self.connect(Resolver("2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"))
        expected = ["2001:db8::1", "192.0.2.1", "2001:db8::2", "2001:db8::3"]
        for count in range(1, 5):
            self.assertEqual(self.tried(), expected[:count])
            self.reactor.advance(ATTEMPT_DELAY)
        self.assertEqual(self.tried(), expected)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_scope(self) -> None:
        """A link-local address keeps the interface it is on."""

        class Scoped(Resolver):
            def resolveHostName(self, receiver: IResolutionReceiver, *_: Any) -> None:  # type: ignore[override]
                receiver.addressResolved(IPv6Address("TCP", "fe80::1", 80, 0, 2))
                receiver.resolutionComplete()

        self.connect(Scoped())
        self.assertEqual(self.tried(), ["fe80::1%2"])

    def test_refusalIsNotWaitedOut(self) -> None:
        """The next address is tried as soon as the previous one fails, and the delay starts over."""
        self.connect(Resolver("192.0.2.1", "192.0.2.2", "192.0.2.3"))
        self.reactor.advance(ATTEMPT_DELAY / 2)
        self.refuse(0)
        self.assertEqual(len(self.tried()), 2)
        self.reactor.advance(ATTEMPT_DELAY / 2)
        self.assertEqual(len(self.tried()), 2)
        self.reactor.advance(ATTEMPT_DELAY / 2)
        self.assertEqual(len(self.tried()), 3)

    def test_firstWins(self) -> None:
        """The first to connect is the result; the other attempts are given up and none are started."""
        connected = self.connect(Resolver("192.0.2.1", "192.0.2.2", "192.0.2.3"))
        self.reactor.advance(ATTEMPT_DELAY)
        self.accept(1)
        protocol = self.successResultOf(connected)
        self.assertIsInstance(protocol, Protocol)
        self.assertIsInstance(protocol.transport, StringTransport)
        self.assertTrue(self.reactor.connectors[0].stoppedConnecting)
        self.assertEqual(len(self.tried()), 2)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def connectAtOnce(self, *hosts: str) -> str:
        """Connect to the first of these addresses that listens, by the real reactor. @return: which that was."""
        before = set(realReactor.getDelayedCalls())
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            endpoint = HappyEyeballsEndpoint(realReactor, Resolver(*hosts), "name.example", port, 30)
            protocol: Any = self.successResultOf(endpoint.connect(Factory.forProtocol(Protocol)))
            self.addCleanup(protocol.transport.connectionLost, Failure(ConnectionDone()))
        self.assertEqual(set(realReactor.getDelayedCalls()), before)
        host: str = protocol.transport.getPeer().host
        return host

    def test_wonAtOnce(self) -> None:
        """Where the first address is connected at once nothing is left to start."""
        self.assertEqual(self.connectAtOnce("127.0.0.1", "127.0.0.2"), "127.0.0.1")

    def test_lostAtOnce(self) -> None:
        """Where the first address refuses at once the next is tried at once, and so on."""
        self.assertEqual(self.connectAtOnce("127.0.0.2", "127.0.0.3", "127.0.0.1", "127.0.0.4"), "127.0.0.1")

    def test_slowFirst(self) -> None:
        """An attempt that was overtaken is still in the race."""
        connected = self.connect(Resolver("192.0.2.1", "192.0.2.2"))
        self.reactor.advance(ATTEMPT_DELAY)
        self.refuse(1)
        self.assertNoResult(connected)
        self.accept(0)
        self.successResultOf(connected)

    def test_allFail(self) -> None:
        """When no address is left the failures of all of them are known, at once."""
        connected = self.connect(Resolver("192.0.2.1", "192.0.2.2"))
        self.refuse(0)
        self.refuse(1)
        group = self.failureResultOf(connected, ExceptionGroup).value
        self.assertEqual([error.osError for error in group.exceptions], [0, 1])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cancel(self) -> None:
        """Giving up ends every attempt and starts no more, during name resolution as well."""
        connected = self.connect(Resolver("192.0.2.1", "192.0.2.2", "192.0.2.3"))
        self.reactor.advance(ATTEMPT_DELAY)
        connected.cancel()
        self.failureResultOf(connected, CancelledError)
        self.assertEqual([c.stoppedConnecting for c in self.reactor.connectors], [True, True])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

        resolving = self.connect(Resolver(None))
        resolving.cancel()
        self.failureResultOf(resolving, CancelledError)

    def test_cancelledLookup(self) -> None:
        """A lookup is told that nobody waits for it any more; one that cannot be cancelled may answer all the same."""
        cancelled: list[bool] = []

        class Resolution:
            name = "name.example"

            def cancel(self) -> None:
                cancelled.append(True)
                raise NotImplementedError

        class Slow(Resolver):
            receiver: IResolutionReceiver

            def resolveHostName(self, receiver: IResolutionReceiver, *_: Any) -> None:  # type: ignore[override]
                receiver.resolutionBegan(Resolution())
                self.receiver = receiver

        resolver = Slow()
        connected = self.connect(resolver)
        connected.cancel()
        self.failureResultOf(connected, CancelledError)
        resolver.receiver.resolutionComplete()
        self.assertEqual((cancelled, self.tried()), ([True], []))
