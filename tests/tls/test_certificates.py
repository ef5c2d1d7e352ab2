"""The operator's certificate, key and CA files, as a TLS server takes them or complains of them."""

from __future__ import annotations

import base64
import os
import pty
import ssl
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.logger import capturedLogs, formatEvent

from tests.certificates import Authority, Issued, pem
from tests.tls.servercase import AUTHORITY, ISSUED, ServerCase, unreadable
from wsproxy.errors import ConfigError

PASSWORD = "correct-horse-battery"


class FileTests(ServerCase):
    def served(self, **changes: object) -> None:
        self.assertEqual(self.peer(self.server(**changes)).exchange(b"hello"), b"hello")

    def test_oneFile(self) -> None:
        """Certificate and key share a file, in either order, with text and DOS line ends around them."""
        self.served()
        self.served(certificate=self.file("b.pem", b"Key Attributes\n" + ISSUED.keyPEM() + ISSUED.chain))
        self.served(certificate=self.file("dos.pem", ISSUED.both.replace(b"\n", b"\r\n")))

    def test_ownKeyFile(self) -> None:
        """The key may have a file of its own, in PKCS#8 or the older form."""
        for traditional in (False, True):
            key = self.file("key.pem", ISSUED.keyPEM(traditional=traditional))
            self.served(certificate=self.file("cert.pem", ISSUED.chain), key=key)

    def test_password(self) -> None:
        """An encrypted key is opened with the password, whichever form it has; one that is not needs none."""
        for traditional in (False, True):
            key = self.file("key.pem", ISSUED.keyPEM(PASSWORD.encode(), traditional))
            self.served(key=key, password=PASSWORD)
        self.served(password=PASSWORD)

    def test_chain(self) -> None:
        """Intermediate certificates after the server's own are sent: a client needs only the root."""
        below = Authority("second", Authority("first", AUTHORITY)).issue("localhost")
        self.assertEqual(len(below.intermediates), 2)
        self.served(certificate=self.file("chain.pem", below.both))

    def test_RSA(self) -> None:
        """RSA keys serve as well."""
        issued = AUTHORITY.issue("localhost", key=rsa.generate_private_key(65537, 2048))
        self.served(certificate=self.file("rsa.pem", issued.both))


