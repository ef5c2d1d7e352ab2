"""The switch: what a connection becomes by its first bytes, and how long it may take."""

from __future__ import annotations

import re
import socket
import ssl
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocolNegotiationFactory
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.certificates import Authority, pem, selfSigned
from tests.ends.contract import Recorder
from tests.frontend.connection import Connection, TLSClient, makeFactory, responses
from wsproxy.config import TLSConfig
from wsproxy.ends.securetransport import SecureTransport
from wsproxy.ends.transport import TransportEnd
from wsproxy.errors import Refusal
from wsproxy.frontend.lingering import LINGER
from wsproxy.frontend.switch import SwitchFactory
from wsproxy.tls.server import ServerTLS

AUTHORITY = Authority()
CERTIFICATE: Any = PrivateCertificate.loadPEM(selfSigned("localhost").both).options()
VERIFYING: Any = PrivateCertificate.loadPEM(selfSigned("localhost").both).options(
    Certificate.loadPEM(pem(AUTHORITY.certificate))
)
"""It demands a certificate of each client."""

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
FLASH = b"<policy-file-request/>\0"
SSLV2 = bytes.fromhex("802e0100020015001000000100800700c0030080")
TIMEOUT = 10.0


class Page(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"secure" if request.isSecure() else b"plain"


class SwitchTestCase(SynchronousTestCase):
    """Connections that are gone leave nothing behind."""

    settings: dict[str, Any] = {"tls": CERTIFICATE}

    def setUp(self) -> None:
        self.clock = Clock()
        self.factory = self.makeFactory(**self.settings)
        self.connections: list[Connection] = []

    def makeFactory(self, **settings: Any) -> SwitchFactory:
        return makeFactory(self.clock, Page(), **settings)

    def connect(self, data: bytes = b"", size: int | None = None) -> Connection:
        """A new connection, on which its client has sent this."""
        connection = Connection(self.factory)
        self.connections.append(connection)
        if data:
            connection.send(data, size)
        return connection

    def connectTLS(self, size: int | None = None) -> tuple[Connection, TLSClient]:
        connection = self.connect()
        client = TLSClient(connection, self.clock)
        client.handshake(size)
        return connection, client

    def tearDown(self) -> None:
        for connection in self.connections:
            connection.lose()
        self.assertEqual(self.factory.connections, set())
        self.assertEqual(self.clock.getDelayedCalls(), [])


class KindTests(SwitchTestCase):
    """However the first bytes are split, the outcome is the same."""

    def outcomes(self, data: bytes) -> set[tuple[bytes, bool]]:
        """What the client is told, but for the time of day, and whether the connection is closed, for all splits."""
        connections = [self.connect(data, size) for size in [*range(1, len(data)), None]]
        for cut in range(1, len(data)):
            connection = self.connect(data[:cut])
            connection.send(data[cut:])
            connections.append(connection)
        return {(re.sub(rb"Date: [^\r]+", b"Date: now", it.told), it.lingers) for it in connections}

    def test_http(self) -> None:
        """An HTTP request is answered, and the connection stays."""
        ((told, lingers),) = self.outcomes(GET)
        self.assertEqual(responses(told)[0].body, b"plain")
        self.assertFalse(lingers)

    def test_flash(self) -> None:
        """A Flash policy request is answered with a policy for this port, then closed."""
        ((told, lingers),) = self.outcomes(FLASH)
        self.assertIn(b'to-ports="12345"', told)
        self.assertEqual(told[-1:], b"\0")
        self.assertTrue(lingers)

    def test_silent(self) -> None:
        """What is served by nobody is closed without a word."""
        for data in (SSLV2, b"\xff\xfb\x01\xff\xfb\x03", b"\0" * 50, b"<policy-file-request>\0\0"):
            self.assertEqual(self.outcomes(data), {(b"", True)})

    def test_almostHTTP(self) -> None:
        """What begins with a letter is told, in HTTP, that it is not."""
        for data in (b"SSH-2.0-OpenSSH_9.6\r\n", b"get / http/1.1\r\n"):
            ((told, lingers),) = self.outcomes(data)
            (response,) = responses(told)
            self.assertEqual((response.status, response.headers["connection"], lingers), (400, "close", True))

    def test_tls(self) -> None:
        """TLS is spoken, and inside of it the next protocol is found in the same way."""
        for size in (1, 2, 3, 100, None):
            _, client = self.connectTLS(size)
            self.assertEqual(responses(client.exchange(GET, size))[0].body, b"secure")

    def test_tlsThenSplit(self) -> None:
        """Inside of TLS the first bytes may be split too."""
        for size in (1, 7):
            _, client = self.connectTLS()
            told = b"".join(client.exchange(GET[at : at + size]) for at in range(0, len(GET), size))
            self.assertEqual(responses(told)[0].body, b"secure")

    def test_flashInTLS(self) -> None:
        """A Flash policy request inside of TLS is answered as well."""
        _, client = self.connectTLS()
        self.assertIn(b"<cross-domain-policy>", client.exchange(FLASH))

    def test_tlsInTLS(self) -> None:
        """TLS inside of TLS is not spoken: the connection is closed."""
        _, client = self.connectTLS()
        self.assertEqual(client.exchange(b"\x16\x03\x01\x02\x00\x01"), b"")
        self.assertTrue(client.closed)

    def test_badHello(self) -> None:
        """What only begins like TLS gets an alert, and is closed."""
        connection = self.connect(b"\x16\x03\x01\x00\x05hello, world")
        self.clock.advance(0)
        self.assertEqual(connection.told[:1], b"\x15")
        self.assertTrue(connection.transport.disconnecting)


class NoTLSTests(SwitchTestCase):
    settings: dict[str, Any] = {"flashPolicy": False}

    def test_tls(self) -> None:
        """Without a certificate a TLS client is closed without a word."""
        connection = self.connect(b"\x16\x03\x01\x02\x00\x01")
        self.assertEqual((connection.told, connection.lingers), (b"", True))

    def test_flash(self) -> None:
        """Without Flash policies its request is closed without a word."""
        connection = self.connect(FLASH)
        self.assertEqual((connection.told, connection.lingers), (b"", True))


class TLSOnlyTests(SwitchTestCase):
    settings: dict[str, Any] = {"tls": CERTIFICATE, "tlsOnly": True}

    def test_plaintext(self) -> None:
        """HTTP without TLS is told in one sentence what to do."""
        for data in (GET, b"GET /"[:4], b"HELO mail.example\r\n"):
            connection = self.connect(data)
            (response,) = responses(connection.told)
            self.assertEqual((response.status, response.headers["connection"]), (400, "close"))
            self.assertIn(b"https:// or wss://", response.body)
            self.assertTrue(connection.lingers)

    def test_secure(self) -> None:
        """Over TLS it is served."""
        _, client = self.connectTLS()
        self.assertEqual(responses(client.exchange(GET))[0].body, b"secure")


class ALPNTests(SwitchTestCase):
    """With what Twisted makes of a certificate, for the factory or for an endpoint that listens."""

    def connectOffering(self, *offer: str) -> list[tuple[Connection, TLSClient]]:
        """Clients of the one and of the other."""
        endpoint = TLSMemoryBIOFactory(CERTIFICATE, False, self.makeFactory(), self.clock)
        connections = [Connection(self.factory), Connection(endpoint)]
        self.connections += connections
        return [(each, TLSClient(each, self.clock, offer)) for each in connections]

    def test_agreed(self) -> None:
        """http/1.1 is agreed to wherever it is offered."""
        for offer in (("http/1.1",), ("h2", "http/1.1"), ("http/1.1", "spdy/1")):
            for _, client in self.connectOffering(*offer):
                client.handshake()
                self.assertEqual(client.tls.selected_alpn_protocol(), "http/1.1")
                self.assertEqual(responses(client.exchange(GET))[0].body, b"secure")

    def test_nothingInCommon(self) -> None:
        """A client that speaks none of it is refused by its handshake."""
        for connection, client in self.connectOffering("h2"):
            self.assertRaises(ssl.SSLError, client.handshake)
            connection.lose()

    def test_interface(self) -> None:
        """It is by the factories that Twisted knows."""
        assert self.factory.tls is not None
        for factory in (self.factory, self.factory.tls.wrappedFactory):
            verifyObject(IProtocolNegotiationFactory, factory)


class EndpointTLSTests(SwitchTestCase):
    """Where it is the endpoint that speaks TLS."""

    settings: dict[str, Any] = {"tlsOnly": True}

    def connect(self, data: bytes = b"", size: int | None = None) -> Connection:
        connection = Connection(TLSMemoryBIOFactory(CERTIFICATE, False, self.factory, self.clock))
        self.connections.append(connection)
        return connection

    def test_secure(self) -> None:
        """The connection is secure: it is served on a port that speaks TLS only."""
        connection, client = self.connectTLS()
        self.assertEqual(connection.transport.options, {"keep alive": True})
        self.assertEqual(responses(client.exchange(GET))[0].body, b"secure")
        self.assertEqual(connection.transport.options, {"no delay": True, "keep alive": True})

    def test_once(self) -> None:
        """Our own TLS inside of it would be a second one, and is not spoken."""
        self.factory = self.makeFactory(tls=CERTIFICATE)
        _, client = self.connectTLS()
        self.assertEqual(client.exchange(b"\x16\x03\x01\x02\x00\x01"), b"")
        self.assertTrue(client.closed)

    def test_verified(self) -> None:
        """Where each client needs a certificate, which nobody asks for here, nobody is served."""
        self.factory = self.makeFactory(tls=VERIFYING, raw=lambda client: self.fail("passed through"))
        _, client = self.connectTLS()
        (response,) = responses(client.exchange(GET))
        self.assertEqual((response.status, response.headers["connection"]), (403, "close"))
        _, client = self.connectTLS()
        self.assertEqual(client.exchange(FLASH), b"")
        self.assertTrue(client.closed)
        self.connectTLS()
        self.clock.advance(1)  # of silence


class VerifyingTests(SwitchTestCase):
    """Each client needs a certificate, which is asked for inside of TLS and nowhere else."""

    def setUp(self) -> None:
        self.passed: list[Any] = []
        super().setUp()

    def makeFactory(self, **settings: Any) -> SwitchFactory:
        return super().makeFactory(**settings | {"tls": VERIFYING, "raw": self.passed.append})

    def test_http(self) -> None:
        """Plaintext HTTP is told so in one sentence."""
        for data in (GET, GET.replace(b"\r\n\r\n", b"\r\nUpgrade: websocket\r\n\r\n")):
            connection = self.connect(data)
            (response,) = responses(connection.told)
            self.assertEqual((response.status, connection.lingers), (400, True))
            self.assertIn(b"https:// or wss://", response.body)

    def test_others(self) -> None:
        """Whatever else is in plaintext is closed: silence, half a connection, Flash's request, anything."""
        for data in (b"SSH-2.0-OpenSSH_9.6\r\n", b"\0" * 50, FLASH, SSLV2):
            connection = self.connect(data)
            self.assertTrue(connection.lingers)
            self.assertIn(connection.told[:12], (b"", b"HTTP/1.1 400"))
        connection = self.connect()
        connection.transport.halfClose()
        self.assertTrue(connection.transport.disconnecting)
        self.connect()
        self.clock.advance(TIMEOUT)
        self.assertEqual(self.passed, [])

    def test_certificate(self) -> None:
        """A client with a certificate is served, or passed through; one without is no client."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(AUTHORITY.issue("client", client=True).both)
        for data in (GET, b"SSH-2.0-OpenSSH_9.6\r\n"):
            connection = self.connect()
            client = TLSClient(connection, self.clock, certificate=path)
            client.handshake()
            told = client.exchange(data)
        self.assertEqual(len(self.passed), 1)
        self.passed.pop().refuse(Refusal(503, "Not now"))
        connection, client = self.connectTLS()
        self.assertRaises(ssl.SSLError, client.exchange, GET)
        self.assertEqual((told, self.passed), (b"", []))

    def test_ours(self) -> None:
        """What says so is Twisted's options or ours alike."""
        certificate, authority = self.mktemp(), self.mktemp()
        for path, content in ((certificate, selfSigned("x").both), (authority, pem(AUTHORITY.certificate))):
            with open(path, "wb") as file:
                file.write(content)
        config = TLSConfig(certificate, verifyClient=True, authorities=authority)
        for tls, verifies in (
            (ServerTLS(config, self.clock.seconds), True),
            (ServerTLS(TLSConfig(certificate), self.clock.seconds), False),
            (VERIFYING, True),
            (CERTIFICATE, False),
            (None, False),
        ):
            self.assertIs(makeFactory(self.clock, Page(), tls=tls).verifiesClients, verifies)

    def test_leavable(self) -> None:
        """A client over TLS has a transport that its tunnel can take over."""
        connection, _ = self.connectTLS()
        self.assertIsInstance(connection.transport.protocol._protocol, SecureTransport)


class SilenceTests(SwitchTestCase):
    """A client that says nothing, where raw clients have a target."""

    def setUp(self) -> None:
        self.passed: list[Any] = []
        super().setUp()

    def makeFactory(self, **settings: Any) -> SwitchFactory:
        return super().makeFactory(**settings | {"raw": self.passed.append})

    def test_passed(self) -> None:
        """It waits for the target to speak first, and is passed through."""
        self.connect()
        self.clock.advance(0.9)
        self.assertEqual(self.passed, [])
        self.clock.advance(0.1)
        self.assertEqual(len(self.passed), 1)

    def test_ended(self) -> None:
        """One that has ended its half is passed through at once, and only once."""
        self.connect().transport.halfClose()
        (client,) = self.passed
        recorder = Recorder()
        client.accept(None).start(recorder.receiver())
        self.assertEqual(recorder.events, ["ended"])
        self.clock.advance(TIMEOUT)
        self.assertEqual(self.passed, [client])

    def test_request(self) -> None:
        """One that has spoken is silent no more."""
        self.connect(b"GET ")
        self.clock.advance(1)
        self.assertEqual(self.passed, [])


class DeadlineTests(SwitchTestCase):
    """Each stage has the same time, whatever trickles in meanwhile."""

    def assertExpires(self, connection: Connection, trickle: bytes = b"") -> None:
        """In the next 10 seconds, not before, though a byte arrives every second."""
        for second in range(10):
            if trickle[second:]:
                connection.send(trickle[second : second + 1])
            self.clock.advance(0.99)
            self.assertFalse(connection.transport.aborted, second)
        self.clock.advance(0.1)
        self.assertTrue(connection.transport.aborted)

    def test_silence(self) -> None:
        """A client that says nothing is dropped."""
        self.assertExpires(self.connect())

    def test_sniff(self) -> None:
        """So is one that cannot make up its mind what to speak."""
        self.assertExpires(self.connect(), FLASH[:10])

    def test_headers(self) -> None:
        """A request has its own time from the moment it is recognised as one."""
        connection = self.connect()
        self.clock.advance(9)
        connection.send(b"GET / HTTP/1.1\r\n")
        self.assertExpires(connection, b"Host: here\r\n")

    def test_hello(self) -> None:
        """The TLS handshake has its own time from the first byte that is TLS."""
        connection = self.connect()
        self.clock.advance(9)
        connection.send(b"\x16\x03\x01\x02\x00")
        self.assertExpires(connection, b"\x01\x00\x01\xfc\x03\x03" + bytes(10))

    def test_insideTLS(self) -> None:
        """After the handshake the first request has its time."""
        connection = self.connect()
        client = TLSClient(connection, self.clock)
        self.clock.advance(9)
        client.handshake()
        self.assertExpires(connection)

    def test_afterHandshake(self) -> None:
        """It counts from the end of the handshake, not from its beginning."""
        connection = self.connect()
        client = TLSClient(connection, self.clock)
        self.assertRaises(ssl.SSLWantReadError, client.tls.do_handshake)
        client.carry()
        self.clock.advance(9)
        client.handshake()
        self.assertExpires(connection)

    def test_lingering(self) -> None:
        """A client that is told to go has L{LINGER} seconds to do so, whatever it sends."""
        connection = self.connect(SSLV2)
        for _ in range(5):
            self.clock.advance(LINGER / 5 - 0.01)
            connection.send(b"but wait")
        self.assertFalse(connection.transport.aborted)
        self.clock.advance(0.1)
        self.assertTrue(connection.transport.aborted)

    def test_lingeringSlowly(self) -> None:
        """One that still takes what it was told has longer."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        ours.send(b"x" * 1000)
        connection = self.connect()
        connection.transport.getHandle = lambda: ours  # type: ignore[attr-defined]
        connection.send(SSLV2)
        self.clock.advance(LINGER)
        self.assertFalse(connection.transport.aborted)
        theirs.recv(1000)
        self.clock.advance(LINGER)
        self.assertFalse(connection.transport.aborted)
        self.clock.advance(LINGER)
        self.assertTrue(connection.transport.aborted)


class ConnectionTests(SwitchTestCase):
    def test_options(self) -> None:
        """Keepalive is on from the start; Nagle's algorithm is off as soon as there is something to answer."""
        self.assertEqual(self.connect().transport.options, {"keep alive": True})
        self.factory = self.makeFactory(tls=CERTIFICATE, raw=lambda client: None)
        for first in (b"GET / HTTP/1.1\r\n", b"\x16\x03", b"SSH-2.0"):
            connection = self.connect(first)
            self.assertEqual(connection.transport.options, {"no delay": True, "keep alive": True}, first)

    def test_noOptions(self) -> None:
        """A connection that is not TCP has none of these."""
        transport = StringTransport()
        switch = self.factory.buildProtocol(None)
        switch.makeConnection(transport)
        switch.connectionLost()

    def test_lingerEnds(self) -> None:
        """A connection that lingers is over when the client closes its side."""
        connection = self.connect(SSLV2)
        connection.send(b"ignored" * 1000)
        connection.transport.halfClose()
        self.assertTrue(connection.transport.disconnecting)
        self.assertFalse(connection.transport.aborted)

    def test_halfClosed(self) -> None:
        """A client that closes its side before it has asked for anything is closed, within L{LINGER}."""
        for data in (b"", b"\x16\x03\x01\x02\x00"):
            connection = self.connect(data)
            connection.transport.halfClose()
            self.assertTrue(connection.transport.disconnecting)
            self.clock.advance(LINGER)
            self.assertTrue(connection.transport.aborted)

    def test_halfClosedTLS(self) -> None:
        """Half a TLS connection is none; a producer would hold up its end."""
        connection, client = self.connectTLS()
        client.exchange(GET)
        self.assertIsNotNone(connection.transport.producer)
        connection.transport.halfClose()
        self.assertTrue(connection.transport.disconnecting)
        self.assertIsNone(connection.transport.producer)

    def test_abortIdle(self) -> None:
        """Whatever is not a session can be ended at once: undecided, HTTP, TLS or lingering."""
        for data in (b"", b"GET /", GET, b"\x16\x03\x01", SSLV2):
            connection = self.connect(data)
            self.factory.abortIdle()
            self.assertTrue(connection.transport.aborted, data)
            connection.lose()
        connection, _ = self.connectTLS()
        self.factory.abortIdle()
        self.assertTrue(connection.transport.aborted)

    def test_abortIdleRaises(self) -> None:
        """One that cannot be aborted keeps nobody else from it."""

        def abort() -> None:
            raise ZeroDivisionError

        connections = [self.connect(), self.connect(), self.connect()]
        connections[1].transport.abortConnection = abort  # type: ignore[method-assign]
        self.factory.abortIdle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual([each.transport.aborted for each in connections], [True, False, True])

    def test_sessionsStay(self) -> None:
        """Sessions are left alone."""
        connection = self.connect(GET)
        connection.switch.become(TransportEnd())
        self.factory.abortIdle()
        self.assertFalse(connection.transport.aborted)

    def test_become(self) -> None:
        """What takes a connection over gets what has arrived, and the transport's producer is free for it."""
        connection = self.connect(GET)
        end = TransportEnd()
        connection.switch.become(end, b"early ")
        self.assertIs(connection.transport.producer, end)
        connection.switch.dataReceived(b"late")
        self.assertEqual(end._early, b"early late")
        connection.switch.readConnectionLost()
        recorder = Recorder()
        end.start(recorder.receiver())
        self.assertEqual((recorder.received, recorder.events), (b"early late", ["ended"]))

    def test_halves(self) -> None:
        """Who can close either half hears of both."""
        heard: list[str] = []

        @implementer(IHalfCloseableProtocol)
        class Halves(Protocol):
            def readConnectionLost(self) -> None:
                heard.append("read")

            def writeConnectionLost(self) -> None:
                heard.append("write")

        connection = self.connect(GET)
        connection.switch.writeConnectionLost()
        connection.switch.become(Halves())
        connection.switch.writeConnectionLost()
        connection.switch.readConnectionLost()
        self.assertEqual(heard, ["write", "read"])


class NoteTests(SwitchTestCase):
    def lines(self, **settings: Any) -> list[str]:
        """The log of a slow client, a stranger and one that speaks TLS."""
        events: list[Any] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.factory = self.makeFactory(tls=CERTIFICATE, **settings)
        self.connect()
        self.clock.advance(TIMEOUT)
        self.connect(SSLV2)
        self.connectTLS()
        return [formatEvent(event) for event in events]

    def test_verbose(self) -> None:
        """Who wants to know is told what becomes of connections that open no session."""
        peer = "192.168.1.1:54321"
        self.assertEqual(
            self.lines(verbose=True),
            [
                f"{peer} was too slow",
                f"{peer} speaks nothing that is served here",
                f"{peer} TLS handshake completed",
            ],
        )

    def test_quiet(self) -> None:
        """By default they are no news."""
        self.assertEqual(self.lines(), [])
