"""Attempts to reach one address, with real sockets on loopback."""

from __future__ import annotations

import resource
import socket
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionRefusedError, NoProtocol
from twisted.internet.interfaces import IWriteDescriptor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from wsproxy.dialling.attempt import connectAddress, isLiteral, watchesSockets

reactor: Any = _reactor


class Client(Protocol):
    """Notes what happens; C{heard} and C{lost} fire once."""

    transport: Any

    def __init__(self) -> None:
        self.heard: Deferred[bytes] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.heard.callback(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


class Patient(Client):
    """Does not want to read yet."""

    def connectionMade(self) -> None:
        self.transport.pauseProducing()


class Broken(Client):
    """Fails as soon as it is connected."""

    def connectionMade(self) -> None:
        raise LookupError("of the protocol")


class Nobody(Factory):
    """Wants no protocol on this connection."""

    def buildProtocol(self, addr: Any) -> None:
        return None


class AttemptTests(TestCase):
    def listen(self, host: str = "127.0.0.1", backlog: int = 5) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, 0), family=family, backlog=backlog)
        listener.settimeout(20)
        self.addCleanup(listener.close)
        return listener

    def connect(self, listener: socket.socket, protocol: type[Protocol] = Client) -> Deferred[Any]:
        host, port = listener.getsockname()[:2]
        return connectAddress(reactor, host, port, Factory.forProtocol(protocol), 30)

    async def close(self, client: Client) -> None:
        client.transport.loseConnection()
        await client.lost

    async def test_atOnce(self) -> None:
        """A neighbour on the same machine is connected by the time the call returns, with both options set."""
        client = self.successResultOf(self.connect(self.listen()))
        self.assertTrue(client.transport.getTcpNoDelay())
        self.assertTrue(client.transport.getTcpKeepAlive())
        await self.close(client)

    async def test_refused(self) -> None:
        """So is known, by the time the call returns, that nobody listens."""
        listener = self.listen()
        address = listener.getsockname()
        listener.close()
        attempt = connectAddress(reactor, *address, Factory.forProtocol(Client), 30)
        self.failureResultOf(attempt, ConnectionRefusedError)

    async def test_conversation(self) -> None:
        """The protocol hears what the target says, and is heard."""
        listener = self.listen()
        client = self.successResultOf(self.connect(listener))
        target = listener.accept()[0]
        self.addCleanup(target.close)
        target.sendall(b"hello")
        self.assertEqual(await client.heard, b"hello")
        client.transport.write(b"bye")
        await self.close(client)
        self.assertEqual(target.recv(10), b"bye")

    async def test_paused(self) -> None:
        """A protocol that does not want to read is not read for until it does."""
        listener = self.listen()
        client = self.successResultOf(self.connect(listener, Patient))
        self.assertNotIn(client.transport, reactor.getReaders())
        client.transport.resumeProducing()
        self.assertIn(client.transport, reactor.getReaders())
        await self.close(client)

    async def test_addresses(self) -> None:
        """The transport knows its addresses, and those of its peer even when it is gone."""
        for host, kind in (("127.0.0.1", IPv4Address), ("::1", IPv6Address)):
            listener = self.listen(host)
            client = self.successResultOf(self.connect(listener))
            accepted, peer = listener.accept()
            self.addCleanup(accepted.close)
            self.assertEqual(client.transport.getHost(), kind("TCP", *peer))
            await self.close(client)
            self.assertEqual(client.transport.getPeer(), kind("TCP", *listener.getsockname()))

    async def test_waits(self) -> None:
        """A target that does not answer at once is waited for, and then for its protocol alone."""
        listener = self.listen(backlog=0)
        first = self.successResultOf(self.connect(listener))
        before = set(reactor.getWriters())
        second = self.connect(listener, Patient)
        self.assertNoResult(second)
        self.assertEqual(len(set(reactor.getWriters()) - before), 1)
        self.addCleanup(listener.accept()[0].close)
        client = await second
        self.assertEqual(set(reactor.getWriters()), before)
        await self.close(client)
        await self.close(first)

    async def test_refusedLater(self) -> None:
        """A target that goes away while it is waited for refuses, too."""
        listener = self.listen(backlog=0)
        first = self.successResultOf(self.connect(listener))
        second = self.connect(listener)
        self.assertNoResult(second)
        listener.close()
        await self.assertFailure(second, ConnectionRefusedError)
        await first.lost

    async def test_givenUp(self) -> None:
        """To cancel an attempt closes its socket, and the reactor forgets it."""
        listener = self.listen(backlog=0)
        first = self.successResultOf(self.connect(listener))
        before = set(reactor.getWriters())
        second = self.connect(listener)
        (waiting,) = set(reactor.getWriters()) - before
        verifyObject(IWriteDescriptor, waiting)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertEqual(set(reactor.getWriters()), before)
        self.assertEqual(waiting.fileno(), -1)
        await self.close(first)

    def test_hangsUp(self) -> None:
        """An attempt that the reactor reports lost has failed, once."""
        listener = self.listen(backlog=0)
        with socket.create_connection(listener.getsockname()):
            before = set(reactor.getWriters())
            attempt = connectAddress(reactor, *listener.getsockname(), Factory.forProtocol(Client), 30)
            (waiting,) = set(reactor.getWriters()) - before
            waiting.connectionLost(Failure(ConnectError("down")))
            self.failureResultOf(attempt, ConnectError)
            self.assertEqual(set(reactor.getWriters()), before)

    def test_pretended(self) -> None:
        """A reactor that only pretends to watch descriptors makes no connections: it is asked for them."""
        clock = MemoryReactorClock()
        listener = self.listen()
        self.assertNoResult(connectAddress(clock, *listener.getsockname(), Factory.forProtocol(Client), 30))
        self.assertEqual([each[:2] for each in clock.tcpClients], [listener.getsockname()])
        listener.setblocking(False)
        self.assertRaises(BlockingIOError, listener.accept)
        self.assertTrue(watchesSockets(reactor))

    def test_unwanted(self) -> None:
        """A factory that has no protocol for it fails the attempt."""
        listener = self.listen()
        attempt = connectAddress(reactor, *listener.getsockname(), Nobody(), 30)
        self.failureResultOf(attempt, NoProtocol)
        with listener.accept()[0] as accepted:
            self.assertEqual(accepted.recv(1), b"")

    async def test_broken(self) -> None:
        """A protocol that fails when it is connected fails the attempt, and the connection is closed."""
        built: list[Broken] = []

        class BrokenFactory(Factory):
            def buildProtocol(self, addr: Any) -> Broken:
                built.append(Broken())
                return built[-1]

        attempt = connectAddress(reactor, *self.listen().getsockname(), BrokenFactory(), 30)
        self.failureResultOf(attempt, LookupError)
        await built[0].lost

    def test_noDescriptor(self) -> None:
        """Without a descriptor to be had the attempt fails, as it does for an interface that is not there."""
        factory = Factory.forProtocol(Client)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as lowest:
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest.fileno(), limits[1]))
        try:
            attempt = connectAddress(reactor, "127.0.0.1", 80, factory, 30)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        self.failureResultOf(attempt, ConnectError)
        self.failureResultOf(connectAddress(reactor, "fe80::1%none", 80, factory, 30), ConnectError)

    def test_literals(self) -> None:
        """IP addresses are told from names."""
        self.assertTrue(all(map(isLiteral, ("127.0.0.1", "::1", "fe80::1%lo"))))
        self.assertFalse(any(map(isLiteral, ("localhost", "127.1", "1.2.3.4.5"))))
