"""TLS towards a target, with real handshakes: in memory, and once over a socket."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

from OpenSSL import SSL
from twisted.internet import defer, reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.certificates import LOCAL, Authority, Issued, pem, selfSigned
from tests.handshake import Peer
from wsproxy.errors import ConfigError
from wsproxy.tls.client import clientTLS, describeTLSFailure

AUTHORITY = Authority()
ISSUED = AUTHORITY.issue(*LOCAL)

FAILED = "certificate verify failed"


class TargetCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.authorities = self.file("ca.pem", pem(AUTHORITY.certificate))

    def file(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def target(self, issued: Issued = ISSUED) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file("target.pem", issued.both))
        return context

    def reached(self, creator: IOpenSSLClientConnectionCreator, issued: Issued = ISSUED) -> None:
        self.assertEqual(Peer(creator, self.target(issued)).exchange(b"hello"), b"hello")

    def failure(self, creator: IOpenSSLClientConnectionCreator, context: ssl.SSLContext) -> str:
        """Let the handshake fail. @return: what a client would read in the close reason."""
        peer = Peer(creator, context)
        self.assertRaises((ssl.SSLError, AssertionError), peer.exchange)
        peer.disconnect()
        return describeTLSFailure(peer.echo.reason)


class VerifiedTests(TargetCase):
    def refused(self, issued: Issued, hostname: str = "localhost") -> str:
        creator = clientTLS(hostname, authorities=self.authorities, insecure=False)
        return self.failure(creator, self.target(issued))

    def test_interface(self) -> None:
        """What is made is what Twisted's client endpoints take, verifying or not."""
        for insecure in (False, True):
            creator = clientTLS("localhost", authorities=None, insecure=insecure)
            verifyObject(IOpenSSLClientConnectionCreator, creator)

    def test_trusted(self) -> None:
        """A target with a certificate for its name, or for its address, is reached."""
        for hostname in LOCAL:
            self.reached(clientTLS(hostname, authorities=self.authorities, insecure=False))

    def test_chain(self) -> None:
        """Intermediate certificates may come from the target."""
        below = Authority("intermediate", AUTHORITY).issue("localhost")
        self.reached(clientTLS("localhost", authorities=self.authorities, insecure=False), below)

    def test_selfSigned(self) -> None:
        """A self-signed certificate is trusted where it is in the file."""
        issued = selfSigned("localhost")
        own = self.file("own.pem", issued.chain)
        self.reached(clientTLS("localhost", authorities=own, insecure=False), issued)

    def test_IDNA(self) -> None:
        """A name beyond ASCII is looked for in the certificate as DNS has it."""
        creator = clientTLS("b\xfccher.example", authorities=self.authorities, insecure=False)
        self.reached(creator, AUTHORITY.issue("xn--bcher-kva.example"))

    def test_platform(self) -> None:
        """Without a file of authorities the platform's are trusted, and no others."""
        other = self.file("other.pem", pem(Authority("other").certificate))
        with patch.dict(os.environ, SSL_CERT_FILE=other):
            creator = clientTLS("localhost", authorities=None, insecure=False)
            self.assertEqual(self.failure(creator, self.target()), f"{FAILED}: unknown authority")
        with patch.dict(os.environ, SSL_CERT_FILE=self.authorities):
            self.reached(clientTLS("localhost", authorities=None, insecure=False))

    def test_notThePlatform(self) -> None:
        """With a file of authorities the platform's are not trusted."""
        other = self.file("other.pem", pem(Authority("other").certificate))
        with patch.dict(os.environ, SSL_CERT_FILE=self.authorities):
            creator = clientTLS("localhost", authorities=other, insecure=False)
            self.assertEqual(self.failure(creator, self.target()), f"{FAILED}: unknown authority")

    def test_problems(self) -> None:
        """What is wrong with a certificate is said in two or three words."""
        stranger = Authority("stranger")
        withRoot = replace(stranger.issue("localhost"), intermediates=(stranger.certificate,))
        for issued, problem in (
            (AUTHORITY.issue("elsewhere.example", "127.0.0.1"), "hostname mismatch"),
            (AUTHORITY.issue(commonName="localhost"), "hostname mismatch"),
            (AUTHORITY.issue("localhost", end=timedelta(hours=-1)), "expired"),
            (AUTHORITY.issue("localhost", begin=timedelta(hours=1)), "not yet valid"),
            (AUTHORITY.issue("localhost", client=True), "not a server's certificate"),
            (stranger.issue("localhost"), "unknown authority"),
            (selfSigned("localhost"), "self-signed certificate"),
            (withRoot, "self-signed certificate in its chain"),
        ):
            self.assertEqual(self.refused(issued), f"{FAILED}: {problem}")

    def test_address(self) -> None:
        """An address is looked for among the certificate's addresses; neither names nor the subject count."""
        for issued in (AUTHORITY.issue("localhost", "::1"), AUTHORITY.issue(commonName="127.0.0.1")):
            self.assertEqual(self.refused(issued, "127.0.0.1"), f"{FAILED}: IP address mismatch")

    def test_oldVersion(self) -> None:
        """A target that speaks no later version than TLS 1.1 is not spoken to."""
        old = self.target()
        old.set_ciphers("DEFAULT@SECLEVEL=0")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        for insecure in (False, True):
            creator = clientTLS("localhost", authorities=self.authorities, insecure=insecure)
            self.assertIn("protocol version", self.failure(creator, old))

    test_oldVersion.suppress = [(("ignore",), {"category": DeprecationWarning})]


