"""Where a process listens."""

from __future__ import annotations

import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.process.sockets import listening


class ListeningTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        """Sockets that listen, as target strings, mapped IPv4 as IPv4; not others, nor those of other processes."""
        before = listening(os.getpid())
        expected = set()
        for host, shown in ("127.1.2.3", "127.1.2.3"), ("::1", "[::1]"), ("::ffff:127.3.2.1", "127.3.2.1"):
            made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            self.addCleanup(made.close)
            made.bind((host, 0))
            self.assertEqual(listening(os.getpid()), before | expected)
            made.listen()
            expected.add(f"{shown}:{made.getsockname()[1]}")
        self.assertEqual(listening(os.getpid()), before | expected)
        self.assertFalse(listening(os.getppid()) & expected)

    def test_nobody(self) -> None:
        """A process that is no more listens nowhere."""
        self.assertEqual(listening((1 << 22) + 1), set())
