"""What is asked of the kernel about how much may wait."""

from __future__ import annotations

import socket
import sys
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from wsproxy.ends.room import FAST, FASTEST, NEAR, SHORT, limitUnread, limitUnsent


class Connection:
    """
    A TCP socket that keeps what it is told.

    @param away: seconds to its peer and back.
    """

    family = socket.AF_INET

    def __init__(self, away: float) -> None:
        self.away = away
        self.told: dict[int, int] = {}

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        return (bytes(148) + int(self.away * 1e6).to_bytes(4, sys.byteorder))[:size]

    def setsockopt(self, level: int, name: int, value: int) -> None:
        self.told[name] = value


class RoomTests(SynchronousTestCase):
    def unread(self, rate: float, away: float) -> int | None:
        """@return: bytes that may wait; L{None} for as many as the kernel likes."""
        connection: Any = Connection(away)
        limitUnread(connection, rate)
        return connection.told.get(socket.SO_RCVBUF)

    def test_unread(self) -> None:
        """A near peer may leave waiting what is read in 0.05 s, from 64 KiB to 1 MB; more where it is fastest."""
        rates = 300_000, 3_000_000, FAST, FAST * 7, FASTEST, FASTEST * 10
        sizes = [SHORT, 150_000, 1_000_000, 1_000_000, 8_000_000, 8_000_000]
        self.assertEqual([self.unread(rate, 0.0001) for rate in rates], sizes)

    def test_far(self) -> None:
        """Of one that is not, however slow it is, the kernel is told nothing."""
        for away in (NEAR, 0.001, 0.05, 1):
            for rate in (0, 1_000_000, FASTEST):
                self.assertIsNone(self.unread(rate, away))

    def test_unsent(self) -> None:
        """So it is with what waits to be sent; without a limit, where a peer takes it fast."""
        told = []
        for rate in (0, 1_000_000, 4_000_000, FAST, FAST * 10):
            connection: Any = Connection(0)
            limitUnsent(connection, rate)
            told += connection.told.values()
        self.assertEqual(told, [SHORT, SHORT, 200_000, 0, 0])

    @staticmethod
    def measured(connection: socket.socket) -> bool:
        """Whether the kernel decides by itself how much may be unread."""
        try:
            return not connection.getsockopt(socket.SOL_SOCKET, 72) & 2  # SO_BUF_LOCK, SOCK_RCVBUF_LOCK
        except OSError:
            raise SkipTest("needs Linux 5.15") from None

    def test_real(self) -> None:
        """The kernel takes it, of a connection that is open, over TCP."""
        ours, theirs = socket.socketpair()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            connection = socket.create_connection(listener.getsockname())
        before = ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        with ours, theirs, connection:
            for each in (ours, connection):
                limitUnsent(each, 1_000_000)
                limitUnread(each, 1_000_000)
            self.assertEqual(ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), before)
            self.assertEqual(connection.getsockopt(socket.IPPROTO_TCP, 25), SHORT)
            self.assertEqual(connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), 2 * SHORT)
            self.assertEqual(self.measured(connection), False)
            limitUnread(connection, FASTEST)
            self.assertEqual(self.measured(connection), True)
        limitUnsent(connection, 1)
        limitUnread(connection, 1)