class InsecureTests(TargetCase):
    def test_anyCertificate(self) -> None:
        """Nothing about the certificate matters."""
        creator = clientTLS("localhost", authorities=None, insecure=True)
        self.reached(creator, selfSigned("elsewhere.example"))
        self.reached(creator, AUTHORITY.issue("localhost", end=timedelta(hours=-1)))


class ServerNameTests(TargetCase):
    def test_SNI(self) -> None:
        """The target is told its name, whether it is verified or not, but never an address."""
        told: list[str | None] = []
        context = self.target()
        context.sni_callback = lambda connection, name, context: told.append(name)
        for insecure in (False, True):
            for hostname in ("localhost", "127.0.0.1", "::1"):
                creator = clientTLS(hostname, authorities=self.authorities, insecure=insecure)
                Peer(creator, context).exchange()
        self.assertEqual(told, ["localhost", None, None] * 2)

    def test_noName(self) -> None:
        """What cannot be the name of a host is said in one line."""
        for hostname in ("a..b", "", "x" * 64):
            error = self.assertRaises(ConfigError, clientTLS, hostname, authorities=None, insecure=False)
            self.assertEqual(str(error), f"tls:{hostname}: not a host name")


class AuthoritiesTests(TargetCase):
    def test_badFile(self) -> None:
        """A file of authorities that is none is one line, with the option and the file."""
        text, missing = self.file("text", b"hello"), str(self.folder / "missing")
        for path, problem in ((text, "no certificate in this file"), (missing, "No such file or directory")):
            for insecure in (False, True):
                settings = {"authorities": path, "insecure": insecure}
                error = self.assertRaises(ConfigError, clientTLS, "localhost", **settings)
                self.assertEqual(str(error), f"--target-cafile {path}: {problem}")


class DescriptionTests(TargetCase):
    def test_notTLS(self) -> None:
        """A target that speaks something else is told apart from one that is not trusted."""
        for greeting in (b"RFB 003.008\n", b"HTTP/1.1 400 Bad Request\r\n", b"220 mail.example ESMTP\r\n"):
            peer = Peer(clientTLS("localhost", authorities=None, insecure=False), self.target())
            peer.say(greeting)
            peer.disconnect()
            self.assertEqual(describeTLSFailure(peer.echo.reason), "the peer does not speak TLS")

    def test_closed(self) -> None:
        """So is one that closes instead of answering, whichever layer noticed."""
        peer = Peer(clientTLS("localhost", authorities=None, insecure=False), self.target())
        peer.disconnect()
        closed = "connection closed during the TLS handshake"
        self.assertEqual(describeTLSFailure(peer.echo.reason), closed)
        unexpected = SSL.SysCallError(-1, "Unexpected EOF")
        for error in (ConnectionDone(), ConnectionLost(), SSL.ZeroReturnError(), SSL.Error([]), unexpected):
            self.assertEqual(describeTLSFailure(error), closed)

    def test_reason(self) -> None:
        """Of OpenSSL's queue of errors the last reason is given; of anything else, its words on one line."""
        queue = [("SSL routines", "", "first"), ("SSL routines", "tls_x", "tlsv1 alert unknown ca")]
        self.assertEqual(describeTLSFailure(SSL.Error(queue)), "tlsv1 alert unknown ca")
        wordless = SSL.Error([("SSL routines", "", "")])
        self.assertEqual(describeTLSFailure(wordless), "the TLS handshake failed")
        self.assertEqual(describeTLSFailure(Failure(ValueError("two\n lines"))), "two lines")
        self.assertEqual(describeTLSFailure(ValueError()), "ValueError")


@implementer(IHandshakeListener)
class Greeter(Protocol):
    """Says hello when the handshake is done."""

    def __init__(self) -> None:
        self.reason: Failure | None = None
        self.ended: defer.Deferred[None] = defer.Deferred()
        self.received = b""

    def handshakeCompleted(self) -> None:
        self.transport.write(b"hello")

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason
        self.ended.callback(None)


class SocketTests(TestCase):
    @defer.inlineCallbacks
    def test_loopback(self) -> Iterator[defer.Deferred[object]]:
        """Across a socket a trusted target echoes; one of another name is left, and the reason is known."""
        folder = Path(self.mktemp())
        folder.mkdir()
        authorities = folder / "ca.pem"
        authorities.write_bytes(pem(AUTHORITY.certificate))
        (folder / "self.pem").write_bytes(AUTHORITY.issue("127.0.0.1").both)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "self.pem")

        def serveOne() -> None:
            plain, _ = listener.accept()
            plain.settimeout(30)
            with plain:
                try:
                    with context.wrap_socket(plain, server_side=True) as tls:
                        tls.sendall(tls.recv(5))
                except OSError:
                    pass

        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(30)
            plain = TCP4ClientEndpoint(reactor, *listener.getsockname())
            for hostname, received, described in (
                ("127.0.0.1", b"hello", None),
                ("localhost", b"", f"{FAILED}: hostname mismatch"),
            ):
                creator = clientTLS(hostname, authorities=str(authorities), insecure=False)
                served = deferToThread(serveOne)
                greeter = yield wrapClientTLS(creator, plain).connect(Factory.forProtocol(Greeter))
                yield greeter.ended
                yield served
                self.assertEqual(greeter.received, received)
                if described is not None:
                    self.assertEqual(describeTLSFailure(greeter.reason), described)
