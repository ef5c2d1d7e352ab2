"""An end without a socket, and the client's view of what was written to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wsproxy.ends.end import Buffer, Receiver

__all__ = ["FakeEnd", "Message", "messages"]


class FakeEnd:
    """
    An L{End<wsproxy.ends.end.End>} that does what a test says, and keeps what it was told.

    As strict as L{wsproxy.ends.end} allows: what it receives it overwrites afterwards, and it says nothing
    once it is lost. What is held back from a paused end is not known to be lost before it was read.

    @ivar prompt: lose itself from within C{close} and C{abort}, rather than when told to.
    @ivar owed: what L{unsent} tells.
    @ivar vanished: what L{unanswered} tells.
    @ivar sending: the rate that it was last told to keep little for, and C{receiving} the same.
    @ivar unread: whether the peer has sent something that is still to be read.
    """

    def __init__(self, prompt: bool = False) -> None:
        self.congested = False
        self.prompt = prompt
        self.owed = 0
        self.vanished = False
        self.unread = False
        self.written = b""
        self.receiver: Receiver | None = None
        self.reading = False
        self.sending = self.receiving = 0.0
        self.settled = True
        self.finished = self.closed = self.aborted = self.isLost = False

    # what the tunnel says

    def start(self, receiver: Receiver) -> None:
        assert self.receiver is None, "started twice"
        self.receiver = receiver
        self.reading = True

    def write(self, buffers: Sequence[Buffer]) -> None:
        if not (self.finished or self.closed or self.aborted or self.isLost):
            self.written += b"".join(buffers)

    def pause(self) -> None:
        self.reading = False

    def resume(self) -> None:
        self.reading = True
        self.unread = False

    def finish(self) -> None:
        self.finished = True

    def close(self) -> None:
        self.closed = True
        if self.prompt:
            self.lose()

    def abort(self) -> None:
        self.aborted = True
        if self.prompt:
            self.lose()

    def sendAt(self, rate: float) -> None:
        self.sending = rate

    def receiveAt(self, rate: float) -> bool:
        self.receiving = rate
        return self.settled

    def queued(self) -> int:
        return len(self.written) if self.congested else 0

    def unsent(self) -> int:
        return self.owed

    def unanswered(self) -> bool:
        return self.vanished

    # what the peer does

    def receive(self, data: bytes) -> None:
        """The peer sent this, and it is read: at once unless paused."""
        assert self.receiver is not None and self.reading and not self.isLost
        scratch = bytearray(data)
        self.receiver.received(memoryview(scratch))
        scratch[:] = bytes(len(scratch))

    def end(self) -> None:
        """The peer sends no more."""
        assert self.receiver is not None and not self.isLost and not self.unread
        self.receiver.ended()

    def leave(self, half: bool = False) -> None:
        """The peer sends no more, or is gone, and what it sent before is not read."""
        assert self.receiver is not None and not self.reading and not self.isLost
        self.unread = True
        self.receiver.leaving(half)

    def drain(self) -> None:
        """The peer has taken what was queued."""
        assert self.receiver is not None and self.congested
        self.congested = False
        self.receiver.drained()

    def lose(self, error: Exception | None = None) -> None:
        """The connection is gone."""
        assert self.reading or self.aborted or self.closed or not self.unread, "there is something to be read"
        if not self.isLost:
            self.isLost = True
            if self.receiver is not None:
                self.receiver.lost(error)


class Message(NamedTuple):
    """A frame that a server sent: complete messages and control frames, which is all that this one sends."""

    opcode: int
    payload: bytes


def messages(data: bytes) -> list[Message]:
    """The frames in what a client has read; they must be whole."""
    found: list[Message] = []
    at = 0
    while at < len(data):
        opcode, length, size = data[at] & 0x0F, data[at + 1], 0
        assert data[at] & 0xF0 == 0x80 and length < 0x80, "fragmented, with reserved bits, or masked"
        start = at + 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length = int.from_bytes(data[start : start + size], "big")
        at = start + size + length
        assert len(data) >= at, "cut off"
        found.append(Message(opcode, data[start + size : at]))
    return found
