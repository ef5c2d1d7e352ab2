"""WebSocket frames, the server's side of RFC 6455 section 5: bytes in, payload out. No I/O, no extensions.

The decoder serves a relay. The target sees a stream of bytes, so payload is handed on as it arrives, from
frames and messages of any size, and nothing is kept but the first bytes of a header or of a control frame::

     0        1        2
    +-+---+--+-+------+-----------------+-----------+---------~
    |F|RSV|op|M| len  | 16 or 64 bits   | four-byte | payload,
    |I|   |  |A| 0-125| of length where | key       | XORed with
    |N|   |  |S| or   | len is 126, 127 |           | the key
    +-+---+--+-+------+-----------------+-----------+---------~

A client's small messages may arrive by the thousand in one read: the loop of L{FrameDecoder.feed} takes whole
binary messages by itself, and L{FrameDecoder._frame} everything else. One short message alone, which is what people who
type send, is not even looped over.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from struct import Struct
from typing import Final, Protocol

from wsproxy.errors import Close, CloseCode, WireError
from wsproxy.wire.mask import mask

__all__ = [
    "BINARY",
    "TEXT",
    "FrameDecoder",
    "TextDecoder",
    "UTF8Decoder",
    "closeFrame",
    "header",
    "ping",
    "pong",
    "protocolError",
]

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

# The first two bytes, as one number, of a binary message in one frame: of one byte, and with a 16-bit length.
_WHOLE: Final = 0x8281
_WHOLE_16: Final = 0x82FE
_NOTHING: Final = 0x10000  # beyond any two bytes

_twoAndKey = Struct("!H4s").unpack_from
_newUTF8 = getincrementaldecoder("utf-8")


class TextDecoder(Protocol):
    """What text messages mean to the target.

    @ivar error: why L{decode} stopped. Not to be called again once this is set.
    """

    error: WireError | None

    def decode(self, data: bytes, final: bool) -> bytes:
        """
        @param data: the next bytes of a text message, split anywhere.
        @param final: whether the message ends with them.
        @return: bytes for the target, up to the first that break the rules.
        """


class UTF8Decoder:
    """Text messages as their own bytes, in whole characters (RFC 6455 section 8.1)."""

    __slots__ = ("_decoder", "error")

    def __init__(self) -> None:
        self._decoder = _newUTF8()
        self.error: WireError | None = None

    def decode(self, data: bytes, final: bool) -> bytes:
        try:
            return self._decoder.decode(data, final).encode()
        except UnicodeDecodeError as e:
            self.error = WireError(CloseCode.INVALID_DATA, "Invalid UTF-8 in a text message")
            return e.object[: e.start]


class FrameDecoder:
    """The frames of one client, as bytes for its target.

    @ivar closed: the client's Close, once it has been read; its code is 1005 where the frame had none.
    @ivar error: how the client broke the protocol, if it did.
    @ivar answered: whether, after that, its Close has come as well, which answers ours.
    @ivar due: whether something beside payload is to be heard of: a ping, a pong, C{closed} or C{error}.
    """

    __slots__ = (
        "_final",
        "_key",
        "_left",
        "_message",
        "_ping",
        "_pong",
        "_start",
        "_text",
        "_whole",
        "answered",
        "closed",
        "due",
        "error",
    )

    _lastCode = 1013
    """Of the registered close codes; beyond is 1014 (bad gateway), which is for servers alone."""

    def __init__(self, text: TextDecoder | None = None, binary: bool = True) -> None:
        """
        @param text: decodes text messages; without it they are an error (1003).
        @param binary: whether binary messages are welcome; an error (1003) where not.
        """
        self._text = text
        self._whole = _WHOLE if binary else _NOTHING
        self._start = b""  # of a header or control frame of which the rest is to come
        self._message = CONTINUATION  # the opcode that opened the current message, if there is one
        self._left = 0  # payload bytes to come of the current data frame, with its key and FIN bit
        self._key = b""
        self._final = False
        self._ping: bytes | None = None
        self._pong = False
        self.due = False
        self.closed: Close | None = None
        self.error: WireError | None = None
        self.answered = False

    @property
    def partial(self) -> bool:
        """Whether what was fed last ended inside a frame."""
        return bool(self._left or self._start)

    def takePing(self) -> bytes | None:
        """The payload of the newest ping, unless taken before: older ones need no pong (RFC 6455 5.5.3)."""
        payload, self._ping = self._ping, None
        self._mind()
        return payload

    def takePong(self) -> bool:
        """Whether a pong has come, whatever it carried, unless taken before."""
        pong, self._pong = self._pong, False
        self._mind()
        return pong

    def _mind(self) -> None:
        self.due = self._ping is not None or self._pong or self.closed is not None or self.error is not None

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """
        Decode what the client sent next, split anywhere. A view may be overwritten afterwards.

        @return: payload for the target, in order, no chunk empty: all there is before a Close or an error.
            What is fed after one of them is ignored, but for the Close that follows an error.
        """
        size = len(data)
        if 6 < size < 132 and not (self._left or self._start or self._message or self.due):
            data = bytes(data)
            head, key = _twoAndKey(data, 0)
            if head == self._whole + size - 7:
                return [mask(data[6:], key)]
        chunks: list[bytes] = []
        if self.error is not None or self.closed is not None:
            if self.closed is None:
                self._passOver(data)
            return chunks
        if self._start:
            data = b"".join((self._start, data))
            self._start = b""
        at = 0
        if self._left:
            at = self._payload(data, 0, chunks)
            self._mind()
        end = len(data)
        lastHead = end - 6
        append = chunks.append
        while at < end:
            whole = _NOTHING if self._message else self._whole
            if at <= lastHead and data[at + 1] < 0xFE:
                # short messages ahead: 2.1 M/s where they are cut out of bytes, 1.8 M/s out of a view
                data = bytes(data)
            while at <= lastHead:
                head, key = _twoAndKey(data, at)
                if whole <= head < _WHOLE_16:
                    start = at + 6
                    stop = start + (head & 0x7F)
                elif whole <= head == _WHOLE_16 and at + 2 <= lastHead:
                    length, key = _twoAndKey(data, at + 2)
                    if length < 126:
                        break
                    start = at + 8
                    stop = start + length
                else:
                    break
                if stop > end:
                    break
                append(mask(data[start:stop], key))
                at = stop
            if at < end:
                at = self._frame(data, at, chunks)
                self._mind()
        return chunks

    def _frame(self, data: bytes | memoryview, at: int, chunks: list[bytes]) -> int:
        """Decode one frame of any kind, or as much of it as there is.

        @return: the position of the next frame; the end of C{data} where nothing more is to be decoded.
        """
        end = len(data)
        available = end - at
        if available < 2:
            self._start = bytes(data[at:])
            return end
        first, second = data[at], data[at + 1]
        opcode = first & 0x0F
        length = second & 0x7F
        self.error = self._refuse(first, second)
        if self.error is not None:
            self._passOver(data[at:])
            return end
        start = at + (6 if length < 126 else 8 if length == 126 else 14)
        if end < start or (opcode >= CLOSE and end < start + length):
            self._start = bytes(data[at:])
            return end
        if length >= 126:
            shortest = 126 if length == 126 else 0x10000
            length = int.from_bytes(data[at + 2 : start - 4], "big")
            if not shortest <= length < 1 << 63:
                self.error = protocolError("Frame length not in its shortest form, or beyond 63 bits")
                self._passOver(data[at:])
                return end
        key = bytes(data[start - 4 : start])
        if opcode >= CLOSE:
            self._control(opcode, mask(data[start : start + length], key))
            return end if self.closed is not None or self.error is not None else start + length
        self._message = self._message or opcode
        self._final = first >= 0x80
        self._left = length
        self._key = key
        return self._payload(data, start, chunks)

    def _refuse(self, first: int, second: int) -> WireError | None:
        """What is wrong with a frame that begins with these bytes (RFC 6455 sections 5.2, 5.4 and 5.5)."""
        opcode = first & 0x0F
        if first & 0x70:
            return protocolError("Reserved bits set")
        if not second & 0x80:
            return protocolError("Frame not masked")
        if opcode >= CLOSE:
            if opcode > PONG:
                return protocolError("Reserved opcode")
            if not first & 0x80:
                return protocolError("Fragmented control frame")
            if second & 0x7F > 125:
                return protocolError("Control frame of more than 125 bytes")
            return None
        if opcode > BINARY:
            return protocolError("Reserved opcode")
        if bool(opcode) == bool(self._message):
            return protocolError("Message inside a message" if opcode else "Continuation of no message")
        if opcode == TEXT and self._text is None:
            return WireError(CloseCode.UNSUPPORTED_DATA, "Only binary messages are accepted here")
        if opcode == BINARY and self._whole == _NOTHING:
            return WireError(CloseCode.UNSUPPORTED_DATA, "Only text messages are accepted here")
        return None

    def _payload(self, data: bytes | memoryview, at: int, chunks: list[bytes]) -> int:
        """Take the current data frame's payload from C{at} on. Returns as L{_frame} does."""
        stop = min(at + self._left, len(data))
        taken = stop - at
        # a view, lest large payloads be copied twice
        payload = mask(memoryview(data)[at:stop], self._key)
        self._left -= taken
        turn = taken & 3
        self._key = self._key[turn:] + self._key[:turn]
        ends = self._final and not self._left
        if self._message == TEXT and self._text is not None:
            payload = self._text.decode(payload, ends)
            self.error = self._text.error
        if payload:
            chunks.append(payload)
        if ends:
            self._message = CONTINUATION
        if self.error is not None:
            self._passOver(data[stop:])
            return len(data)
        return stop

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._ping = payload
        elif opcode == PONG:
            self._pong = True
        elif opcode == CLOSE:
            try:
                self.closed = _parseClose(payload, self._lastCode)
            except WireError as e:
                self.error = e
                self.answered = True

    def _passOver(self, data: bytes | memoryview) -> None:
        """After an error: look at the frames for nothing but a Close. Theirs are the lengths that they claim."""
        if self._start:
            data = b"".join((self._start, data))
            self._start = b""
        at = self._left
        while not self.answered and at < len(data):
            head = bytes(data[at : at + 10])
            extended = {126: 2, 127: 8}.get(head[1] & 0x7F, 0) if len(head) > 1 else 8
            if len(head) < 2 + extended:
                self._start = head
                break
            length = int.from_bytes(head[2 : 2 + extended], "big") if extended else head[1] & 0x7F
            self.answered = head[0] & 0x0F == CLOSE
            at += 2 + extended + (4 if head[1] & 0x80 else 0) + length
        self._left = max(0, at - len(data)) if not self._start else 0


