"""Waiting for a wrapped program, and finding its newest address."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from wsproxy.backend.dial import DialError
from wsproxy.interfaces import IDialer, IResolver, Request, Target
from wsproxy.process.dialer import POLL, ProgramDialer
from wsproxy.process.listeners import Listeners


@implementer(IDialer)
class Addresses:
    """Dials where somebody listens; refuses elsewhere."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.dialled: list[str] = []
        self.pending: Deferred[Protocol] | None = None

    def dial(self, target: Target, factory: IProtocolFactory) -> Deferred[Protocol]:
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
            dialer=self.addresses,
            timeout=10.0,
        )

    def dial(self, target: str = "prog") -> Deferred[Any]:
        dialling: Deferred[Any] = self.dialer.dial(Target(target), Factory())
        return dialling

    def request(self, host: IAddress) -> Request:
        return Request(path="/", query={}, headers={}, peer=host, host=host, secure=False)


class AnnouncedTests(DialerTestCase):
    """A program whose listening is reported."""

    def test_interfaces(self) -> None:
        """It resolves and dials."""
        self.assertTrue(verifyObject(IDialer, self.dialer))
        self.assertTrue(verifyObject(IResolver, self.dialer))

    def test_resolve(self) -> None:
        """Every request leads to the program."""
        self.assertEqual(self.dialer.resolve(self.request(UNIXAddress(b"/s"))), Target("prog"))

    def test_listens(self) -> None:
        """A program that listens is dialled at once, and is known to have served."""
        self.listeners.add(80, "127.0.0.1:1")
        self.addresses.open.add("127.0.0.1:1")
        self.assertIsInstance(self.successResultOf(self.dial()), Protocol)
        self.assertTrue(self.listeners.served)
        self.assertEqual(self.clock.getDelayedCalls(), [])

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
        target = self.dialer.resolve(self.request(IPv4Address("TCP", "192.0.2.1", 82)))
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
