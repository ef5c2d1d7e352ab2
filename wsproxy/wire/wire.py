"""How a client's bytes are wrapped: the languages of a tunnel's client end, behind one boundary.

    - L{BinaryWire}: WebSocket, binary messages; the default, and any subprotocol but C{base64}.
    - L{Base64Wire}: WebSocket, the subprotocol C{base64}.
    - L{HixieWire<wsproxy.wire.hixie.HixieWire>}: the drafts of 2010, in a module of its own.
    - L{RawWire}: plain TCP, passed through.

A wire does no I/O: the tunnel gives it what it read and writes what it returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from wsproxy.errors import Close, WireError
from wsproxy.wire import base64
from wsproxy.wire.frames import TEXT, FrameDecoder, UTF8Decoder, closeFrame, header, ping, pong

__all__ = ["Base64Wire", "BinaryWire", "RawWire", "Wire"]


class Wire(Protocol):
    """One client's language, both ways.

    Buffers may be views, and what comes back may be views of what was passed in: the caller copies what is to
    outlive them.
    """

    @property
    def plain(self) -> bool:
        """Whether it is a bare stream of bytes: no pings, no Close, and either direction may end before the other."""

    @property
    def closed(self) -> Close | None:
        """The client's Close, once read; nothing is received after it."""

    @property
    def error(self) -> WireError | None:
        """How the client broke the protocol, if it did; no payload is received after it."""

    @property
    def answered(self) -> bool:
        """Whether the client's Close has come after its C{error}, too: it answers ours."""

    @property
    def partial(self) -> bool:
        """Whether what was received last ended inside a frame."""

    @property
    def due(self) -> bool:
        """Whether something beside payload is to be heard of: a ping, a pong, C{closed} or C{error}."""

    def receive(self, data: bytes | memoryview) -> Sequence[bytes | memoryview]:
        """
        @param data: what the client sent next, split anywhere.
        @return: chunks for the target, in order: all there is before a Close or an error.
        """

    def send(self, data: bytes | memoryview) -> Sequence[bytes | memoryview]:
        """
        @param data: what the target sent; at least one byte.
        @return: buffers for the client, in order.
        """

    def ping(self, payload: bytes) -> bytes | None:
        """
        @param payload: at most 125 bytes.
        @return: a frame that the client has to answer; C{None} where there is no such thing.
        """

    def pong(self) -> bytes | None:
        """The answer to the client's newest ping that was not answered yet, if any. It is due once."""

    def takePong(self) -> bool:
        """Whether the client has sent a pong. It is due once."""

    def close(self, close: Close) -> bytes:
        """The last bytes for the client, to say why. Empty where that cannot be said."""


class _WebSocketWire(FrameDecoder):
    """What the WebSocket wires have in common."""

    __slots__ = ()

    plain = False

    # not a method of its own: this is the hot path
    receive = FrameDecoder.feed

    def ping(self, payload: bytes) -> bytes:
        return ping(payload)

    def pong(self) -> bytes | None:
        payload = self.takePing()
        return None if payload is None else pong(payload)

    def close(self, close: Close) -> bytes:
        return closeFrame(close)


class BinaryWire(_WebSocketWire):
    """WebSocket with binary messages: what arrives at once from the target leaves as one message."""

    __slots__ = ()

    def __init__(self, text: bool = False) -> None:
        """
        @param text: whether the client may send text messages too, as their UTF-8 bytes.
        """
        super().__init__(UTF8Decoder() if text else None)

    def send(self, data: bytes | memoryview) -> Sequence[bytes | memoryview]:
        return header(len(data)), data


class Base64Wire(_WebSocketWire):
    """WebSocket with base64 in text messages, each complete in itself."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(base64.Base64Decoder(), binary=False)

    def send(self, data: bytes | memoryview) -> Sequence[bytes | memoryview]:
        message = base64.encode(data)
        return header(len(message), TEXT), message


class RawWire:
    """Plain TCP: the client's bytes are the target's."""

    __slots__ = ()

    plain = True
    closed: Close | None = None
    error: WireError | None = None
    answered = False
    partial = False
    due = False

    def receive(self, data: bytes | memoryview) -> Sequence[bytes | memoryview]:
        return (data,)

    def send(self, data: bytes | memoryview) -> Sequence[bytes | memoryview]:
        return (data,)

    def ping(self, payload: bytes) -> None:
        return None

    def pong(self) -> None:
        return None

    def takePong(self) -> bool:
        return False

    def close(self, close: Close) -> bytes:
        return b""
