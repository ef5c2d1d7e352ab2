"""The port of a program and of all that it starts."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.process import guard
from wsproxy.process.guard import Guard


class GuardTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.guard = Guard()
        self.addCleanup(self.guard.close)

    def bind(self, host: str, v6only: bool = False) -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.addCleanup(made.close)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in host:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        made.bind((host, self.guard.port))
        return made

    def test_others(self) -> None:
        """Nobody else has it at all addresses, of either family or both, nor at 127.0.0.1."""
        for host, v6only in ("0.0.0.0", False), ("::", False), ("::", True), ("127.0.0.1", False):
            self.assertRaises(OSError, self.bind, host, v6only)

    def test_program(self) -> None:
        """The program has it at the addresses that stand for what it asks for."""
        for host in "127.1.0.80", "127.254.255.255", "::ffff:127.3.0.80", "::1":
            self.bind(host).listen()

    def test_quiet(self) -> None:
        """It is none of those that the kernel gives out."""
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
        self.assertFalse(first <= self.guard.port <= last)

    def test_taken(self) -> None:
        """A port that somebody has already, of IPv6 too, is not taken; closed, one is free again."""
        port = self.guard.port
        self.guard.close()
        for host in "0.0.0.0", "::1":
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as holder:
                holder.bind((host, port))
                self.patch(guard, "quietPorts", lambda: iter((port, 0)))
                other = Guard()
                self.addCleanup(other.close)
                self.assertNotEqual(other.port, port)
