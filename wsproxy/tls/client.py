"""TLS towards a target (C{tls:host:port}): whom to trust, and what to say when trust fails.

Twisted's L{optionsForClientTLS} makes the connection: TLS 1.2 up, IDNA, SNI for names (RFC 6066 section 3
forbids it for addresses). Only its verdict is replaced, by one that checks the same and keeps the reason:
Twisted's drops OpenSSL's error number, so that an expired certificate and an unknown authority read alike.
"""

from __future__ import annotations

from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.error import ConnectionClosed, VerifyError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.errors import ConfigError
from wsproxy.tls.pem import SERVERS, readCertificates

__all__ = ["clientTLS", "describeTLSFailure"]

# X509_V_ERR_* of OpenSSL's x509_vfy.h; pyOpenSSL has no public X509_verify_cert_error_string.
_PROBLEMS = {
    2: "unknown authority",
    9: "not yet valid",
    10: "expired",
    18: "self-signed certificate",
    19: "self-signed certificate in its chain",
    20: "unknown authority",
    21: "unknown authority",
    26: "not a server's certificate",
}


@implementer(IOpenSSLClientConnectionCreator)
class _VerifiedTLS:
    """Connections that fail with a L{VerifyError} telling why a certificate is not accepted."""

    def __init__(self, creator: IOpenSSLClientConnectionCreator, hostname: str) -> None:
        self._creator = creator
        self._hostname = hostname

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = self._creator.clientConnectionForTLS(tlsProtocol)
        connection.set_verify(SSL.VERIFY_PEER, self._verify)
        return connection

    def _verify(self, connection: SSL.Connection, certificate: X509, error: int, depth: int, ok: int) -> bool:
        """OpenSSL's verdict on each certificate of the chain, from the root down to the leaf at depth 0."""
        if ok and depth != 0:
            return True
        problem = self._mismatch(certificate) if ok else _PROBLEMS.get(error, f"error {error}")
        if problem is None:
            return True
        # pyOpenSSL swallows what a connection's callback raises, so the reason travels by the protocol.
        protocol: TLSMemoryBIOProtocol = connection.get_app_data()
        protocol.failVerification(Failure(VerifyError(f"certificate verify failed: {problem}")))
        return False

    def _mismatch(self, certificate: X509) -> str | None:
        """The host stays unnamed: a client that reads the reason need not know where its token leads."""
        isAddress = isIPAddress(self._hostname) or isIPv6Address(self._hostname)
        verify = verify_certificate_ip_address if isAddress else verify_certificate_hostname
        try:
            verify(certificate.to_cryptography(), self._hostname)
        except (CertificateError, VerificationError):
            return "IP address mismatch" if isAddress else "hostname mismatch"
        return None


@implementer(IOpenSSLClientConnectionCreator)
class _UnverifiedTLS:
    """Connections that accept any certificate; names are still sent by SNI."""

    def __init__(self, creator: IOpenSSLClientConnectionCreator) -> None:
        self._creator = creator

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = self._creator.clientConnectionForTLS(tlsProtocol)
        # OpenSSL asks even under VERIFY_NONE, and given no callback it would go on asking Twisted's.
        connection.set_verify(SSL.VERIFY_NONE, lambda *verdict: True)
        return connection


def clientTLS(
    hostname: str, *, authorities: str | None, insecure: bool, option: str = "--target-cafile"
) -> IOpenSSLClientConnectionCreator:
    """
    How to speak TLS with C{hostname}. Make one for each target and keep it: its first connection reads the
    platform's authorities, which takes 20 ms (measured, 144 of them).

    @param hostname: a DNS name, or an IP address, which is then looked for among the certificate's addresses.
    @param authorities: a PEM file of the authorities to trust instead of the platform's.
    @param insecure: accept any certificate.
    @param option: by which C{authorities} were given, for complaints.
    @raise ConfigError: where C{authorities} is not such a file, or C{hostname} cannot be a host's name.
    """
    trust = platformTrust()
    if authorities is not None:
        trust = trustRootFromCertificates(
            [
                Certificate(X509.from_cryptography(certificate))
                for certificate in readCertificates(option, authorities, SERVERS)
            ]
        )
    try:
        creator = optionsForClientTLS(hostname, trustRoot=trust)
    except UnicodeError:
        raise ConfigError(f"tls:{hostname}: not a host name") from None
    return _UnverifiedTLS(creator) if insecure else _VerifiedTLS(creator, hostname)


def describeTLSFailure(failure: Failure | BaseException) -> str:
    """
    @param failure: what C{connectionLost} was given, or what an OpenSSL call raised.
    @return: one short line, fit for a close reason or a log.
    """
    error = failure.value if isinstance(failure, Failure) else failure
    closed = "connection closed during the TLS handshake"
    if isinstance(error, SSL.SysCallError | ConnectionClosed):
        return closed
    if isinstance(error, SSL.Error):
        # An empty error queue is OpenSSL 4's way to report an end of file.
        reason: str = error.args[0][-1][2] if any(error.args) else closed
        # What OpenSSL makes of bytes that are no TLS record.
        if reason == "wrong version number":
            return "the peer does not speak TLS"
        # Not every alert has a text.
        return reason or "the TLS handshake failed"
    return " ".join(str(error).split()) or type(error).__name__
