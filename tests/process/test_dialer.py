"""Waiting for a wrapped program, and finding its newest address."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from wsproxy.dialling.dial import DialError
from wsproxy.interfaces import IDialer, IResolver, Request, Target
from wsproxy.process import dialer as module
from wsproxy.process.accepted import Acceptance
from wsproxy.process.dialer import LOOK_MAX, POLL, ProgramDialer
from wsproxy.process.listeners import Listeners
from wsproxy.testing import makeRequest, makeSession


class Addresses:
    """Dials where somebody listens; refuses elsewhere."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.dialled: list[str] = []
        self.pending: Deferred[Protocol] | None = None

    def connect(self, target: Target, factory: IProtocolFactory) -> Deferred[Any]:
        self.dialled.append(target.text)
        deferred: Deferred[Protocol] = Deferred()
        if self.pending is not None:
            deferred, self.pending = self.pending, None
        elif target.text in self.open:
            deferred.callback(Protocol())
        else:
            self.refuse(deferred)
        return deferred

    def refuse(self, deferred: Deferred[Protocol], cause: Exception | None = None) -> None:
        error = DialError("no")
        error.__cause__ = cause or ConnectionRefusedError()
        deferred.errback(error)


class DialerTestCase(SynchronousTestCase):
    port: int | None = 80
    announced = True

    def setUp(self) -> None:
        self.clock = Clock()
        self.listeners = Listeners()
        self.listeners.running = True
        self.addresses = Addresses()
        self.dialer = ProgramDialer(
            self.clock,
            "prog",
            self.listeners,
            self.port,
            announced=self.announced,
            connect=self.addresses.connect,
            timeout=10.0,
        )

    def dial(self, target: str = "prog") -> Deferred[Any]:
        dialling: Deferred[Any] = self.dialer.dial(makeSession(target=target), Factory())
        return dialling

    def request(self, host: IAddress) -> Request:
        return makeRequest(host=host)


