"""ClientCertCNAuth: clients by the common name of the certificate that TLS has verified, and by no header."""

from __future__ import annotations

from zope.interface import implementer

from wsproxy.errors import ConfigError, Refusal
from wsproxy.escape import escape
from wsproxy.interfaces import IAuthenticator, Identity, Request
from wsproxy.plugins.headers import commonName

__all__ = ["CertificateAuthenticator"]


@implementer(IAuthenticator)
class CertificateAuthenticator:
    """
    @param source: the common names of those who may come in, with blanks between.
    @raise ConfigError: there are none.
    """

    def __init__(self, source: str) -> None:
        self._names = frozenset(source.split())
        if not self._names:
            raise ConfigError("--auth-source: expected common names, with blanks between")

    def authenticate(self, request: Request) -> Identity:
        name = None if request.certificate is None else commonName(request.certificate)
        if name is None:
            raise Refusal(403, "Certificate needed", cause="no certificate with one common name")
        if name not in self._names:
            raise Refusal(403, "Not allowed", cause=f"certificate of {escape(name)}: not in --auth-source")
        return Identity(name)
