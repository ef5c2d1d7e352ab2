"""Sessions as a table of text, and a terminal that shows it again and again."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any, TextIO

from wsproxy.escape import escape

__all__ = ["Screen", "asTable", "duration", "size"]

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """Bytes, in steps of a thousand, with three digits."""
    unit = 0
    while count >= 999.5 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.0f} B" if not unit else f"{count:.3g} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """C{4:05}, C{3:04:05} or C{2 d 3:04}."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours}:{minutes:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


_HEAD = (
    *("ID", "CLIENT", "IDENTITY", "TARGET", "AGE", "UP", "DOWN", "UP/S", "DOWN/S", "QUEUED UP", "QUEUED DOWN", "TRIP"),
    "WORKER",
)

_LEFT = 4
"""Columns of words; the others are numbers, at the right."""


def _cells(session: dict[str, Any]) -> list[str]:
    trip = session["round_trip"]
    return [
        session["id"][:8],
        escape(session["client"]),
        escape(session["identity"] or "-"),
        escape(session["target"]),
        duration(session["age"]),
        size(session["bytes_up"]),
        size(session["bytes_down"]),
        size(session["rate_up"]),
        size(session["rate_down"]),
        size(session["queued_up"]),
        size(session["queued_down"]),
        "-" if trip is None else f"{trip * 1000:.3g} ms",
        str(session["worker"] or "-"),
    ]


def asTable(sessions: Sequence[dict[str, Any]]) -> str:
    """@return: a line each, below a head."""
    rows = [[*_HEAD], *(_cells(session) for session in sessions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: list[str], widths: list[int]) -> str:
    cells = [
        cell.ljust(width) if column < _LEFT else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


class Screen:
    """
    A terminal, drawn anew each time; as it was before, afterwards (xterm's alternate screen). What is no terminal gets
    the lines as they come.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._isTerminal = stream.isatty()

    def __enter__(self) -> Screen:
        if self._isTerminal:
            self._stream.write("\x1b[?1049h\x1b[?25l")
        return self

    def __exit__(self, *_: object) -> None:
        if self._isTerminal:
            self._stream.write("\x1b[?25h\x1b[?1049l")
            self._stream.flush()

    def show(self, status: dict[str, Any], sessions: Sequence[dict[str, Any]]) -> None:
        columns, lines = shutil.get_terminal_size()
        words = [f"wsproxy {status['version']}", f"{status['sessions']} sessions"]
        words += [f"silent workers: {', '.join(map(str, status['stale']))}"] if status["stale"] else []
        words += ["draining"] if status["draining"] else []
        shown = sessions[: lines - 3] if self._isTerminal else sessions
        text = [", ".join(words), *asTable(shown).split("\n")]
        if self._isTerminal:
            self._stream.write("\x1b[H" + "".join(f"{line[:columns]}\x1b[K\n" for line in text) + "\x1b[J")
        else:
            self._stream.write("\n".join(text) + "\n")
        self._stream.flush()
