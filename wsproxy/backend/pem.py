"""PEM files of certificates, read whole and checked before OpenSSL sees them.

OpenSSL's own loaders name neither option nor file in their complaints, take half a file without one, and wait
for a passphrase on the terminal. Both TLS sides read through here instead, and every complaint is one line.
"""

from __future__ import annotations

import os
import stat

from cryptography import x509
from OpenSSL.crypto import X509, Error

from wsproxy.errors import ConfigError

__all__ = ["readCertificates", "readPEM"]


def _openNow(path: str, flags: int) -> int:
    """Open without waiting: a FIFO nobody writes to would otherwise stop the reactor."""
    return os.open(path, flags | os.O_NONBLOCK)


def readPEM(option: str, path: str) -> bytes:
    """
    @param option: the option that named the file, for the complaint.
    @return: the content of a regular file that does not end in the middle of a PEM block, as one does that is
        just being written.
    @raise ConfigError: where there is no such file, or it cannot be read, or it is cut short.
    """
    try:
        with open(path, "rb", opener=_openNow) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(f"{option} {path}: not a regular file")
            pem = file.read()
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}") from None
    afterLastEnd = pem.rpartition(b"-----END ")[2]
    if b"-----BEGIN " in pem and (b"-----BEGIN " in afterLastEnd or b"-----" not in afterLastEnd):
        raise ConfigError(f"{option} {path}: the file is cut short")
    return pem


def readCertificates(option: str, path: str) -> tuple[x509.Certificate, ...]:
    """
    @return: the certificates of a PEM file in their order, at least one; what else it holds is passed over.
    @raise ConfigError: as L{readPEM}, and where there is no certificate or a malformed one.
    """
    pem = readPEM(option, path)
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise ConfigError(f"{option} {path}: no certificate in this file")
    try:
        certificates = tuple(x509.load_pem_x509_certificates(pem))
        for certificate in certificates:
            # OpenSSL is stricter about some fields, and would say so less clearly when they are used.
            X509.from_cryptography(certificate)
    except (ValueError, x509.InvalidVersion, Error):
        raise ConfigError(f"{option} {path}: a certificate in this file is malformed") from None
    return certificates
