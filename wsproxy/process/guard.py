"""A port for a program and all that it starts, which nobody else can take in the meantime.

rebind binds the program's sockets there, at addresses of 127.0.0.0/8 that stand for what they asked for
(rebind/tree.h), and leaves it to the kernel to say which of them are in use. The guard has the same port at two
addresses that are none of theirs. So whoever asks for the port at all addresses is told that it is in use, also while
the program has not bound it yet, or binds it anew; whoever asks for any port is given another one.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["Guard", "quietPorts"]

_ATTEMPTS = 100
"""Ports tried before the kernel is asked for one of those it gives to anybody."""

_IPV6_FREEBIND = 78
"""C{linux/in6.h}; Python has no name for it."""

_ELSEWHERE = "100::1"
"""An address that nobody has: RFC 6666."""


class Guard:
    """
    @ivar port: the port.
    @raise OSError: there are no descriptors or ports left.
    """

    def __init__(self) -> None:
        for port in quietPorts():
            held = socket.socket()
            try:
                held.bind(("127.0.0.1", port))
            except OSError:
                held.close()
                continue
            self.port: int = held.getsockname()[1]
            self._sockets = [held]
            if self._holdIPv6():
                return
            self.close()
        raise OSError("no port is free on 127.0.0.1")

    @classmethod
    def continued(cls, port: int, descriptors: Iterable[int]) -> Guard:
        """@return: the guard that had these sockets."""
        guard = cls.__new__(cls)
        guard.port = port
        guard._sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        for held in guard._sockets:
            held.set_inheritable(False)
        return guard

    @property
    def descriptors(self) -> list[int]:
        """Those of its sockets."""
        return [held.fileno() for held in self._sockets]

    def _holdIPv6(self) -> bool:
        """@return: false if somebody else has the port there."""
        if not _bindable("::1", 0):  # IPv6 is turned off
            return True
        if not _bindable("::1", self.port):
            return False
        held = socket.socket(socket.AF_INET6)
        self._sockets.append(held)
        held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        with suppress(OSError):  # the port of ::1 is then ours as long as nobody asks for it at all addresses
            held.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
            held.bind((_ELSEWHERE, self.port))
        return True

    def close(self) -> None:
        """Let go of the port."""
        for held in self._sockets:
            held.close()


def quietPorts() -> Iterator[int]:
    """Ports to try that the kernel gives to nobody by itself; then 0."""
    try:
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    except OSError:
        first, last = 32768, 65535
    quiet = [*range(10000, first), *range(last + 1, 65536)]
    yield from random.sample(quiet, min(_ATTEMPTS, len(quiet)))
    yield 0


def _bindable(host: str, port: int) -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind((host, port))
    except OSError:
        return False
    return True
