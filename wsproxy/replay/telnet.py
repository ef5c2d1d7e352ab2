"""Telnet commands, taken out of a terminal session (RFC 854, RFC 855, RFC 1073). Sans-IO.

Text in UTF-8 has no byte 255, with which each of them begins: what is no telnet comes through as it is.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["TelnetFilter", "Window"]

_IAC = b"\xff"
_NAWS = 31
_COMMAND = re.compile(
    rb"\xff(?:\xfa(?P<about>(?:[^\xff]|\xff[^\xf0])*)\xff\xf0"  # IAC SB … IAC SE
    rb"|[\xfb-\xfe].|(?P<byte>\xff)|[^\xfa-\xff])",  # IAC WILL …; IAC IAC, which stands for one; IAC NOP
    re.DOTALL,
)


class Window(NamedTuple):
    """A terminal's size in characters."""

    columns: int
    rows: int


class TelnetFilter:
    """
    One direction of a session.

    @ivar window: the size that this side told last, if it did.
    """

    def __init__(self) -> None:
        self.window: Window | None = None
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """@return: the text in C{data}; a command that is incomplete waits for more."""
        data, self._rest = self._rest + data, b""
        text = []
        position = 0
        while (start := data.find(_IAC, position)) >= 0:
            text.append(data[position:start])
            match = _COMMAND.match(data, start)
            if match is None:
                self._rest = data[start:]
                return b"".join(text)
            text.append(match["byte"] or b"")
            if match["about"]:
                self._learn(match["about"].replace(_IAC * 2, _IAC))
            position = match.end()
        text.append(data[position:])
        return b"".join(text)

    def _learn(self, about: bytes) -> None:
        if about[0] == _NAWS and len(about) == 5 and any(about[1:3]) and any(about[3:5]):
            self.window = Window(int.from_bytes(about[1:3], "big"), int.from_bytes(about[3:5], "big"))
