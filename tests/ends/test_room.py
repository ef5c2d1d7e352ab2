"""What is asked of the kernel about how much may wait."""

from __future__ import annotations

import socket
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.ends.room import FASTEST, MOST_UNREAD, MOST_UNSENT, NEAR, SHORT, limitUnread, limitUnsent


class Connection:
    """
    A TCP socket that keeps what it is told.

    @param away: seconds to its peer and back.
    @param promised: bytes that its peer may send; L{None} where the kernel does not tell.
    """

    def __init__(self, away: float, promised: int | None = 0) -> None:
        self.away = away
        self.promised = promised
        self.told: dict[int, int] = {}

    def getsockopt(self, level: int, name: int, size: int = 0) -> bytes | int:
        if name == socket.SO_RCVBUF:
            return 2 * self.told.get(name, SHORT)
        info = bytes(148) + int(self.away * 1e6).to_bytes(4, sys.byteorder)
        if self.promised is not None:
            info += bytes(80) + self.promised.to_bytes(4, sys.byteorder)
        return info[:size]

    def setsockopt(self, level: int, name: int, value: int) -> None:
        self.told[name] = value


class RoomTests(SynchronousTestCase):
    def unread(self, rate: float, away: float) -> int | None:
        """@return: bytes that may wait; L{None} for as many as the kernel likes."""
        connection: Any = Connection(away)
        self.assertTrue(limitUnread(connection, rate))
        return connection.told.get(socket.SO_RCVBUF)

    def test_unread(self) -> None:
        """A near peer may leave waiting 64 KiB, and more only where it is read very fast."""
        rates = 0, 300_000, 100_000_000, FASTEST
        self.assertEqual([self.unread(rate, 0.0001) for rate in rates], [SHORT, SHORT, SHORT, MOST_UNREAD])

    def test_promised(self) -> None:
        """It is not told less, until it may send nothing more: that would be dropped. More may be told at any time."""
        for promised in (None, 1, 1_000_000):
            connection: Any = Connection(0.0001)
            limitUnread(connection, FASTEST)
            connection.promised = promised
            self.assertFalse(limitUnread(connection, 1_000_000))
            self.assertTrue(limitUnread(connection, FASTEST))
            self.assertEqual(connection.told[socket.SO_RCVBUF], MOST_UNREAD)
            connection.promised = 0
            self.assertTrue(limitUnread(connection, 1_000_000))
            self.assertEqual(connection.told[socket.SO_RCVBUF], SHORT)

    def test_far(self) -> None:
        """Of one that is not, however slow it is, the kernel is told nothing."""
        for away in (NEAR, 0.001, 0.05, 1):
            for rate in (0, 1_000_000, FASTEST):
                self.assertIsNone(self.unread(rate, away))

    def test_unsent(self) -> None:
        """What waits to be sent goes by the rate, up to 1 MiB."""
        told = []
        for rate in (0, 1_000_000, 4_000_000, 100_000_000, FASTEST, FASTEST * 10):
            connection: Any = Connection(0)
            limitUnsent(connection, rate)
            told += connection.told.values()
        self.assertEqual(told, [SHORT, SHORT, 200_000, MOST_UNSENT, MOST_UNSENT, MOST_UNSENT])

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
        limitUnsent(connection, 1)
        limitUnread(connection, 1)
