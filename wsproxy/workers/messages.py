"""What a parent and its workers say to each other: JSON objects, one a line, over one unix socket pair.

::

    {"verb": V, "fields": {…}}               said, and that is all
    {"verb": V, "fields": {…}, "ask": N}     asked: an answer is due, whose number it is
    {"to": N, "answer": …}                   the answer
    {"to": N, "error": LINE}                 why there is none

Both sides may ask, and number their questions as they like. With C{"descriptors": M} in it, so many file descriptors
came along: they are sent with the bytes of the message, or with those before it, never after it, and in the order of
the messages. So a message that is complete has its own at the front of all that have arrived.

The verbs are::

    parent ─► worker                                      worker ─► parent
    start     config, listens, wrapped; the memory        up            it takes connections
              of L{wsproxy.workers.accepting}, and the    unable        line: why it cannot start
              listening sockets; first of all             log           namespace, level, text, record
    program   state: of a wrapped program                 ending        its clients have been told to go
    sessions  asked: how many there are                   served        a client has reached the program
    reload    the certificates                            gone          generation, port, address: nothing
    drain     take no more clients, end with the last                   listens there any more
    retire    likewise, but who is there may still
              begin: others serve those who come
    end       the program has ended
    (end of the stream)  there is no parent; end

and those of whoever has something in common with all workers (L{wsproxy.cluster.parent}), in the form C{room.verb}.

No Twisted in here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["LONGEST", "Answer", "Message", "MessageError", "Messages"]

LONGEST = 16 * 1024 * 1024
"""Bytes of a message. A command line has 2 MiB (execve(2)), of which JSON makes up to six times as many."""

_encode = json.JSONEncoder(separators=(",", ":")).encode


class MessageError(Exception):
    """This can be no message; and where it has arrived, what comes after it cannot be trusted either."""


class Message(NamedTuple):
    """
    A tuple because each log line is one, and a frozen dataclass takes three times as long to make.

    @ivar fields: of what JSON can say. Tuples arrive as lists.
    @ivar ask: the number of the answer that is due; L{None} for none.
    @ivar descriptors: that come along, open in whichever process this is.
    """

    verb: str
    fields: Mapping[str, Any]
    ask: int | None = None
    descriptors: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """@return: one line. It is ASCII, and carries the bytes of file names that are no text (PEP 383)."""
        plain: dict[str, Any] = {"verb": self.verb, "fields": self.fields}
        if self.ask is not None:
            plain["ask"] = self.ask
        if self.descriptors:
            plain["descriptors"] = len(self.descriptors)
        return _line(plain)


class Answer(NamedTuple):
    """
    @ivar to: the number of what was asked.
    @ivar error: why there is no answer, in one line.
    """

    to: int
    answer: Any = None
    error: str | None = None

    def encode(self) -> bytes:
        """@return: one line."""
        if self.error is not None:
            return _line({"to": self.to, "error": self.error})
        return _line({"to": self.to, "answer": self.answer})


def _line(plain: dict[str, Any]) -> bytes:
    line = _encode(plain).encode("ascii")
    if len(line) > LONGEST:
        raise MessageError(f"a message of {len(line)} bytes")
    return line + b"\n"


class Messages:
    """
    Bytes in, however they were split, and messages out.

    @ivar descriptors: that have arrived, and whose message has not: whoever ends this closes them.
    """

    def __init__(self, longest: int = LONGEST) -> None:
        self.descriptors: list[int] = []
        self._longest = longest
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def rest(self) -> bytes:
        """What has arrived of a message that has not as a whole."""
        return b"".join(self._parts)

    def feed(self, data: bytes, descriptors: Sequence[int] = ()) -> Iterator[Message | Answer]:
        """
        @param descriptors: that came with C{data}.
        @return: the messages that C{data} completes.
        @raise MessageError: there can be no more of them.
        """
        self.descriptors += descriptors
        *lines, rest = data.split(b"\n")
        for line in lines:
            yield self._parse(self._whole(line) if self._size else line)
        if rest:
            self._append(rest)

    def _whole(self, end: bytes) -> bytes:
        self._append(end)
        parts, self._parts = self._parts, []
        self._size = 0
        return b"".join(parts)

    def _append(self, part: bytes) -> None:
        self._check(self._size + len(part))
        self._size += len(part)
        self._parts.append(part)

    def _check(self, size: int) -> None:
        if size > self._longest:
            raise MessageError(f"a message of more than {self._longest} bytes")

    def _parse(self, line: bytes) -> Message | Answer:
        self._check(len(line))
        try:
            plain = json.loads(line)
            if "to" in plain:
                return Answer(int(plain["to"]), plain.get("answer"), plain.get("error"))
            descriptors = self._take(plain["descriptors"]) if "descriptors" in plain else ()
            return Message(plain["verb"], plain["fields"], plain.get("ask"), descriptors)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            raise MessageError(f"no message: {error}") from error

    def _take(self, count: int) -> tuple[int, ...]:
        if not 0 <= count <= len(self.descriptors):
            raise MessageError(f"{len(self.descriptors)} of {count} descriptors")
        taken = tuple(self.descriptors[:count])
        del self.descriptors[:count]
        return taken
