"""The client as it really is: what proxies in front say of it, as far as they are trusted.

::

    client ─► proxy ─► … ─► proxy ─► here
              each tells of whom it was connected by: X-Forwarded-For: client, proxy, …

Anybody may write such a header, and most proxies pass on what was there already. So it is read from its end, which the
peer of the connection has written, if that is trusted: an address in it is believed, and if it is that of another
trusted proxy, so is the one before it. The rightmost that is not trusted is the client.

What the browser connected to, C{X-Forwarded-Host} and C{-Proto}, serves the check of its Origin alone. That protects
browsers, whose pages cannot send these headers: no client gains anything by lying there. So C{-Proto} is no TLS, and
makes up for none.

Three things may be believed of a peer, each for itself: C{X-Forwarded-*}; C{Forwarded} (RFC 7239), which many proxies
that write the former pass on as their client has sent it; and the header of the PROXY protocol.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

from wsproxy.access.networks import Networks
from wsproxy.access.peer import unmapped
from wsproxy.access.proxyheader import Endpoint, ProxyHeader
from wsproxy.interfaces import Forwarded

__all__ = ["OPTION", "TrustedProxies", "asAddress", "namedIn"]

OPTION = "--trusted-proxy"
_FORWARDED, _PROXY = "forwarded:", "proxy:"

_SECURE = {"https": True, "wss": True, "http": False, "ws": False}

_NODE = re.compile(
    r"\[([0-9a-f:.]+)\](?::([0-9]{1,5}))?|([0-9.]+)(?::([0-9]{1,5}))?|([0-9a-f:.]+)", re.IGNORECASE | re.ASCII
)
"""Addresses of IPv6 and of IPv4 with their ports, or without: RFC 7239 section 6, and what else is in use."""

_PAIR = re.compile(r'\s*([^\s=;,"]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*(?:;|$)')
"""RFC 7239 section 4. Without quotes a value may have a colon here, as some write it."""


class TrustedProxies:
    """
    @param texts: the values of C{--trusted-proxy}: each an address, a network or C{unix}, and before it C{forwarded:}
        or C{proxy:}, or neither.
    @raise ConfigError: one of them is nothing of this.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        kinds: dict[str, list[str]] = {"": [], _FORWARDED: [], _PROXY: []}
        for text in texts:
            kind = next((each for each in (_FORWARDED, _PROXY) if text.startswith(each)), "")
            kinds[kind].append(text.removeprefix(kind))
        self._plain, self._forwarded, self._proxy = (
            Networks(networks, f"{OPTION} {kind}".rstrip()) for kind, networks in kinds.items()
        )

    def announces(self, peer: IAddress) -> bool:
        """Whether each connection from this peer must begin with a header of the PROXY protocol."""
        return self._proxy.contains(peer)

    def read(self, peer: IAddress, named: Forwarded | None, headers: Mapping[str, str]) -> Forwarded | None:
        """
        Who has made this request.

        @param named: what a header of the PROXY protocol has said already. Whom that names must be trusted himself for
            his headers to count.
        @param headers: by lower-case name.
        @return: L{None} where nothing is believed of them but the C{peer}.
        """
        nearest = peer if named is None else named.client
        if self._forwarded.contains(nearest):
            told = _standard(nearest, headers.get("forwarded", ""), self._forwarded)
        elif self._plain.contains(nearest):
            told = _usual(nearest, headers, self._plain)
        else:
            return named
        return told if named is None else replace(told, server=named.server)


def _usual(nearest: IAddress, headers: Mapping[str, str], trusted: Networks) -> Forwarded:
    """C{X-Forwarded-For}, C{-Host} and C{-Proto}."""
    client, writers = _follow(nearest, reversed(_elements(headers.get("x-forwarded-for"))), trusted)
    host = _said(_elements(headers.get("x-forwarded-host")), writers)
    proto = _said(_elements(headers.get("x-forwarded-proto")), writers)
    return Forwarded(client, host=host, secure=_isSecure(proto))


def _standard(nearest: IAddress, text: str, trusted: Networks) -> Forwarded:
    """C{Forwarded}, where C{for}, C{host} and C{proto} of one proxy stand together."""
    hops: list[dict[str, str]] = []

    def nodes() -> Iterator[str]:
        for element in _fromTheEnd(text):
            hops.append(_pairs(element))
            yield hops[-1].get("for", "")

    client, _ = _follow(nearest, nodes(), trusted)
    outermost = hops[-1] if hops else {}
    return Forwarded(client, host=outermost.get("host"), secure=_isSecure(outermost.get("proto")))


def _follow(nearest: IAddress, nodes: Iterable[str], trusted: Networks) -> tuple[IAddress, int]:
    """
    @param nearest: a trusted proxy.
    @param nodes: by whom it was connected, as it says; and before that, as those say.
    @return: the first that is not trusted, or the last of which anything is known; and how many trusted proxies have
        spoken, one at least.
    """
    client, writers = nearest, 0
    for node in nodes:
        writers += 1
        address = asAddress(node)
        if address is None:
            break
        client = address
        if not trusted.contains(address):
            break
    return client, max(writers, 1)


def _elements(text: str | None) -> list[str]:
    return [element.strip() for element in text.split(",")] if text else []


def _said(values: Sequence[str], writers: int) -> str | None:
    """What the outermost of those who are believed has said: each adds to what was there, or one speaks for all."""
    return values[-min(writers, len(values))] if values else None


def _isSecure(proto: str | None) -> bool | None:
    return None if proto is None else _SECURE.get(proto.lower())


def _fromTheEnd(text: str) -> Iterator[str]:
    """
    The elements of C{Forwarded}, the last one first, each cut off when it is asked for: a quote that a client leaves
    open in front takes nothing away from what was added to it.
    """
    end, quoted = len(text), False
    for at in range(len(text) - 1, -1, -1):
        if text[at] == '"' and not _isEscaped(text, at):
            quoted = not quoted
        elif text[at] == "," and not quoted:
            yield text[at + 1 : end]
            end = at
    if text:
        yield text[:end]


def _isEscaped(text: str, at: int) -> bool:
    first = at
    while first and text[first - 1] == "\\":
        first -= 1
    return (at - first) % 2 == 1


def _pairs(element: str) -> dict[str, str]:
    """@return: what one proxy says, by lower-case name; nothing of what cannot be read."""
    pairs: dict[str, str] = {}
    at = 0
    while at < len(element):
        pair = _PAIR.match(element, at)
        if pair is None:
            return {}
        name, quoted, bare = pair.groups()
        pairs[name.lower()] = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = pair.end()
    return pairs


def asAddress(node: str) -> IAddress | None:
    """
    @param node: an address, with a port or without.
    @return: L{None} for what is none, C{unknown} or a name that hides one. Its port is 0 where none is told.
    """
    match = _NODE.fullmatch(node)
    if match is None:
        return None
    six, port6, four, port4, bare = match.groups()
    port = int(port6 or port4 or 0)
    try:
        host = str(ip_address(six or four or bare))
    except ValueError:
        return None
    return None if port > 65535 else _address(Endpoint(host, port))


def namedIn(header: ProxyHeader) -> Forwarded | None:
    """@return: whom a header of the PROXY protocol names, and what that connected to; L{None} where it names nobody."""
    if header.source is None or header.destination is None:
        return None
    return Forwarded(_address(header.source), server=_address(header.destination))


def _address(endpoint: Endpoint) -> IAddress:
    kind = IPv6Address if ":" in endpoint.host else IPv4Address
    return unmapped(kind("TCP", endpoint.host, endpoint.port))
