"""Sockets that systemd has bound before it started us (sd_listen_fds(3)): C{--listen systemd:…}.

    systemd:                      the one that there is
    systemd:name=vnc              that with this C{FileDescriptorName=}
    systemd:index=1               the second one
    systemd:domain=INET:index=0   the same, as Twisted has it; the domain must be the socket's

Twisted's endpoint of that name needs the domain, and names, which not all who pass sockets give.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from resource import RLIMIT_NOFILE, getrlimit
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from wsproxy.endpoints.adopted import adoptPort

__all__ = ["PassedEndpoint", "parsePassed", "passedSockets"]

_FIRST = 3
"""SD_LISTEN_FDS_START."""


def passedSockets() -> list[tuple[str, int]]:
    """
    What this process was started with, as name and descriptor, not what C{os.environ} says of it: Twisted takes it out
    there, for its own endpoints, when it is imported.
    """
    try:
        with open("/proc/self/environ", "rb") as stream:
            entries = os.fsdecode(stream.read()).split("\0")
    except OSError:
        return []
    given = dict(entry.partition("=")[::2] for entry in entries)
    if given.get("LISTEN_PID") != str(os.getpid()) or not given.get("LISTEN_FDS", "").isdecimal():
        return []
    count = int(given["LISTEN_FDS"][:9])
    if count > getrlimit(RLIMIT_NOFILE)[1]:  # nobody can have passed that many
        return []
    names = given.get("LISTEN_FDNAMES", "").split(":")
    return [(names[at] if at < len(names) else "", _FIRST + at) for at in range(count)]


@implementer(IStreamServerEndpoint)
@dataclass(frozen=True)
class PassedEndpoint:
    """
    @ivar sockets: those that were passed: L{passedSockets}.
    @ivar index: which of them; or its C{name}, or neither where it is the only one.
    @ivar domain: C{INET}, C{INET6} or C{UNIX}, where that is known.
    """

    reactor: Any
    sockets: Sequence[tuple[str, int]]
    index: int | None = None
    name: str | None = None
    domain: str | None = None

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        descriptor = self._find()
        os.set_inheritable(descriptor, False)
        with socket.socket(fileno=os.dup(descriptor)) as passed:
            domain = passed.family.name.removeprefix("AF_")
            if not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise ValueError("that does not listen: Accept=no, and ListenStream=, in the .socket unit")
        if self.domain not in (None, domain):
            raise ValueError(f"that is of domain {domain}")
        return adoptPort(self.reactor, descriptor, factory)

    def _find(self) -> int:
        sockets = self.sockets
        if not sockets:
            raise ValueError("no socket was passed to this process: start it by a .socket unit")
        if self.name is not None:
            found = [descriptor for name, descriptor in sockets if name == self.name]
            if len(found) != 1:
                names = ", ".join(name or "(no name)" for name, _ in sockets)
                raise ValueError(f"{len(found) or 'no'} sockets of that name were passed, but: {names}")
            return found[0]
        if self.index is None and len(sockets) > 1:
            raise ValueError(f"{len(sockets)} sockets were passed: which? name=NAME or index=N")
        if (self.index or 0) >= len(sockets):
            raise ValueError(f"only {len(sockets)} were passed")
        return sockets[self.index or 0][1]


def parsePassed(reactor: Any, arguments: Sequence[str]) -> PassedEndpoint:
    """
    @param arguments: what is between the colons.
    @raise ValueError: nonsense.
    """
    order = iter(("domain", "index"))
    given: dict[str, str] = {}
    for argument in filter(None, arguments):
        name, equals, value = argument.partition("=")
        key = name if equals else next(order, "")
        if key not in ("domain", "index", "name") or key in given:
            raise ValueError("expected systemd:, systemd:name=NAME or systemd:index=N")
        given[key] = value if equals else argument
    if len({"index", "name"} & given.keys()) != 1 and given:
        raise ValueError("Specify exactly one of index and name")
    if given.get("domain", "INET") not in ("INET", "INET6", "UNIX"):
        raise ValueError("domain is INET, INET6 or UNIX")
    index = int(given["index"]) if "index" in given else None
    if index is not None and index < 0:
        raise ValueError("index is 0 or more")
    return PassedEndpoint(reactor, passedSockets(), index, given.get("name"), given.get("domain"))
