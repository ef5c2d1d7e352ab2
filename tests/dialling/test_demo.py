"""The built-in line server."""

import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from wsproxy.dialling.demo import DemoProtocol, demoSocket


class DemoProtocolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.protocol = DemoProtocol(lambda: "12:34:56")
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)

    def answers(self, *chunks: bytes) -> list[str]:
        self.transport.clear()
        for chunk in chunks:
            self.protocol.dataReceived(chunk)
        return self.transport.value().decode().splitlines()

    def test_greeting(self) -> None:
        """It speaks first, with one line."""
        self.assertEqual(self.transport.value().count(b"\n"), 1)
        self.assertTrue(self.transport.value().startswith(b"Hello!"))

    def test_echo(self) -> None:
        """Each line is answered with its number, the time of day and itself, however it arrives."""
        self.assertEqual(self.answers(b"one\r\ntw", b"o\n\n"), ["1 12:34:56 one", "2 12:34:56 two", "3 12:34:56 "])

    def test_help(self) -> None:
        """'help' is answered with one line on what there is."""
        self.assertIn("'bye'", self.answers(b"HELP\n")[0])

    def test_bye(self) -> None:
        """'bye' is answered, and is the end: what comes after it is not."""
        self.assertEqual(self.answers(b"bye\nmore\n"), ["Goodbye."])
        self.assertTrue(self.transport.disconnecting)

    def test_tooLong(self) -> None:
        """A line beyond the limit ends the session with a line that says so."""
        self.assertEqual(len(self.answers(b"x" * 1024 + b"\n")), 1)
        self.assertFalse(self.transport.disconnecting)
        self.assertIn("too long", self.answers(b"x" * 600, b"x" * 600)[0])
        self.assertTrue(self.transport.disconnecting)

    def test_unprintable(self) -> None:
        """Control characters and bytes that are not UTF-8 come back as replacement characters."""
        self.assertEqual(self.answers(b"\x1b[31mred\xff\n"), ["1 12:34:56 \ufffd[31mred\ufffd"])

    def test_halfClose(self) -> None:
        """A client that has said everything gets the last answers and a goodbye."""
        verifyObject(IHalfCloseableProtocol, self.protocol)
        self.transport.clear()
        self.protocol.readConnectionLost()
        self.assertEqual(self.transport.value(), b"Goodbye.\n")
        self.assertTrue(self.transport.disconnecting)

    def test_backpressure(self) -> None:
        """It stops reading while its answers are not taken."""
        self.assertIs(self.transport.producer, self.transport)
        self.assertTrue(self.transport.streaming)


class Collector(Protocol):
    """Collects what arrives; C{ended} fires with all of it."""

    def connectionMade(self) -> None:
        self.received = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(self.received)


class DemoSocketTests(TestCase):
    def connect(self) -> Collector:
        with demoSocket(reactor) as connection:
            factory = Factory.forProtocol(Collector)
            return reactor.adoptStreamConnection(connection.fileno(), socket.AF_UNIX, factory).protocol

    async def test_conversation(self) -> None:
        """A whole conversation fits through the socket, and nothing is left of either end after it."""
        client = self.connect()
        client.transport.write(b"one\nbye\n")
        greeting, answer, goodbye = (await client.ended).decode().splitlines()
        self.assertTrue(greeting.startswith("Hello!"))
        self.assertRegex(answer, r"^1 \d\d:\d\d:\d\d one$")
        self.assertEqual(goodbye, "Goodbye.")
        watched = [*reactor.getReaders(), *reactor.getWriters()]
        self.assertEqual([each for each in watched if hasattr(each, "protocol")], [])

    async def test_byeUnderBackpressure(self) -> None:
        """'bye' ends a session whose answers are still waiting to be taken, after the last of them."""
        client = self.connect()
        client.transport.write(b"line\n" * 10000 + b"bye\n")
        self.assertEqual((await client.ended).count(b"\n"), 10002)

    async def test_clientVanishes(self) -> None:
        """A client that is cut off takes the server with it."""
        client = self.connect()
        protocols = [getattr(each, "protocol", None) for each in reactor.getReaders()]
        [server] = [each for each in protocols if isinstance(each, DemoProtocol)]
        lost: Deferred[None] = Deferred()
        self.patch(server, "connectionLost", lambda reason: lost.callback(None))
        client.transport.abortConnection()
        await lost
        await client.ended

    async def test_clientHalfCloses(self) -> None:
        """Everything said before the client shuts its side is answered."""
        client = self.connect()
        client.transport.write(b"line\n" * 5000)
        client.transport.loseWriteConnection()
        self.assertEqual((await client.ended).count(b"\n"), 5002)
