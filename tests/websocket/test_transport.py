"""The transport in memory: what is answered when, how long is waited, and how it ends."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha1
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.endpoints.weburl import parseWebSocketURL
from wsproxy.errors import Close, CloseCode, PeerClosed
from wsproxy.websocket.factory import WebSocketFactory
from wsproxy.websocket.handshake import UpgradeFailed
from wsproxy.websocket.request import UpgradeRequest, parseHeader
from wsproxy.wire.frames import PING, FrameDecoder, closeFrame, header

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Above(Protocol):
    transport: Any

    def __init__(self) -> None:
        self.heard = b""
        self.why: Any = None

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.why = reason.value


class TransportCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.above = Above()
        request = UpgradeRequest(parseWebSocketURL("ws://h:81/p?q"), (("X", "y"),))
        factory = Factory.forProtocol(lambda: self.above)
        self.web: Any = WebSocketFactory(request, factory, self.clock, 25).buildProtocol(None)
        self.beneath = StringTransport()
        self.web.makeConnection(self.beneath)
        self.asked = self.beneath.value()
        self.beneath.clear()
        self.decoder = FrameDecoder()

    def answer(self) -> bytes:
        """What a good server answers."""
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", self.asked)
        assert key is not None
        proof = b64encode(sha1(key[1] + _GUID).digest())
        head = b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        return head + proof + b"\r\n\r\n"

    def open(self) -> None:
        self.web.dataReceived(self.answer())
        self.assertIs(self.successResultOf(self.web.opened), self.above)

    def said(self) -> bytes:
        """Payload that was sent since the last time; pings and Closes are with the decoder."""
        sent = b"".join(self.decoder.feed(self.beneath.value()))
        self.beneath.clear()
        return sent


class HandshakeTests(TransportCase):
    def test_request(self) -> None:
        """It asks for the resource, of the host, with the headers and the subprotocol."""
        self.assertTrue(self.asked.startswith(b"GET /p?q HTTP/1.1\r\nHost: h:81\r\n"))
        for line in (b"X: y", b"Sec-WebSocket-Protocol: binary", b"Sec-WebSocket-Version: 13"):
            self.assertIn(line + b"\r\n", self.asked)
        self.assertNotIn(b"Origin", self.asked)

    def test_anySplit(self) -> None:
        """However the answer is split, the protocol has what followed it, and nothing before."""
        for byte in self.answer():
            self.assertNoResult(self.web.opened)
            self.web.dataReceived(bytes([byte]))
        self.web.dataReceived(header(5) + b"hello")
        self.assertEqual(self.above.heard, b"hello")

    def test_refused(self) -> None:
        """Another answer fails, and drops the connection."""
        self.web.dataReceived(b"HTTP/1.1 403 No\r\n\r\n")
        self.assertEqual(self.failureResultOf(self.web.opened, UpgradeFailed).value.status, 403)
        self.assertTrue(self.beneath.disconnected or self.beneath.disconnecting)

    def test_interim(self) -> None:
        """What is no answer yet is passed over, split anywhere: RFC 9110 section 15.2. It is bounded, too."""
        interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX: y\r\n\r\n"
        for size in (1, 7, 10_000):
            self.setUp()
            whole = interim + self.answer() + header(5) + b"hello"
            for at in range(0, len(whole), size):
                self.web.dataReceived(whole[at : at + size])
            self.successResultOf(self.web.opened)
            self.assertEqual(self.above.heard, b"hello")
        self.setUp()
        self.web.dataReceived(interim * (65536 // len(interim) + 1))
        self.assertIn("more than 65536 bytes", str(self.failureResultOf(self.web.opened, UpgradeFailed).value))

    def test_hurry(self) -> None:
        """While nobody has anything to add, a server that takes nothing is waited for as after a Close."""
        self.web.dataReceived(self.answer())
        self.web.hold()
        self.clock.advance(60)
        self.assertFalse(self.beneath.disconnected)
        self.web.hurry()
        for _ in range(5):
            self.web.hurry()
            self.clock.advance(1)
        self.assertTrue(self.beneath.disconnected)

    def test_headers(self) -> None:
        """A header that is the handshake's own, or would be two lines, is none."""
        for line in ("Upgrade: x", "Sec-WebSocket-Key: x", "X: a\r\nY: b", "X", "Ho st: a", "X: \N{SNOWMAN}"):
            self.assertRaises(ValueError, parseHeader, line)


