"""The recording format, and what is left of it after a crash."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from itertools import starmap
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.components import requireComponent
from wsproxy.recording.format import (
    END,
    ENTRY_LIMIT,
    HEAD,
    LINE_LIMIT,
    Entry,
    RecordingError,
    RecordingReader,
    encodeEntry,
)

EVERY_BYTE = bytes(range(256))

reproducible = settings(derandomize=True, database=None, deadline=None, max_examples=100)
entries = st.builds(Entry, st.booleans(), st.integers(0, 10**12), st.binary(min_size=1, max_size=20))
recordings = st.lists(entries, max_size=6)


def write(recorded: list[Entry]) -> bytes:
    return b"".join([HEAD, *starmap(encodeEntry, recorded), END])


def read(recording: bytes) -> tuple[list[Entry], RecordingReader]:
    reader = RecordingReader(recording.splitlines(keepends=True))
    return list(reader), reader


def until(cut: int, recorded: list[Entry]) -> Iterator[Entry]:
    """The bytes of C{recorded} whose escapes end before C{cut} in the file."""
    position = len(HEAD)
    for entry in recorded:
        sizes = [len(encodeEntry(*entry[:2], entry.data[:n])) for n in range(len(entry.data) + 1)]
        there = [n for n, size in enumerate(sizes) if position + size - len("',\n") <= cut]
        if there and there[-1]:
            yield entry._replace(data=entry.data[: there[-1]])
        position += sizes[-1]


class WritingTests(SynchronousTestCase):
    def test_text(self) -> None:
        """Direction and time stand between braces, data in the escapes of a JavaScript string."""
        self.assertEqual(
            write(
                [
                    Entry(False, 0, b"RFB 003.008\n"),
                    Entry(True, 12, b"it's \\ \x00\t\r\xff"),
                    Entry(False, 13, b"{}"),
                ]
            ),
            b"var VNC_frame_data = [\n'{0{RFB 003.008\\n',\n'}12}it\\'s \\\\ \\x00\\t\\r\\xff',\n'{13{{}',\n'EOF'];\n",
        )

    def test_ascii(self) -> None:
        """Whatever the data, a recording is lines of printable ASCII."""
        line = encodeEntry(False, 0, EVERY_BYTE)
        self.assertTrue(line.endswith(b",\n"))
        self.assertTrue(all(0x20 <= byte < 0x7F for byte in line[:-1]))

    def test_javascript(self) -> None:
        """JavaScript reads every byte as the character of that number, however they are combined."""
        recorded = [
            Entry(False, 0, EVERY_BYTE),
            Entry(False, 1, bytes(reversed(EVERY_BYTE))),
            Entry(True, 2, b"\\x41\\\\'\r\n\x0012</script>\xe2\x80\xa8"),
        ]
        path = Path(self.mktemp())
        path.write_bytes(write(recorded) + b"console.log(JSON.stringify(VNC_frame_data));")
        frames = json.loads(subprocess.check_output([requireComponent("node"), path]))
        self.assertEqual(frames.pop(), "EOF")
        heads = ("{0{", "{1{", "}2}")
        expected = [head + entry.data.decode("latin-1") for head, entry in zip(heads, recorded, strict=True)]
        self.assertEqual(frames, expected)


class ReadingTests(SynchronousTestCase):
    @reproducible
    @given(recordings)
    def test_roundTrip(self, recorded: list[Entry]) -> None:
        """What is written is read."""
        found, reader = read(write(recorded))
        self.assertEqual(found, recorded)
        self.assertTrue(reader.complete)
        self.assertEqual(reader.missing, b"")

    def test_largest(self) -> None:
        """The largest of entries fits into a line."""
        entry = Entry(True, 10**14, b"\xff" * ENTRY_LIMIT)
        self.assertLess(len(encodeEntry(*entry)), LINE_LIMIT)
        self.assertEqual(read(write([entry]))[0], [entry])

    @reproducible
    @given(recordings, st.data())
    def test_cut(self, recorded: list[Entry], data: st.DataObject) -> None:
        """A recording cut anywhere is read to there, and what is missing makes it complete with just that in it."""
        whole = write(recorded)
        cut = data.draw(st.integers(0, len(whole) - len(END)))
        found, reader = read(whole[:cut])
        self.assertEqual(found, list(until(cut, recorded)))
        self.assertFalse(reader.complete)
        self.assertLessEqual(reader.intact, cut)
        again, mended = read(whole[: reader.intact] + reader.missing)
        self.assertEqual(again, found)
        self.assertTrue(mended.complete)

    def test_cutInTheEnd(self) -> None:
        """A recording that lacks part of its end has all its entries, and gets its end once."""
        recorded = [Entry(False, 0, b"x")]
        whole = write(recorded)
        for cut in range(len(whole) - len(END), len(whole) - len("\n")):
            found, reader = read(whole[:cut])
            self.assertEqual(found, recorded)
            self.assertFalse(reader.complete)
            self.assertEqual(whole[: reader.intact] + reader.missing, whole)

    def test_zeros(self) -> None:
        """The zeros that a file system may leave where a power failure cut a file are not part of it."""
        whole = write([Entry(False, 0, b"x")])
        for cut in range(len(HEAD), len(whole) - len(END) + 1):
            found, reader = read(whole[:cut] + bytes(100))
            self.assertEqual(read(whole[: reader.intact] + reader.missing)[0], found)

    def test_damaged(self) -> None:
        """A line amid a recording that is none of it is named."""
        for line in (b"\n", b"'{0{a','{1{b',\n", b"'{x{a',\n", b"'{1}a',\n", b"'{1{\\q',\n", b"'{1{\xff',\n"):
            error = self.assertRaises(RecordingError, read, HEAD + encodeEntry(False, 0, b"x") + line + END)
            self.assertEqual(str(error), "line 3 is not an entry")

    def test_other(self) -> None:
        """Another file is told from a recording by its first line."""
        for content in (b"hello\n", HEAD.rstrip() + b" \n", b"\n"):
            error = self.assertRaises(RecordingError, read, content)
            self.assertIn("not a recording", str(error))

    def test_endless(self) -> None:
        """A line that is longer than an entry can be is not waited for."""
        self.assertRaises(RecordingError, read, HEAD + b"'{0{" + b"x" * LINE_LIMIT)
