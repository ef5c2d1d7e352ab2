"""Dialling: real sockets and real certificates on loopback; a clock of its own where time passes."""

import datetime
import os
import socket
import tempfile
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL import crypto as opensslCrypto
from service_identity import VerificationError
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, CertificateOptions, optionsForClientTLS
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.dialling.test_eyeballs import EndpointReactor, Resolver
from wsproxy.dialling import dial
from wsproxy.dialling.attempt import Outgoing
from wsproxy.dialling.dial import Dialer, DialError
from wsproxy.ends.securetransport import SecureTransport
from wsproxy.errors import ConfigError
from wsproxy.interfaces import IDialer, Target
from wsproxy.testing import makeSession


@implementer(IHalfCloseableProtocol)
class Client(Protocol):
    """Collects what arrives; C{readEnded} and C{lost} fire in that order."""

    def __init__(self) -> None:
        self.received = b""
        self.readEnded: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def readConnectionLost(self) -> None:
        self.readEnded.callback(None)

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


class ClientFactory(Factory):
    noisy = False

    def __init__(self) -> None:
        self.built: list[Client] = []

    def buildProtocol(self, addr: Any) -> Client:
        self.built.append(Client())
        return self.built[-1]


class Server(Protocol):
    """Greets, echoes up to C{bye}, and closes then; C{lost} fires with everything it heard."""

    def __init__(self, factory: "ServerFactory") -> None:
        self.factory = factory
        self.received = b""
        self.lost: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.factory.accepted.callback(self)
        self.transport.write(self.factory.greeting)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.transport.write(data)
        if self.received.endswith(b"bye"):
            self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(self.received)


class Deaf(Protocol):
    """Accepts, and does not answer: C{heard} fires at the first bytes, C{lost} at the end."""

    def __init__(self) -> None:
        self.heard: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        if not self.heard.called:
            self.heard.callback(None)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


class ServerFactory(Factory):
    """Builds one L{Server}; C{accepted} fires with it."""

    noisy = False
    greeting = b"hello"

    def __init__(self) -> None:
        self.accepted: Deferred[Server] = Deferred()

    def buildProtocol(self, addr: Any) -> Server:
        return Server(self)


class DialTestCase(TestCase):
    def setUp(self) -> None:
        self.client = ClientFactory()
        self.server = ServerFactory()

    def listen(self, factory: Factory | None = None, interface: str = "127.0.0.1") -> int:
        port = reactor.listenTCP(0, factory or self.server, interface=interface)
        self.addCleanup(port.stopListening)
        return port.getHost().port

    def dial(self, text: str, **settings: Any) -> Deferred[Any]:
        dialer = Dialer(reactor, **{"connectTimeout": 10, **settings})
        return dialer.dial(makeSession(text), self.client)

    async def assertFails(self, reason: str, text: str, **settings: Any) -> DialError:
        """Dialling fails for C{reason}, and no protocol was asked for."""
        error = await self.assertFailure(self.dial(text, **settings), DialError)
        self.assertEqual(str(error), reason)
        self.assertEqual(self.client.built, [])
        return error

    async def assertConversation(self, client: Client) -> None:
        """C{client} is the protocol of our factory, and connected to C{self.server} both ways."""
        self.assertEqual(self.client.built, [client])
        client.transport.write(b"bye")
        await (client.readEnded if self.halfCloses else client.lost)
        self.assertEqual(client.received, b"hellobye")
        client.transport.loseConnection()
        await client.lost

    halfCloses = True
    """Whether the end of what the target says is told before the end of the connection."""


