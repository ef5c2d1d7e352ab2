"""Methods that an embedder's pages have beside GET and HEAD, and the bodies of their requests."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from tests.frontend.connection import Connection, responses
from wsproxy import WebSockifyFactory
from wsproxy.frontend.channel import BODY_LIMIT


class Form(Resource):
    """Says what it was sent."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"form"

    def render_POST(self, request: Any) -> bytes:
        body: bytes = request.content.read()
        return b"%d:%s" % (len(body), body[:20])


def post(body: bytes, *headers: bytes, method: bytes = b"POST") -> bytes:
    lines = [method + b" / HTTP/1.1", b"Host: h", *headers]
    return b"\r\n".join([*lines, b"", b""]) + body


class MethodTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.connection = self.connect(methods=["POST", "DELETE"])

    def connect(self, **settings: Any) -> Connection:
        factory = WebSockifyFactory(self.reactor, resolver=lambda request, _: "demo:", pages=Form(), **settings)
        connection = Connection(factory)
        self.addCleanup(connection.lose)
        return connection

    def test_body(self) -> None:
        """A body arrives whole, however it is cut, and so does the next request."""
        whole = post(b"a=1&b=2", b"Content-Length: 7")
        get = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
        for size in (1, 3, 1000):
            connection = self.connect(methods=["POST"])
            connection.send(whole + get + whole, size)
            bodies = [response.body for response in responses(connection.told)]
            self.assertEqual(bodies, [b"7:a=1&b=2", b"form", b"7:a=1&b=2"], size)

    def test_large(self) -> None:
        """A mebibyte is taken, and not a byte more; what has no length is refused."""
        self.connection.send(post(b"x" * BODY_LIMIT, b"Content-Length: %d" % BODY_LIMIT), 65536)
        [response] = responses(self.connection.told)
        self.assertEqual(response.body.partition(b":")[0], b"%d" % BODY_LIMIT)
        for header, status in (
            (b"Content-Length: %d" % (BODY_LIMIT + 1), 413),
            (b"Transfer-Encoding: chunked", 411),
        ):
            connection = self.connect(methods=["POST"])
            connection.send(post(b"", header))
            [response] = responses(connection.told)
            self.assertEqual((response.status, response.headers["connection"]), (status, "close"))

    def test_slow(self) -> None:
        """A body that does not come in time ends the connection, however it trickles."""
        self.connection.send(post(b"", b"Content-Length: 100"))
        for _ in range(9):
            self.reactor.advance(1)
            self.connection.send(b"x")
        self.assertFalse(self.connection.transport.aborted)
        self.reactor.advance(1.5)
        self.assertTrue(self.connection.transport.aborted)

    def test_expects(self) -> None:
        """Who asks first is told to go on."""
        self.connection.send(post(b"", b"Content-Length: 2", b"Expect: 100-continue"))
        self.assertEqual(self.connection.told, b"HTTP/1.1 100 Continue\r\n\r\n")
        self.connection.send(b"ok")
        self.assertIn(b"2:ok", self.connection.told)

    def test_others(self) -> None:
        """Methods that were not named stay refused, and bodies of GET; Allow says which there are."""
        for request, status in (
            (post(b"", method=b"PUT"), 405),
            (post(b"x", b"Content-Length: 1", method=b"GET"), 400),
        ):
            connection = self.connect(methods=["POST", "DELETE"])
            connection.send(request)
            [response] = responses(connection.told)
            self.assertEqual(response.status, status)
            self.assertEqual(
                response.headers.get("allow"), "GET, HEAD, POST, DELETE, OPTIONS" if status == 405 else None
            )

    def test_default(self) -> None:
        """Without being named there are none, as ever."""
        connection = self.connect()
        connection.send(post(b"x", b"Content-Length: 1"))
        [response] = responses(connection.told)
        self.assertEqual((response.status, response.headers["allow"]), (405, "GET, HEAD, OPTIONS"))

    def test_nonsense(self) -> None:
        """What is no method of pages is told at once."""
        for method in ("CONNECT", "PO ST", "OPTIONS", ""):
            self.assertRaises(ValueError, self.connect, methods=[method])
