"""What is asked of the kernel, and what it says where there is nothing to ask."""

from __future__ import annotations

import socket
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.ends.kernel import unanswered, unread, unsent


class Connection:
    """
    A TCP socket about which the kernel says this.

    @param again: how often something was sent again.
    @param probes: how many questions for room have got no answer.
    @param sent: milliseconds since something was sent, and C{heard} since something was acknowledged.
    """

    family = socket.AF_INET

    def __init__(self, again: int = 0, probes: int = 0, sent: int = 0, heard: int = 0) -> None:
        info = bytearray(60)
        info[2], info[3] = again, probes
        info[44:48] = sent.to_bytes(4, sys.byteorder)
        info[56:60] = heard.to_bytes(4, sys.byteorder)
        self.info = bytes(info)

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        return self.info[:size]


class UnansweredTests(SynchronousTestCase):
    def says(self, **told: int) -> bool:
        connection: Any = Connection(**told)
        return unanswered(connection)

    def test_idle(self) -> None:
        """A connection on which nothing was sent for long waits for no answer."""
        self.assertFalse(self.says(sent=100_000, heard=100_000))

    def test_sentAgain(self) -> None:
        """What was sent again, and not acknowledged since, has no answer; what was answered in part has one."""
        self.assertTrue(self.says(again=3, sent=200, heard=5000))
        self.assertFalse(self.says(again=3, sent=5000, heard=5000))

    def test_noRoom(self) -> None:
        """A peer that has no room answers the question for it; one that does not answer is gone, after a second."""
        self.assertFalse(self.says(heard=60_000))
        self.assertTrue(self.says(probes=1, heard=60_000))
        self.assertFalse(self.says(probes=1, heard=600))

    def test_real(self) -> None:
        """An idle connection of either kind has nothing to answer, nor has one that is closed."""
        pairs = [socket.socketpair()]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            pairs.append((socket.create_connection(listener.getsockname()), listener.accept()[0]))
        for ours, theirs in pairs:
            with ours, theirs:
                theirs.send(b"12345")
                self.assertFalse(unanswered(ours))
                self.assertEqual(unread(ours.fileno()), 5)
                self.assertEqual(unsent(ours.fileno()), 0)
            self.assertFalse(unanswered(ours))

    def test_none(self) -> None:
        """There is nothing on a descriptor that is none."""
        self.assertEqual((unread(-1), unsent(-1)), (0, 0))