def freePort() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class TCPTests(DialTestCase):
    def test_interface(self) -> None:
        """A dialer is an L{IDialer}."""
        verifyObject(IDialer, Dialer(reactor, connectTimeout=10))

    async def test_connects(self) -> None:
        """The result is the factory's own protocol, connected, with TCP_NODELAY and keepalive set."""
        client = await self.dial(f"127.0.0.1:{self.listen()}")
        self.assertTrue(client.transport.getTcpNoDelay())
        self.assertTrue(client.transport.getTcpKeepAlive())
        await self.assertConversation(client)

    async def test_halfClose(self) -> None:
        """A target that shuts down its side only ends the reading; what is then said still arrives."""
        client = await self.dial(f"127.0.0.1:{self.listen()}")
        server = await self.server.accepted
        server.transport.loseWriteConnection()
        await client.readEnded
        self.assertFalse(client.lost.called)
        client.transport.write(b"still here")
        client.transport.loseConnection()
        self.assertEqual(await server.lost, b"still here")

    async def test_resolves(self) -> None:
        """A name is looked up, and its addresses tried until one answers."""
        resolver = Resolver("127.0.0.2", "127.0.0.1")
        client = await self.dial(f"name.example:{self.listen()}", nameResolver=resolver)
        self.assertEqual(resolver.asked, ["name.example"])
        self.assertEqual(client.transport.getPeer().host, "127.0.0.1")
        await self.assertConversation(client)

    async def test_localhost(self) -> None:
        """Unless another resolver is given or installed, the machine's is asked."""
        await self.assertConversation(await self.dial(f"localhost:{self.listen()}"))

    async def test_installedResolver(self) -> None:
        """One that an embedder has installed in the reactor is."""
        resolver = Resolver("127.0.0.1")
        self.addCleanup(reactor.installNameResolver, reactor.installNameResolver(resolver))
        await self.assertConversation(await self.dial(f"name.example:{self.listen()}"))
        self.assertEqual(resolver.asked, ["name.example"])

    async def test_refused(self) -> None:
        """A closed port is told as such."""
        error = await self.assertFails("Target refused the connection", f"127.0.0.1:{freePort()}")
        self.assertIsNotNone(error.__cause__)

    async def test_mostTelling(self) -> None:
        """Of several addresses, the one that refused is told of, in whatever order they failed."""
        for hosts in (("127.0.0.1", "255.255.255.255"), ("255.255.255.255", "127.0.0.1")):
            reason = "Target refused the connection"
            await self.assertFails(reason, f"name.example:{freePort()}", nameResolver=Resolver(*hosts))

    async def test_unreachable(self) -> None:
        """An address without a way to it is told as such."""
        await self.assertFails("Target unreachable", "255.255.255.255:80")

    async def test_unknown(self) -> None:
        """A name without addresses is told as such."""
        await self.assertFails("Target name not found", "name.example:80", nameResolver=Resolver())

    async def test_misconfigured(self) -> None:
        """A resolver's answer that is no target is told as such, and the log has the details."""
        error = await self.assertFails("Target misconfigured", "nonsense")
        self.assertIsInstance(error.__cause__, ConfigError)

    async def test_endpointString(self) -> None:
        """A Twisted endpoint string is dialled as Twisted reads it, with our settings on the socket."""
        client = await self.dial(f"tcp:host=127.0.0.1:port={self.listen()}")
        self.assertTrue(client.transport.getTcpNoDelay())
        await self.assertConversation(client)
        self.client.built.clear()
        await self.assertFails("Target refused the connection", f"tcp:127.0.0.1:{freePort()}")


class UnexpectedTests(DialTestCase):
    """What should not have happened: the client learns that there is no connection, and the log the rest."""

    async def assertUntold(self, text: str, **settings: Any) -> None:
        """Dialling fails for no particular reason, with one traceback."""
        error = await self.assertFailure(self.dial(text, **settings), DialError)
        self.assertEqual(str(error), "Target unreachable")
        self.assertIsInstance(error.__cause__, KeyError)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    async def test_resolver(self) -> None:
        """A resolver that raises."""

        class Broken(Resolver):
            def resolveHostName(self, *_: Any) -> None:  # type: ignore[override]
                raise KeyError("postgres://user:secret@db")

        await self.assertUntold("name.example:80", nameResolver=Broken())

    async def test_endpoint(self) -> None:
        """An endpoint that does."""

        class Broken:
            def connect(self, factory: Any) -> None:
                raise KeyError("postgres://user:secret@db")

        self.patch(dial, "_clientFromString", lambda reactor, description: Broken())
        await self.assertUntold("tcp:host=127.0.0.1:port=80")

    async def test_factory(self) -> None:
        """A factory that does, over TCP, unix socket and TLS; the connection does not stay behind."""
        certificates = Certificates("localhost")

        def broken(addr: Any) -> None:
            raise KeyError("postgres://user:secret@db")

        def tls(hostname: str) -> Any:
            return optionsForClientTLS(hostname, trustRoot=certificates.authority)

        self.patch(self.client, "buildProtocol", broken)
        secure = self.listen(TLSMemoryBIOFactory(certificates.options, False, self.server, reactor))
        await self.assertUntold(f"tls:localhost:{secure}", tls=tls)
        await (await self.server.accepted).lost
        self.server.accepted = Deferred()
        await self.assertUntold(f"127.0.0.1:{self.listen()}")
        await (await self.server.accepted).lost
        self.server.accepted = Deferred()
        with tempfile.TemporaryDirectory() as folder:
            port = reactor.listenUNIX(os.path.join(folder, "socket"), self.server)
            await self.assertUntold(f"unix:{folder}/socket")
            await (await self.server.accepted).lost
            await port.stopListening()

    async def test_gone(self) -> None:
        """A connection that is gone as soon as it was there is no mistake of anybody's: its protocol knows."""

        class Gone:
            async def connect(self, factory: Any) -> Any:
                protocol = factory.buildProtocol(None)
                server = socket.create_server(("127.0.0.1", 0))
                transport = Outgoing(socket.create_connection(server.getsockname()), protocol, None, reactor)
                server.close()
                transport.begin()
                transport.connectionLost(Failure(ConnectionDone()))
                return protocol

        self.patch(dial, "_clientFromString", lambda reactor, description: Gone())
        client = await self.dial("tcp:host=127.0.0.1:port=80")
        self.assertTrue(client.lost.called)