class ComplaintTests(ServerCase):
    """Each wrong file or option is one line, which names it."""

    def complaint(self, **changes: object) -> str:
        line = str(self.assertRaises(ConfigError, self.server, **changes)).replace(f"{self.folder}/", "")
        self.assertNotIn("\n", line)
        self.assertNotIn(PASSWORD, line)
        return line

    def test_noFile(self) -> None:
        """A missing file, and what is no file at all: a folder, a FIFO (which is not waited for)."""
        missing, fifo = str(self.folder / "missing"), str(self.folder / "fifo")
        os.mkfifo(fifo)
        self.assertEqual(self.complaint(certificate=missing), "--cert missing: No such file or directory")
        self.assertEqual(self.complaint(key=missing), "--key missing: No such file or directory")
        self.assertEqual(self.complaint(certificate=fifo), "--cert fifo: not a regular file")
        self.assertIn("Is a directory", self.complaint(certificate=str(self.folder)))

    def test_unreadable(self) -> None:
        """A file of somebody else's."""
        key = self.file("key.pem", ISSUED.keyPEM())
        with unreadable(key):
            self.assertIn("Permission denied", self.complaint(key=key))

    def test_certificate(self) -> None:
        """A file without a certificate, with a malformed one, or cut short."""
        text = self.file("text", b"hello")
        self.assertEqual(self.complaint(certificate=text), "--cert text: no certificate in this file")
        bad = self.file("bad", ISSUED.chain.replace(b"M", b"N", 1))
        line = self.complaint(certificate=bad)
        self.assertEqual(line, "--cert bad: a certificate in this file is malformed")
        for part in (ISSUED.chain[:200], ISSUED.chain[:-8]):
            cut = self.file("cut", ISSUED.both + part)
            self.assertEqual(self.complaint(certificate=cut), "--cert cut: the file is cut short")

    def test_key(self) -> None:
        """A file without a key, with a malformed one, with another certificate's."""
        chain = self.file("chain", ISSUED.chain)
        self.assertEqual(self.complaint(certificate=chain), "--cert chain: no private key in this file")
        self.assertEqual(self.complaint(key=chain), "--key chain: no private key in this file")
        bad = self.file("bad", ISSUED.keyPEM().replace(b"M", b"N", 1))
        self.assertEqual(self.complaint(key=bad), "--key bad: the private key is malformed")
        other = self.file("other", AUTHORITY.issue("other.example").keyPEM())
        mismatch = "the key does not match the first certificate in self.pem"
        self.assertEqual(self.complaint(key=other), f"--key other: {mismatch}")

    def test_kindOfKey(self) -> None:
        """A key of a kind that cannot sign, or that is not known at all."""
        issued = AUTHORITY.issue("localhost", key=x25519.X25519PrivateKey.generate())
        path = self.file("x25519", issued.both)
        self.assertEqual(self.complaint(certificate=path), "--cert x25519: Unsupported key type")
        # RFC 8410 gave 1.3.101.110 to X25519; 1.3.101.99 is nobody's.
        pkcs8 = issued.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        certificate = issued.certificate.public_bytes(Encoding.DER)
        pems = []
        for label, der in (("PRIVATE KEY", pkcs8), ("CERTIFICATE", certificate)):
            text = base64.encodebytes(der.replace(b"\x2b\x65\x6e", b"\x2b\x65\x63")).decode()
            pems.append(f"-----BEGIN {label}-----\n{text}-----END {label}-----\n".encode())
        key, cert = self.file("key", pems[0]), self.file("cert", pems[1] + ISSUED.keyPEM())
        malformed = "--key key: the private key is malformed"  # to older versions of cryptography
        self.assertIn(self.complaint(key=key), ("--key key: the private key is of no known kind", malformed))
        self.assertEqual(self.complaint(certificate=cert), "--cert cert: its key is of no known kind")

    def test_chainOrder(self) -> None:
        """A chain that does not begin with the server's own certificate."""
        below = Authority("intermediate", AUTHORITY).issue("localhost")
        wrong = self.file("wrong", pem(*below.intermediates, below.certificate) + below.keyPEM())
        line = "--cert wrong: the key does not match the first certificate in wrong"
        self.assertEqual(self.complaint(certificate=wrong), line)

    def test_weakKey(self) -> None:
        """A key that OpenSSL holds to be too weak."""
        weak = rsa.generate_private_key(65537, 1024)
        path = self.file("weak", AUTHORITY.issue("localhost", key=weak).both)
        self.assertEqual(self.complaint(certificate=path), "--cert weak: ee key too small")

    def test_password(self) -> None:
        """A key that needs a password which is wrong, empty or not given; the password is not repeated."""
        for traditional in (False, True):
            key = self.file("key", ISSUED.keyPEM(b"something else", traditional))
            self.assertEqual(
                self.complaint(key=key, password=PASSWORD), "--key key: --key-password does not open the key"
            )
            for none in (None, ""):
                self.assertEqual(
                    self.complaint(key=key, password=none),
                    "--key key: the key is encrypted and needs --key-password",
                )

    def test_noPrompt(self) -> None:
        """A missing password is not asked for on the terminal."""
        key = self.file("key.pem", ISSUED.keyPEM(b"secret", traditional=True))
        code = (
            "from wsproxy.config import TLSConfig;"
            "from wsproxy.tls.server import ServerTLS;"
            f"ServerTLS(TLSConfig({self.config.certificate!r}, {key!r}))"
        )
        terminal, slave = pty.openpty()
        try:
            # In a session of its own it has no /dev/tty: OpenSSL would ask on standard error.
            process = subprocess.run(
                [sys.executable, "-c", code],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
                timeout=60,
                check=False,
            )
            said = os.read(terminal, 2**16)
        finally:
            os.close(slave)
            os.close(terminal)
        self.assertEqual(process.returncode, 1)
        self.assertIn(b"ConfigError", said)
        self.assertNotIn(b"pass phrase", said)

    def test_ciphers(self) -> None:
        """A cipher list of which OpenSSL knows nothing."""
        self.assertEqual(self.complaint(ciphers="ROT13"), "--ssl-ciphers ROT13: no cipher match")
        self.assertIn("--ssl-ciphers TLS_ROT13:", self.complaint(ciphers="TLS_ROT13"))
        self.assertIn("--ssl-ciphers \N{SNOWMAN}:", self.complaint(ciphers="\N{SNOWMAN}"))

    def test_minimum(self) -> None:
        """A version that is none."""
        self.assertEqual(self.complaint(minimum="ssl2"), "--ssl-version ssl2: neither tlsv1_2 nor tlsv1_3")

    def test_authorities(self) -> None:
        """A file of authorities that is none, and no file at all: public authorities would let anyone in."""
        missing, text = str(self.folder / "missing"), self.file("text", b"hello")
        for path, problem in ((missing, "No such file or directory"), (text, "no certificate in this file")):
            line = self.complaint(verifyClient=True, authorities=path)
            self.assertEqual(line, f"--cafile {Path(path).name}: {problem}")
        line = self.complaint(verifyClient=True)
        self.assertEqual(line, "--verify-client: needs --cafile, the authorities of the clients")


class ValidityTests(ServerCase):
    """A certificate out of its time is served all the same, with a warning."""

    def warnings(self, issued: Issued) -> list[str]:
        with capturedLogs() as events:
            self.server(certificate=self.file("dated.pem", issued.both))
        self.assertTrue(all(event["log_level"].name == "warn" for event in events))
        return [formatEvent(event).replace(f"{self.folder}/", "") for event in events]

    def test_valid(self) -> None:
        """One that is valid for more than two weeks is no matter."""
        self.assertEqual(self.warnings(AUTHORITY.issue("localhost", end=timedelta(days=14, hours=1))), [])

    def test_expired(self) -> None:
        """An expired one serves whoever still takes it."""
        issued = AUTHORITY.issue("localhost", end=timedelta(hours=-1))
        [line] = self.warnings(issued)
        self.assertRegex(line, r"^--cert dated.pem: the certificate of CN=localhost expired at \S+ \S+ UTC$")
        context = self.context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        server = self.server(certificate=str(self.folder / "dated.pem"))
        self.assertEqual(self.peer(server, context).exchange(b"hello"), b"hello")

    def test_notYetValid(self) -> None:
        """So does one from the future."""
        [line] = self.warnings(AUTHORITY.issue("localhost", begin=timedelta(days=2)))
        self.assertRegex(line, r"of CN=localhost is not valid before \S+ \S+ UTC$")

    def test_soon(self) -> None:
        """One that expires within two weeks is mentioned."""
        [line] = self.warnings(AUTHORITY.issue("localhost", end=timedelta(days=13)))
        self.assertRegex(line, r"of CN=localhost expires at \S+ \S+ UTC$")
