"""PEM files of certificates, read whole and checked before OpenSSL sees them.

OpenSSL's own loaders name neither option nor file in their complaints, take half a file without one, and wait
for a passphrase on the terminal. Both TLS sides read through here instead, and every complaint is one line.
"""

from __future__ import annotations

import os
import re
import stat
from base64 import b64decode, encodebytes
from collections.abc import Iterator

from cryptography import x509
from OpenSSL.crypto import X509, Error

from wsproxy.errors import ConfigError

__all__ = ["CLIENTS", "SERVERS", "readCertificates", "readPEM"]

CLIENTS = bytes.fromhex("2b06010505070302")
"""What an authority may be trusted for: id-kp-clientAuth, encoded."""

SERVERS = bytes.fromhex("2b06010505070301")
"""The same: id-kp-serverAuth."""

_ANYTHING = bytes.fromhex("551d2500")  # anyExtendedKeyUsage
_TRUSTED_FOR, _REJECTED = 0x30, 0xA0

_TRUSTED = re.compile(rb"-----BEGIN TRUSTED CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END TRUSTED CERTIFICATE-----")


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


def readCertificates(option: str, path: str, purpose: bytes | None = None) -> tuple[x509.Certificate, ...]:
    """
    @param purpose: L{CLIENTS} or L{SERVERS}, of authorities. OpenSSL's C{TRUSTED CERTIFICATE} may say that one is not
        to be trusted for that.
    @return: the certificates of a PEM file in their order, at least one; what else it holds is passed over.
    @raise ConfigError: as L{readPEM}, and where there is no certificate, a malformed one or one that is not trusted.
    """
    pem = readPEM(option, path)
    if not re.search(b"-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----", pem):
        raise ConfigError(f"{option} {path}: no certificate in this file")
    try:
        pem = _TRUSTED.sub(lambda match: _withoutTrust(match[1], purpose), pem)
        certificates = tuple(x509.load_pem_x509_certificates(pem))
        for certificate in certificates:
            # OpenSSL is stricter about some fields, and would say so less clearly when they are used.
            X509.from_cryptography(certificate)
    except _NotTrusted:
        raise ConfigError(f"{option} {path}: a certificate in this file is marked as not trusted for that") from None
    except (ValueError, x509.InvalidVersion, Error):
        raise ConfigError(f"{option} {path}: a certificate in this file is malformed") from None
    return certificates


class _NotTrusted(Exception):
    """Who wrote the file does not want this certificate to be used like that."""


def _withoutTrust(encoded: bytes, purpose: bytes | None) -> bytes:
    """
    A C{TRUSTED CERTIFICATE} as an ordinary one. Behind it is what it is good for (OpenSSL's C{X509_CERT_AUX})::

        SEQUENCE { trusted SEQUENCE OF OID OPTIONAL, rejected [0] SEQUENCE OF OID OPTIONAL, name and key, … }

    @raise ValueError: malformed.
    """
    (_, _, certificate), *more = _elements(b64decode(encoded))
    if purpose is not None and more:
        said = {tag: content for tag, content, _ in _elements(more[0][1])}
        wanted = {purpose, _ANYTHING}
        if wanted & _content(said.get(_REJECTED, b"")) or (
            _TRUSTED_FOR in said and not wanted & _content(said[_TRUSTED_FOR])
        ):
            raise _NotTrusted
    return b"-----BEGIN CERTIFICATE-----\n%b-----END CERTIFICATE-----" % encodebytes(certificate)


def _content(der: bytes) -> set[bytes]:
    return {content for _, content, _ in _elements(der)}


def _elements(der: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """
    The elements that make up C{der}: tag, content, and the whole of it.

    @raise ValueError: it is cut short.
    """
    position = 0
    while position < len(der):
        start, position = position, position + 2
        size = int.from_bytes(der[start + 1 : position], "big")
        if size & 0x80:  # so many bytes of length follow
            begin, position = position, position + (size & 0x7F)
            size = int.from_bytes(der[begin:position], "big")
        end = position + size
        if end > len(der):
            raise ValueError("cut short")
        yield der[start], der[position:end], der[start:end]
        position = end
