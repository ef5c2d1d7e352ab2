"""The opening handshake."""

from __future__ import annotations

import base64
import hashlib
from typing import cast

from autobahn.twisted.websocket import WebSocketServerProtocol
from hypothesis import given, settings
from hypothesis.strategies import binary, characters, lists, one_of, sampled_from, text
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.http_headers import Headers

from tests.frontend.connection import Response, responses
from wsproxy.errors import ConfigError, Refusal
from wsproxy.frontend.websocket import Handshake, HandshakeFactory

# of RFC 6455 section 1.3
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

GOOD = {
    b"Upgrade": [b"websocket"],
    b"Connection": [b"Upgrade"],
    b"Sec-WebSocket-Key": [KEY],
    b"Sec-WebSocket-Version": [b"13"],
}


_LATIN = characters(max_codepoint=255)
_VALUES = one_of(
    binary(max_size=60),
    text(_LATIN, max_size=60).map(lambda value: value.encode("latin-1")),
    sampled_from([b"websocket", b"Upgrade", b"13", b"binary, a b, (x)", KEY]).flatmap(
        lambda good: text(_LATIN, max_size=3).map(lambda end: good + end.encode("latin-1"))
    ),
)
"""Of a header: of any bytes, or a good one with something behind it."""


class HandshakeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.factory = HandshakeFactory(self.clock, "wsproxy")

    def tearDown(self) -> None:
        """Nothing of a handshake is left behind."""
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def begin(self, **changes: list[bytes] | None) -> Handshake:
        """A good request, but for these headers; C{None} for none."""
        headers = GOOD | {name.replace("_", "-").encode(): value for name, value in changes.items()}
        return self.factory.begin(Headers({name: values for name, values in headers.items() if values is not None}))

    def accept(self, handshake: Handshake, subprotocol: str | None = None) -> Response:
        (response,) = responses(handshake.accept(subprotocol))
        self.assertEqual(response.status, 101)
        return response

    def assertRefused(self, status: int, **changes: list[bytes] | None) -> Refusal:
        refusal: Refusal = self.assertRaises(Refusal, self.begin, **changes)
        self.assertEqual(refusal.status, status, changes)
        return refusal

    def test_accept(self) -> None:
        """A good request is accepted with the proof that it was understood."""
        headers = self.accept(self.begin()).headers
        self.assertEqual(headers["sec-websocket-accept"], ACCEPT)
        self.assertEqual((headers["upgrade"], headers["connection"].lower()), ("websocket", "upgrade"))
        self.assertEqual(headers["server"], "wsproxy")
        self.assertNotIn("sec-websocket-protocol", headers)

    def test_ownProof(self) -> None:
        """Each client is given the proof of its own key, however alike they are otherwise."""
        for protocols in ([b"binary"], [b", ".join(b"protocol%d" % number for number in range(1000))]):
            for number in range(3):
                key = base64.b64encode(bytes([number]) * 16)
                proof = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
                handshake = self.begin(Sec_WebSocket_Key=[key], Sec_WebSocket_Protocol=protocols)
                chosen = handshake.offered[number % 2 - 1]
                headers = self.accept(handshake, chosen).headers
                self.assertEqual(headers["sec-websocket-accept"], base64.b64encode(proof).decode())
                self.assertEqual(headers["sec-websocket-protocol"], chosen)

    def test_remembered(self) -> None:
        """Autobahn is asked once for each combination of headers, unless they are long: memory is bounded."""
        asked: list[bytes] = []
        receive = WebSocketServerProtocol.dataReceived

        def count(negotiation: WebSocketServerProtocol, data: bytes) -> None:
            asked.append(data)
            receive(negotiation, data)

        self.patch(WebSocketServerProtocol, "dataReceived", count)
        for size, times in ((1, 1), (800, 1), (1024, 6)):
            asked.clear()
            for _ in range(3):
                self.accept(self.begin(Connection=[b"Upgrade, " + b"x" * size]))
            self.assertEqual(len(asked), times, size)

    def test_notTakenForAnother(self) -> None:
        """That others were accepted with the same headers makes a bad key no better, and other headers neither."""
        self.accept(self.begin())
        self.assertRefused(400, Sec_WebSocket_Key=[b"short"])
        self.assertRefused(400, Sec_WebSocket_Key=[KEY[:-1] + b"A"])
        self.assertRefused(400, Connection=[b"close"])
        self.accept(self.begin())

    def test_spellings(self) -> None:
        """Names in lists and in other cases count."""
        self.accept(self.begin(Upgrade=[b"WebSocket"], Connection=[b"keep-alive, UPGRADE"]))
        self.accept(self.begin(Connection=[b"keep-alive", b"Upgrade"]))

    def test_subprotocols(self) -> None:
        """What is offered is kept in its order, in one header or in several; what is chosen is named."""
        self.assertEqual(self.begin().offered, ())
        handshake = self.begin(Sec_WebSocket_Protocol=[b"base64, mine", b"binary"])
        self.assertEqual(handshake.offered, ("base64", "mine", "binary"))
        self.assertEqual(self.accept(handshake, "mine").headers["sec-websocket-protocol"], "mine")

    def test_untidySubprotocols(self) -> None:
        """Items that are empty, there twice or oddly spaced do no harm."""
        handshake = self.begin(Sec_WebSocket_Protocol=[b",binary,, base64 ,\tbinary,", b"", b"base64"])
        self.assertEqual(handshake.offered, ("binary", "base64"))
        self.assertEqual(self.accept(handshake, "base64").headers["sec-websocket-protocol"], "base64")
        for nothing in (b"", b" , ,"):
            handshake = self.begin(Sec_WebSocket_Protocol=[nothing])
            self.assertEqual(handshake.offered, ())
            self.assertNotIn("sec-websocket-protocol", self.accept(handshake).headers)

    def test_noSubprotocol(self) -> None:
        """None of those offered needs to be chosen."""
        handshake = self.begin(Sec_WebSocket_Protocol=[b"theirs"])
        self.assertNotIn("sec-websocket-protocol", self.accept(handshake).headers)

    def test_noExtensions(self) -> None:
        """No extension is agreed on: compression would have no backpressure."""
        handshake = self.begin(Sec_WebSocket_Extensions=[b"permessage-deflate; client_max_window_bits"])
        self.assertNotIn("sec-websocket-extensions", self.accept(handshake).headers)

    def test_version(self) -> None:
        """Any version but 13 is told which one is spoken."""
        for version in ([b"8"], [b"0"], [b"14"], [b"13, 8"], [b"13", b"8"], [b"thirteen"], [b""], None):
            refusal = self.assertRefused(426, Sec_WebSocket_Version=version)
            self.assertEqual(refusal.headers, (("Sec-WebSocket-Version", "13"),))

    def test_wrong(self) -> None:
        """Whatever else is missing or malformed is a bad request."""
        for key in (None, [b""], [b"short"], [b"x" * 24], [KEY, KEY]):
            self.assertRefused(400, Sec_WebSocket_Key=key)
        for connection in (None, [b"keep-alive"]):
            self.assertRefused(400, Connection=connection)
        self.assertRefused(400, Upgrade=[b"h2c"])

    def test_reason(self) -> None:
        """Autobahn's reason for a refusal is the client's, too."""
        self.assertIn("Upgrade", self.assertRefused(400, Upgrade=[b"h2c"]).reason)

    def test_lines(self) -> None:
        """Whatever Python takes for the end of a line brings no header in."""
        smuggled = b"zz%cSec-WebSocket-Extensions: permessage-deflate"
        for end in b"\x0b\x0c\x1c\x1d\x1e\x85":
            self.assertRefused(400, Sec_WebSocket_Protocol=[smuggled % end])
            self.assertRefused(400, Upgrade=[b"websocket" + smuggled % end])
            self.assertRefused(400, Connection=[b"Upgrade, " + smuggled % end])
            for version in (b"13%c" % end, b"13" + smuggled % end):
                self.assertRaises(Refusal, self.begin, Sec_WebSocket_Version=[version])

    @given(
        sampled_from(["Upgrade", "Connection", "Sec_WebSocket_Protocol", "Sec_WebSocket_Key", "Sec_WebSocket_Version"]),
        lists(_VALUES, min_size=1, max_size=3),
    )
    @settings(deadline=None)
    def test_anything(self, name: str, values: list[bytes]) -> None:
        """Whatever a header holds, the request is refused, or is answered as any other and each offer can be chosen."""
        try:
            handshake = self.begin(**{name: values})
        except Refusal as refusal:
            self.assertIn(refusal.status, (400, 426))
            return
        for chosen in (None, *handshake.offered):
            headers = self.accept(handshake, chosen).headers
            self.assertEqual(headers.pop("sec-websocket-protocol", None), chosen)
            self.assertEqual(set(headers), {"server", "upgrade", "connection", "sec-websocket-accept"})

    def test_autobahnFails(self) -> None:
        """What Autobahn makes of a request that it does not understand is a bad request, too."""

        def fail(negotiation: object, data: bytes) -> None:
            raise ValueError("too many values to unpack")

        self.patch(WebSocketServerProtocol, "dataReceived", fail)
        self.assertRefused(400, Connection=[b"Upgrade, not remembered"])
        self.patch(WebSocketServerProtocol, "dataReceived", lambda negotiation, data: None)
        self.assertRefused(400, Connection=[b"Upgrade, not remembered"])

    def test_unknownAutobahn(self) -> None:
        """An Autobahn that does not answer as the RFC has it is told of at once, in one line."""
        self.patch(WebSocketServerProtocol, "dataReceived", lambda negotiation, data: None)
        self.assertRaises(ConfigError, HandshakeFactory, self.clock, "wsproxy")


class TimerTests(TestCase):
    def test_none(self) -> None:
        """A handshake that is never answered has no timer of Autobahn's: trial would find it in the reactor."""
        from twisted.internet import reactor

        HandshakeFactory(cast(IReactorTime, reactor), "wsproxy").begin(Headers(GOOD))
