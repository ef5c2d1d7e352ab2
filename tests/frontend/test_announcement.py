"""Connections that must begin with a header of the PROXY protocol, up to what becomes of them."""

from __future__ import annotations

import contextlib
import re
import ssl
import struct
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.logger import formatEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory

from tests.ends.contract import Recorder
from tests.frontend.connection import Connection, TLSClient, responses
from tests.frontend.test_switch import CERTIFICATE, FLASH, GET, SSLV2, TIMEOUT, SwitchTestCase
from wsproxy.access.clients import AllowedClients
from wsproxy.access.forwarded import TrustedProxies
from wsproxy.errors import Refusal
from wsproxy.frontend.switch import SwitchFactory
from wsproxy.interfaces import Request

PEER = "192.168.1.1"
"""Where all connections in memory come from."""

V1 = b"PROXY TCP4 192.0.2.7 203.0.113.1 4321 443\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\xc0\0\2\7\xcb\0\x71\1\x10\xe1\x01\xbb\x04\0\x04tlvs"
UNKNOWN, LOCAL = b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
HEADERS = (V1, V2, UNKNOWN, LOCAL)


class AnnouncedTestCase(SwitchTestCase):
    def setUp(self) -> None:
        self.passed: list[Any] = []
        super().setUp()
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def makeFactory(self, trusted: tuple[str, ...] = (f"proxy:{PEER}",), **settings: Any) -> SwitchFactory:
        return super().makeFactory(**{"proxies": TrustedProxies(trusted), **settings})

    @property
    def lines(self) -> list[str]:
        return [formatEvent(event) for event in self.events]

    def outcome(self, connection: Connection) -> tuple[bytes, bool]:
        return re.sub(rb"Date: [^\r]+", b"Date: now", connection.told), connection.lingers

    def outcomes(self, data: bytes) -> set[tuple[bytes, bool]]:
        """What the client is told and whether it is closed, for each way to cut this in two, or into single bytes."""
        connections = [self.connect(data), self.connect(data, 1)]
        for cut in range(1, len(data)):
            connection = self.connect(data[:cut])
            connection.send(data[cut:])
            connections.append(connection)
        return {self.outcome(connection) for connection in connections}


class HeaderTests(AnnouncedTestCase):
    def test_http(self) -> None:
        """Behind the header, however it is cut, a request is answered, and the connection stays."""
        for header in HEADERS:
            ((told, lingers),) = self.outcomes(header + GET)
            self.assertEqual(responses(told)[0].body, b"plain")
            self.assertFalse(lingers)

    def test_tls(self) -> None:
        """TLS begins behind the header, in the same piece or not, and knows the client."""
        for header in HEADERS:
            for size in (1, 5, None):
                connection = self.connect(header, size)
                client = TLSClient(connection, self.clock)
                client.handshake(size)
                self.assertEqual(responses(client.exchange(GET, size))[0].body, b"secure")
                inner = connection.switch._protocol.wrappedProtocol
                self.assertIs(inner.named, connection.switch.named)
                self.assertEqual(inner.named is None, header in (UNKNOWN, LOCAL))

    def test_tlsInOnePiece(self) -> None:
        """Header and hello may come together."""

        class Together(Connection):
            def send(self, data: bytes, size: int | None = None) -> None:
                super().send(V2 + data if not self.told and not self.begun else data, size)
                self.begun = True

            begun = False

        connection = Together(self.factory)
        self.connections.append(connection)
        client = TLSClient(connection, self.clock)
        client.handshake()
        self.assertEqual(responses(client.exchange(GET))[0].body, b"secure")

    def test_flash(self) -> None:
        """So is everything else that the port speaks."""
        ((told, lingers),) = self.outcomes(V1 + FLASH)
        self.assertIn(b"<cross-domain-policy>", told)
        self.assertTrue(lingers)
        self.assertEqual(self.outcomes(V2 + SSLV2), {(b"", True)})

    def test_twice(self) -> None:
        """There is one header: what looks like a second is no request."""
        ((told, lingers),) = self.outcomes(V1 + V1 + GET)
        self.assertEqual(responses(told)[0].status, 400)
        self.assertTrue(lingers)