class UNIXTests(DialTestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()  # shorter than mktemp(): a socket's path has 107 bytes
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "target.sock")

    async def test_connects(self) -> None:
        """A unix socket is dialled like a TCP port."""
        port = reactor.listenUNIX(self.path, self.server)
        self.addCleanup(port.stopListening)
        await self.assertConversation(await self.dial(f"unix:{self.path}"))

    async def test_absent(self) -> None:
        """A socket file that is not there is told as unreachable, without its path."""
        await self.assertFails("Target unreachable", f"unix:{self.path}")

    async def test_refused(self) -> None:
        """A socket file that nobody listens on is told as refusing."""
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.path)
        await self.assertFails("Target refused the connection", f"unix:{self.path}")

    async def test_busy(self) -> None:
        """A target whose backlog is full is waited for."""
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
            listener.bind(self.path)
            listener.listen(0)
            first.connect(self.path)
            dialling = self.dial(f"unix:{self.path}")
            self.assertNoResult(dialling)
            listener.accept()[0].close()
            client = await dialling
            client.transport.loseConnection()
            await client.lost


class DemoTests(DialTestCase):
    async def test_connects(self) -> None:
        """The built-in line server is dialled like any target, at once."""
        client = self.successResultOf(self.dial("demo:"))
        self.assertEqual(self.client.built, [client])
        client.transport.write(b"bye\n")
        await client.readEnded
        self.assertTrue(client.received.startswith(b"Hello!"))
        client.transport.loseConnection()
        await client.lost


class TimeTests(SynchronousTestCase):
    """Deadlines and giving up, on a clock of its own."""

    def setUp(self) -> None:
        self.reactor = EndpointReactor()

    def dial(self, text: str, resolver: Resolver) -> Deferred[Any]:
        dialer = Dialer(self.reactor, connectTimeout=10, nameResolver=resolver)
        return dialer.dial(makeSession(text), ClientFactory())

    def assertTimesOut(self, dialling: Deferred[Any]) -> None:
        """C{dialling} fails after ten seconds, not before, and leaves no timer behind."""
        self.reactor.advance(9.5)
        self.assertNoResult(dialling)
        self.reactor.advance(0.5)
        self.assertEqual(str(self.failureResultOf(dialling, DialError).value), "Target timed out")
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_silentTarget(self) -> None:
        """An address that never answers fails at the deadline, and is given up."""
        self.assertTimesOut(self.dial("192.0.2.1:80", Resolver()))
        self.assertTrue(self.reactor.connectors[0].stoppedConnecting)

    def test_silentResolver(self) -> None:
        """A name that is never resolved fails at the same deadline."""
        self.assertTimesOut(self.dial("name.example:80", Resolver(None)))

    def test_endpointString(self) -> None:
        """The deadline holds for an endpoint string, whatever its own is."""
        self.assertTimesOut(self.dial("tcp:192.0.2.1:80:timeout=99", Resolver()))

    def test_nothingReal(self) -> None:
        """A reactor for tests is asked for each connection, none is made behind its back."""
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as neighbour:
            path = os.path.join(folder, "socket")
            neighbour.bind(path)
            neighbour.listen()
            with socket.create_server(("127.0.0.1", 0)) as listener:
                memory = MemoryReactorClock()
                dialer = Dialer(memory, connectTimeout=10)
                port = listener.getsockname()[1]
                for text in (f"127.0.0.1:{port}", f"name.example:{port}", f"tls:127.0.0.1:{port}", f"unix:{path}"):
                    self.assertNoResult(dialer.dial(makeSession(text), ClientFactory()))
                self.assertEqual([each[:2] for each in memory.tcpClients], [("127.0.0.1", port)] * 3)
                self.assertEqual([each[0] for each in memory.unixClients], [path])
                for each in (neighbour, listener):
                    each.setblocking(False)
                    self.assertRaises(BlockingIOError, each.accept)

    def test_cancel(self) -> None:
        """Whoever gives up is told so, and nothing goes on."""
        dialling = self.dial("192.0.2.1:80", Resolver())
        dialling.cancel()
        self.failureResultOf(dialling, CancelledError)
        self.assertTrue(self.reactor.connectors[0].stoppedConnecting)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class Certificates:
    """An authority and a certificate for one DNS name."""

    def __init__(self, name: str) -> None:
        authorityKey, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        authority = self._certificate("authority", authorityKey, "authority", authorityKey, True)
        leaf = self._certificate(name, key, "authority", authorityKey, False)
        self.authority = Certificate(opensslCrypto.X509.from_cryptography(authority))
        self.options = CertificateOptions(
            privateKey=opensslCrypto.PKey.from_cryptography_key(key),
            certificate=opensslCrypto.X509.from_cryptography(leaf),
        )

    @staticmethod
    def _certificate(subject: str, key: Any, issuer: str, issuerKey: Any, authority: bool) -> x509.Certificate:
        def name(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
        )
        return builder.sign(issuerKey, hashes.SHA256())


