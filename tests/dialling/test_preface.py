"""What a target is told of its client before everything else."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.certificates import selfSigned
from tests.dialling.test_dial import ClientFactory, freePort
from wsproxy.dialling.dial import Dialer, DialError
from wsproxy.dialling.preface import headerFor
from wsproxy.errors import ConfigError
from wsproxy.interfaces import Forwarded, Request, Session, Target
from wsproxy.testing import makeRequest, makeSession

reactor: Any = _reactor

CLIENT, PROXY = IPv4Address("TCP", "192.0.2.7", 4321), IPv4Address("TCP", "10.0.0.1", 5000)
HOST, PUBLIC = IPv4Address("TCP", "10.0.0.2", 6080), IPv4Address("TCP", "203.0.113.1", 443)
V1 = b"PROXY TCP4 192.0.2.7 10.0.0.2 4321 6080\r\n"


def said(client: IAddress = CLIENT, host: IAddress = HOST, forwarded: Forwarded | None = None) -> bytes:
    return headerFor("v1", Request("/", {}, client, host, False, forwarded=forwarded))


class HeaderTests(SynchronousTestCase):
    def test_peer(self) -> None:
        """Who has connected, and what to."""
        self.assertEqual(said(), V1)

    def test_real(self) -> None:
        """Behind a proxy in front, the real client; and what that connected to, where it is known."""
        self.assertEqual(said(PROXY, forwarded=Forwarded(CLIENT)), V1)
        self.assertEqual(
            said(PROXY, forwarded=Forwarded(CLIENT, PUBLIC)), b"PROXY TCP4 192.0.2.7 203.0.113.1 4321 443\r\n"
        )

    def test_unix(self) -> None:
        """Of a client on a unix socket nothing is known but that; of one behind it, its address."""
        unix = UNIXAddress(b"")
        self.assertEqual(said(unix, unix), b"PROXY UNKNOWN\r\n")
        self.assertEqual(said(unix, unix, Forwarded(CLIENT)), b"PROXY TCP4 192.0.2.7 0.0.0.0 4321 0\r\n")

    def test_scope(self) -> None:
        """Interfaces are of this machine, and not told."""
        address = IPv6Address("TCP", "fe80::1%eth0", 1)
        self.assertEqual(said(address, address), b"PROXY TCP6 fe80::1 fe80::1 1 1\r\n")


class Heard(Protocol):
    """Keeps what it hears, and fires C{enough} when that is as much as it waits for."""

    def __init__(self, size: int) -> None:
        self.data = b""
        self.enough: Deferred[bytes] = Deferred()
        self._size = size

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        if len(self.data) >= self._size and not self.enough.called:
            self.enough.callback(self.data)


class DialTests(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.heard = Heard(len(V1) + 3)
        self.factory = Factory.forProtocol(lambda: self.heard)
        self.client = ClientFactory()

    def listen(self, factory: Factory | None = None) -> int:
        port = reactor.listenTCP(0, factory or self.factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def session(self, target: str | Target) -> Session:
        return makeSession(target, request=makeRequest(peer=CLIENT, host=HOST))

    async def assertTold(self, target: str | Target, **settings: Any) -> bytes:
        """The target hears the header, and what is sent then. @return: what it has heard."""
        dialer = Dialer(reactor, **{"connectTimeout": 10, "sendProxy": "v1", **settings})
        protocol: Any = await dialer.dial(self.session(target), self.client)
        self.assertEqual(self.client.built, [protocol])
        protocol.transport.write(b"...")
        data = await self.heard.enough
        protocol.transport.loseConnection()
        await protocol.lost
        return data

    async def test_kinds(self) -> None:
        """Over TCP, a unix socket, and an endpoint string."""
        path = os.path.join(tempfile.mkdtemp(), "s")
        self.addCleanup(os.rmdir, os.path.dirname(path))
        port = reactor.listenUNIX(path, self.factory)
        self.addCleanup(port.stopListening)
        number = self.listen()
        for target in (f"127.0.0.1:{number}", f"unix:{path}", f"tcp:127.0.0.1:{number}"):
            self.heard, self.client = Heard(len(V1) + 3), ClientFactory()
            self.assertEqual(await self.assertTold(target), V1 + b"...", target)

    async def test_one(self) -> None:
        """A target's own wish counts more than what is said of all."""
        target = Target(f"127.0.0.1:{self.listen()}", proxyHeader="v1")
        self.assertEqual(await self.assertTold(target, sendProxy="v2"), V1 + b"...")

    async def test_nothing(self) -> None:
        """By default a target hears what the client says, and nothing else."""
        self.heard = Heard(3)
        self.assertEqual(await self.assertTold(f"127.0.0.1:{self.listen()}", sendProxy=None), b"...")

    async def test_beforeTLS(self) -> None:
        """The header is in the clear, before the first byte of TLS."""
        dialer = Dialer(reactor, connectTimeout=10, sendProxy="v1")
        dialling = dialer.dial(self.session(f"tls:localhost:{self.listen()}"), self.client)
        data = await self.heard.enough
        self.assertEqual(data[: len(V1)], V1)
        self.assertEqual(data[len(V1) : len(V1) + 2], b"\x16\x03")
        assert self.heard.transport is not None
        self.heard.transport.loseConnection()
        await self.assertFailure(dialling, DialError)
        self.assertEqual(self.client.built, [])

    async def test_insideTLS(self) -> None:
        """An endpoint that speaks TLS by itself would have the header inside of it, which nobody awaits there."""
        options = PrivateCertificate.loadPEM(selfSigned("localhost").both).options()
        port = reactor.listenSSL(0, Factory.forProtocol(Protocol), options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        text = f"ssl:127.0.0.1:{port.getHost().port}"
        dialer = Dialer(reactor, connectTimeout=10, sendProxy="v1")
        error = await self.assertFailure(dialer.dial(self.session(text), self.client), DialError)
        self.assertEqual(str(error), "Target misconfigured")
        await self.client.built[0].lost
        complaint = self.assertRaises(ConfigError, dialer.check, Target(text))
        self.assertIn("--send-proxy would speak inside of the TLS", str(complaint))
        Dialer(reactor, connectTimeout=10).check(Target(text))

    async def test_refused(self) -> None:
        """A target that is not there is refused as ever."""
        dialling = Dialer(reactor, connectTimeout=10, sendProxy="v1").dial(
            self.session(f"127.0.0.1:{freePort()}"), self.client
        )
        error = await self.assertFailure(dialling, DialError)
        self.assertEqual(str(error), "Target refused the connection")

    def test_nonsense(self) -> None:
        """A wish that nobody can fulfil is the operator's mistake, and nothing is dialled."""
        dialer = Dialer(reactor, connectTimeout=10)
        session = self.session(Target(f"127.0.0.1:{freePort()}", proxyHeader="v3"))
        error = self.assertRaises(ConfigError, dialer.dial, session, self.client)
        self.assertIn("a PROXY header is one of v1, v2", str(error))


class MemoryTests(SynchronousTestCase):
    def test_otherReactors(self) -> None:
        """Where it is the reactor that connects, the header is first, too, and the protocol gets what it should."""
        reactor, factory = MemoryReactorClock(), ClientFactory()
        dialling = Dialer(reactor, connectTimeout=10, sendProxy="v1").dial(
            makeSession("127.0.0.1:1", request=makeRequest(peer=CLIENT, host=HOST)), factory
        )
        _, _, connecting, _, _ = reactor.tcpClients[0]
        wrapped, transport = connecting.buildProtocol(None), StringTransport()
        wrapped.makeConnection(transport)
        self.assertIs(self.successResultOf(dialling), factory.built[0])
        self.assertEqual(transport.value(), V1)
        self.assertIs(transport.protocol, factory.built[0])  # type: ignore[attr-defined]
