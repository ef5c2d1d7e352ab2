"""TLS towards the clients, with real handshakes: in memory, and once over a socket."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from socket import create_connection

from OpenSSL import SSL
from twisted.internet import defer, reactor
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.certificates import Authority, pem
from tests.handshake import Echo, refusal
from tests.tls.servercase import AUTHORITY, ISSUED, ServerCase
from wsproxy.config import TLSConfig
from wsproxy.tls.client import describeTLSFailure
from wsproxy.tls.server import ServerTLS, asksForCertificates

CLIENT = AUTHORITY.issue("client.example", client=True)


class HandshakeTests(ServerCase):
    def test_interface(self) -> None:
        """It is what Twisted's TLS factory takes."""
        verifyObject(IOpenSSLServerConnectionCreator, self.server())

    def test_versions(self) -> None:
        """TLS 1.2 and 1.3 are spoken."""
        for only, version in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            peer = self.peer(self.server(), self.context(only=only))
            self.assertEqual(peer.exchange(b"hello"), b"hello")
            self.assertEqual(peer.tls.version(), version)

    def test_oldVersion(self) -> None:
        """TLS 1.1 is answered with the alert protocol_version."""
        old = self.context()
        old.set_ciphers("DEFAULT@SECLEVEL=0")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        self.assertIn("alert protocol version", refusal(self.peer(self.server(), old)))

    test_oldVersion.suppress = [(("ignore",), {"category": DeprecationWarning})]

    def test_minimum(self) -> None:
        """With C{tlsv1_3} as the minimum TLS 1.2 is refused, and TLS 1.3 spoken."""
        server = self.server(minimum="tlsv1_3")
        context = self.context(only=ssl.TLSVersion.TLSv1_2)
        self.assertIn("alert protocol version", refusal(self.peer(server, context)))
        self.assertEqual(self.peer(server).exchange(b"hello"), b"hello")

    def test_defaultCiphers(self) -> None:
        """TLS 1.2 without authenticated encryption is refused, unless the operator's list names it."""
        context = self.context(only=ssl.TLSVersion.TLSv1_2)
        context.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
        self.assertIn("alert handshake failure", refusal(self.peer(self.server(), context)))
        peer = self.peer(self.server(ciphers="ECDHE-ECDSA-AES128-SHA256"), context)
        self.assertEqual(peer.exchange(b"hello"), b"hello")

    def test_ciphers(self) -> None:
        """Of the operator's list TLS 1.2 and TLS 1.3 each use what is theirs, whichever separator is used."""
        server = self.server(ciphers="ECDHE+CHACHA20, TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256")
        self.assertEqual(self.cipher(server, ssl.TLSVersion.TLSv1_2), "ECDHE-ECDSA-CHACHA20-POLY1305")
        self.assertEqual(self.cipher(server, ssl.TLSVersion.TLSv1_3), "TLS_AES_128_GCM_SHA256")

    def test_ciphersOfOneVersion(self) -> None:
        """A list that names suites of one version only leaves the other's default."""
        modern = self.server(ciphers="TLS_CHACHA20_POLY1305_SHA256")
        self.assertEqual(self.cipher(modern, ssl.TLSVersion.TLSv1_2), "ECDHE-ECDSA-AES256-GCM-SHA384")
        self.assertEqual(self.cipher(modern, ssl.TLSVersion.TLSv1_3), "TLS_CHACHA20_POLY1305_SHA256")
        classic = self.server(ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
        self.assertEqual(self.cipher(classic, ssl.TLSVersion.TLSv1_2), "ECDHE-ECDSA-AES128-GCM-SHA256")
        self.assertEqual(self.cipher(classic, ssl.TLSVersion.TLSv1_3), "TLS_AES_256_GCM_SHA384")

    def cipher(self, server: ServerTLS, only: ssl.TLSVersion) -> str:
        peer = self.peer(server, self.context(only=only))
        peer.exchange()
        return peer.tls.cipher()[0]

    def test_ALPN(self) -> None:
        """http/1.1 is chosen wherever it is offered; a client that offers nothing is served."""
        for offered, chosen in ((["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (None, None)):
            context = self.context()
            if offered:
                context.set_alpn_protocols(offered)
            peer = self.peer(self.server(), context)
            self.assertEqual(peer.exchange(b"hello"), b"hello")
            self.assertEqual(peer.tls.selected_alpn_protocol(), chosen)

    def test_foreignALPN(self) -> None:
        """A client that offers h2 only gets the alert no_application_protocol, and the server knows why."""
        context = self.context()
        context.set_alpn_protocols(["h2"])
        peer = self.peer(self.server(), context)
        self.assertIn("no application protocol", refusal(peer))
        self.assertTrue(peer.transport.disconnecting)
        peer.disconnect()
        self.assertEqual(describeTLSFailure(peer.echo.reason), "no application protocol")

    def test_options(self) -> None:
        """Neither compression nor renegotiation rests on what OpenSSL's default is."""
        connection = self.server().serverConnectionForTLS(None)
        # older versions of pyOpenSSL have it with the context, which newer ones do not allow
        options = getattr(connection, "set_options", connection.get_context().set_options)(0)
        self.assertTrue(options & SSL.OP_NO_COMPRESSION)
        self.assertTrue(options & SSL.OP_NO_RENEGOTIATION)

    def test_renegotiation(self) -> None:
        """A client that asks to renegotiate is refused, and gets no second handshake."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = SSL.Connection(context)
        client.set_connect_state()
        factory = TLSMemoryBIOFactory(self.server(), False, Factory.forProtocol(Echo), self.clock)
        server, transport = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)), StringTransport()
        server.makeConnection(transport)

        def shakeHands() -> None:
            while True:
                try:
                    return client.do_handshake()
                except SSL.WantReadError:
                    server.dataReceived(client.bio_read(2**16))
                    client.bio_write(transport.value())
                    transport.clear()

        shakeHands()
        client.renegotiate()
        error = self.assertRaises(SSL.Error, shakeHands)
        self.assertEqual(describeTLSFailure(error), "no renegotiation")


class ResumptionTests(ServerCase):
    def resumes(self, server: ServerTLS, context: ssl.SSLContext) -> bool:
        first = self.peer(server, context)
        first.exchange()
        self.assertFalse(first.tls.session_reused)
        second = self.peer(server, context, session=first.tls.session)
        second.exchange()
        return second.tls.session_reused

    def test_resumption(self) -> None:
        """Sessions of TLS 1.2 and 1.3 are resumed."""
        for only in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.assertTrue(self.resumes(self.server(), self.context(only=only)))

    def test_sessionId(self) -> None:
        """A TLS 1.2 client without tickets resumes by its session id."""
        context = self.context(only=ssl.TLSVersion.TLSv1_2)
        context.options |= ssl.OP_NO_TICKET
        self.assertTrue(self.resumes(self.server(), context))

    def test_clientCertificate(self) -> None:
        """So are sessions of clients that had to show a certificate."""
        server = self.server(verifyClient=True, authorities=self.file("ca.pem", pem(AUTHORITY.certificate)))
        for only in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.assertTrue(self.resumes(server, self.context(client=CLIENT, only=only)))

    def test_afterRenewal(self) -> None:
        """A session from before a renewal makes a full handshake, and sees the new certificate."""
        server, context = self.server(), self.context()
        first = self.peer(server, context)
        first.exchange()
        self.file("self.pem", AUTHORITY.issue("localhost", "renewed").both)
        server.reload()
        second = self.peer(server, context, session=first.tls.session)
        second.exchange()
        self.assertFalse(second.tls.session_reused)
        self.assertIn(("DNS", "renewed"), second.tls.getpeercert()["subjectAltName"])


class ClientCertificateTests(ServerCase):
    def setUp(self) -> None:
        super().setUp()
        authorities = self.file("ca.pem", pem(Authority("another").certificate, AUTHORITY.certificate))
        self.config = replace(self.config, verifyClient=True, authorities=authorities)

    def test_accepted(self) -> None:
        """A client with a certificate of any authority in the file is served, directly or by a chain."""
        below = Authority("intermediate", AUTHORITY).issue("client.example", client=True)
        for client in (CLIENT, below):
            peer = self.peer(self.server(), self.context(client=client))
            self.assertEqual(peer.exchange(b"hello"), b"hello")

    def test_asks(self) -> None:
        """It is known whether browsers may be let in by a certificate, whoever made the settings."""
        twisted = PrivateCertificate.loadPEM(ISSUED.both)
        for tls in (self.server(), twisted.options(twisted)):
            self.assertTrue(asksForCertificates(tls))
        for tls in (self.server(verifyClient=False), twisted.options(), None):
            self.assertFalse(asksForCertificates(tls))

    def test_missing(self) -> None:
        """A client without a certificate is refused, in TLS 1.2 and 1.3."""
        old = self.context(only=ssl.TLSVersion.TLSv1_2)
        self.assertIn("alert handshake failure", refusal(self.peer(self.server(), old)))
        self.assertIn("alert certificate required", refusal(self.peer(self.server())))

    def test_unacceptable(self) -> None:
        """A client is refused with a stranger's certificate, an expired one, or a server's."""
        expired = AUTHORITY.issue("client.example", client=True, end=timedelta(hours=-1))
        for client, alert in (
            (Authority("stranger").issue("client.example", client=True), "alert unknown ca"),
            (expired, "alert certificate expired"),
            (ISSUED, "alert unsupported certificate"),
        ):
            self.assertIn(alert, refusal(self.peer(self.server(), self.context(client=client))))

    def test_authoritiesAreTold(self) -> None:
        """The server tells which authorities it trusts, so that a browser offers the right certificate."""
        names = [str(name) for name in self.server().serverConnectionForTLS(None).get_client_ca_list()]
        self.assertEqual(len(names), 2)
        self.assertIn("another", names[0])

    def test_notAsked(self) -> None:
        """Without C{verifyClient} no certificate is asked for, and the file of authorities is not read."""
        server = self.server(verifyClient=False, authorities="/nowhere")
        self.assertEqual(self.peer(server).exchange(b"hello"), b"hello")


class SocketTests(TestCase):
    @defer.inlineCallbacks
    def test_loopback(self) -> Iterator[defer.Deferred[set[str]]]:
        """A client across a socket sees the certificate of the moment, on one port."""
        path = Path(self.mktemp())
        path.write_bytes(ISSUED.both)
        server = ServerTLS(TLSConfig(str(path)))
        factory = TLSMemoryBIOFactory(server, False, Factory.forProtocol(Echo), reactor)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        context = ssl.create_default_context(cadata=pem(AUTHORITY.certificate).decode())

        def names() -> set[str]:
            address = ("127.0.0.1", port.getHost().port)
            plain = create_connection(address, 30)
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                tls.sendall(b"hello")
                self.assertEqual(tls.recv(5), b"hello")
                return {name for kind, name in tls.getpeercert()["subjectAltName"]}

        self.assertEqual((yield deferToThread(names)), {"localhost", "127.0.0.1", "0:0:0:0:0:0:0:1"})
        path.write_bytes(AUTHORITY.issue("localhost", "renewed").both)
        server.reload()
        self.assertEqual((yield deferToThread(names)), {"localhost", "renewed"})
