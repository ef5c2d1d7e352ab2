"""Terminal sessions as asciicasts."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.recording.format import Entry
from wsproxy.replay.asciicast import DEFAULT_WINDOW, asciicast, firstWindow
from wsproxy.replay.telnet import TelnetFilter, Window

reproducible = settings(derandomize=True, database=None, deadline=None, max_examples=100)

SB_NAWS, SE = b"\xff\xfa\x1f", b"\xff\xf0"


def export(*entries: Entry) -> list[Any]:
    """Header and events, as a reader of JSON sees them."""
    return [json.loads(line) for line in asciicast(entries, firstWindow(entries))]


class AsciicastTests(SynchronousTestCase):
    def test_output(self) -> None:
        """What the target said is output, in seconds since the start; what users typed is nowhere."""
        self.assertEqual(
            export(Entry(False, 0, b"Password: "), Entry(True, 1234, b"secret\r"), Entry(False, 1500, b"\r\n$ ")),
            [{"version": 2, "width": 80, "height": 24}, [0.0, "o", "Password: "], [1.5, "o", "\r\n$ "]],
        )

    def test_characters(self) -> None:
        """A character that is spread over entries comes when it is complete; what is none is replaced."""
        self.assertEqual(
            export(Entry(False, 0, b"\xc3"), Entry(False, 1000, b"\xa9\x80"), Entry(False, 2000, b"\xe2\x82"))[1:],
            [[1.0, "o", "é\N{REPLACEMENT CHARACTER}"], [2.0, "o", "\N{REPLACEMENT CHARACTER}"]],
        )

    def test_window(self) -> None:
        """The client's window is that of the asciicast, and changes when it does."""
        self.assertEqual(
            export(
                Entry(False, 0, b"\xff\xfd\x1f"),
                Entry(True, 1, b"\xff\xfb\x1f" + SB_NAWS + b"\0\x64\0\x28" + SE),
                Entry(False, 2, b"$ "),
                Entry(True, 3, b"ls\r" + SB_NAWS + b"\0\x64\0\x28" + SE),
                Entry(True, 5000, SB_NAWS + b"\x01\x00\0\xff\xff" + SE),
            ),
            [{"version": 2, "width": 100, "height": 40}, [0.002, "o", "$ "], [5.0, "r", "256x255"]],
        )

    def test_noWindow(self) -> None:
        """A window of no size, as some clients tell one, does not count."""
        self.assertEqual(firstWindow([Entry(True, 0, SB_NAWS + bytes(4) + SE)]), DEFAULT_WINDOW)


class TelnetFilterTests(SynchronousTestCase):
    stream = (
        b"a\xff\xfb\x01b\xff\xff\xff\xf1c" + SB_NAWS + b"\0\x50\0\x18" + SE + b"d\xff\xfa\x18\x01\xff\xff" + SE + b"e"
    )

    @reproducible
    @given(st.lists(st.integers(0, len(stream)), max_size=5))
    def test_anySplit(self, cuts: list[int]) -> None:
        """Commands are taken out, and two bytes 255 are one, wherever the stream is split."""
        edges = [0, *sorted(cuts), len(self.stream)]
        telnet = TelnetFilter()
        text = b"".join(telnet.feed(self.stream[i:j]) for i, j in pairwise(edges))
        self.assertEqual(text, b"ab\xffcde")
        self.assertEqual(telnet.window, Window(80, 24))

    def test_plain(self) -> None:
        """What has no byte 255 comes through as it is."""
        self.assertEqual(TelnetFilter().feed(bytes(range(255))), bytes(range(255)))

    def test_unended(self) -> None:
        """A subnegotiation without an end is never looked at twice, nor kept, whatever it consists of."""
        telnet = TelnetFilter()
        self.assertEqual(telnet.feed(b"text\xff\xfa\x18"), b"text")
        for about in (b"x", b"\xff\xff", b"\xff\xf1", b"\xff\xfa", b"\xffx\xff"):
            for _ in range(20):
                self.assertEqual(telnet.feed(about * (65536 // len(about))), b"")
                self.assertLess(len(telnet._rest) + len(telnet._about or b""), 100)
        self.assertEqual(telnet.feed(b"\xff\xf0\xff\xf0behind"), b"behind")

    @reproducible
    @given(st.lists(st.sampled_from([b"\xff", b"\xfa", b"\xf0", b"\x1f", b"a", b"\xfb"])), st.integers(1, 9))
    def test_anyPieces(self, tokens: list[bytes], size: int) -> None:
        """Whatever is fed, in pieces of any size, gives the same text, and little waits for more."""
        stream = b"".join(tokens)
        whole, pieces = TelnetFilter(), TelnetFilter()
        text = b"".join(pieces.feed(stream[at : at + size]) for at in range(0, len(stream), size))
        self.assertEqual(text, whole.feed(stream))
        self.assertLessEqual(len(pieces._rest), 2)
        self.assertEqual(pieces.window, whole.window)

    def test_tooLong(self) -> None:
        """What is longer than a window's is none."""
        telnet = TelnetFilter()
        telnet.feed(SB_NAWS + b"\0\x50\0\x18" + b"x" * 1000 + SE)
        telnet.feed(b"\xff\xfa" + SE)
        self.assertIsNone(telnet.window)
        telnet.feed(SB_NAWS + b"\xff\xff" * 4 + SE)
        self.assertEqual(telnet.window, Window(65535, 65535))
