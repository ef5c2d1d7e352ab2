"""HTTP on a connection that may become something else: what is refused, and what comes of a connection."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

from twisted.internet.task import Clock
from twisted.protocols.basic import LineReceiver
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.frontend.connection import Connection, Response, makeFactory, responses
from wsproxy.frontend.channel import HEAD_LIMIT, HEADERS, KEEP_ALIVE, NAME_LIMIT, READ_AHEAD, Channel

TIMEOUT = 10.0


def request(path: bytes = b"/", *headers: bytes, method: bytes = b"GET", host: bytes | None = b"here") -> bytes:
    lines = [method + b" " + path + b" HTTP/1.1", *([b"Host: " + host] if host is not None else []), *headers]
    return b"\r\n".join([*lines, b"", b""])


class Echo(Resource):
    """Answers with what was asked for."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"/".join(request.postpath)


class Later(Resource):
    """Answers when the test says so."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []

    def render_GET(self, request: Any) -> int:
        request.setHeader("content-length", "5")
        self.requests.append(request)
        return NOT_DONE_YET

    def answer(self) -> None:
        request = self.requests.pop(0)
        request.write(b"later")
        request.finish()


class Producer:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None: ...


class Root(Resource):
    def __init__(self) -> None:
        super().__init__()
        self.later = Later()
        self.putChild(b"later", self.later)

    def getChild(self, path: bytes, request: Any) -> Resource:
        request.postpath.insert(0, request.prepath.pop())
        return Echo()


class WebTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.root = Root()
        self.factory = makeFactory(self.clock, self.root)
        self.connection = self.connect()

    def connect(self) -> Connection:
        connection = Connection(self.factory)
        self.addCleanup(connection.lose)
        return connection

    def tearDown(self) -> None:
        self.connection.lose()

    def ask(self, data: bytes, size: int | None = None) -> list[Response]:
        """What a client that sends this on a connection of its own is told, and nothing more."""
        connection = self.connect()
        connection.send(data, size)
        connection.lose()
        self.assertEqual(self.clock.getDelayedCalls(), self.clock.getDelayedCalls()[:1])
        return responses(connection.told, "HEAD" if data.startswith(b"HEAD") else "GET")

    def assertRefused(self, data: bytes, status: int) -> Response:
        """However it is split, the client is told so, with C{Connection: close}, and closed after that."""
        found = set()
        for size in (None, 1, 1000):
            connection = self.connect()
            connection.send(data, size)
            self.assertTrue(connection.lingers)
            found.add(connection.told)
            connection.lose()
        (told,) = found
        (response,) = responses(told, "HEAD" if data.startswith(b"HEAD") else "GET")
        self.assertEqual((response.status, response.headers["connection"]), (status, "close"))
        return response


class RefusalTests(WebTestCase):
    """What an open port does not accept."""

    def test_malformed(self) -> None:
        """What is not HTTP is answered 400."""
        wrong = [
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / \r\n\r\n",
            request(b"/", b"No colon"),
            request(b"/", b"Bad name: x"),
            request(b"/", b"X: nul \0"),
            request(b"/", b"Content-Length: -1"),
            request(b"/", b"Content-Length: 0", b"Content-Length: 0"),
            request(b"/", b"Transfer-Encoding: gzip"),
            request(b"/", b"Content-Length: " + b"9" * 5000),
            request(b"/", b"Content-Length: " + b"0" * 5000, method=b"POST"),
            request(b"/", b"Content-Length:", b" " + b"9" * 5000),
        ]
        for data in wrong:
            with self.subTest(data=data):
                self.assertRefused(data, 400)

    def test_methods(self) -> None:
        """Only GET and HEAD are served; the answer names them."""
        for method in (b"POST", b"PUT", b"DELETE", b"PATCH", b"TRACE", b"CONNECT"):
            for target in (b"/", b"*", b"host:80"):
                response = self.assertRefused(request(target, method=method), 405)
                self.assertEqual(response.headers["allow"], "GET, HEAD, OPTIONS")

    def test_options(self) -> None:
        """OPTIONS is answered what is served, and the connection stays."""
        for target in (b"/", b"*", b"/later", b"http://there/"):
            first, second = self.ask(request(target, method=b"OPTIONS") + request(b"/x"))
            self.assertEqual((first.status, first.headers["allow"]), (204, "GET, HEAD, OPTIONS"))
            self.assertNotIn("content-length", first.headers)
            self.assertEqual(second.body, b"x")
        (response,) = self.ask(b"OPTIONS / HTTP/1.0\r\n\r\n")  # as HAProxy's httpchk has it
        self.assertEqual(response.status, 204)
        self.assertRefused(request(b"/", b"Content-Length: 5", method=b"OPTIONS"), 400)
        self.assertRefused(request(b"x", method=b"OPTIONS"), 400)

    def test_bareLF(self) -> None:
        """Lines that end with LF alone are refused as soon as there is one."""
        for data in (b"GET / HTTP/1.1\nHost: here\n\n", b"GET / HTTP/1.1\r\nHost: here\n", b"HEAD / HTTP/1.1\n"):
            response = self.assertRefused(data, 400)
            self.assertIn(b"" if data.startswith(b"HEAD") else b"CR LF", response.body)
        first, second = self.ask(request() + b"GET / HTTP/1.1\n")
        self.assertEqual((first.status, second.status), (200, 400))

    def test_http2(self) -> None:
        """HTTP/2 without negotiation is refused."""
        connection = self.connect()
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.assertTrue(connection.lingers)
        self.assertIn(responses(connection.told)[0].status, (400, 405))

    def test_bodies(self) -> None:
        """A body is refused at the end of the headers, whatever its size."""
        for header in (b"Content-Length: 5", b"Content-Length: 100000000000", b"Transfer-Encoding: chunked"):
            self.assertRefused(request(b"/", header), 400)
            self.assertRefused(request(b"/", header, method=b"HEAD"), 400)
            self.assertRefused(request(b"/", header, b"Expect: 100-continue", method=b"POST"), 405)

    def test_bodyUnread(self) -> None:
        """The body that follows all the same is neither taken for a request nor kept."""
        connection = self.connect()
        connection.send(request(b"/", b"Content-Length: 100000000000", method=b"POST"))
        told = connection.told
        connection.send(request() * 100)
        self.assertEqual(connection.told, told)

    def test_noBody(self) -> None:
        """Who says that there is no body is served."""
        (response,) = self.ask(request(b"/x", b"Content-Length: 0"))
        self.assertEqual((response.status, response.body), (200, b"x"))

    def test_host(self) -> None:
        """HTTP/1.1 names the host, once; HTTP/1.0 need not."""
        self.assertRefused(request(host=None), 400)
        self.assertRefused(request(b"/", b"Host: there"), 400)
        for host in (b"a b", b"a/b", b"a#b", b"user@a", b"a:b", b"[::1", b"a\x80", b"::1"):
            self.assertRefused(request(b"/", host=host), 400)
        (response,) = self.ask(b"GET /x HTTP/1.0\r\n\r\n")
        self.assertEqual(response.body, b"x")

    def test_targets(self) -> None:
        """The target is a path, or a whole URL of HTTP whose path counts."""
        for url, path in (
            (b"http://there/a/b", b"a/b"),
            (b"HTTPS://there/a", b"a"),
            (b"http://there", b""),
            (b"http://there?q", b""),
            (b"/a/b?q", b"a/b"),
            (b"//there/a", b"/there/a"),
            (b"ws://there/a", b"a"),
            (b"WSS://there/a?q", b"a"),
            ("/zoë/日本".encode(), "zoë/日本".encode()),
            (b"/\xe9?\xff", b"\xe9"),
        ):
            (response,) = self.ask(request(url))
            self.assertEqual((response.status, response.body), (200, path), url)
        for url in (b"a", b"ftp://there/a", b"*", b"there:80"):
            self.assertRefused(request(url), 400)

    def test_longRequestLine(self) -> None:
        """A request line over the cap is answered 414."""
        self.assertRefused(request(b"/" + b"x" * HEAD_LIMIT), 414)
        self.assertRefused(b"GET /" + b"x" * HEAD_LIMIT, 414)

    def test_longHeaderLine(self) -> None:
        """A header line over the cap is answered 431."""
        self.assertRefused(request(b"/", b"X: " + b"x" * HEAD_LIMIT), 431)
        self.assertRefused(b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_LIMIT, 431)

    def test_longLinesLater(self) -> None:
        """The same for the next request on a connection."""
        long = b"x" * HEAD_LIMIT
        for data, status in ((b"GET /" + long, 414), (b"GET / HTTP/1.1\r\nX: " + long, 431)):
            first, second = self.ask(request() + data)
            self.assertEqual((first.status, second.status), (200, status))

    def test_manyHeaders(self) -> None:
        """Headers over the cap in number or in total are answered 431."""
        self.assertRefused(request(b"/", *[b"X: x"] * HEADERS), 431)  # and Host
        self.assertRefused(request(b"/", *[b"X: " + b"x" * 1000] * (HEAD_LIMIT // 1000 + 1)), 431)

    def test_mostHeaders(self) -> None:
        """Up to the cap requests are served, and one after the other: each has its own."""
        long = request(b"/x", b"Cookie: " + b"x" * 32000, b"Cookie: " + b"y" * 32000)
        many = request(b"/x", *[b"X: x"] * (HEADERS - 1))
        path = request(b"/" + b"x" * (HEAD_LIMIT - 1000))
        for size in (None, 1000):
            found = self.ask((long + many + path) * 2, size)
            self.assertEqual([response.status for response in found], [200] * 6)

    def test_longHeaderName(self) -> None:
        """A header's name has at most 256 bytes; a long value or the continuation of one is none."""
        self.assertRefused(request(b"/", b"x" * (NAME_LIMIT + 1) + b": x"), 431)
        self.assertRefused(request(b"/", b"x" * 16000 + b": x"), 431)
        self.assertRefused(request(b"/", b"x" * 16000), 431)
        for lines in ([b"x" * NAME_LIMIT + b": x"], [b"X: " + b"x" * 300], [b"X: x", b" " + b"x" * 300 + b": x"]):
            self.assertEqual(self.ask(request(b"/", *lines))[0].status, 200, lines)

    def test_namesForgotten(self) -> None:
        """Of thousands of requests with long names, all of them different, nothing is remembered."""
        self.ask(request(b"/", b"x" * 16000 + b": x"))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for number in range(2000):
            connection = Connection(self.factory)
            connection.send(request(b"/", b"%d" % number + b"x" * 16000 + b": x"))
            self.assertTrue(connection.lingers)
            connection.lose()
        del connection
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        self.assertLess(after - before, 100_000)

    def test_trickle(self) -> None:
        """The beginning of a line is not looked at again for each byte that comes."""
        pieces: list[bytes] = []
        real = LineReceiver.dataReceived

        def note(channel: LineReceiver, data: bytes) -> Any:
            pieces.append(data)
            return real(channel, data)

        self.patch(LineReceiver, "dataReceived", note)
        (response,) = self.ask(request(b"/x", b"Cookie: " + b"x" * 3000), 1)
        self.assertEqual((response.body, len(pieces)), (b"x", 4))

    def test_trickleAhead(self) -> None:
        """Nor are requests that come while one is being answered; past L{READ_AHEAD} bytes they are not read."""
        self.connection.send(request(b"/later"))
        ahead = request(b"/2", b"X: " + b"x" * (READ_AHEAD - len(request(b"/2", b"X: "))))
        self.connection.send(ahead, 1)
        self.assertEqual(self.connection.transport.producerState, "producing")
        self.connection.send(b"G")
        self.assertEqual(self.connection.transport.producerState, "paused")
        self.root.later.answer()
        self.assertEqual(self.connection.transport.producerState, "producing")
        self.connection.send(request(b"/3")[1:])
        self.assertEqual([it.body for it in responses(self.connection.told)], [b"later", b"2", b"3"])

    def test_head(self) -> None:
        """A refusal of HEAD has no body, like any answer to it."""
        for data in (
            request(method=b"HEAD", host=None),
            request(b"/", b"Content-Length: 5", method=b"HEAD"),
            request(b"/", b"X: " + b"x" * HEAD_LIMIT, method=b"HEAD"),
            request(b"/" + b"x" * HEAD_LIMIT, method=b"HEAD"),
            request(b"/", b"No colon", method=b"HEAD"),
        ):
            connection = self.connect()
            connection.send(data)
            self.assertEqual(connection.told[-4:], b"\r\n\r\n")

    def test_cheap(self) -> None:
        """A header line of 16 MiB costs no memory, and is answered before it has all arrived."""
        connection = self.connect()
        piece = b"x" * 65536
        connection.send(b"GET / HTTP/1.1\r\nX: ")
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(256):
            connection.send(piece)
        _, peak = tracemalloc.get_traced_memory()
        self.assertLess(peak, 4 * len(piece))
        self.assertEqual(responses(connection.told)[0].status, 431)

    def test_twistedsOwn(self) -> None:
        """Where twisted.web has another name for its answer to a malformed request, it is that, and the end."""
        self.patch(Channel, "_respondToBadRequestAndDisconnect", HTTPChannel._respondToBadRequestAndDisconnect)
        self.connection.send(request(b"/", b"No colon"))
        self.assertEqual(self.connection.told, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertTrue(self.connection.lingers)


class KeepAliveTests(WebTestCase):
    """Several requests on one connection."""

    def test_pipelined(self) -> None:
        """Requests that arrive together, split anywhere, are answered in their order."""
        data = request(b"/1") + request(b"/2", method=b"HEAD") + request(b"/3")
        for size in (None, 1, 5, 50):
            self.connection = self.connect()
            self.connection.send(data, size)
            found = responses(self.connection.told, "GET", "HEAD", "GET")
            self.assertEqual([response.body for response in found], [b"1", b"", b"3"])
            self.connection.lose()

    def test_pipelinedLater(self) -> None:
        """Requests that arrive while one is being answered wait for it."""
        self.connection.send(request(b"/later") + request(b"/2"))
        self.connection.send(request(b"/3"))
        self.assertEqual(self.connection.told, b"")
        self.root.later.answer()
        found = responses(self.connection.told)
        self.assertEqual([response.body for response in found], [b"later", b"2", b"3"])

    def test_idle(self) -> None:
        """Between requests a connection may idle for L{KEEP_ALIVE} seconds."""
        self.connection.send(request())
        self.clock.advance(KEEP_ALIVE - 0.1)
        self.assertFalse(self.connection.transport.aborted)
        self.clock.advance(0.1)
        self.assertTrue(self.connection.transport.aborted)

    def test_nextRequest(self) -> None:
        """The next request has its own time from its first byte, however it trickles."""
        self.connection.send(request())
        self.clock.advance(KEEP_ALIVE - 1)
        for byte in request()[:9]:
            self.connection.send(bytes([byte]))
            self.clock.advance(1)
        self.assertFalse(self.connection.transport.aborted)
        self.clock.advance(1)
        self.assertTrue(self.connection.transport.aborted)

    def test_nextRequestTogether(self) -> None:
        """So has one of which the beginning came with the one before."""
        self.connection.send(request() + request()[:-5])
        self.clock.advance(TIMEOUT)
        self.assertTrue(self.connection.transport.aborted)

    def test_answering(self) -> None:
        """A request that is being answered has no deadline."""
        for data in (request(b"/later"), request() + request(b"/later")):
            self.connection = self.connect()
            self.connection.send(data)
            self.clock.advance(1000)
            self.assertFalse(self.connection.transport.aborted)
            self.root.later.answer()
            self.assertEqual(responses(self.connection.told)[-1].body, b"later")
            self.connection.lose()

    def test_stalled(self) -> None:
        """A client that takes nothing of its answer for L{KEEP_ALIVE} seconds is dropped."""
        self.connection.send(request(b"/later"))
        self.connection.transport.congest()
        self.clock.advance(KEEP_ALIVE - 1)
        self.connection.transport.drain()
        self.clock.advance(KEEP_ALIVE)
        self.connection.transport.congest()
        self.clock.advance(KEEP_ALIVE - 1)
        self.assertFalse(self.connection.transport.aborted)
        self.clock.advance(1)
        self.assertTrue(self.connection.transport.aborted)

    def test_producer(self) -> None:
        """What produces an answer is paused while the client does not take it; nothing is read until it is done."""
        self.connection.send(request(b"/later"))
        producer = Producer()
        self.root.later.requests[0].registerProducer(producer, True)
        self.connection.transport.congest()
        self.assertEqual(self.connection.transport.producerState, "paused")
        self.connection.transport.drain()
        self.assertEqual(producer.told, ["pause", "resume"])
        self.root.later.requests[0].unregisterProducer()
        self.root.later.answer()
        self.assertEqual(self.connection.transport.producerState, "producing")

    def test_stalledTogether(self) -> None:
        """The second of two requests that came together is taken as slowly as the first might be."""
        self.connection.send(request() + request(b"/later"))
        self.connection.transport.congest()
        self.connection.transport.drain()
        self.clock.advance(2 * KEEP_ALIVE)
        self.assertFalse(self.connection.transport.aborted)

    def test_idleAfterStall(self) -> None:
        """Who has taken an answer late may be as idle as anybody."""
        self.connection.send(request())
        self.connection.transport.congest()
        self.connection.transport.drain()
        self.clock.advance(KEEP_ALIVE - 1)
        self.assertFalse(self.connection.transport.aborted)
        self.clock.advance(1)
        self.assertTrue(self.connection.transport.aborted)

    def test_slowAfterStall(self) -> None:
        """A request that began while the answer before it was not taken has its time from when it can be read on."""
        self.connection.send(request(b"/later") + b"GET /half")
        self.connection.transport.congest()
        self.root.later.answer()
        self.clock.advance(TIMEOUT - 1)
        self.connection.transport.drain()
        self.clock.advance(TIMEOUT - 0.1)
        self.assertFalse(self.connection.transport.aborted)
        self.clock.advance(0.1)
        self.assertTrue(self.connection.transport.aborted)

    def test_close(self) -> None:
        """Who asks for it is closed after the answer, and may send no more."""
        self.connection.send(request(b"/1", b"Connection: close") + request(b"/2"))
        (response,) = responses(self.connection.told)
        self.assertEqual((response.body, response.headers["connection"]), (b"1", "close"))
        self.assertTrue(self.connection.lingers)

    def test_http10(self) -> None:
        """HTTP/1.0 is closed after the answer."""
        self.connection.send(b"GET / HTTP/1.0\r\n\r\n")
        self.assertTrue(self.connection.lingers)


class HalfCloseTests(WebTestCase):
    """A client that closes its side may still read."""

    def test_answered(self) -> None:
        """It gets the answer it asked for; then the connection is closed."""
        self.connection.send(request(b"/later"))
        self.connection.transport.halfClose()
        self.assertFalse(self.connection.transport.disconnecting)
        self.root.later.answer()
        self.assertEqual(responses(self.connection.told)[0].body, b"later")
        self.assertTrue(self.connection.lingers)
        self.connection.transport.halfClose()  # as reading on finds
        self.assertTrue(self.connection.transport.disconnecting)

    def test_answeredTogether(self) -> None:
        """The same for the second of two requests that came together."""
        self.connection.send(request() + request(b"/later"))
        self.connection.transport.halfClose()
        self.root.later.answer()
        self.assertEqual(responses(self.connection.told)[1].body, b"later")

    def test_idle(self) -> None:
        """With nothing to answer it is closed."""
        self.connection.send(request())
        self.connection.transport.halfClose()
        self.assertTrue(self.connection.lingers)

    def test_unasked(self) -> None:
        """With half a request it is closed as well."""
        for data in (b"GET /half", request()[:-2], request() + request()[:-2]):
            connection = self.connect()
            connection.send(data)
            connection.transport.halfClose()
            self.assertTrue(connection.lingers, data)

    def test_gone(self) -> None:
        """A client that vanishes while it is being answered is nobody's business any more."""
        self.connection.send(request(b"/later"))
        gone = self.root.later.requests[0].notifyFinish()
        self.connection.lose()
        self.failureResultOf(gone)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SiteTests(WebTestCase):
    def test_noLog(self) -> None:
        """No access log is written: query strings hold tokens."""
        from twisted.logger import globalLogPublisher

        events: list[Any] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.ask(request(b"/x?token=hunter2"))
        self.assertEqual(events, [])

    def test_noTraceback(self) -> None:
        """A resource that fails shows its visitors no traceback."""

        class Broken(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                raise LookupError("hunter2")

        self.root.putChild(b"broken", Broken())
        (response,) = self.ask(request(b"/broken"))
        self.assertEqual(response.status, 500)
        self.assertNotIn(b"hunter2", response.body)
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
