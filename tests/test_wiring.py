"""The service: it listens, says so, and ends in good order."""

from __future__ import annotations

import gc
import os
import sys
from io import StringIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.certificates import selfSigned
from tests.ends.fake import Message
from tests.peer import WebSocketPeer, connect, openWebSocket
from tests.tunnel.client import Frame
from wsproxy.access.resolver import FixedResolver
from wsproxy.config import (
    Config,
    LifetimeConfig,
    LimitsConfig,
    ListeningConfig,
    LoggingConfig,
    RouteConfig,
    SessionsConfig,
    TargetConfig,
    TLSConfig,
    WebConfig,
)
from wsproxy.entrance import Common
from wsproxy.errors import ConfigError
from wsproxy.interfaces import IResolver, IStatusStop, Target
from wsproxy.service.proxy import Proxy
from wsproxy.wire.frames import BINARY, CLOSE
from wsproxy.wiring import makeProxy


@implementer(IStatusStop)
class Stopper:
    """Keeps what it was asked."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.stopped: Deferred[None] = Deferred()

    def stop(self, status: int) -> None:
        self.statuses.append(status)
        if not self.stopped.called:
            self.stopped.callback(None)

    def fail(self, failure: Failure) -> None:
        self.stop(1)


class ProxyTestCase(TestCase):
    """A proxy with C{demo:} behind it."""

    def setUp(self) -> None:
        self.stopper = Stopper()
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def make(self, *listen: str, **settings: Any) -> Proxy:
        from twisted.internet import reactor

        config = Config(ListeningConfig(listen or ("127.0.0.1:0",)), TargetConfig("demo:"), **settings)
        proxy = makeProxy(config, reactor, self.stopper)
        self.addCleanup(proxy.stopService)
        return proxy

    async def start(self, *listen: str, **settings: Any) -> Proxy:
        proxy = self.make(*listen, **settings)
        proxy.privilegedStartService()
        proxy.startService()
        await proxy.started
        return proxy

    def address(self, proxy: Proxy, number: int = 0) -> str:
        host: Any = [*proxy._ports][number].getHost()
        return f"tcp:127.0.0.1:{host.port}" if hasattr(host, "port") else f"unix:{host.name.decode()}"

    async def open(self, proxy: Proxy, number: int = 0) -> WebSocketPeer:
        """A session, which the demo has greeted."""
        from twisted.internet import reactor

        peer = await openWebSocket(self, reactor, self.address(proxy, number))
        await peer.when(lambda: peer.received.endswith(b"\n"))
        peer.received.clear()
        return peer

    async def knock(self, address: str) -> bool:
        """Whether anybody listens there."""
        from twisted.internet import reactor

        try:
            await connect(self, reactor, address)
        except Exception:
            return False
        return True

    def lines(self) -> list[str]:
        return [formatEvent(event) for event in self.events if event["log_namespace"].startswith("wsproxy.")]


class StartTests(ProxyTestCase):
    def test_fakes(self) -> None:
        """The fake is one; so is the resolver."""
        verifyObject(IStatusStop, self.stopper)
        verifyObject(IResolver, FixedResolver(Target("demo:")))

    async def test_listens(self) -> None:
        """Every listener leads to the target."""
        path = self.mktemp()
        proxy = await self.start("127.0.0.1:0", "127.0.0.1:0", f"unix:{path}")
        for number in range(3):
            await self.open(proxy, number)
        self.assertEqual(len(proxy._factory.sessions), 3)

    async def test_announces(self) -> None:
        """At the start the log says what listens where and leads where, what to open, and how much fits."""
        proxy = await self.start()
        port = self.address(proxy).rpartition(":")[2]
        listening, page, room = self.lines()
        self.assertEqual(listening, f"Listening on 127.0.0.1:{port} (http), leading to demo:")
        self.assertEqual(page, f"Open http://localhost:{port}/")
        self.assertRegex(room, r"^Room for [0-9]+ sessions \([0-9]+ descriptors\)$")

    async def test_announcesTLS(self) -> None:
        """So it does with TLS; without pages there is nothing to open."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(selfSigned("localhost").both)
        await self.start(tls=TLSConfig(path), web=WebConfig(pages=False))
        self.assertIn("(http and https), leading to demo:", self.lines()[0])
        self.assertNotIn("Open", self.lines()[1])
        self.events.clear()
        await self.start(tls=TLSConfig(path, only=True))
        self.assertIn("(https), leading to demo:", self.lines()[0])
        self.assertIn("Open https://localhost:", self.lines()[1])

    async def test_taken(self) -> None:
        """A listener that cannot be bound fails the start with one line, and the others do not stay."""
        from twisted.internet import reactor

        taken = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Protocol))
        self.addCleanup(taken.stopListening)
        path = self.mktemp()
        wanted = f"127.0.0.1:{taken.getHost().port}"
        proxy = self.make(f"unix:{path}", wanted)
        proxy.privilegedStartService()
        try:
            await proxy.started
        except ConfigError as error:
            self.assertEqual(str(error), f"--listen {wanted}: address already in use")
        else:
            self.fail("it started")
        await proxy.stopService()
        self.assertFalse(os.path.exists(path))
        self.assertEqual(self.lines(), [])


