"""TLS towards the clients: an OpenSSL context made from the operator's files, made anew when they change::

    Switch ── 0x16 ──► TLSMemoryBIOFactory(ServerTLS(…), False, …, clock) ──► Switch again

What a client meets:

- TLS 1.2 or 1.3 and up, without compression or renegotiation, the server choosing the cipher. The operator's
  list is two in one: names that begin with C{TLS_} are TLS 1.3's suites, the rest is an OpenSSL list for TLS
  1.2; where one of the two names nothing it keeps its default.
- ALPN C{http/1.1}. A client that offers others only is refused with the alert C{no_application_protocol} (RFC
  7301 section 3.2: it would speak h2 next); one that offers nothing is served.
- Session resumption by tickets, in TLS 1.2 also by session id. Keys and cache live in the context: what began
  before a renewal, or in another process, is not resumed but makes a full handshake.

Renewal: each handshake compares the files with what was read.
Renamed over, rewritten in place or reached by a symlink that moved, changed files serve that very handshake.
Files that do not hold together, as between the writing of a certificate and that of its key, leave the old in
use, with one line for each change. So does a key that became unreadable when privileges were dropped: a
renewal then needs files the lesser user may read, or a restart. Connections that are open are never touched.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, ISSLTransport
from twisted.internet.ssl import CertificateOptions
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from wsproxy.config import TLSConfig
from wsproxy.errors import ConfigError
from wsproxy.tls.certificates import Credentials
from wsproxy.tls.client import describeTLSFailure

__all__ = ["VERSIONS", "ServerTLS", "asksForCertificates", "demandsCertificates", "shownCertificate"]

VERSIONS = {"tlsv1_2": SSL.TLS1_2_VERSION, "tlsv1_3": SSL.TLS1_3_VERSION}
"""The oldest versions that C{--ssl-version} may name."""

# Forward secrecy and authenticated encryption, as every TLS 1.2 browser of the last ten years has them.
_DEFAULT_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def asksForCertificates(tls: IOpenSSLServerConnectionCreator | None) -> bool:
    """Whether browsers may be let in by a certificate, which they show by themselves."""
    if isinstance(tls, ServerTLS):
        return tls.asks
    return isinstance(tls, CertificateOptions) and bool(tls.verify)


def demandsCertificates(tls: IOpenSSLServerConnectionCreator | None) -> bool:
    """Whether nobody is let in without one, inside of this TLS."""
    return asksForCertificates(tls) and bool(getattr(tls, "requireCertificate", True))


def shownCertificate(transport: object) -> x509.Certificate | None:
    """@return: the certificate by which the client at the other end of this transport has made itself known."""
    if not ISSLTransport.providedBy(transport):
        return None
    shown = cast(X509 | None, transport.getPeerCertificate())
    return None if shown is None else shown.to_cryptography()


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """The server's side of each TLS connection, for L{twisted.protocols.tls.TLSMemoryBIOFactory}.

    @ivar asks: whether clients are asked for certificates, and refused without.
    """

    _log = Logger()

    def __init__(self, config: TLSConfig, now: Callable[[], float] = time.time) -> None:
        """
        @param now: seconds since the epoch, for the certificate's dates; a reactor's may be counted from anywhere.
        @raise ConfigError: one line naming the option and the file that will not do.
        """
        self.asks = config.verifyClient
        self._config = config
        self._now = now
        paths = (config.certificate, config.key, config.authorities if config.verifyClient else None)
        self._paths = [path for path in paths if path is not None]
        self._seen = self._look()
        self._context = self._load()

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """The look costs 8 µs for three files, OpenSSL's part 9 µs (measured): little beside a handshake."""
        if self._look() != self._seen:
            self.reload()
        return SSL.Connection(self._context)

    def reload(self) -> None:
        """Read the files now, changed or not (SIGHUP). Bad ones are logged, and leave the old in use."""
        # Looked at before they are read: a change in between is found by the next look.
        self._seen = self._look()
        try:
            self._context = self._load()
        except ConfigError as error:
            self._log.error("TLS keeps the certificate in use: {problem}", problem=str(error))
        else:
            self._log.info("TLS certificate {file} reloaded", file=self._config.certificate)

    def _look(self) -> list[object]:
        """The state of the files. The change time tells of a chmod, and of a copy that kept its times."""
        found: list[object] = []
        for path in self._paths:
            try:
                status = os.stat(path)
            except OSError as error:
                found.append(error.errno)
            else:
                found.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
        return found

    def _load(self) -> SSL.Context:
        credentials = Credentials.load(self._config)
        context = _makeContext(self._config, credentials)
        now = datetime.fromtimestamp(self._now(), UTC)
        for problem in credentials.problems(now):
            self._log.warn("--cert {file}: {problem}", file=self._config.certificate, problem=problem)
        return context


def _makeContext(config: TLSConfig, credentials: Credentials) -> SSL.Context:
    """
    Not by L{twisted.internet.ssl.CertificateOptions}: it sets no TLS 1.3 suites, answers a foreign ALPN offer
    with an empty name, and does not tell clients whose certificates are asked for.
    """
    # Any: pyOpenSSL's annotations are narrower than what it takes.
    context: Any = SSL.Context(SSL.TLS_SERVER_METHOD)
    if config.minimum not in VERSIONS:
        raise ConfigError(f"--ssl-version {config.minimum}: neither {' nor '.join(VERSIONS)}")
    context.set_min_proto_version(VERSIONS[config.minimum])
    noRenegotiation = SSL.OP_NO_RENEGOTIATION  # type: ignore[attr-defined, unused-ignore]  # older stubs lack it
    context.set_options(SSL.OP_NO_COMPRESSION | noRenegotiation | SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # Without one, OpenSSL fails the resumption of a session that had a client certificate.
    context.set_session_id(b"wsproxy")
    context.set_alpn_select_callback(_selectProtocol)

    names = re.split("[:;, ]+", config.ciphers or "")
    suites = [name for name in names if name.startswith("TLS_")]
    ciphers = [name for name in names if name and name not in suites]
    try:
        context.set_cipher_list(":".join(ciphers).encode() or _DEFAULT_CIPHERS.encode())
        if suites:
            context.set_tls13_ciphersuites(":".join(suites).encode())
    except SSL.Error as error:
        raise ConfigError(f"--ssl-ciphers {config.ciphers}: {describeTLSFailure(error)}") from None

    try:
        context.use_privatekey(credentials.key)
        context.use_certificate(credentials.chain[0])
        for certificate in credentials.chain[1:]:
            context.add_extra_chain_cert(certificate)
    except (SSL.Error, TypeError) as error:
        raise ConfigError(f"--cert {config.certificate}: {describeTLSFailure(error)}") from None

    if credentials.authorities:
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
        for authority in credentials.authorities:
            context.get_cert_store().add_cert(X509.from_cryptography(authority))
            context.add_client_ca(authority)
    made: SSL.Context = context
    return made


def _selectProtocol(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    if b"http/1.1" in offered:
        return b"http/1.1"
    # pyOpenSSL sends the alert for whatever is raised here, then raises it where Twisted looks for SSL.Error.
    raise SSL.Error([("SSL routines", "", "no application protocol")])
