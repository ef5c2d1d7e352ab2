"""A request's headers as the original's classes know them: what http.server has of a request.

A verified certificate's common name is among them as C{SSL_CLIENT_S_DN_CN}, which Apache began. So nothing that a
client sends can begin with C{SSL_}.
"""

from __future__ import annotations

from http.client import HTTPMessage
from typing import TYPE_CHECKING

from wsproxy.interfaces import Request

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["asMessage", "commonName"]

_RESERVED = "ssl_"


def asMessage(request: Request) -> HTTPMessage:
    """@return: the headers, whose names mean the same in any case."""
    message = HTTPMessage()
    for name, value in request.headers.items():
        if not name.lower().startswith(_RESERVED):
            message[_usual(name)] = value
    subject = None if request.certificate is None else commonName(request.certificate)
    if subject is not None:
        message["SSL_CLIENT_S_DN_CN"] = subject
    return message


def commonName(certificate: Certificate) -> str | None:
    """@return: the common name of whom this certificate is about; L{None} where there is none, or more than one."""
    from cryptography.x509.oid import NameOID  # late: 30 ms, which only TLS is worth

    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        return None
    value = names[0].value
    return value if isinstance(value, str) else None


def _usual(name: str) -> str:
    """As browsers write them, for those who look at all of them: C{User-Agent}."""
    return "-".join(part.capitalize() for part in name.split("-"))
