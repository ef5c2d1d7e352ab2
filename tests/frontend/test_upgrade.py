"""The request that becomes a WebSocket."""

from __future__ import annotations

import gc
import json
import tracemalloc
import weakref
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface.verify import verifyObject

from tests.frontend.connection import Connection, TLSClient, makeFactory, responses
from tests.frontend.test_switch import CERTIFICATE
from tests.tunnel.client import Frame
from wsproxy.access.refusallog import RefusalLog
from wsproxy.ends.end import Receiver
from wsproxy.ends.transport import TransportEnd
from wsproxy.errors import Refusal
from wsproxy.frontend.lingering import LINGER
from wsproxy.frontend.upgrade import EARLY_LIMIT, FrontDoor
from wsproxy.frontend.websocket import HandshakeFactory
from wsproxy.interfaces import Request
from wsproxy.sessions.reception import Upgrade
from wsproxy.sessions.sessions import Sessions
from wsproxy.wire.frames import BINARY

UPGRADE = (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
VERSION = b"Sec-WebSocket-Version: 13"


def request(target: bytes = b"/", *headers: bytes, method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    return b"\r\n".join([method + b" " + target + b" " + version, b"Host: here", *headers, b"", b""])


def upgrade(target: bytes = b"/", *headers: bytes, **parts: bytes) -> bytes:
    return request(target, *UPGRADE, VERSION, *headers, **parts)


class FakeSessions:
    """Answers as the test says: at once, or later."""

    def __init__(self) -> None:
        self.coverPages = False
        self.answer: Any = None
        self.upgrades: list[Upgrade] = []
        self.received = b""
        self.ends: list[TransportEnd] = []
        self.lost = 0
        self.explained: list[tuple[Request, Deferred[Refusal | None]]] = []
        self.refusals = RefusalLog(Clock())

    def explain(self, request: Request) -> Deferred[Refusal | None]:
        explaining: Deferred[Refusal | None] = Deferred()
        self.explained.append((request, explaining))
        return explaining

    def open(self, upgrade: Upgrade) -> None:
        self.upgrades.append(upgrade)
        if self.answer is None:
            upgrade.notifyLost(self._lost)
        else:
            self.answer(upgrade)

    def accept(self, upgrade: Upgrade, subprotocol: str | None = None) -> None:
        end = upgrade.accept(subprotocol)
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
    short = True
    """Whether ordinary upgrades go past twisted.web."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sessions = FakeSessions()
        self.pages = Page()
        door = FrontDoor(self.clock, cast(Sessions, self.sessions), self.pages if self.havePages else None)
        self.factory = makeFactory(self.clock, door, self.short, tls=CERTIFICATE)
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
        """Parameters are decoded; the first of each name counts, and an empty one is there."""
        seen = self.described(upgrade(b"/?a=1&b=%C3%A9+x&a=2&empty=&name"))
        self.assertEqual(seen.query, {"a": "1", "b": "é x", "empty": "", "name": ""})
        self.assertEqual(seen.queryAll, {"a": ("1", "2"), "b": ("é x",), "empty": ("",), "name": ("",)})

    def test_headers(self) -> None:
        """Names are in lower case; repeated headers are joined."""
        seen = self.described(upgrade(b"/", b"X-One: 1", b"x-one: 2", b"X-Bytes: \xff"))
        self.assertEqual((seen.headers["x-one"], seen.headers["x-bytes"]), ("1, 2", "\xff"))

    def test_cookies(self) -> None:
        """Cookies that come in several headers are joined as in one."""
        seen = self.described(upgrade(b"/", b"Cookie: a=1; b=2", b"cookie: token=3"))
        self.assertEqual(seen.headers["cookie"], "a=1; b=2; token=3")
        self.assertEqual(seen.cookies, {"a": "1", "b": "2", "token": "3"})

    def test_absolute(self) -> None:
        """Of a whole URL the path and the query are seen."""
        for scheme in (b"http", b"https", b"ws", b"wss", b"WS"):
            seen = self.described(upgrade(scheme + b"://here/a?x=1"))
            self.assertEqual((seen.path, seen.query), ("/a", {"x": "1"}))
            self.assertEqual(seen.publicHost, "here")  # whatever the Host says: RFC 9112 section 3.2.2
        self.assertEqual(self.described(upgrade(b"http://u:p@there:8080")).publicHost, "there:8080")

    def test_raw(self) -> None:
        """A path or a query in raw UTF-8 is seen as if it were encoded."""
        seen = self.described(upgrade("/zoë?token=日本".encode()))
        self.assertEqual((seen.path, seen.query), ("/zo%C3%AB", {"token": "日本"}))

    def test_mapped(self) -> None:
        """Of a client of IPv4 on a socket for both families the addresses are of IPv4."""
        connection = self.connect()
        connection.transport.peerAddr = IPv6Address("TCP", "::ffff:192.0.2.1", 50000)
        connection.transport.hostAddr = IPv6Address("TCP", "::ffff:192.0.2.2", 6080)
        connection.send(upgrade())
        seen = self.sessions.upgrades[-1].request
        self.assertEqual(seen.peer, IPv4Address("TCP", "192.0.2.1", 50000))
        self.assertEqual(seen.host, IPv4Address("TCP", "192.0.2.2", 6080))

    def test_endpointTLS(self) -> None:
        """It is secure, too, where it is the endpoint that listens which speaks TLS."""
        connection = Connection(TLSMemoryBIOFactory(CERTIFICATE, False, self.factory, self.clock))
        self.addCleanup(connection.lose)
        client = TLSClient(connection, self.clock)
        client.handshake()
        client.exchange(upgrade())
        self.assertTrue(self.sessions.upgrades[0].request.secure)


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

    def test_trickle(self) -> None:
        """However small the pieces are that it sends ahead, no more than the bytes is kept."""
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(EARLY_LIMIT - len(b"early ")):
            self.connection.switch.dataReceived(bytearray(b"xy")[:1])
        kept, _ = tracemalloc.get_traced_memory()
        self.assertLess(kept, 2 * EARLY_LIMIT)
        self.sessions.accept(self.pending)
        self.assertEqual(len(self.sessions.received), EARLY_LIMIT)

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
        self.assertIs(door.getChildWithDefault(b"anything", cast(Any, None)), door)
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

    def test_broken(self) -> None:
        """Whatever else goes wrong is a mistake of ours: it is answered 500, and logged once."""

        def begin(factory: HandshakeFactory, headers: object) -> None:
            raise ZeroDivisionError("hunter2")

        self.patch(HandshakeFactory, "begin", begin)
        self.patch(HandshakeFactory, "beginOrdinary", begin)
        connection = self.connect()
        connection.send(upgrade() + b"behind")
        (response,) = responses(connection.told)
        self.assertEqual((response.status, response.headers["connection"]), (500, "close"))
        self.assertNotIn(b"hunter2", response.body)
        self.assertTrue(connection.lingers)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_lists(self) -> None:
        """The upgrade may be one of several, in any case."""
        self.connect().send(upgrade().replace(b"Upgrade: websocket", b"Upgrade: h2c, WebSocket"))
        self.assertEqual(len(self.sessions.upgrades), 1)


ASKING = b"Accept: application/wsproxy-refusal+json"


class ExplanationTests(UpgradeTestCase):
    """A page asks why it could not open a WebSocket."""

    def ask(self, *headers: bytes) -> tuple[Request, Deferred[Refusal | None]]:
        """What the sessions are asked, and their answer."""
        self.connection.send(request(b"/a?token=x", ASKING, *headers))
        return self.sessions.explained[-1]

    def test_refused(self) -> None:
        """It is told what an upgrade would be answered, and nobody keeps that."""
        asked, answer = self.ask()
        self.assertEqual((asked.path, asked.query), ("/a", {"token": "x"}))
        self.assertEqual(self.connection.told, b"")
        answer.callback(Refusal(403, "Origin not \u2026 allowed", (("X-Secret", "x"),)))
        (response,) = responses(self.connection.told)
        self.assertEqual(json.loads(response.body), {"status": 403, "reason": "Origin not \u2026 allowed"})
        self.assertEqual(response.status, 200)
        self.assertEqual(response.headers["content-type"], "application/wsproxy-refusal+json")
        self.assertEqual(response.headers["cache-control"], "no-store")
        self.assertEqual(response.headers["x-content-type-options"], "nosniff")
        self.assertEqual(self.sessions.upgrades, [])

    def test_accepted(self) -> None:
        """It is told so as well if there is nothing in the way."""
        _, answer = self.ask()
        answer.callback(None)
        (response,) = responses(self.connection.told)
        self.assertEqual(json.loads(response.body), {"status": 101, "reason": ""})

    def test_origin(self) -> None:
        """Where browsers send no Origin, the Referer stands for it."""
        for referer, origin in (
            (b"http://here:6080/", "http://here:6080"),
            (b"https://here/a/b?c#d", "https://here"),
            (b"http://here?x", "http://here"),
            (b"nonsense", "nonsense"),
        ):
            asked, answer = self.ask(b"Referer: " + referer)
            answer.callback(None)
            self.assertEqual(asked.headers["origin"], origin)
        asked, answer = self.ask(b"Referer: http://here/", b"Origin: http://there")
        answer.callback(None)
        self.assertEqual(asked.headers["origin"], "http://there")
        asked, answer = self.ask()
        self.assertNotIn("origin", asked.headers)

    def test_failed(self) -> None:
        """If those who decide fail, so would the upgrade."""
        _, answer = self.ask()
        answer.errback(ZeroDivisionError("hunter2"))
        (response,) = responses(self.connection.told)
        self.assertEqual(json.loads(response.body), {"status": 503, "reason": "Service unavailable"})
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_vanished(self) -> None:
        """Who asks and leaves has the question taken back."""
        cancelled: list[bool] = []
        explaining: Deferred[Refusal | None] = Deferred(lambda _: cancelled.append(True))
        self.sessions.explain = lambda request: explaining  # type: ignore[method-assign]
        self.connection.send(request(b"/", ASKING))
        self.connection.lose()
        self.assertEqual(cancelled, [True])

    def test_others(self) -> None:
        """Nothing else asks for it: other types, other methods, upgrades."""
        for data in (request(b"/", b"Accept: */*"), request(b"/", ASKING, method=b"HEAD"), upgrade(b"/", ASKING)):
            connection = self.connect()
            connection.send(data)
        self.assertEqual((self.sessions.explained, len(self.sessions.upgrades)), ([], 1))


class NoPagesTests(UpgradeTestCase):
    havePages = False

    def test_explanation(self) -> None:
        """Who has a page elsewhere may ask why, all the same."""
        self.connection.send(request(b"/", b"Accept: text/html, Application/WSProxy-Refusal+JSON;q=1"))
        self.sessions.explained[0][1].callback(None)
        self.assertEqual(responses(self.connection.told)[0].status, 200)

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


class AcceptByChannelTests(AcceptTests):
    """The same through twisted.web."""

    short = False


class RequestByChannelTests(RequestTests):
    """The same through twisted.web."""

    short = False


class DecisionByChannelTests(DecisionTests):
    """The same through twisted.web."""

    short = False
