"""Throw-away authorities and certificates: EC P-256, made in a millisecond, worthless to anyone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["LOCAL", "Authority", "Issued", "pem", "selfSigned"]

LOCAL = ("localhost", "127.0.0.1", "::1")
"""The names and addresses of this host, for a certificate's subjectAltName."""

# Strict verifiers, as Python 3.13's default is, want it of an authority.
_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def pem(*certificates: x509.Certificate) -> bytes:
    """The certificates as one PEM file, in their order."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


@dataclass(frozen=True)
class Issued:
    """A certificate, the intermediate ones that lead to its root, and its key."""

    certificate: x509.Certificate
    intermediates: tuple[x509.Certificate, ...]
    key: CertificateIssuerPrivateKeyTypes

    @property
    def chain(self) -> bytes:
        """PEM: the certificate, then the intermediate ones, without the root."""
        return pem(self.certificate, *self.intermediates)

    def keyPEM(self, password: bytes | None = None, traditional: bool = False) -> bytes:
        """PEM: PKCS#8, or with C{traditional} the older form; encrypted where there is a password."""
        encryption: KeySerializationEncryption = NoEncryption()
        if password is not None:
            encryption = BestAvailableEncryption(password)
        form = PrivateFormat.TraditionalOpenSSL if traditional else PrivateFormat.PKCS8
        return self.key.private_bytes(Encoding.PEM, form, encryption)

    @property
    def both(self) -> bytes:
        """PEM: chain and key in one file, as C{self.pem} has them."""
        return self.chain + self.keyPEM()


class Authority:
    """A certificate authority: a root, or an intermediate one that another signed."""

    def __init__(self, name: str = "wsproxy test authority", issuer: Authority | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._above: tuple[x509.Certificate, ...] = ()
        signer = self if issuer is None else issuer
        builder = _builder(self._name, self.key, signer, timedelta(days=-1), timedelta(days=365))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_SIGNS, critical=True)
        self.certificate = builder.sign(signer.key, SHA256())
        if issuer is not None:
            self._above = (self.certificate, *issuer._above)

    def issue(
        self,
        *names: str,
        commonName: str | None = None,
        begin: timedelta = timedelta(days=-1),
        end: timedelta = timedelta(days=90),
        client: bool = False,
        key: CertificateIssuerPrivateKeyTypes | None = None,
    ) -> Issued:
        """
        @param names: DNS names and IP addresses; without any the certificate has a common name only.
        @param commonName: the subject's, instead of the first name.
        @param begin: when it becomes valid, from now.
        @param end: when it expires, from now.
        @param client: for a TLS client rather than a server.
        @param key: its key, instead of a new one.
        """
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, commonName or names[0])])
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = _builder(subject, key, self, begin, end)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        return Issued(builder.sign(self.key, SHA256()), self._above, key)


def selfSigned(*names: str) -> Issued:
    """A certificate that nobody but its own key vouches for, as C{openssl req -x509} makes them."""
    own = Authority(names[0])
    return own.issue(*names, key=own.key)


def _builder(
    subject: x509.Name,
    key: CertificateIssuerPrivateKeyTypes,
    issuer: Authority,
    begin: timedelta,
    end: timedelta,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    issuerKey = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer._name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuerKey, critical=False)
    )


def _alternatives(names: Iterable[str]) -> Iterable[x509.GeneralName]:
    for name in names:
        try:
            yield x509.IPAddress(ip_address(name))
        except ValueError:
            yield x509.DNSName(name)
