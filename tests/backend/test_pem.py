"""PEM files as operators and half-finished renewals leave them."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import Authority, pem
from wsproxy.backend.pem import readCertificates, readPEM
from wsproxy.errors import ConfigError

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
