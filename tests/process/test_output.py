"""A program's output as lines of the log."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.process.output import LINE_LIMIT, LineLog


def lines(*pieces: bytes) -> list[str]:
    logged: list[str] = []
    log = LineLog(logged.append)
    for piece in pieces:
        log.feed(piece)
    log.end()
    return logged


class LineTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """Each line is logged without its end, the last one even without one; empty lines are not."""
        self.assertEqual(lines(b"one\ntwo\r\n\n\nthree"), ["one", "two", "three"])

    def test_escapes(self) -> None:
        """What could drive a terminal or forge a line is written as an escape, what is no UTF-8 as well."""
        self.assertEqual(lines(b"\x1b[2Jred\rover \xff\n"), ["\\x1b[2Jred\\rover \\xff"])
        self.assertEqual(lines("ärger\n".encode()), ["ärger"])

    def test_longLine(self) -> None:
        """A line that never ends is cut, and costs no more memory than what is logged of it."""
        logged: list[str] = []
        log = LineLog(logged.append)
        for _ in range(10000):
            log.feed(b"x" * 1000)
        self.assertEqual(logged, [])
        self.assertLessEqual(len(log._line), LINE_LIMIT + 1)
        log.feed(b"\nnext\n")
        self.assertEqual(logged, ["x" * LINE_LIMIT + "…", "next"])
        self.assertEqual(lines(b"x" * LINE_LIMIT + b"\n"), ["x" * LINE_LIMIT])

    @given(st.lists(st.binary(max_size=30) | st.sampled_from([b"\n", b"\r\n", b"x" * LINE_LIMIT])))
    def test_splits(self, pieces: list[bytes]) -> None:
        """However the stream was cut, the lines are the same."""
        whole = b"".join(pieces)
        self.assertEqual(lines(*pieces), lines(whole))
        self.assertEqual(lines(*pieces), lines(*(whole[i : i + 1] for i in range(len(whole)))))
