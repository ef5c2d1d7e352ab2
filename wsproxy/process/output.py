"""What a wrapped program prints, made into lines for the log."""

from __future__ import annotations

from collections.abc import Callable

from wsproxy.escape import escape

__all__ = ["LINE_LIMIT", "LineLog"]

LINE_LIMIT = 1000
"""Bytes of a line that are logged; the rest of it is dropped."""


class LineLog:
    """One stream of a program: bytes in, however they were split, and lines out.

    @param log: called with each line: printable, without its end, at most L{LINE_LIMIT} bytes of the original.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._line = b""

    def feed(self, data: bytes) -> None:
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._append(line)
            self.end()
        self._append(rest)

    def end(self) -> None:
        """The line is complete, or the stream is; nothing is said of an empty one."""
        line, self._line = self._line.rstrip(b"\r"), b""
        if line:
            text = line[:LINE_LIMIT].decode("utf-8", "backslashreplace")
            self._log(escape(text, None) + ("…" if len(line) > LINE_LIMIT else ""))

    def _append(self, data: bytes) -> None:
        self._line += data[: LINE_LIMIT + 1 - len(self._line)]