class LifeTests(TransportCase):
    def setUp(self) -> None:
        super().setUp()
        self.open()

    def test_pings(self) -> None:
        """Pings are answered; while there is no room, the last of them is, once there is some again."""
        self.web.dataReceived(header(1, PING) + b"a")
        self.assertIn(b"\x8a\x81", self.beneath.value())
        self.beneath.clear()
        self.web.hold()
        for letter in (b"b", b"c"):
            self.web.dataReceived(header(1, PING) + letter)
        self.assertEqual(self.beneath.value(), b"")
        self.web.proceed()
        self.assertEqual(self.beneath.value()[:2], b"\x8a\x81")
        self.assertEqual(len(self.beneath.value()), 7)

    def test_heartbeat(self) -> None:
        """A server that is silent for two pings is lost; one that says anything is not."""
        for _ in range(5):
            self.clock.advance(25)
            self.web.dataReceived(header(1) + b"x")
        self.clock.pump([25, 25])
        self.assertIsNone(self.above.why)
        self.clock.advance(25)
        self.assertIsInstance(self.above.why, ConnectionLost)
        self.assertEqual(self.above.why.close.code, CloseCode.HEARTBEAT_LOST)

    def test_mute(self) -> None:
        """A server that does not answer a Close is waited for 5 s."""
        self.above.transport.write(b"last")
        self.above.transport.loseConnection()
        self.assertEqual(self.said(), b"last")
        self.assertEqual(self.decoder.closed, Close(1000))
        self.clock.pump([1] * 4)
        self.assertFalse(self.beneath.disconnected)
        self.clock.pump([1, 1])
        self.assertTrue(self.beneath.disconnected)

    def test_closed(self) -> None:
        """A Close is answered; its code says whether it was a clean end, and is there to be read."""
        for code, kind in ((1000, ConnectionDone), (1001, ConnectionDone), (1005, ConnectionDone),
                           (1011, ConnectionLost), (4001, ConnectionLost)):  # fmt: skip
            self.web.dataReceived(header(2) + b"hi" + closeFrame(Close(code, "why")))
            self.assertEqual(self.above.heard, b"hi")
            self.assertIsInstance(self.above.why, kind)
            self.assertIsInstance(self.above.why, PeerClosed)
            self.assertEqual(self.above.why.close.code, code)
            self.said()
            self.assertEqual(self.decoder.closed and self.decoder.closed.code, code)
            self.setUp()

    def test_vanished(self) -> None:
        """An end-of-file without a Close is a loss."""
        self.web.connectionLost(connectionDone)
        self.assertIsInstance(self.above.why, ConnectionLost)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_brokenRules(self) -> None:
        """A server that breaks the rules is told 1002, what it said before is heard, and nothing after it."""
        self.web.dataReceived(header(2) + b"hi" + b"\x83\0" + header(2) + b"no")
        self.assertEqual(self.above.heard, b"hi")
        self.assertEqual(self.above.why.close.code, CloseCode.PROTOCOL_ERROR)
        self.said()
        self.assertEqual(self.decoder.closed and self.decoder.closed.code, CloseCode.PROTOCOL_ERROR)
        self.assertTrue(self.beneath.disconnecting)

    def test_nothingLate(self) -> None:
        """After C{loseConnection} the protocol hears no more."""
        self.above.transport.loseConnection()
        self.web.dataReceived(header(4) + b"late")
        self.assertEqual(self.above.heard, b"")
