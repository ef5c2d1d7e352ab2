"""Where sessions may lead: the rules of C{--allow-target} and C{--deny-target}, and those that hold without any.

::

    10.0.0.0/8  10.0.0.0/8:22,5900-5999  [2001:db8::]:443  [2001:db8::/32]:443     addresses
    db.example:5432  *.lab.example                                                 names as they were asked for
    *:5900                                                                         any address, and any name
    unix:/run/consoles/*                                                           unix sockets; * does not go over a /

A target is somebody else's word: a token file's, an HTTP service's, a database's. Whoever can change that, or the DNS
behind a name in it, decides what a proxy inside of the network connects to. So the rules are about the address in the
moment in which it is dialled, and some addresses are refused that nobody means: L{RESERVED}, and the proxy itself.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from twisted.internet.address import IPv4Address as TCP4
from twisted.internet.address import IPv6Address as TCP6
from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress

from wsproxy.access.networks import Networks, normalised
from wsproxy.errors import ConfigError, NotAllowed
from wsproxy.escape import escape

__all__ = ["RESERVED", "Pattern", "Reach"]

RESERVED = (
    ("169.254.0.0/16", "link-local (RFC 3927), where clouds have their metadata"),
    ("fe80::/10", "link-local (RFC 4291 section 2.5.6)"),
    ("fd00:ec2::/32", "Amazon's metadata and services"),
    ("fd20:ce::254/128", "Google's metadata"),
    ("fd00:42::42/128", "Scaleway's metadata"),
    ("100.100.100.200/32", "Alibaba's metadata"),
    ("168.63.129.16/32", "Azure's platform"),
    ("192.0.0.192/32", "Oracle's metadata"),
)
"""
What a pattern must lie within to allow it: C{0.0.0.0/0} does not mean it. As the providers document it: AWS "IPv6 on
AWS", Google "About VM metadata", Scaleway "Instance metadata", Alibaba "Instance metadata", Azure "What is IP address
168.63.129.16", Oracle Compute Classic "Retrieving instance metadata".
"""

_RESERVED = [(ip_network(text), what) for text, what in RESERVED]

_ALLOW, _DENY = "allow-target", "deny-target"

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network

_BRACKETS = re.compile(r"\[(?P<where>[^\]]+)\](?::(?P<ports>.*))?")
_PORTS = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*")
_NAME = re.compile(r"\*|(\*\.)?(?=.*[A-Za-z_])[A-Za-z0-9_.-]{1,253}")
_ADDRESS = re.compile(r"[0-9.]+(/[0-9.]+)?")

_EXPECTED = "expected CIDR[:PORTS], [CIDR]:PORTS, NAME[:PORTS] or unix:/PATH, such as 10.0.0.0/8:5900-5999"


@dataclass(frozen=True, slots=True)
class Pattern:
    """
    One value of C{--allow-target} or C{--deny-target}: for one of C{networks}, C{name} and C{path}.

    @ivar edges: the first and the last of the addresses.
    @ivar ports: pairs of the first and the last; none for all.
    @ivar name: in lower case.
    @ivar path: absolute.
    """

    text: str
    networks: Networks | None = None
    edges: tuple[_Address, _Address] | None = None
    name: str | None = None
    path: str | None = None
    ports: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, text: str, option: str) -> Pattern:
        """
        @param option: whose it is, for the complaint.
        @raise ConfigError: it is no pattern.
        """
        if text.startswith("unix:"):
            return cls(text, path=_path(text, option))
        match = _BRACKETS.fullmatch(text)
        if match:
            where, ports = match["where"], match["ports"]
        else:
            where, colon, last = text.partition(":") if text.count(":") < 2 else (text, "", "")
            ports = last if colon else None
        among = () if ports is None else _ports(ports, text, option)
        if ":" in where or _ADDRESS.fullmatch(where):
            networks, network = Networks((where,), f"--{option}"), ip_network(where)
            edges = normalised(str(network[0])), normalised(str(network[-1]))
            assert edges[0] is not None and edges[1] is not None
            return cls(text, networks=networks, edges=(edges[0], edges[1]), ports=among)
        if match or not _NAME.fullmatch(where):
            raise _error(text, option, _EXPECTED)
        return cls(text, name=where.lower(), ports=among)

    def hasPort(self, port: int) -> bool:
        return not self.ports or any(first <= port <= last for first, last in self.ports)

    def isOf(self, host: str, port: int, name: str | None) -> bool:
        """
        Whether it is about this address.

        @param name: as which it was asked for; L{None} where nobody knows.
        """
        if not self.hasPort(port):
            return False
        if self.networks is not None:
            return self.networks.contains(host)
        if self.name is None or self.name == "*":
            return self.name is not None
        return name is not None and fnmatchcase(name.lower().rstrip("."), self.name)

    def mayBeOf(self, name: str, port: int) -> bool:
        """Whether it may be about one of the addresses of this name, whichever these are."""
        return self.hasPort(port) and (self.networks is not None or self.isOf("", port, name))

    def isOfSocket(self, path: str) -> bool:
        """@param path: of a socket, absolute and without symbolic links."""
        if self.path is None:
            return False
        mine, its = self.path.split("/"), path.split("/")
        return len(mine) == len(its) and all(map(fnmatchcase, its, mine))

    def within(self, reserved: _Network) -> bool:
        """Whether all that it is about lies in there: it is meant."""
        return self.edges is not None and all(address in reserved for address in self.edges)


def _path(text: str, option: str) -> str:
    path = text.removeprefix("unix:")
    if not path.startswith("/") or "\0" in path:
        raise _error(text, option, "the path of a unix socket is absolute")
    whole = os.path.normpath(path)
    # the operator's own symbolic links are followed, nobody else's
    fixed = os.path.dirname(re.split(r"[*?\[]", whole, maxsplit=1)[0])
    return os.path.realpath(fixed) + whole[len(fixed) :] if fixed != "/" else whole


def _ports(text: str, pattern: str, option: str) -> tuple[tuple[int, int], ...]:
    if not _PORTS.fullmatch(text):
        raise _error(pattern, option, _EXPECTED)
    ranges = [part.partition("-") for part in text.split(",")]
    ports = tuple((int(first), int(last or first)) for first, _, last in ranges)
    if not all(1 <= first <= last <= 65535 for first, last in ports):
        raise _error(pattern, option, "ports are 1 to 65535, the first no more than the last")
    return ports


def _error(text: str, option: str, why: str) -> ConfigError:
    return ConfigError(f"--{option} {escape(text, None) or repr(text)}: {why}")


class Reach:
    """
    Whether somewhere may be dialled. Where it may not, L{NotAllowed} is raised, which tells the client that, and the
    log why, and what cures it.

    @param allow: patterns; with any, whatever is of none of them is refused.
    @param deny: patterns of what is refused, whatever is allowed. No names: those say nothing about their addresses.
    @param own: the addresses that this proxy listens at.
    @raise ConfigError: a pattern is none.
    """

    def __init__(
        self, allow: Sequence[str] = (), deny: Sequence[str] = (), own: Callable[[], Iterable[IAddress]] = tuple
    ) -> None:
        self._allow = [Pattern.parse(text, _ALLOW) for text in allow]
        self._deny = [Pattern.parse(text, _DENY) for text in deny]
        self._own = own
        self._objection = lru_cache(maxsize=4096)(self._object)  # 3 µs for each pattern, else
        for pattern in self._deny:
            if pattern.name is not None:
                raise _error(pattern.text, _DENY, "who is refused a name asks by its addresses: deny those")

    @property
    def restricted(self) -> bool:
        """Whether there are patterns: then what cannot be seen is refused."""
        return bool(self._allow or self._deny)

    def checkAddress(self, host: str, port: int, name: str | None = None) -> None:
        """
        @param host: an IP address that is about to be connected to.
        @param name: as which it was asked for, where that was not the address.
        @raise NotAllowed: it must not be.
        """
        objection = self._objection(host, port, name)
        if not objection and self._isOwn(host, port):
            allowing = (pattern for pattern in self._allow if pattern.isOf(host, port, name))
            if not any(pattern.ports == ((port, port),) for pattern in allowing):
                objection = f"is this proxy itself: if it is meant, --{_ALLOW} {_literal(host, port)}"
        if objection:
            shown = _literal(host, port) if name is None else f"{_literal(host, port)} ({escape(name)})"
            raise NotAllowed(f"{shown} {objection}")

    def _object(self, host: str, port: int, name: str | None) -> str:
        """What there is to say against this address, whatever listens there; empty for nothing."""
        for pattern in self._deny:
            if pattern.isOf(host, port, name):
                return f"is in --{_DENY} {pattern.text}"
        allowing = [pattern for pattern in self._allow if pattern.isOf(host, port, name)]
        if self._allow and not allowing:
            return f"is in no --{_ALLOW}"
        reserved = _reserved(host)
        if reserved is not None and not any(pattern.within(reserved[0]) for pattern in allowing):
            return f"is {reserved[1]}: if it is meant, --{_ALLOW} {_literal(host, port)}"
        return ""

    def checkName(self, name: str, port: int) -> None:
        """
        What can be said before it is known which addresses a name has.

        @raise NotAllowed: none of them will be allowed, whichever they are.
        """
        if self._allow and not any(pattern.mayBeOf(name, port) for pattern in self._allow):
            raise NotAllowed(f"{escape(name)}:{port} is in no --{_ALLOW}")

    def checkSocket(self, path: str, named: bool) -> None:
        """
        @param path: of a unix socket, absolute.
        @param named: whether whoever named it may name sockets.
        @raise NotAllowed: it must not be connected to.
        """
        shown = escape(f"unix:{path}", None)
        for pattern in self._deny:
            if pattern.isOfSocket(path):
                raise NotAllowed(f"{shown} is in --{_DENY} {pattern.text}")
        allowed = any(pattern.isOfSocket(path) for pattern in self._allow)
        if self._allow and not allowed:
            raise NotAllowed(f"{shown} is in no --{_ALLOW}")
        if not (named or allowed):
            raise NotAllowed(f"{shown}: who named it may not name sockets: if it is meant, --{_ALLOW} {shown}")
        if any(isinstance(own, UNIXAddress) and _isSocket(own, path) for own in self._own()):
            raise NotAllowed(f"{shown} is this proxy itself")

    def checkUnseen(self, text: str) -> None:
        """
        @param text: a target whose address nobody sees but who connects to it.
        @raise NotAllowed: there are patterns.
        """
        if self.restricted:
            patterns = f"--{_ALLOW}" if self._allow else f"--{_DENY}"
            raise NotAllowed(f"{escape(text)}: its address cannot be seen, which {patterns} is about")

    def _isOwn(self, host: str, port: int) -> bool:
        address = normalised(host)
        for own in self._own():
            if isinstance(own, (TCP4, TCP6)) and own.port == port:
                ours = normalised(own.host)
                if address == ours or (own.host in _EVERYWHERE and _isHere(host)):
                    return True
        return False


_EVERYWHERE = ("0.0.0.0", "::")  # to be compared with what is listened on


def _reserved(host: str) -> tuple[_Network, str] | None:
    address = normalised(host)
    return next((each for each in _RESERVED if address is not None and address in each[0]), None)


def _literal(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _isHere(host: str) -> bool:
    """Whether an address is one of this machine's, which the kernel lets nobody else bind."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind(socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0][4])
        return True
    return False


def _isSocket(own: UNIXAddress, path: str) -> bool:
    return own.name is not None and os.path.realpath(os.fsdecode(own.name)) == path