class TrafficTests(ProxyTestCase):
    async def test_marks(self) -> None:
        """With C{--traffic} marks go to the original standard output; without, or where there is none, none do."""
        stream = StringIO()
        for traffic, stdout, marks in ((True, stream, "{<"), (False, stream, "{<"), (True, None, "{<")):
            self.patch(sys, "__stdout__", stdout)
            await self.open(await self.start(logging=LoggingConfig(traffic=traffic)))
            self.assertEqual(stream.getvalue(), marks)


class StopTests(ProxyTestCase):
    async def test_stop(self) -> None:
        """Stopping closes the listeners, tells the sessions, and is done when the last of them is gone."""
        proxy = await self.start()
        address = self.address(proxy)
        peer = await self.open(proxy)
        peer.stays = True
        stopped = proxy.stopService()
        await peer.when(lambda: bool(peer.told()))
        self.assertEqual(peer.told(), [Message(CLOSE, b"\x03\xe9Server going down")])
        self.assertFalse(stopped.called)
        self.assertFalse(await self.knock(address))
        peer.send(Frame(CLOSE, b"\x03\xe9"))
        await stopped
        self.assertEqual(len(proxy._factory.sessions), 0)
        self.assertEqual(self.stopper.statuses, [])

    async def test_idleConnections(self) -> None:
        """Connections that are no session are not waited for."""
        from twisted.internet import reactor

        proxy = await self.start()
        peer = await connect(self, reactor, self.address(proxy))
        peer.transport.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        await peer.opened()
        await proxy.stopService()
        await peer.gone()
        self.assertEqual(proxy._factory.connections, set())

    async def test_socketFileGone(self) -> None:
        """A socket file that somebody deleted does not stand in the way."""
        path = self.mktemp()
        proxy = await self.start(f"unix:{path}", "127.0.0.1:0")
        address = self.address(proxy, 1)
        os.unlink(path)
        await proxy.stopService()
        self.assertFalse(await self.knock(address))
        gc.collect()  # a failure that nobody has seen would be logged now

    async def test_unstarted(self) -> None:
        """A proxy that was never started can be stopped."""
        await self.make().stopService()

    async def test_drainAtOnce(self) -> None:
        """Without C{--drain} nobody is waited for: nothing listens, and stopping closes the sessions."""
        proxy = await self.start()
        address = self.address(proxy)
        peer = await self.open(proxy)
        await proxy.drain()
        self.assertFalse(await self.knock(address))
        await self.assertClosed(proxy, peer)

    async def assertClosed(self, proxy: Proxy, peer: WebSocketPeer) -> None:
        """Stopping closes this session."""
        stopped = proxy.stopService()
        await peer.when(lambda: bool(peer.told()))
        self.assertEqual(peer.told(), [Message(CLOSE, b"\x03\xe9Server going down")])
        peer.send(Frame(CLOSE, b"\x03\xe9"))
        await stopped

    async def test_drain(self) -> None:
        """With it sessions may end by themselves, while nobody else comes in."""
        from twisted.internet import reactor

        proxy = await self.start(lifetime=LifetimeConfig(drain=60.0))
        address = self.address(proxy)
        peer = await self.open(proxy)
        idle = await connect(self, reactor, address)
        drained = proxy.drain()
        await idle.gone()
        self.assertFalse(await self.knock(address))
        peer.send(Frame(BINARY, b"still here\n"))
        await peer.when(lambda: b"still here" in peer.received)
        peer.send(Frame(CLOSE, b"\x03\xe8"))
        await drained

    async def test_drainIsOver(self) -> None:
        """When its time is over those that are left are closed, by stopping."""
        proxy = await self.start(lifetime=LifetimeConfig(drain=0.05))
        peer = await self.open(proxy)
        await proxy.drain()
        self.assertEqual(peer.told(), [])
        await self.assertClosed(proxy, peer)

    async def test_runOnce(self) -> None:
        """With C{--run-once} nothing listens once a session is open, and the process ends with status 0 after it."""
        proxy = await self.start(lifetime=LifetimeConfig(runOnce=True))
        address = self.address(proxy)
        peer = await self.open(proxy)
        self.assertFalse(await self.knock(address))
        self.assertEqual(self.stopper.statuses, [])
        peer.send(Frame(CLOSE, b"\x03\xe8"))
        await self.stopper.stopped
        self.assertEqual(self.stopper.statuses, [0])