def protocolError(reason: str) -> WireError:
    """@return: what a peer is told that breaks the rules: 1002, and which of them."""
    return WireError(CloseCode.PROTOCOL_ERROR, reason)


def _parseClose(payload: bytes, lastCode: int) -> Close:
    """The payload of a Close frame (RFC 6455 sections 5.5.1 and 7.4).

    @param lastCode: of the registered ones. Otherwise codes are those that Autobahn takes.
    @raise WireError: 1002, or 1007 where the reason is not UTF-8.
    """
    if not payload:
        return Close(CloseCode.NO_STATUS)
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (1000 <= code <= 1003 or 1007 <= code <= lastCode or 3000 <= code <= 4999):
        raise protocolError("Invalid close code")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise WireError(CloseCode.INVALID_DATA, "Invalid UTF-8 in a close reason") from None


_shortHeaders = {
    opcode: [bytes((0x80 | opcode, length)) for length in range(126)] for opcode in (TEXT, BINARY, CLOSE, PING, PONG)
}
_header16 = Struct("!BBH").pack
_header64 = Struct("!BBQ").pack


def header(length: int, opcode: int = BINARY) -> bytes:
    """What goes before a payload of C{length} bytes: 2, 4 or 10 bytes, FIN set, not masked."""
    if length < 126:
        return _shortHeaders[opcode][length]
    if length < 0x10000:
        return _header16(0x80 | opcode, 126, length)
    return _header64(0x80 | opcode, 127, length)


def ping(payload: bytes = b"") -> bytes:
    """A ping frame; C{payload} of at most 125 bytes."""
    return header(len(payload), PING) + payload


def pong(payload: bytes) -> bytes:
    """The answer to the ping that carried C{payload}."""
    return header(len(payload), PONG) + payload


def closeFrame(close: Close) -> bytes:
    """A Close frame (RFC 6455 section 5.5.1).

    The reason is cut to 123 bytes, where a character ends. Codes that are never sent make an empty frame.
    """
    if close.code in (CloseCode.NO_STATUS, CloseCode.ABNORMAL):
        return header(0, CLOSE)
    # a reason may quote a path with bytes that are not UTF-8, which Python holds as surrogates
    reason = close.reason.encode(errors="replace")[:123].decode(errors="ignore").encode()
    return header(2 + len(reason), CLOSE) + close.code.to_bytes(2, "big") + reason
