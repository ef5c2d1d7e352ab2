"""Whose turn it is to accept, on real sockets."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IReadDescriptor, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from tests.ends.contract import KINDS
from wsproxy.workers.accepting import GIVE_WAY, OUT_OF_DESCRIPTORS, Share, SharedEndpoint, SharedPort, makeShare

reactor: Any = _reactor


def share(workers: int) -> Share:
    descriptor = makeShare(workers)
    try:
        return Share(descriptor)
    finally:
        os.close(descriptor)


class ShareTests(SynchronousTestCase):
    def test_fewest(self) -> None:
        """A worker may take another connection while none has fewer; those that take none do not count."""
        shared = share(3)
        self.assertTrue(shared.isFair(0, 7))
        self.assertTrue(shared.isFair(1, 6))
        self.assertFalse(shared.isFair(0, 7))
        self.assertTrue(shared.isFair(1, 6))
        shared.leave(1)
        self.assertTrue(shared.isFair(0, 7))

    def test_otherProcess(self) -> None:
        """Who maps the same memory sees the same."""
        descriptor = makeShare(2)
        self.addCleanup(os.close, descriptor)
        Share(descriptor).isFair(1, 0)
        self.assertFalse(Share(descriptor).isFair(0, 1))


class Kept(Protocol):
    factory: Connections

    def connectionMade(self) -> None:
        self.factory.connections.add(self)
        waiting, self.factory.changed = self.factory.changed, Deferred()
        waiting.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.connections.discard(self)


class Connections(Factory[Kept]):
    noisy = False
    protocol = Kept

    def __init__(self) -> None:
        self.connections: set[Kept] = set()
        self.changed: Deferred[None] = Deferred()


class Idle(Clock):
    """A reactor that does what the test does."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()
        self.addReader = self.readers.add
        self.removeReader = self.readers.discard
        self.adopted: list[int] = []

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        self.adopted.append(family)
        factory.connections.add(len(self.adopted))


class PortTests(SynchronousTestCase):
    """One worker's port, between readable and accepted."""

    def setUp(self) -> None:
        self.reactor = Idle()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.factory: Any = Connections()
        self.share = share(2)
        self.port = SharedPort(self.reactor, self.listener, self.factory, self.share, 0)
        self.port.startListening()
        self.addCleanup(self.listener.close)

    def connect(self, count: int) -> None:
        for _ in range(count):
            self.addCleanup(socket.create_connection(self.listener.getsockname()).close)

    def test_interfaces(self) -> None:
        """It is what it says."""
        verifyObject(IListeningPort, self.port)
        verifyObject(IReadDescriptor, self.port)
        verifyObject(IStreamServerEndpoint, SharedEndpoint(self.reactor, 0, self.share, 0))

    def test_oneAtATime(self) -> None:
        """One connection is accepted at a time: the next one may be somebody else's."""
        self.connect(3)
        self.port.doRead()
        self.assertEqual(len(self.reactor.adopted), 1)

    def test_faster(self) -> None:
        """A connection that another worker has taken is no matter."""
        self.port.doRead()
        self.assertEqual(self.reactor.adopted, [])
        self.assertEqual(self.reactor.readers, {self.port})

    def test_givesWay(self) -> None:
        """A connection is left to a worker that has fewer, for a moment; then it is served all the same."""
        self.share.isFair(1, 0)
        self.factory.connections.add("one")
        self.connect(1)
        self.port.doRead()
        self.assertEqual((self.reactor.adopted, self.reactor.readers), ([], set()))
        self.reactor.advance(GIVE_WAY)
        self.assertEqual((len(self.reactor.adopted), self.reactor.readers), (1, {self.port}))

    def test_scarce(self) -> None:
        """Without a descriptor left it does not spin, but tries again later."""

        class Scarce:
            fileno, close, family = self.listener.fileno, self.listener.close, self.listener.family

            def accept(self) -> None:
                raise OSError(errno.EMFILE, "Too many open files")

        self.connect(1)
        self.port._listener = Scarce()  # type: ignore[assignment]
        self.port.doRead()
        self.assertEqual(self.reactor.readers, set())
        self.port._listener = self.listener
        self.reactor.advance(OUT_OF_DESCRIPTORS)
        self.assertEqual(len(self.reactor.adopted), 1)

    def test_scarceInBetween(self) -> None:
        """The last descriptor is not enough: one client is lost, the others wait."""
        self.connect(2)
        adopt = self.reactor.adoptStreamConnection

        def refuse(*arguments: Any) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(self.reactor, "adoptStreamConnection", refuse)
        self.port.doRead()
        self.assertEqual(self.reactor.readers, set())
        self.patch(self.reactor, "adoptStreamConnection", adopt)
        self.reactor.advance(OUT_OF_DESCRIPTORS)
        self.assertEqual(len(self.reactor.adopted), 1)

    def test_unexpected(self) -> None:
        """Whatever is raised about one client, the next one is accepted."""
        self.connect(1 + len(KINDS))
        adopt = self.reactor.adoptStreamConnection
        for kind in KINDS:

            def fault(*arguments: object, kind: type[BaseException] = kind) -> None:
                raise kind

            self.patch(self.reactor, "adoptStreamConnection", fault)
            self.port.doRead()
            self.assertEqual(len(self.flushLoggedErrors(kind)), 1)
        self.patch(self.reactor, "adoptStreamConnection", adopt)
        self.port.doRead()
        self.assertEqual((len(self.reactor.adopted), self.reactor.readers), (1, {self.port}))

    def test_unexpectedBefore(self) -> None:
        """Whatever keeps it from accepting at all is tried again, a little later."""

        def fail(worker: int, connections: int) -> bool:
            raise ValueError("released")

        self.connect(1)
        isFair = self.share.isFair
        self.patch(self.share, "isFair", fail)
        self.port.doRead()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.reactor.readers, set())
        self.patch(self.share, "isFair", isFair)
        self.reactor.advance(OUT_OF_DESCRIPTORS)
        self.assertEqual((len(self.reactor.adopted), self.reactor.readers), (1, {self.port}))

    def test_stops(self) -> None:
        """Stopped while it gives way, it is stopped; the other worker need not give way to it."""
        self.share.isFair(1, 0)
        self.factory.connections.add("one")
        self.connect(1)
        self.port.doRead()
        self.port.stopListening()
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), (set(), []))
        self.assertTrue(self.share.isFair(1, 5))


class EndpointTests(TestCase):
    """Two workers on one socket, in one process."""

    async def test_unixSocket(self) -> None:
        """A socket file is served, and stays as it was."""
        path = tempfile.mktemp(dir=".")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        self.addCleanup(listener.close)
        listener.listen()
        os.chmod(path, 0o600)
        shared = share(2)
        factories = [Connections(), Connections()]
        ports = []
        for worker, factory in enumerate(factories):
            endpoint = SharedEndpoint(reactor, os.dup(listener.fileno()), shared, worker)
            ports.append(await endpoint.listen(factory))
        for _ in range(2):
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            changes = [factory.changed for factory in factories]
            client.connect(path)
            while not any(change.called for change in changes):
                pause: Deferred[None] = Deferred()
                reactor.callLater(0.01, pause.callback, None)
                await pause
        self.assertEqual([len(factory.connections) for factory in factories], [1, 1])
        self.assertEqual([port.getHost().name for port in ports], [os.fsencode(path)] * 2)
        for factory, port in zip(factories, ports, strict=True):
            port.stopListening()
            for each in tuple(factory.connections):
                assert each.transport is not None
                each.transport.abortConnection()
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