class RefusedTests(AnnouncedTestCase):
    def test_closed(self) -> None:
        """Whoever must send a header and does not is closed, without a word, whatever it speaks."""
        spoken = (GET, FLASH, SSLV2, b"\x16\x03\x01", b"RFB 003.008\n")
        for data in (*spoken, b"PROXY TCP4 192.0.2.7\r\n", V2[:12] + b"\x11"):
            self.assertEqual(self.outcomes(data), {(b"", True)}, data)

    def test_raw(self) -> None:
        """Not even C{--raw} guesses, of one that speaks nor of one that is silent."""
        self.factory = self.makeFactory(raw=self.passed.append)
        for data in (b"RFB 003.008\n", b"PROXY", b""):
            connection = self.connect(data)
            self.clock.advance(TIMEOUT - 1)
            connection.transport.halfClose()
        self.assertEqual(self.passed, [])

    def test_line(self) -> None:
        """The log says so, and what cures it."""
        self.connect(GET)
        self.connect(b"PROXY TCP9\r\n")
        cure = "HAProxy: send-proxy-v2 on the server line; nginx: proxy_protocol on, in stream; or no proxy:"
        begin = f"{PEER}:54321 refused: no PROXY header, which is awaited from there: "
        self.assertEqual(
            self.lines,
            [
                f"{begin}no PROXY header ({cure} in --trusted-proxy)",
                f"{begin}a PROXY line that does not name two addresses and ports ({cure} in --trusted-proxy)",
            ],
        )

    def test_deadline(self) -> None:
        """The header has to be complete in the time of the first bytes; no trickle extends it."""
        for data in (b"", b"PROXY", V2[:-1]):
            connection = self.connect(data)
            self.clock.advance(TIMEOUT - 0.1)
            connection.send(b"")
            self.assertFalse(connection.transport.aborted)
            self.clock.advance(0.2)
            self.assertTrue(connection.transport.aborted)

    def test_oneDeadline(self) -> None:
        """What follows a header has no time of its own."""
        connection = self.connect()
        self.clock.advance(TIMEOUT - 1)
        connection.send(V1)
        self.clock.advance(1.1)
        self.assertTrue(connection.transport.aborted)

    def test_halfClosed(self) -> None:
        """One that ends within its header is closed."""
        connection = self.connect(V1[:10])
        connection.transport.halfClose()
        self.assertTrue(connection.transport.disconnecting)

    def test_others(self) -> None:
        """Nobody else may send one, nor needs to."""
        self.factory = self.makeFactory(("proxy:192.168.1.2", "proxy:unix", "192.168.1.0/24"))
        ((told, _),) = self.outcomes(GET)
        self.assertEqual(responses(told)[0].body, b"plain")
        ((told, lingers),) = self.outcomes(V1 + GET)
        self.assertEqual((responses(told)[0].status, lingers), (400, True))
        self.assertEqual(self.outcomes(V2 + GET), {(b"", True)})
        self.assertTrue(all("the PROXY protocol is not awaited" in line for line in self.lines))

    def test_bounded(self) -> None:
        """What is held of a header is no more than it may have."""
        connection = self.connect(V2[:14] + struct.pack("!H", 0xFFFF))
        connection.send(bytes(0xFFFE))
        self.assertEqual(connection.told, b"")
        connection.send(b"\0" + GET)
        self.assertEqual(responses(connection.told)[0].body, b"plain")


class RawTests(AnnouncedTestCase):
    """Clients that are passed to the target as they are."""

    settings = {"tls": CERTIFICATE}

    def makeFactory(self, *args: Any, **settings: Any) -> SwitchFactory:
        return super().makeFactory(*args, **{"raw": self.passed.append, **settings})

    def test_known(self) -> None:
        """The real client is known of one that says something, over TLS as well."""
        self.connect(V1 + b"\0hello")
        connection = self.connect(V2)
        client = TLSClient(connection, self.clock)
        client.handshake()
        client.exchange(b"\0hello")
        self.assertEqual([each.request.client for each in self.passed], [IPv4Address("TCP", "192.0.2.7", 4321)] * 2)
        self.assertEqual({each.request.peer.host for each in self.passed}, {PEER})
        self.assertEqual([each.request.secure for each in self.passed], [False, True])

    def test_early(self) -> None:
        """What came with the header is the target's."""
        recorder = Recorder()
        connection = self.connect(V1 + b"\0hello")
        (client,) = self.passed
        client.accept(None).start(recorder.receiver())
        connection.send(b", you")
        self.assertEqual(bytes(recorder.received), b"\0hello, you")

    def test_silent(self) -> None:
        """One that waits for the target to speak is passed a second after its header, and not before."""
        connection = self.connect()
        self.clock.advance(5)
        connection.send(V1)
        self.clock.advance(0.9)
        self.assertEqual(self.passed, [])
        self.clock.advance(0.2)
        (client,) = self.passed
        self.assertEqual(client.request.client.host, "192.0.2.7")


