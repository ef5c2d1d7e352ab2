"""The opening handshake."""

from __future__ import annotations

import base64
import hashlib
from typing import cast

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.http_headers import Headers

from tests.frontend.connection import Response, responses
from wsproxy.errors import Refusal
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
        self.assertEqual((headers["upgrade"].lower(), headers["connection"].lower()), ("websocket", "upgrade"))
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
        self.assertRefused(400, Sec_WebSocket_Protocol=[b"binary, binary"])
        self.assertRefused(400, Upgrade=[b"h2c"])


class TimerTests(TestCase):
    def test_none(self) -> None:
        """A handshake that is never answered has no timer of Autobahn's: trial would find it in the reactor."""
        from twisted.internet import reactor

        HandshakeFactory(cast(IReactorTime, reactor), "wsproxy").begin(Headers(GOOD))
