"""What plugins and embedders are given, made without a client and without a network."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.x509 import Certificate
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress

from wsproxy.errors import Close
from wsproxy.frontend.query import parseQuery
from wsproxy.interfaces import Forwarded, Identity, Request, Session, Target

__all__ = ["HOST", "PEER", "makeRequest", "makeSession"]

PEER, HOST = IPv4Address("TCP", "192.0.2.1", 4321), IPv4Address("TCP", "192.0.2.2", 6080)
"""Addresses of RFC 5737, for documentation: nobody has them."""


def makeRequest(
    url: str = "/",
    *,
    peer: IAddress = PEER,
    client: IAddress | None = None,
    host: IAddress = HOST,
    secure: bool = False,
    subprotocols: tuple[str, ...] = (),
    certificate: Certificate | None = None,
    explaining: bool = False,
    **headers: str,
) -> Request:
    """
    An upgrade request, as it comes to an authenticator, a resolver or an authoriser.

    @param url: a path, percent-encoded, and a query if need be.
    @param client: who a trusted proxy says that it is; L{None}: the C{peer}.
    @param headers: by name, with underscores for hyphens: C{user_agent="test"}. None is added: not even C{Host}.
    """
    path, _, query = url.partition("?")
    return Request(
        path=path,
        headers={name.replace("_", "-").lower(): value for name, value in headers.items()},
        peer=peer,
        host=host,
        secure=secure,
        queryAll=parseQuery(query),
        subprotocols=subprotocols,
        certificate=certificate,
        explaining=explaining,
        forwarded=None if client is None else Forwarded(client),
    )


def makeSession(
    target: Target | str = "demo:",
    *,
    request: Request | None = None,
    identity: Identity | None = None,
    id: str | None = None,
    started: float = 0.0,
    close: Callable[[Close], object] = lambda close: None,
    expireAt: Callable[[float | None], object] = lambda when: None,
) -> Session:
    """
    A session, as it comes to a dialer, a tap or an observer. Nothing is behind it, and its request stays whole.

    @param id: 32 hexadecimal digits; by default at random.
    @param started: in seconds since the epoch.
    @param close: called where somebody ends it.
    @param expireAt: called where somebody renews it.
    """
    return _Session(
        id=secrets.token_hex(16) if id is None else id,
        request=makeRequest() if request is None else request,
        identity=identity,
        target=Target(target) if isinstance(target, str) else target,
        started=started,
        closed=close,
        renewed=expireAt,
    )


@dataclass(frozen=True)
class _Session:
    id: str
    request: Request
    identity: Identity | None
    target: Target
    started: float
    closed: Callable[[Close], object]
    renewed: Callable[[float | None], object]

    def close(self, close: Close) -> None:
        self.closed(close)

    def expireAt(self, when: float | None) -> None:
        self.renewed(when)
