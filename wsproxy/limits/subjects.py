"""What is counted: sessions in all, of one client, of one identity, with one token; and who a client is, for that."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import TypeAlias

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

from wsproxy.access.peer import printable, unmapped
from wsproxy.interfaces import Admitted, Request

__all__ = ["KINDS", "Subject", "Subjects", "customer", "isOurs", "plainKind", "subjectsOf"]

Subject: TypeAlias = tuple[str, str]
"""A kind, and which one of that. What is counted for one route alone has its name behind the kind: C{client@ROUTE}."""

Subjects: TypeAlias = Sequence[Subject]

KINDS = ("all", "client", "identity", "token")
"""In the order in which they are looked at."""


def plainKind(kind: str) -> str:
    """@return: one of L{KINDS}, whichever route it is counted for."""
    return kind.partition("@")[0]


def subjectsOf(
    admitted: Admitted, limits: Mapping[str, int], tokenOf: Callable[[Request], str | None] | None
) -> list[Subject]:
    """
    @param limits: of which kinds there are any.
    @param tokenOf: where the request has its token; L{None} where there are no tokens.
    @return: what this session counts for. Of a token, which may be long, there is a hash.
    """
    found: list[Subject] = []
    if "all" in limits:
        found.append(("all", ""))
    if "client" in limits:
        found.append(("client", customer(admitted.request.client)))
    if "identity" in limits and admitted.identity is not None:
        found.append(("identity", admitted.identity.name))
    if "token" in limits and tokenOf is not None:
        token = tokenOf(admitted.request)
        if token:
            found.append(("token", sha256(token.encode("utf-8", "surrogatepass")).hexdigest()))
    return found


def customer(address: IAddress) -> str:
    """
    Who that is, where addresses are counted: an IPv4 address, a /64 of IPv6, which is the least that one customer is
    given (RFC 6177), or C{unix} and the like.
    """
    address = unmapped(address)
    if isinstance(address, IPv4Address):
        return str(address.host)
    if isinstance(address, IPv6Address):
        network = _packed(address)[:8] + bytes(8)
        return f"{socket.inet_ntop(socket.AF_INET6, network)}/64"
    if isinstance(address, HostnameAddress):
        return printable(address).rpartition(":")[0]
    return printable(address)


def isOurs(address: IAddress) -> bool:
    """Whether it is of this machine, loopback or a unix socket: most often a proxy in front, with all its clients."""
    address = unmapped(address)
    if isinstance(address, IPv4Address):
        return str(address.host).startswith("127.")
    if isinstance(address, IPv6Address):
        return _packed(address) == _LOOPBACK
    return not isinstance(address, HostnameAddress)


_LOOPBACK = bytes(15) + b"\1"


def _packed(address: IPv6Address) -> bytes:
    return socket.inet_pton(socket.AF_INET6, address.host.partition("%")[0])