class TLSTests(DialTestCase):
    halfCloses = False

    def setUp(self) -> None:
        super().setUp()
        self.certificates = Certificates("localhost")
        self.described: list[BaseException] = []

    def listenTLS(self, certificates: Certificates) -> int:
        return self.listen(TLSMemoryBIOFactory(certificates.options, False, self.server, reactor))

    def settings(self, **settings: Any) -> dict[str, Any]:
        def describe(error: BaseException) -> str:
            self.described.append(error)
            return "described"

        def tls(hostname: str) -> Any:
            return optionsForClientTLS(hostname, trustRoot=self.certificates.authority)

        return {"tls": tls, "describeTLS": describe, **settings}

    async def test_connects(self) -> None:
        """A target with a good certificate is dialled; the protocol sees nothing of the handshake."""
        client = await self.dial(f"tls:localhost:{self.listenTLS(self.certificates)}", **self.settings())
        self.assertEqual(client.transport.getPeerCertificate().get_subject().CN, "localhost")
        self.assertTrue(client.transport.getTcpNoDelay())
        await self.assertConversation(client)

    async def test_leavable(self) -> None:
        """The pump can have its socket, as it can that of a client over TLS."""
        client = await self.dial(f"tls:localhost:{self.listenTLS(self.certificates)}", **self.settings())
        self.assertIsInstance(client.transport, SecureTransport)
        self.assertTrue(client.transport.leavable)
        await self.assertConversation(client)

    async def test_settingsAreKept(self) -> None:
        """What a host's connections have in common is made once."""
        asked: list[str] = []
        settings = self.settings()

        def tls(hostname: str) -> Any:
            asked.append(hostname)
            return settings["tls"](hostname)

        dialer = Dialer(reactor, connectTimeout=10, tls=tls)
        for _ in range(2):
            self.server.accepted = Deferred()
            target = Target(f"tls:localhost:{self.listenTLS(self.certificates)}")
            client = await dialer.dial(makeSession(target), self.client)
            client.transport.loseConnection()
            await client.lost
        self.assertEqual(asked, ["localhost"])

    async def test_forced(self) -> None:
        """With C{--ssl-target} a plain C{HOST:PORT} is dialled over TLS."""
        port = self.listenTLS(self.certificates)
        await self.assertConversation(await self.dial(f"localhost:{port}", **self.settings(forceTLS=True)))

    async def test_forcedInVain(self) -> None:
        """What would leave this machine without it is not dialled, and is a mistake of whoever starts with it."""
        dialer = Dialer(reactor, connectTimeout=10, forceTLS=True)
        for plain in ("ws://127.0.0.1:1/", "tcp:127.0.0.1:1", "ws:127.0.0.1:1"):
            error = self.assertRaises(ConfigError, dialer.check, Target(plain))
            self.assertIn("--ssl-target, and it speaks no TLS", str(error))
            await self.assertFails("Target not allowed", plain, **self.settings(forceTLS=True))
        for secure in ("wss://127.0.0.1:1/", "tls:127.0.0.1:1", "ssl:127.0.0.1:1", "unix:/there", "demo:"):
            dialer.check(Target(secure))

    async def test_wrongName(self) -> None:
        """A certificate for another name fails the dial: no protocol is built, the target told nothing."""
        port = self.listenTLS(self.certificates)
        settings = self.settings(nameResolver=Resolver("127.0.0.1"))
        await self.assertFails("Target TLS: described", f"tls:other.example:{port}", **settings)
        self.assertIsInstance(self.described[0], VerificationError)
        self.assertEqual(await (await self.server.accepted).lost, b"")

    async def test_wrongAuthority(self) -> None:
        """A certificate of an authority that is not trusted fails the dial."""
        port = self.listenTLS(Certificates("localhost"))
        await self.assertFails("Target TLS: described", f"tls:localhost:{port}", **self.settings())
        self.assertIsInstance(self.described[0], SSL.Error)

    async def test_defaultVerifies(self) -> None:
        """Without settings of ours a target is verified by what the system trusts."""
        port = self.listenTLS(self.certificates)
        await self.assertFails("Target TLS: handshake failed", f"tls:localhost:{port}")

    async def test_noProtocol(self) -> None:
        """A factory that declines, over TLS or not, fails the dial and lets go of the target."""
        port = self.listenTLS(self.certificates)
        self.patch(self.client, "buildProtocol", lambda addr: None)
        for text in ("demo:", f"tls:localhost:{port}"):
            await self.assertFailure(self.dial(text, **self.settings()), DialError)
        await (await self.server.accepted).lost

    async def test_notTLS(self) -> None:
        """A target that does not speak TLS fails the dial."""
        port = self.listen()
        await self.assertFails("Target TLS: described", f"tls:localhost:{port}", **self.settings())

    async def test_closes(self) -> None:
        """A target that closes instead of shaking hands is told as such."""

        class Closing(Protocol):
            def connectionMade(self) -> None:
                self.transport.loseConnection()

        port = self.listen(Factory.forProtocol(Closing))
        reason = "Target closed the connection during the TLS handshake"
        await self.assertFails(reason, f"tls:localhost:{port}", **self.settings())

    async def test_silent(self) -> None:
        """A target that does not shake hands fails at the deadline, and its connection is cut."""
        deaf = Deaf()
        port = self.listen(Factory.forProtocol(lambda: deaf))
        settings = self.settings(connectTimeout=0.2)
        await self.assertFails("Target timed out", f"tls:127.0.0.1:{port}", **settings)
        await deaf.lost

    async def test_cancel(self) -> None:
        """Giving up in the middle of a handshake cuts the connection."""
        deaf = Deaf()
        port = self.listen(Factory.forProtocol(lambda: deaf))
        dialling = self.dial(f"tls:127.0.0.1:{port}", **self.settings())
        await deaf.heard
        dialling.cancel()
        await self.assertFailure(dialling, CancelledError)
        await deaf.lost
        self.assertEqual(self.client.built, [])


class CheckTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Every kind of target is understood without being dialled."""
        memory = MemoryReactorClock()
        dialer = Dialer(memory, connectTimeout=10)
        for text in ("localhost:5900", "tls:[::1]:443", "unix:/run/it", "demo:", "tcp:host=h:port=1"):
            dialer.check(Target(text))
        self.assertEqual((memory.tcpClients, memory.unixClients), ([], []))

    def test_bad(self) -> None:
        """What cannot be dialled, bad endpoint arguments included, is one line with option and value."""
        dialer = Dialer(MemoryReactorClock(), connectTimeout=10)
        for text in ("localhost", "tcp:localhost", "tcp:h:port", "tcp:h:1:colour=red"):
            error = self.assertRaises(ConfigError, dialer.check, Target(text))
            self.assertTrue(str(error).startswith(f"--target {text}: "), str(error))
            self.assertNotIn("\n", str(error))


class DialErrorTests(SynchronousTestCase):
    def test_fitsCloseReason(self) -> None:
        """The reason fits a close frame, cut between characters."""
        self.assertEqual(str(DialError("x" * 200)), "x" * 123)
        self.assertEqual(str(DialError("\N{EURO SIGN}" * 50)), "\N{EURO SIGN}" * 41)
        self.assertEqual(str(DialError("x" + "\N{EURO SIGN}" * 50)), "x" + "\N{EURO SIGN}" * 40)
