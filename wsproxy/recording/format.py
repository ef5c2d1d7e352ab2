"""The recording format: what noVNC's playback page loads as a script, and websockify writes with C{--record}.

::

    var VNC_frame_data = [
    '{0{RFB 003.008\\n',            the target sent this 0 ms after the session began
    '}12}RFB 003.008\\n',           the client sent this at 12 ms
    '{15{\\x01\\x01',
    'EOF'];

One line for each entry, ASCII throughout. Data is a single-quoted JavaScript string of characters U+0000 to U+00FF,
one for each byte, with the escapes C{\\t \\n \\r \\\\ \\' \\xNN}. A recording that was cut off anywhere is read as far
as it goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["END", "ENTRY_LIMIT", "HEAD", "LINE_LIMIT", "Entry", "RecordingError", "RecordingReader", "encodeEntry"]

HEAD = b"var VNC_frame_data = [\n"
END = b"'EOF'];\n"

ENTRY_LIMIT = 65536
"""Bytes of data in one entry, at most."""

LINE_LIMIT = 1 << 20
"""Bytes of a line, at most: four times what an entry may become, so that other writers' entries are read as well."""

_SEPARATOR = b"',\n"
_DATA = rb"(?:[ -&(-\[\]-~]++|\\[tnr\\']|\\x[0-9a-fA-F]{2})*+"
_TIME = rb"(?:\{(?P<target>\d{1,15})\{|\}(?P<client>\d{1,15})\})"
_ENTRY = re.compile(rb"'" + _TIME + rb"(?P<data>" + _DATA + rb")(?P<rest>.*)", re.DOTALL)


class Entry(NamedTuple):
    """One piece of a session.

    @ivar milliseconds: since the session began.
    """

    fromClient: bool
    milliseconds: int
    data: bytes


class RecordingError(Exception):
    """This is not a recording, or a damaged one; C{str()} says where."""


def encodeEntry(fromClient: bool, milliseconds: int, data: bytes) -> bytes:
    """
    The line for an entry, whose C{data} is at most L{ENTRY_LIMIT} bytes.

    148 MB/s of zeros, 390 of letters and 57 of random bytes, on a busy machine; with C{data} in turn::

        python -m timeit -s 'import os; from wsproxy.recording.format import encodeEntry; data = bytes(65536)' \\
            'encodeEntry(True, 0, data)'
    """
    # the fastest of what the standard library can do
    escaped = str(data, "latin-1").encode("unicode_escape").replace(b"'", b"\\'")
    return (b"'}%d}%b',\n" if fromClient else b"'{%d{%b',\n") % (milliseconds, escaped)


class RecordingReader:
    """
    Iterates over the entries of a recording.

    @param lines: those of the file, with their ends, from the first; only the last may lack its end.
    @ivar complete: after the iteration, whether the recording had its end.
    @ivar intact: how many bytes of the file are worth keeping.
    @ivar missing: what makes a complete recording of them.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines
        self.complete = False
        self.intact = 0
        self.missing = HEAD + END

    def __iter__(self) -> Iterator[Entry]:
        """
        @raise RecordingError: this line is not one of a recording.
        """
        for number, line in enumerate(self._lines, 1):
            if number == 1:
                self._readHead(line)
            elif END.startswith(line) or line.rstrip() == END.rstrip():
                self.complete = line.rstrip() == END.rstrip()
                if self.complete:
                    self.intact += len(line)
                    self.missing = b""
                return
            else:
                entry = self._readEntry(number, line)
                if entry is not None:
                    yield entry

    def _readHead(self, line: bytes) -> None:
        if line == HEAD:
            self.intact, self.missing = len(HEAD), END
        elif not HEAD.startswith(line):
            raise RecordingError(f"not a recording: it does not begin with {HEAD.decode().rstrip()}")

    def _readEntry(self, number: int, line: bytes) -> Entry | None:
        match = _ENTRY.match(line)
        whole = match is not None and match["rest"] == _SEPARATOR
        if (not whole and line.endswith(b"\n")) or len(line) > LINE_LIMIT:
            raise RecordingError(f"line {number} is not an entry")
        if match is None or not (whole or match["data"]):
            return None
        if whole:
            self.intact += len(line)
        else:
            self.intact += match.start("rest")
            self.missing = _SEPARATOR + END
        fromClient = match["client"] is not None
        data = match["data"].decode("unicode_escape").encode("latin-1")
        return Entry(fromClient, int(match["client"] if fromClient else match["target"]), data)
