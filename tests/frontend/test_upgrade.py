"""The request that becomes a WebSocket."""

from __future__ import annotations

import gc
import weakref
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface.verify import verifyObject

from tests.frontend.connection import Connection, TLSClient, makeFactory, responses
from tests.frontend.test_switch import CERTIFICATE
from tests.tunnel.client import Frame
from wsproxy.errors import Refusal
from wsproxy.frontend.switch import LINGER
from wsproxy.frontend.upgrade import EARLY_LIMIT, FrontDoor
from wsproxy.interfaces import Request
from wsproxy.sessions import Sessions, Upgrade
from wsproxy.tunnel.end import Receiver
from wsproxy.tunnel.frames import BINARY
from wsproxy.tunnel.transport import TransportEnd

UPGRADE = (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
VERSION = b"Sec-WebSocket-Version: 13"


def request(target: bytes = b"/", *headers: bytes, method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    return b"\r\n".join([method + b" " + target + b" " + version, b"Host: here", *headers, b"", b""])


def upgrade(target: bytes = b"/", *headers: bytes, **parts: bytes) -> bytes:
    return request(target, *UPGRADE, VERSION, *headers, **parts)


class FakeSessions:
    """Answers as the test says: at once, or later."""

    def __init__(self) -> None:
        self.answer: Any = None
        self.upgrades: list[Upgrade] = []
        self.received = b""
        self.ends: list[TransportEnd] = []
        self.lost = 0

    def open(self, upgrade: Upgrade) -> None:
        self.upgrades.append(upgrade)
        if self.answer is None:
            upgrade.notifyLost(self._lost)
        else:
            self.answer(upgrade)

    def accept(self, upgrade: Upgrade) -> None:
        end = upgrade.accept(None)
        self.ends.append(end)
        end.start(Receiver(self._received, lambda: None, lambda: None, lambda error: self._lost()))

    def _received(self, data: Any) -> None:
        self.received += bytes(data)

    def _lost(self) -> None:
        self.lost += 1


class Page(Resource):
    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.slow: list[Any] = []

    def render_GET(self, request: Any) -> bytes | int:
        if request.postpath == [b"slow"]:
            self.slow.append(request)
            return NOT_DONE_YET
        return b"page " + b"/".join(request.postpath)


class UpgradeTestCase(SynchronousTestCase):
    havePages = True

    def setUp(self) -> None:
        self.clock = Clock()
        self.sessions = FakeSessions()
        self.pages = Page()
        door = FrontDoor(self.clock, cast(Sessions, self.sessions), self.pages if self.havePages else None)
        self.factory = makeFactory(self.clock, door, tls=CERTIFICATE)
        self.connection = self.connect()

    def connect(self) -> Connection:
        connection = Connection(self.factory)
        self.addCleanup(connection.lose)
        return connection

    def tearDown(self) -> None:
        self.connection.lose()

    def described(self, data: bytes) -> Request:
        """How the session sees this upgrade request."""
        self.connect().send(data)
        return self.sessions.upgrades[-1].request


class AcceptTests(UpgradeTestCase):
    """The session accepts at once."""

    def setUp(self) -> None:
        super().setUp()
        self.sessions.answer = self.sessions.accept

    def test_anywhere(self) -> None:
        """Any path upgrades."""
        for target in (b"/", b"/websockify", b"/a/b/?token=x", b"/%2e%2e/", b"//x"):
            connection = self.connect()
            connection.send(upgrade(target))
            self.assertEqual(responses(connection.told)[0].status, 101)

    def test_behind(self) -> None:
        """What comes behind the request, split anywhere, reaches the session; nothing is lost or repeated."""
        frames = Frame(BINARY, b"x" * 50).encode()
        data = upgrade() + frames
        for cut in range(1, len(data)):
            self.sessions.received = b""
            connection = self.connect()
            connection.send(data[:cut])
            connection.send(data[cut:])
            self.assertEqual(responses(connection.told)[0].status, 101)
            self.assertEqual(self.sessions.received, frames, cut)

    def test_laterRequest(self) -> None:
        """An upgrade may come behind other requests, in one piece with them and with what comes behind it."""
        frames = Frame(BINARY, b"x" * 50).encode()
        data = request(b"/1") + request(b"/2") + upgrade() + frames
        for size in (None, *range(1, 60)):
            self.sessions.received = b""
            connection = self.connect()
            connection.send(data, size)
            found = responses(connection.told)
            self.assertEqual([it.status for it in found], [200, 200, 101])
            self.assertEqual([it.body for it in found[:2]], [b"page 1", b"page 2"])
            self.assertEqual(self.sessions.received, frames, size)

    def test_afterSlowAnswer(self) -> None:
        """It waits, with what comes behind it, until the request before it has been answered."""
        self.connection.send(request(b"/slow") + upgrade() + b"behind ")
        self.connection.send(b"it")
        self.assertEqual(self.sessions.upgrades, [])
        (slow,) = self.pages.slow
        slow.setHeader("content-length", "4")
        slow.write(b"done")
        slow.finish()
        self.assertEqual([it.status for it in responses(self.connection.told)], [200, 101])
        self.assertEqual(self.sessions.received, b"behind it")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_onlyOnce(self) -> None:
        """Behind an upgrade there is no HTTP any more."""
        self.connection.send(upgrade() + request() + upgrade())
        self.assertEqual(len(responses(self.connection.told)), 1)
        self.assertEqual(self.sessions.received, request() + upgrade())

    def test_noDeadline(self) -> None:
        """A session has no deadline of the connection's."""
        self.connection.send(upgrade())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_leavesNothing(self) -> None:
        """Of the HTTP before it nothing stays in memory, even before garbage is collected."""
        self.connection.send(request())
        channel = weakref.ref(self.connection.switch._protocol)
        self.assertIsNotNone(channel())
        gc.disable()
        self.addCleanup(gc.enable)
        self.connection.send(upgrade())
        self.assertIsNone(channel())

    def test_abortIdle(self) -> None:
        """It is not idle."""
        self.connection.send(upgrade())
        self.factory.abortIdle()
        self.assertFalse(self.connection.transport.aborted)

    def test_lost(self) -> None:
        """It learns when the connection is gone."""
        self.connection.send(upgrade())
        self.connection.lose()
        self.assertEqual(self.sessions.lost, 1)
        self.assertEqual(self.factory.connections, set())

    def test_secure(self) -> None:
        """Over TLS it is the same."""
        client = TLSClient(self.connection, self.clock)
        client.handshake()
        self.assertEqual(responses(client.exchange(upgrade() + b"behind"))[0].status, 101)
        self.assertEqual(self.sessions.received, b"behind")
        self.assertTrue(self.sessions.upgrades[0].request.secure)
        self.factory.abortIdle()
        self.assertFalse(self.connection.transport.aborted)


class RequestTests(UpgradeTestCase):
    """What plugins see of a request."""

    def test_plain(self) -> None:
        """Who connects where, and what for."""
        seen = self.described(upgrade(b"/a%20b?x=1", b"Origin: http://here", b"Sec-WebSocket-Protocol: b, a"))
        self.assertEqual((seen.path, seen.query), ("/a%20b", {"x": "1"}))
        self.assertEqual(seen.peer, IPv4Address("TCP", "192.168.1.1", 54321))
        self.assertEqual(seen.host, IPv4Address("TCP", "10.0.0.1", 12345))
        self.assertEqual((seen.secure, seen.subprotocols), (False, ("b", "a")))
        self.assertEqual((seen.headers["origin"], seen.headers["host"]), ("http://here", "here"))

    def test_query(self) -> None:
        """Parameters are decoded; the last of each name counts, and an empty one is there."""
        seen = self.described(upgrade(b"/?a=1&b=%C3%A9+x&a=2&empty=&name"))
        self.assertEqual(seen.query, {"a": "2", "b": "é x", "empty": "", "name": ""})

    def test_headers(self) -> None:
        """Names are in lower case; repeated headers are joined."""
        seen = self.described(upgrade(b"/", b"X-One: 1", b"x-one: 2", b"X-Bytes: \xff"))
        self.assertEqual((seen.headers["x-one"], seen.headers["x-bytes"]), ("1, 2", "\xff"))

    def test_absolute(self) -> None:
        """Of a whole URL the path and the query are seen."""
        seen = self.described(upgrade(b"http://here/a?x=1"))
        self.assertEqual((seen.path, seen.query), ("/a", {"x": "1"}))


class DecisionTests(UpgradeTestCase):
    """While the session is undecided."""

    def setUp(self) -> None:
        super().setUp()
        self.connection.send(upgrade() + b"early ")
        (self.pending,) = self.sessions.upgrades

    def test_waits(self) -> None:
        """The client is told nothing, and what it sends waits."""
        self.connection.send(b"bird")
        self.assertEqual((self.connection.told, self.sessions.received), (b"", b""))
        self.sessions.accept(self.pending)
        self.connection.send(b" sings")
        self.assertEqual(responses(self.connection.told)[0].status, 101)
        self.assertEqual(self.sessions.received, b"early bird sings")

    def test_limit(self) -> None:
        """A client that sends ahead more than a little is not read meanwhile."""
        self.connection.send(b"x" * (EARLY_LIMIT - len(b"early ")))
        self.assertEqual(self.connection.transport.producerState, "producing")
        self.connection.send(b"x")
        self.assertEqual(self.connection.transport.producerState, "paused")
        self.sessions.accept(self.pending)
        self.assertEqual(self.connection.transport.producerState, "producing")
        self.assertEqual(len(self.sessions.received), EARLY_LIMIT + 1)

    def test_refuse(self) -> None:
        """A refusal is an HTTP response; the connection lingers, reads on, and is closed."""
        self.connection.send(b"x" * (EARLY_LIMIT + 1))
        self.pending.refuse(Refusal(401, "Who are you?", (("WWW-Authenticate", "Basic"),)))
        (response,) = responses(self.connection.told)
        self.assertEqual((response.status, response.headers["connection"]), (401, "close"))
        self.assertEqual(response.headers["www-authenticate"], "Basic")
        self.assertTrue(self.connection.lingers)
        self.connection.send(b"ignored")
        self.clock.advance(LINGER)
        self.assertTrue(self.connection.transport.aborted)

    def test_noDeadline(self) -> None:
        """The time for the decision is the session's."""
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_vanishes(self) -> None:
        """The session learns of a client that is gone."""
        self.connection.lose()
        self.assertEqual(self.sessions.lost, 1)

    def test_halfCloses(self) -> None:
        """A client that closes its side wants no WebSocket."""
        self.connection.transport.halfClose()
        self.assertTrue(self.connection.transport.disconnecting)
        self.connection.lose()
        self.assertEqual(self.sessions.lost, 1)

    def test_abortIdle(self) -> None:
        """It is no session yet."""
        self.factory.abortIdle()
        self.assertTrue(self.connection.transport.aborted)


class DoorTests(UpgradeTestCase):
    """What does not become a WebSocket."""

    def assertTold(self, data: bytes, status: int, body: bytes | None = None) -> dict[str, str]:
        connection = self.connect()
        connection.send(data)
        (response,) = responses(connection.told, data[:4].decode().strip())
        self.assertEqual(response.status, status)
        if body is not None:
            self.assertEqual(response.body, body)
        self.assertEqual(self.sessions.upgrades, [])
        self.assertEqual(response.headers["server"], "wsproxy")
        return response.headers

    def test_resource(self) -> None:
        """The door is a resource, without children of its own."""
        door = FrontDoor(self.clock, cast(Sessions, self.sessions), None)
        verifyObject(IResource, door)
        self.assertRaises(NotImplementedError, door.putChild, b"x", Page())

    def test_pages(self) -> None:
        """Requests without an upgrade, or to something else, see the pages."""
        self.assertTold(request(b"/a/b"), 200, b"page a/b")
        self.assertTold(request(b"/", b"Upgrade: h2c", b"Connection: Upgrade"), 200, b"page ")
        self.assertTold(request(b"/", *UPGRADE, VERSION, method=b"HEAD"), 200, b"")

    def test_version(self) -> None:
        """Another version of WebSocket is told which one is spoken."""
        headers = self.assertTold(request(b"/", *UPGRADE, b"Sec-WebSocket-Version: 8"), 426)
        self.assertEqual((headers["sec-websocket-version"], headers["connection"]), ("13", "close"))

    def test_wrong(self) -> None:
        """What is wrong with an upgrade is told before any session hears of it."""
        self.assertTold(request(b"/", b"Upgrade: websocket", VERSION), 400)
        self.assertTold(upgrade(b"/", b"Content-Length: 5"), 400)
        self.assertTold(upgrade(method=b"POST"), 405)
        self.assertTold(upgrade(version=b"HTTP/1.0"), 400)

    def test_lists(self) -> None:
        """The upgrade may be one of several, in any case."""
        self.connect().send(upgrade().replace(b"Upgrade: websocket", b"Upgrade: h2c, WebSocket"))
        self.assertEqual(len(self.sessions.upgrades), 1)


class NoPagesTests(UpgradeTestCase):
    havePages = False

    def test_plain(self) -> None:
        """Without pages only upgrades are served; HEAD gets no body."""
        for method in (b"GET", b"HEAD"):
            connection = self.connect()
            connection.send(request(method=method))
            (response,) = responses(connection.told, method.decode())
            self.assertEqual((response.status, response.headers["allow"]), (405, ""))
            self.assertEqual(response.headers["connection"], "close")

    def test_upgrade(self) -> None:
        """Upgrades are."""
        self.connection.send(upgrade())
        self.assertEqual(len(self.sessions.upgrades), 1)