class AnnouncedTests(DialerTestCase):
    """A program whose listening is reported."""

    def test_interfaces(self) -> None:
        """It resolves and dials."""
        self.assertTrue(verifyObject(IDialer, self.dialer))
        self.assertTrue(verifyObject(IResolver, self.dialer))

    def test_resolve(self) -> None:
        """Every request leads to the program."""
        self.assertEqual(self.dialer.resolve(self.request(UNIXAddress(b"/s")), None), Target("prog"))

    def test_listens(self) -> None:
        """A program that listens is dialled at once, and is known to have served."""
        self.listeners.add(80, "127.0.0.1:1")
        self.addresses.open.add("127.0.0.1:1")
        self.assertIsInstance(self.successResultOf(self.dial()), Protocol)
        self.assertTrue(self.listeners.served)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_header(self) -> None:
        """A program that is told of its clients is so with each connection, and others are not."""
        told: list[bytes] = []

        def connect(target: Target, factory: IProtocolFactory, header: bytes = b"") -> Deferred[Any]:
            told.append(header)
            return self.addresses.connect(target, factory)

        self.listeners.add(80, "127.0.0.1:1")
        self.addresses.open.add("127.0.0.1:1")
        for header in (b"PROXY UNKNOWN\r\n", b""):
            dialer = ProgramDialer(
                self.clock,
                "prog",
                self.listeners,
                80,
                announced=True,
                connect=connect,
                header=lambda session, header=header: header,  # type: ignore[misc]
                timeout=10.0,
            )
            self.successResultOf(dialer.dial(makeSession(target="prog"), Factory()))
        self.assertEqual(told, [b"PROXY UNKNOWN\r\n", b""])

    def test_waits(self) -> None:
        """A client that comes first is connected when the program listens."""
        first, second = self.dial(), self.dial()
        self.clock.advance(9)
        self.assertNoResult(first)
        self.addresses.open.add("127.0.0.1:1")
        self.listeners.add(80, "127.0.0.1:1")
        self.assertIsInstance(self.successResultOf(first), Protocol)
        self.assertIsInstance(self.successResultOf(second), Protocol)

    def test_timeout(self) -> None:
        """One that waits too long is told why."""
        waiting = self.dial()
        self.clock.advance(10)
        self.assertEqual(str(self.failureResultOf(waiting, DialError).value), "Program is not listening")
        self.listeners.running = False
        waiting = self.dial()
        self.clock.advance(10)
        self.assertEqual(str(self.failureResultOf(waiting, DialError).value), "Program is not running")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancel(self) -> None:
        """A client that leaves is not waited for."""
        waiting = self.dial()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.listeners.add(80, "127.0.0.1:1")
        self.assertEqual((self.addresses.dialled, self.clock.getDelayedCalls()), ([], []))

    def test_newestFirst(self) -> None:
        """The newest address is dialled, an older one where nobody listens there any more; a dead one only once."""
        for number in (1, 2, 3):
            self.listeners.add(80, f"127.0.0.1:{number}")
        self.addresses.open.add("127.0.0.1:2")
        self.successResultOf(self.dial())
        self.assertEqual(self.addresses.dialled, ["127.0.0.1:3", "127.0.0.1:2"])
        self.successResultOf(self.dial())
        self.assertEqual(self.addresses.dialled[2:], ["127.0.0.1:2"])

    def test_listensAgainMeanwhile(self) -> None:
        """An address that comes while a dead one is dialled is not missed."""
        refused: Deferred[Protocol] = Deferred()
        self.addresses.pending = refused
        self.listeners.add(80, "127.0.0.1:1")
        dialling = self.dial()
        self.addresses.open.add("127.0.0.1:2")
        self.listeners.add(80, "127.0.0.1:2")
        self.addresses.refuse(refused)
        self.successResultOf(dialling)

    def test_otherFailure(self) -> None:
        """What is wrong with a program that does listen is told at once."""
        refused: Deferred[Protocol] = Deferred()
        self.addresses.pending = refused
        self.listeners.add(80, "127.0.0.1:1")
        dialling = self.dial()
        self.addresses.refuse(refused, ValueError("certificate"))
        self.assertEqual(str(self.failureResultOf(dialling, DialError).value), "no")

    def test_reset(self) -> None:
        """A dial that is reset, or lost, meets a program that is ending: the next address is waited for."""
        for cause in ConnectionResetError(), ConnectionLost():
            refused: Deferred[Protocol] = Deferred()
            self.addresses.pending = refused
            self.listeners.add(80, "127.0.0.1:1")
            dialling = self.dial()
            self.addresses.refuse(refused, cause)
            self.assertNoResult(dialling)
            self.addresses.open = {"127.0.0.1:2"}
            self.listeners.add(80, "127.0.0.1:2")
            self.successResultOf(dialling)
            self.listeners.clear()

    def test_otherPort(self) -> None:
        """Another port of the program is not what the client wants."""
        self.listeners.add(81, "127.0.0.1:1")
        self.assertNoResult(self.dial())
        self.assertEqual(self.addresses.dialled, [])


class EveryPortTests(DialerTestCase):
    """A program of which every port is listened on."""

    port = None

    def test_ports(self) -> None:
        """The port that the client connected to is the program's port."""
        self.listeners.add(81, "127.0.0.1:1")
        self.listeners.add(82, "127.0.0.1:2")
        self.addresses.open = {"127.0.0.1:1", "127.0.0.1:2"}
        target = self.dialer.resolve(self.request(IPv4Address("TCP", "192.0.2.1", 82)), None)
        self.assertEqual(target, Target("prog:82"))
        self.successResultOf(self.dial(target.text))
        self.assertEqual(self.addresses.dialled, ["127.0.0.1:2"])


