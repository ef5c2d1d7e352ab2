"""Names: which lookups there are, who shares them, and what is remembered."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.daemon.test_threads import Deliveries
from tests.dialling.test_eyeballs import Resolver
from wsproxy.dialling import names
from wsproxy.dialling.names import NEGATIVE_TTL, POSITIVE_TTL, NameResolver, chooseResolver

reactor: Any = _reactor

V4 = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]
V6 = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 0, 0, 2))]


@implementer(IResolutionReceiver)
class Receiver:
    """C{told}: the addresses, once complete."""

    def __init__(self) -> None:
        self.resolution: IHostResolution | None = None
        self.found: list[Any] = []
        self.told: Deferred[list[Any]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        self.resolution = resolutionInProgress

    def addressResolved(self, address: Any) -> None:
        self.found.append(address)

    def resolutionComplete(self) -> None:
        self.told.callback(self.found)


class _Reactor(Clock, Deliveries):
    def __init__(self) -> None:
        Clock.__init__(self)
        Deliveries.__init__(self)


class ResolverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = _Reactor()
        self.asked: list[tuple[Any, ...]] = []
        self.answer: Callable[[], Any] = lambda: V4 + V6
        self.gate = threading.Event()
        self.addCleanup(self.gate.set)
        self.resolver = NameResolver(self.reactor, self.lookUp)

    def lookUp(self, *question: Any) -> Any:
        """Stands in for getaddrinfo: answers when the gate is open."""
        self.asked.append(question)
        assert self.gate.wait(30)
        return self.answer()

    def resolve(self, name: str = "name.example", port: int = 80, **what: Any) -> Receiver:
        receiver = Receiver()
        verifyObject(IResolutionReceiver, receiver)
        resolution = self.resolver.resolveHostName(receiver, name, port, **what)
        self.assertIs(receiver.resolution, resolution)
        verifyObject(IHostResolution, resolution)
        return receiver

    def settle(self, lookups: int = 1) -> None:
        """Let so many lookups be answered."""
        self.gate.set()
        self.reactor.deliver(lookups)

    def test_interface(self) -> None:
        """It is a resolver like any other."""
        verifyObject(IHostnameResolver, self.resolver)

    def test_addresses(self) -> None:
        """Each address comes with the port that was asked for, and its scope."""
        receiver = self.resolve()
        self.settle()
        expected = [IPv4Address("TCP", "192.0.2.1", 80), IPv6Address("TCP", "fe80::1", 80, 0, 2)]
        self.assertEqual(self.successResultOf(receiver.told), expected)
        self.assertEqual(self.asked, [("name.example", 0, socket.AF_UNSPEC, socket.SOCK_STREAM)])

    def test_shared(self) -> None:
        """Whoever asks while a name is looked up, in whatever case and for whatever port, shares the answer."""
        receivers = [self.resolve("Name.Example" if port % 2 else "name.example", port) for port in range(1, 200)]
        self.settle()
        for port, receiver in enumerate(receivers, 1):
            self.assertEqual(self.successResultOf(receiver.told)[0].port, port)
        self.assertEqual(len(self.asked), 1)

    def test_atOnce(self) -> None:
        """Different names do not wait for each other."""
        receivers = [self.resolve(f"{number}.example") for number in range(200)]
        self.settle(200)
        for receiver in receivers:
            self.successResultOf(receiver.told)

    def test_remembered(self) -> None:
        """An answer is good for a few seconds, and given at once."""
        self.resolve()
        self.settle()
        self.reactor.advance(POSITIVE_TTL - 0.1)
        self.assertEqual(len(self.successResultOf(self.resolve().told)), 2)
        self.reactor.advance(0.2)
        again = self.resolve()
        self.assertNoResult(again.told)
        self.settle()
        self.assertEqual((len(self.successResultOf(again.told)), len(self.asked)), (2, 2))

    def test_none(self) -> None:
        """That there is no address is remembered for a second, whichever way it is told."""
        failures = (socket.gaierror(-2, "unknown"), OSError("any"), UnicodeError("label too long"), ValueError("NUL"))
        for number, failure in enumerate(failures, 1):

            def answer(failure: Exception = failure) -> Any:
                raise failure

            self.answer = answer
            receiver = self.resolve()
            self.settle()
            self.assertEqual(self.successResultOf(receiver.told), [])
            self.reactor.advance(NEGATIVE_TTL - 0.1)
            self.assertEqual(self.successResultOf(self.resolve().told), [])
            self.assertEqual(len(self.asked), number)
            self.reactor.advance(0.2)

    def test_broken(self) -> None:
        """A lookup that fails in any other way has no addresses either, and a traceback in the log."""

        def answer() -> Any:
            raise KeyError("secret")

        self.answer = answer
        receiver = self.resolve()
        self.settle()
        self.assertEqual(self.successResultOf(receiver.told), [])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_brokenReceiver(self) -> None:
        """One who cannot stand the answer keeps it from nobody else."""
        first, second = self.resolve(), self.resolve()
        first.found = None  # type: ignore[assignment]
        self.settle()
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.assertEqual(len(self.successResultOf(second.told)), 2)

    def test_cancelled(self) -> None:
        """Who has given up is told nothing; the lookup goes on, and who asks next shares it."""
        first = self.resolve()
        assert first.resolution is not None
        first.resolution.cancel()
        second = self.resolve()
        self.settle()
        self.assertNoResult(first.told)
        self.assertEqual((len(self.successResultOf(second.told)), len(self.asked)), (2, 1))

    def test_families(self) -> None:
        """Only the family that is wanted is asked for, and remembered apart."""
        for types, family in (
            ([IPv4Address], socket.AF_INET),
            ([IPv6Address], socket.AF_INET6),
            ([IPv4Address, IPv6Address], socket.AF_UNSPEC),
        ):
            self.resolve(addressTypes=types)
            self.settle()
            self.assertEqual(self.asked[-1][2], family)

    def test_bounded(self) -> None:
        """However many names strangers think of, a thousand answers are remembered, the newest."""
        self.patch(names, "_REMEMBERED", 10)
        for number in range(30):
            self.resolve(f"{number}.example")
            self.settle()
        self.assertEqual(len(self.resolver._known), 10)
        self.successResultOf(self.resolve("29.example").told)
        self.assertNoResult(self.resolve("0.example").told)

    def test_boundedQuestions(self) -> None:
        """Nor does it keep more questions without an answer: there is no address beyond them."""
        self.patch(names, "_REMEMBERED", 10)
        receivers = [self.resolve(f"{number}.example") for number in range(11)]
        self.assertEqual(self.successResultOf(receivers.pop().told), [])
        self.settle(10)
        for receiver in receivers:
            self.assertEqual(len(self.successResultOf(receiver.told)), 2)

    def test_real(self) -> None:
        """The machine's own resolver knows its own name."""
        self.resolver = NameResolver(self.reactor)
        receiver = self.resolve("localhost")
        self.reactor.deliver(1)
        self.assertIn(IPv4Address("TCP", "127.0.0.1", 80), self.successResultOf(receiver.told))


class ChoiceTests(SynchronousTestCase):
    """Whose resolver is asked."""

    def test_twisted(self) -> None:
        """Ours takes the place of the one that Twisted installs."""
        ours = Resolver()
        self.assertIs(chooseResolver(reactor, ours), ours)

    def test_installed(self) -> None:
        """One that somebody installed is asked, and that of a reactor for tests."""
        memory = MemoryReactorClock()
        self.assertIs(chooseResolver(memory, Resolver()), memory.nameResolver)
        theirs = Resolver()
        self.addCleanup(reactor.installNameResolver, reactor.installNameResolver(theirs))
        self.assertIs(chooseResolver(reactor, Resolver()), theirs)