class SettingsTests(SynchronousTestCase):
    """What a configuration gets wrong is told when the proxy is made."""

    def assertComplaint(self, start: str, **settings: Any) -> None:
        from twisted.internet import reactor

        error = self.assertRaises(ConfigError, makeProxy, Config(**settings), reactor, Stopper())
        self.assertTrue(str(error).startswith(start), str(error))
        self.assertNotIn("\n", str(error))

    def test_wrong(self) -> None:
        """Each in one line that names the option."""
        missing, demo = os.path.abspath(self.mktemp()), TargetConfig("demo:")
        self.assertComplaint("--target")
        self.assertComplaint("--target nowhere", target=TargetConfig("nowhere"))
        self.assertComplaint("--listen here", target=demo, listening=ListeningConfig(("here",)))
        self.assertComplaint("--origin here", target=demo, sessions=SessionsConfig(("here",)))
        self.assertComplaint("--cert", target=demo, tls=TLSConfig(missing))
        self.assertComplaint("--target-cafile", target=TargetConfig("demo:", authorities=missing))


def _rates(top: float, *routes: float) -> Config:
    """Of identities: in all, and of each of some routes."""
    first, *others = (Config(limits=LimitsConfig(bandwidthPerIdentity=rate)) for rate in (top, *routes))
    ways = tuple(RouteConfig(None, f"/{number}", other) for number, other in enumerate(others))
    return Config(limits=first.limits, routes=ways)


class SharesTests(SynchronousTestCase):
    """What identities share, of several routes."""

    def shares(self, common: Common, config: Config) -> list[list[float]]:
        """Rates that hold, by each route and without any."""
        ways = [(route.name, route.config.limits) for route in config.routes]
        found = [common.shares(config.limits, own, name) for name, own in (("", LimitsConfig()), *ways)]
        return [[each.bucket("alice", up=True).rate for each in shares] for shares in found]

    def test_routes(self) -> None:
        """What holds in all is shared by all routes; one with a rate of its own keeps to both."""
        config = _rates(9, 5, 0)
        common = Common(config, Clock())
        self.assertEqual(self.shares(common, config), [[9], [9, 5], [9]])
        top, one, other = (common.shares(config.limits, LimitsConfig(), name) for name in ("", "*/0", "*/1"))
        self.assertTrue(top[0] is one[0] is other[0])

    def test_reload(self) -> None:
        """Rates change for those who are there; where there is none any more, they have no limit."""
        before, now = _rates(9, 5), _rates(0, 4)
        common = Common(before, Clock())
        top, own = common.shares(before.limits, before.routes[0].config.limits, before.routes[0].name)
        here = [each.bucket("alice", up=True) for each in (top, own)]
        common.limit(now)
        self.assertGreater(here[0].rate, 1e12)
        self.assertEqual(here[1].rate, 4)
        self.assertEqual(self.shares(common, now), [[], [4]])


class ReloadTests(ProxyTestCase):
    async def test_reload(self) -> None:
        """The certificate is read again when asked for."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(selfSigned("localhost").both)
        proxy = await self.start(tls=TLSConfig(path))
        self.events.clear()
        proxy.reload()
        self.assertEqual(self.lines(), [f"TLS certificate {path} reloaded"])

    async def test_reloadNothing(self) -> None:
        """Without TLS there is nothing to read."""
        proxy = await self.start()
        self.events.clear()
        proxy.reload()
        self.assertEqual(self.lines(), [])
