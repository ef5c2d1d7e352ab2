"""The service that embedders are given."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.sessions.test_sessions import Upgrade, makeRequest
from wsproxy import WebSockifyFactory, WebSockifyService
from wsproxy.errors import ConfigError
from wsproxy.interfaces import Session


def silent(session: Session, factory: IProtocolFactory) -> Deferred[Any]:
    """A dialer that never gets anywhere."""
    return Deferred()


class ServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.factory = WebSockifyFactory(self.reactor, resolver=lambda request, identity: "demo:", dialer=silent)

    def service(self, drain: float = 0.0) -> WebSockifyService:
        endpoint = TCP4ServerEndpoint(self.reactor, 6081, interface="127.0.0.1")
        return WebSockifyService(self.reactor, self.factory, [endpoint], drain)

    def asked(self) -> Upgrade:
        upgrade = Upgrade(makeRequest())
        self.factory.sessions.open(upgrade)
        return upgrade

    def test_once(self) -> None:
        """It binds when that may still be forbidden later, and not again."""
        service = self.service()
        service.privilegedStartService()
        service.startService()
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [6081])

    def test_nonsense(self) -> None:
        """What is no endpoint is told at once."""
        self.assertRaises(ConfigError, WebSockifyService, self.reactor, self.factory, ["6080", "no such"])

    def test_ends(self) -> None:
        """At the end its port is stopped, sessions are closed, and nobody is let in."""
        service = self.service()
        service.startService()
        self.successResultOf(service.whenListening())
        session = self.asked()
        stopping = service.stopService()
        self.assertEqual([message.payload[:2] for message in session.told()], [b"\x03\xe9"])
        refusal = self.asked().refusal
        assert refusal is not None
        self.assertEqual(refusal.status, 503)
        self.assertNoResult(stopping)
        session.transport.lose()
        self.reactor.advance(10)
        self.successResultOf(stopping)

    def test_drains(self) -> None:
        """With time to drain, the sessions go on until it is over, and nobody else comes in."""
        service = self.service(drain=5.0)
        service.startService()
        session = self.asked()
        stopping = service.stopService()
        self.reactor.advance(4)
        self.assertEqual(session.told(), [])
        self.assertIsNotNone(self.asked().refusal)
        self.reactor.advance(1)
        self.assertEqual(len(session.told()), 1)
        session.transport.lose()
        self.reactor.advance(10)
        self.successResultOf(stopping)

    def test_drainedEarly(self) -> None:
        """It ends at once when the last session does."""
        service = self.service(drain=5.0)
        service.startService()
        session = self.asked()
        stopping = service.stopService()
        session.transport.lose()
        self.reactor.advance(8)
        self.successResultOf(stopping)


class RestartTests(TestCase):
    """On real ports."""

    async def test_again(self) -> None:
        """One that has ended starts again, and lets clients in again."""
        from twisted.internet import reactor

        factory = WebSockifyFactory(reactor, resolver=lambda request, identity: "demo:", dialer=silent)
        service = WebSockifyService(reactor, factory, ["127.0.0.1:0"])
        for _ in range(2):
            service.startService()
            [port] = await service.whenListening()
            self.assertNotEqual(port.getHost().port, 0)
            upgrade = Upgrade(makeRequest())
            factory.sessions.open(upgrade)
            self.assertIsNone(upgrade.refusal)
            upgrade.transport.lose()
            await service.stopService()
            refused = Upgrade(makeRequest())
            factory.sessions.open(refused)
            self.assertIsNotNone(refused.refusal)

    async def test_taken(self) -> None:
        """Of ports one of which is taken none stays open, and it is said which."""
        from twisted.internet import reactor

        factory = WebSockifyFactory(reactor, resolver=lambda request, identity: "demo:", dialer=silent)
        first = WebSockifyService(reactor, factory, ["127.0.0.1:0"])
        first.startService()
        self.addCleanup(first.stopService)
        [port] = await first.whenListening()
        second = WebSockifyService(reactor, factory, ["127.0.0.1:0", f"127.0.0.1:{port.getHost().port}"])
        second.startService()
        self.addCleanup(second.stopService)
        with self.assertRaisesRegex(ConfigError, str(port.getHost().port)):
            await second.whenListening()
        with self.assertRaises(ConfigError):  # whoever asks later
            await second.whenListening()
