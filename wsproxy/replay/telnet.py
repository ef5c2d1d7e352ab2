"""Telnet commands, taken out of a terminal session (RFC 854, RFC 855, RFC 1073). Sans-IO.

Text in UTF-8 has no byte 255, with which each of them begins: what is no telnet comes through as it is.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["TelnetFilter", "Window"]

_IAC = b"\xff"
_SE = b"\xff\xf0"
_NAWS = 31
_COMMAND = re.compile(
    rb"\xff(?:(?P<begin>\xfa)"  # IAC SB
    rb"|[\xfb-\xfe].|(?P<byte>\xff)|[^\xfa-\xff])",  # IAC WILL …; IAC IAC, which stands for one; IAC NOP
    re.DOTALL,
)
_INSIDE = re.compile(rb"(?:[^\xff]++|\xff[^\xf0])*+", re.DOTALL)  # up to IAC SE, or an IAC that may become that

_ABOUT_LIMIT = 64
"""Bytes of a subnegotiation that are kept: that of a window has five, and nine if each were doubled."""


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
        self._rest = b""  # the beginning of a command, or of the end of a subnegotiation: two bytes at most
        self._about: bytes | None = None  # a subnegotiation that has begun

    def feed(self, data: bytes) -> bytes:
        """@return: the text in C{data}; a command that is incomplete waits for more."""
        data, self._rest = self._rest + data, b""
        text: list[bytes] = []
        position = 0
        while position < len(data):
            position = self._text(data, position, text) if self._about is None else self._inside(data, position)
        return b"".join(text)

    def _text(self, data: bytes, position: int, text: list[bytes]) -> int:
        """Up to a command, and over it. @return: where to go on."""
        start = data.find(_IAC, position)
        if start < 0:
            start = len(data)
        text.append(data[position:start])
        match = _COMMAND.match(data, start)
        if match is None:
            self._rest = data[start:]
            return len(data)
        text.append(match["byte"] or b"")
        if match["begin"]:
            self._about = b""
        return match.end()

    def _inside(self, data: bytes, position: int) -> int:
        """Up to the end of a subnegotiation, and over it. @return: where to go on."""
        assert self._about is not None
        match = _INSIDE.match(data, position)
        assert match is not None
        self._about += data[position : min(match.end(), position + _ABOUT_LIMIT - len(self._about))]
        if not data.startswith(_SE, match.end()):
            self._rest = data[match.end() :]
            return len(data)
        self._learn(self._about.replace(_IAC * 2, _IAC))
        self._about = None
        return match.end() + len(_SE)

    def _learn(self, about: bytes) -> None:
        if about[:1] == bytes([_NAWS]) and len(about) == 5 and any(about[1:3]) and any(about[3:5]):
            self.window = Window(int.from_bytes(about[1:3], "big"), int.from_bytes(about[3:5], "big"))