class ToldTests(DialerTestCase):
    """A program that was told where to listen."""

    announced = False

    def test_polls(self) -> None:
        """Its address is tried until somebody listens there."""
        self.listeners.add(80, "127.0.0.1:1")
        dialling = self.dial()
        self.clock.pump([POLL] * 3)
        self.assertEqual(self.addresses.dialled, ["127.0.0.1:1"] * 4)
        self.addresses.open.add("127.0.0.1:1")
        self.clock.advance(POLL)
        self.successResultOf(dialling)

    def test_timeout(self) -> None:
        """One that never does is given up."""
        self.listeners.add(80, "127.0.0.1:1")
        dialling = self.dial()
        self.clock.pump([POLL] * 101)
        self.assertEqual(str(self.failureResultOf(dialling, DialError).value), "Program is not listening")
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Connection:
    """The transport of a connection that was made, of which the kernel knows what is said here."""

    def __init__(self) -> None:
        self.aborted = False

    def getHandle(self) -> Connection:
        return self

    def abortConnection(self) -> None:
        self.aborted = True


class AgainTests(DialerTestCase):
    """A program that is started again when it ends."""

    def setUp(self) -> None:
        super().setUp()
        self.known: dict[Any, Acceptance] = {}
        self.patch(module, "acceptance", lambda handle: self.known.get(handle, Acceptance.WAITING))
        self.dialer = ProgramDialer(
            self.clock,
            "prog",
            self.listeners,
            80,
            announced=True,
            connect=self.addresses.connect,
            timeout=10.0,
            again=True,
        )
        self.listeners.add(80, "127.0.0.1:1")

    def connect(self) -> tuple[Deferred[Any], Connection]:
        """A client, and the connection that is made for it."""
        connecting: Deferred[Protocol] = Deferred()
        self.addresses.pending = connecting
        return self.dial(), self.made(connecting)

    def made(self, connecting: Deferred[Protocol]) -> Connection:
        protocol = Protocol()
        connection = Connection()
        protocol.transport = connection  # type: ignore[assignment]
        connecting.callback(protocol)
        return connection

    def test_accepted(self) -> None:
        """A client is connected when the program has accepted it, or nobody knows whether it has."""
        for answer in Acceptance.ACCEPTED, Acceptance.UNKNOWN:
            dialling, connection = self.connect()
            self.clock.advance(LOOK_MAX)
            self.assertNoResult(dialling)
            self.known[connection] = answer
            self.clock.advance(LOOK_MAX)
            self.assertIs(self.successResultOf(dialling).transport, connection)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_gone(self) -> None:
        """One that is lost in the queue waits for the next run."""
        dialling, connection = self.connect()
        self.known[connection] = Acceptance.GONE
        self.clock.advance(LOOK_MAX)
        self.assertTrue(connection.aborted)
        self.clock.advance(POLL)  # refused: nobody listens any more
        self.assertEqual(self.addresses.dialled, ["127.0.0.1:1"] * 2)
        connecting: Deferred[Protocol] = Deferred()
        self.addresses.pending = connecting
        self.listeners.add(80, "127.0.0.1:2")
        self.clock.advance(POLL)
        self.known[self.made(connecting)] = Acceptance.ACCEPTED
        self.clock.advance(LOOK_MAX)
        self.successResultOf(dialling)
        self.assertEqual(self.addresses.dialled[2:], ["127.0.0.1:2"])

    def test_resets(self) -> None:
        """A program that resets what it has accepted is not dialled for ever."""
        dialling, first = self.connect()
        self.known[first] = Acceptance.GONE
        self.clock.advance(LOOK_MAX)
        connecting: Deferred[Protocol] = Deferred()
        self.addresses.pending = connecting
        self.clock.advance(POLL)
        self.known[self.made(connecting)] = Acceptance.GONE
        self.clock.advance(LOOK_MAX)
        self.assertEqual(str(self.failureResultOf(dialling, DialError).value), "Target connection lost")

    def test_busy(self) -> None:
        """A program that is slow to accept is waited for; shortly before the time is up the client is connected."""
        dialling, connection = self.connect()
        self.clock.pump([LOOK_MAX] * 440)
        self.assertNoResult(dialling)
        self.clock.pump([LOOK_MAX] * 15)
        self.assertIs(self.successResultOf(dialling).transport, connection)

    def test_cancel(self) -> None:
        """Of a client that leaves meanwhile no connection is left."""
        dialling, connection = self.connect()
        dialling.cancel()
        self.failureResultOf(dialling, CancelledError)
        self.assertEqual((connection.aborted, self.clock.getDelayedCalls()), (True, []))