class EndpointTLSTests(AnnouncedTestCase):
    """Where the endpoint speaks TLS, the header comes before that, or as the first that it hands on."""

    def connect(self, data: bytes = b"", size: int | None = None) -> Connection:
        connection = Connection(TLSMemoryBIOFactory(CERTIFICATE, False, self.factory, self.clock))
        self.connections.append(connection)
        return connection

    def test_before(self) -> None:
        """In front of TLS, where proxies send it, however it is cut, together with the hello or not."""
        for header in HEADERS:
            for size in (1, 7, None):
                connection = self.connect()
                connection.send(header, size)
                client = TLSClient(connection, self.clock)
                client.handshake(size)
                self.assertEqual(responses(client.exchange(GET, size))[0].body, b"secure")
                switch: Any = connection.transport.protocol.wrappedProtocol
                self.assertEqual(switch.named is None, header in (UNKNOWN, LOCAL))

    def test_together(self) -> None:
        """What comes in one piece with the header is TLS's."""
        connection = self.connect()
        client = TLSClient(connection, self.clock)
        with contextlib.suppress(ssl.SSLWantReadError):
            client.tls.do_handshake()
        connection.send(V2 + client._outgoing.read())
        client.handshake()
        self.assertEqual(responses(client.exchange(GET))[0].body, b"secure")

    def test_once(self) -> None:
        """A header before TLS and another one inside are one too many."""
        connection = self.connect()
        connection.send(V1)
        client = TLSClient(connection, self.clock)
        client.handshake()
        self.assertEqual(responses(client.exchange(V1 + GET))[0].status, 400)

    def test_lost(self) -> None:
        """One that is lost within its header is lost, and one that is too slow is cut off."""
        self.connect().lose()
        connection = self.connect()
        connection.send(V1[:10])
        connection.lose()
        connection = self.connect()
        connection.send(V1[:10])
        self.clock.advance(TIMEOUT + 0.1)
        self.assertTrue(connection.transport.aborted)

    def test_inside(self) -> None:
        """With it, requests are answered."""
        for size in (1, None):
            client = TLSClient(self.connect(), self.clock)
            client.handshake()
            self.assertEqual(responses(client.exchange(V2 + GET, size))[0].body, b"secure")

    def test_without(self) -> None:
        """Without it, the connection is closed."""
        client = TLSClient(self.connect(), self.clock)
        client.handshake()
        self.assertEqual(client.exchange(GET), b"")
        self.assertIn("refused: no PROXY header", self.lines[0])


class GateTests(AnnouncedTestCase):
    """Who may come in, by what the header names."""

    def makeFactory(self, *args: Any, **settings: Any) -> SwitchFactory:
        return super().makeFactory(*args, **{"enter": self.enter, **settings})

    def enter(self, request: Request) -> Refusal | None:
        try:
            AllowedClients(["192.0.2.0/24"]).enter(request)
        except Refusal as refusal:
            return refusal
        return None

    def test_flash(self) -> None:
        """A Flash policy is told to those only who may come in."""
        ((told, _),) = self.outcomes(V1 + FLASH)
        self.assertIn(b"<cross-domain-policy>", told)
        self.assertEqual(self.outcomes(V1.replace(b"192.0.2.7", b"198.51.100.7") + FLASH), {(b"", True)})
        self.assertEqual(self.outcomes(UNKNOWN + FLASH), {(b"", True)})


class LogTests(AnnouncedTestCase):
    def test_whom(self) -> None:
        """The log shows the client, and the proxy in front that it came by."""
        self.factory = self.makeFactory(verbose=True)
        self.connect(V1 + SSLV2).lose()
        self.connect(V1)
        self.clock.advance(TIMEOUT)
        self.connect(LOCAL + SSLV2)
        self.connect(V1 + b"BREW / HTTP/1.1\r\n\r\n")
        via = f"192.0.2.7:4321 via {PEER}:54321"
        self.assertEqual(
            self.lines,
            [
                f"{via} speaks nothing that is served here",
                f"{via} was too slow",
                f"{PEER}:54321 speaks nothing that is served here",
                f"{via} refused: 405 Only GET and HEAD are served",
            ],
        )
