"""PEM files as operators and half-finished renewals leave them."""

from __future__ import annotations

import os
import ssl
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import Authority, pem
from wsproxy.errors import ConfigError
from wsproxy.tls.pem import CLIENTS, SERVERS, readCertificates, readPEM

AUTHORITY = Authority()
ISSUED = AUTHORITY.issue("localhost")


class PEMTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def complaint(self, content: bytes) -> str:
        self.path.write_bytes(content)
        line = str(self.assertRaises(ConfigError, readCertificates, "--file", str(self.path)))
        self.assertTrue(line.startswith(f"--file {self.path}: "), line)
        return line.removeprefix(f"--file {self.path}: ")

    def test_certificates(self) -> None:
        """All certificates are read, in their order; text and keys between them are passed over."""
        self.path.write_bytes(b"ours\n" + ISSUED.both + b"theirs\n" + pem(AUTHORITY.certificate) + b"end")
        found = readCertificates("--file", str(self.path))
        self.assertEqual(found, (ISSUED.certificate, AUTHORITY.certificate))

    def test_content(self) -> None:
        """The content is returned as it is."""
        self.path.write_bytes(ISSUED.both)
        self.assertEqual(readPEM("--file", str(self.path)), ISSUED.both)

    def test_none(self) -> None:
        """A file may hold no certificate, or nothing."""
        for content in (b"", b"hello", ISSUED.keyPEM()):
            self.assertEqual(self.complaint(content), "no certificate in this file")

    def test_malformed(self) -> None:
        """A certificate may be wrong in armour, structure or version, or in what only OpenSSL looks at."""
        der = ISSUED.certificate.public_bytes(Encoding.DER)
        version, name = b"\xa0\x03\x02\x01\x02", b"localhost"
        for bad in (
            ISSUED.chain.replace(b"M", b"!", 1),
            ISSUED.chain.replace(b"M", b"N", 1),
            ssl.DER_cert_to_PEM_cert(der.replace(version, b"\xa0\x03\x02\x01\x72")).encode(),
            ssl.DER_cert_to_PEM_cert(der.replace(name, b"local\xffost")).encode(),
        ):
            complaint = self.complaint(pem(AUTHORITY.certificate) + bad)
            self.assertEqual(complaint, "a certificate in this file is malformed")

    def openssl(self, *words: str) -> bytes:
        """The authority's certificate, as C{openssl x509} writes it."""
        command = ["openssl", "x509", "-trustout", *words]
        return subprocess.run(command, input=pem(AUTHORITY.certificate), stdout=subprocess.PIPE, check=True).stdout

    def test_trusted(self) -> None:
        """OpenSSL's own kind of certificate is one as well, whatever it says beside, where nobody is to be trusted."""
        for words in ([], ["-addtrust", "clientAuth"], ["-addreject", "emailProtection"], ["-setalias", "ours"]):
            trusted = self.openssl(*words)
            self.assertIn(b"BEGIN TRUSTED CERTIFICATE", trusted)
            self.path.write_bytes(ISSUED.chain + trusted)
            found = readCertificates("--file", str(self.path))
            self.assertEqual(found, (ISSUED.certificate, AUTHORITY.certificate))

    def test_purpose(self) -> None:
        """What it says of an authority is heeded."""
        for words, clients, servers in (
            ([], True, True),
            (["-setalias", "ours"], True, True),
            (["-addtrust", "clientAuth"], True, False),
            (["-addtrust", "serverAuth", "-addtrust", "clientAuth"], True, True),
            (["-addtrust", "anyExtendedKeyUsage"], True, True),
            (["-addtrust", "emailProtection"], False, False),
            (["-addreject", "clientAuth"], False, True),
            (["-addreject", "anyExtendedKeyUsage"], False, False),
        ):
            self.path.write_bytes(self.openssl(*words))
            for purpose, expected in ((CLIENTS, clients), (SERVERS, servers)):
                try:
                    readCertificates("--file", str(self.path), purpose)
                except ConfigError as error:
                    self.assertFalse(expected, (words, purpose))
                    self.assertIn("marked as not trusted for that", str(error))
                else:
                    self.assertTrue(expected, (words, purpose))

    def test_malformedTrust(self) -> None:
        """Such a certificate may be malformed as well, at any place."""
        whole = b64decode(b"".join(self.openssl("-addtrust", "clientAuth").split(b"\n")[1:-2]))
        for size in range(len(whole)):
            cut = b64encode(whole[:size])
            self.path.write_bytes(b"-----BEGIN TRUSTED CERTIFICATE-----\n%b\n-----END TRUSTED CERTIFICATE-----\n" % cut)
            try:
                readCertificates("--file", str(self.path), CLIENTS)
            except ConfigError as error:
                self.assertIn("malformed", str(error))
            else:
                self.assertEqual(whole[:size], AUTHORITY.certificate.public_bytes(Encoding.DER))

    def test_oldName(self) -> None:
        """So is one under its old name."""
        self.path.write_bytes(pem(AUTHORITY.certificate).replace(b" CERTIFICATE", b" X509 CERTIFICATE"))
        self.assertEqual(readCertificates("--file", str(self.path)), (AUTHORITY.certificate,))

    def test_cutShort(self) -> None:
        """A file that ends within a block is not taken for the blocks before it."""
        begin = len("-----BEGIN CERTIFICATE-----")
        for length in range(begin, len(ISSUED.chain) - 1):
            self.assertEqual(self.complaint(ISSUED.both + ISSUED.chain[:length]), "the file is cut short")

    def test_noFile(self) -> None:
        """What is no regular file is not read, nor waited for."""
        path = str(self.path)
        for make, problem in (
            (lambda: None, "No such file or directory"),
            (lambda: os.mkdir(path), "Is a directory"),
            (lambda: (os.rmdir(path), os.mkfifo(path)), "not a regular file"),
        ):
            make()
            error = self.assertRaises(ConfigError, readPEM, "--file", path)
            self.assertEqual(str(error), f"--file {path}: {problem}")
