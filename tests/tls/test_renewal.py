"""Certificate, key and CA files that change while a TLS server runs."""

from __future__ import annotations

import os
import ssl
from datetime import timedelta

from twisted.logger import LogEvent, capturedLogs, formatEvent

from tests.certificates import Authority, pem
from tests.handshake import refusal
from tests.tls.servercase import AUTHORITY, ISSUED, ServerCase, unreadable
from wsproxy.tls.server import ServerTLS

PASSWORD = "correct-horse-battery"


class ReloadTests(ServerCase):
    def setUp(self) -> None:
        super().setUp()
        self.renewed = AUTHORITY.issue("localhost", "renewed")

    def names(self, server: ServerTLS, **settings: object) -> set[str]:
        """Shake hands. @return: whom the server's certificate is for."""
        peer = self.peer(server, **settings)
        peer.exchange()
        return {name for kind, name in peer.tls.getpeercert()["subjectAltName"]}

    def keeps(self, server: ServerTLS) -> str:
        """Shake hands with the old certificate three times. @return: the one line about it."""
        with capturedLogs() as events:
            for _ in range(3):
                self.assertIn("127.0.0.1", self.names(server))
        [line] = lines(events)
        return line.replace(f"{self.folder}/", "")

    def renews(self, server: ServerTLS) -> None:
        """Shake hands with the new certificate three times, and say so once."""
        with capturedLogs() as events:
            for _ in range(3):
                self.assertIn("renewed", self.names(server))
        [line] = lines(events)
        self.assertRegex(line, "^TLS certificate .* reloaded$")

    def test_unchanged(self) -> None:
        """Files that stay are read once."""
        server = self.server()
        context = server.serverConnectionForTLS(None).get_context()
        for _ in range(5):
            self.assertIs(server.serverConnectionForTLS(None).get_context(), context)

    def test_rewritten(self) -> None:
        """A file rewritten in place serves the next handshake."""
        server = self.server()
        self.file("self.pem", self.renewed.both)
        self.renews(server)

    def test_renamed(self) -> None:
        """So does one put in place by rename, even with the old one's size and times."""
        self.file("self.pem", ISSUED.both.ljust(2**12))
        server = self.server()
        old, new = os.stat(self.config.certificate), self.file("new.pem", self.renewed.both.ljust(2**12))
        os.utime(new, ns=(old.st_atime_ns, old.st_mtime_ns))
        os.replace(new, self.config.certificate)
        self.renews(server)

    def test_symlink(self) -> None:
        """So do files behind symlinks that are pointed elsewhere."""
        cert, key = self.folder / "fullchain.pem", self.folder / "privkey.pem"
        cert.symlink_to(self.file("fullchain1.pem", ISSUED.chain))
        key.symlink_to(self.file("privkey1.pem", ISSUED.keyPEM()))
        server = self.server(certificate=str(cert), key=str(key))
        for link, new in (
            (key, self.file("privkey2.pem", self.renewed.keyPEM())),
            (cert, self.file("fullchain2.pem", self.renewed.chain)),
        ):
            (self.folder / "next").symlink_to(new)
            os.replace(self.folder / "next", link)
        self.renews(server)

    def test_reload(self) -> None:
        """C{reload} reads the files before there is a handshake to ask for them."""
        server = self.server()
        self.file("self.pem", self.renewed.both)
        with capturedLogs() as events:
            server.reload()
        self.assertEqual(len(lines(events)), 1)
        self.assertIn("renewed", self.names(server))

    def test_reloadBroken(self) -> None:
        """C{reload} says each time what is wrong, and never raises."""
        server = self.server()
        self.file("self.pem", b"")
        with capturedLogs() as events:
            server.reload()
            server.reload()
        self.assertEqual(len(lines(events)), 2)
        self.assertIn("127.0.0.1", self.names(server))

    def test_openSessions(self) -> None:
        """Connections from before a renewal go on."""
        server = self.server()
        versions = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
        peers = [self.peer(server, self.context(only=only)) for only in versions]
        for peer in peers:
            peer.exchange()
        self.file("self.pem", self.renewed.both)
        self.renews(server)
        for peer in peers:
            self.assertEqual(peer.exchange(b"still here"), b"still here")

    def test_certificateBeforeKey(self) -> None:
        """Between the writing of a certificate and that of its key the old ones serve, with one line."""
        server = self.server(certificate=self.file("cert.pem", ISSUED.chain), key=self.file("key.pem", ISSUED.keyPEM()))
        self.file("cert.pem", self.renewed.chain)
        self.assertEqual(
            self.keeps(server),
            "TLS keeps the certificate in use: --key key.pem: the key does not match the first certificate in cert.pem",
        )
        self.file("key.pem", self.renewed.keyPEM())
        self.renews(server)

    def test_halfWritten(self) -> None:
        """Wherever a file is cut short, the old one serves; each change is one line."""
        server = self.server()
        context = server.serverConnectionForTLS(None).get_context()
        whole = self.renewed.both
        with capturedLogs() as events:
            for length in range(len(whole) - 1):
                self.file("self.pem", whole[:length])
                for _ in range(2):
                    self.assertIs(server.serverConnectionForTLS(None).get_context(), context)
        self.assertEqual(len(lines(events)), len(whole) - 1)
        self.file("self.pem", whole)
        self.renews(server)

    def test_missing(self) -> None:
        """A file that is gone for a while is one line, and is read when it is back."""
        server = self.server()
        os.remove(self.config.certificate)
        self.assertIn("--cert self.pem: No such file or directory", self.keeps(server))
        self.file("self.pem", self.renewed.both)
        self.renews(server)

    def test_privilegesDropped(self) -> None:
        """A new key that the user may not read leaves the old one in use, with one line; a chmod mends it."""
        key = self.file("key.pem", ISSUED.keyPEM())
        server = self.server(key=key)
        self.file("self.pem", self.renewed.chain)
        self.file("key.pem", self.renewed.keyPEM())
        with unreadable(key):
            self.assertIn("Permission denied", self.keeps(server))
        self.renews(server)

    def test_authorities(self) -> None:
        """A changed file of authorities decides about the next client."""
        another = Authority("another")
        client = another.issue("client.example", client=True)
        server = self.server(verifyClient=True, authorities=self.file("ca.pem", pem(AUTHORITY.certificate)))
        self.assertIn("alert unknown ca", refusal(self.peer(server, self.context(client=client))))
        self.file("ca.pem", pem(AUTHORITY.certificate, another.certificate))
        self.assertIn("127.0.0.1", self.names(server, context=self.context(client=client)))

    def test_expired(self) -> None:
        """A renewal that brings an expired certificate is used, and warned about once."""
        server = self.server()
        self.file("self.pem", AUTHORITY.issue("localhost", end=timedelta(hours=-1)).both)
        with capturedLogs() as events:
            for _ in range(3):
                server.serverConnectionForTLS(None)
        self.assertEqual(len([line for line in lines(events) if "CN=localhost expired" in line]), 1)

    def test_noPasswordInLog(self) -> None:
        """No log event holds the password, right or wrong."""
        key = self.file("key.pem", ISSUED.keyPEM(PASSWORD.encode()))
        with capturedLogs() as events:
            server = self.server(key=key, password=PASSWORD)
            server.reload()
            self.file("key.pem", ISSUED.keyPEM(b"something else"))
            server.reload()
            self.file("key.pem", b"")
            server.reload()
        self.assertEqual(len(lines(events)), 3)
        self.assertNotIn(PASSWORD, repr(events))


def lines(events: list[LogEvent]) -> list[str]:
    """What this project logged, formatted."""
    found = [event for event in events if event["log_namespace"].startswith("wsproxy.")]
    return [str(formatEvent(event)) for event in found]
