"""What is said with either side before the tunnel opens: so many bytes, up to a delimiter, and TLS from there on.

A conversation reads no further than it is asked to, as far as anybody can: what has arrived beyond that stays where it
is, and goes the way of everything else once the tunnel is open.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
)

from wsproxy.ends.end import End
from wsproxy.errors import DialError
from wsproxy.interfaces import Session
from wsproxy.sessions.layer import Layer, LayeredEnd
from wsproxy.sessions.targetend import TargetEnd
from wsproxy.tunnel.tunnel import Tunnel

__all__ = ["LIMIT", "ClientConversation", "Conversation", "TargetConversation"]

LIMIT = 65536
"""The most bytes that one read waits for: what a client may send before its target is there, too."""


class Conversation(ABC):
    """One side of it; L{wsproxy.interfaces.Conversation} has what it promises."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._wanted: Callable[[], int | None] | None = None
        self._reading: Deferred[bytes] | None = None

    # what there is to a side

    @abstractmethod
    def write(self, data: bytes) -> None: ...

    @abstractmethod
    def startTLS(self, settings: Any) -> Deferred[None]: ...

    @property
    @abstractmethod
    def _buffer(self) -> bytearray:
        """What has arrived, and was not read."""

    @property
    @abstractmethod
    def _over(self) -> Exception | None:
        """Why nothing more will arrive; L{None} while something may."""

    @abstractmethod
    def _listen(self, listening: bool) -> None:
        """Have more arrive, or let it wait where it is."""

    def close(self) -> None:
        """The tunnel goes on from here, or nobody does: a read that waits has failed."""
        self._fail(ConnectionDone("the conversation is over"))

    # what is read

    @property
    def reading(self) -> bool:
        """Whether somebody waits for what this side says."""
        return self._reading is not None

    def readExactly(self, size: int) -> Deferred[bytes]:
        if not 0 <= size <= LIMIT:
            return fail(ValueError(f"{size} bytes: a read has {LIMIT} at most"))
        return self._read(lambda: size if len(self._buffer) >= size else None)

    def readUntil(self, delimiter: bytes, limit: int = LIMIT) -> Deferred[bytes]:
        if not delimiter or not len(delimiter) <= limit <= LIMIT:
            return fail(ValueError(f"a delimiter of {len(delimiter)} bytes within {limit}"))

        def found() -> int | None:
            at = self._buffer.find(delimiter, 0, limit)
            if at < 0 and len(self._buffer) >= limit:
                raise ValueError(f"no delimiter within {limit} bytes")
            return None if at < 0 else at + len(delimiter)

        return self._read(found)

    def _read(self, wanted: Callable[[], int | None]) -> Deferred[bytes]:
        if self._reading is not None:
            return fail(RuntimeError("one read at a time"))
        self._wanted = wanted
        reading: Deferred[bytes] = Deferred(self._forget)
        self._reading = reading
        self._listen(True)
        self.heard()
        return reading

    def _forget(self, reading: Deferred[bytes]) -> None:
        """Whoever has read has given up."""
        self._settle()

    def heard(self) -> None:
        """Something has arrived, or nothing more will."""
        if self._wanted is None:
            return
        try:
            size = self._wanted()
        except Exception as error:
            self._fail(error)
            return
        if size is not None:
            self._answer(size)
        elif self._over is not None:
            self._fail(self._over)

    def _answer(self, size: int) -> None:
        buffer = self._buffer
        data = bytes(buffer[:size])
        del buffer[:size]
        reading = self._settle()
        if reading is not None:
            reading.callback(data)

    def _fail(self, error: Exception) -> None:
        reading = self._settle()
        if reading is not None:
            reading.errback(error)

    def _settle(self) -> Deferred[bytes] | None:
        reading, self._reading, self._wanted = self._reading, None, None
        self._listen(False)
        return reading


class ClientConversation(Conversation):
    """With a client whose tunnel waits for its target: what it sends meanwhile is kept there."""

    def __init__(self, session: Session, tunnel: Tunnel, clock: IReactorTime) -> None:
        super().__init__(session)
        self._tunnel = tunnel
        self._clock = clock
        self._layer: Layer | None = None

    def write(self, data: bytes) -> None:
        if data:
            (self._tunnel.tell if self._layer is None else self._layer.write)(data)

    def startTLS(self, settings: IOpenSSLServerConnectionCreator) -> Deferred[None]:
        if self._layer is not None:
            return fail(RuntimeError("TLS has begun already"))
        self._layer = Layer(settings, self._tunnel.tell, self.heard, self._clock)
        self._listen(True)
        self._feed()
        return self._layer.shaken

    def between(self, target: End) -> End:
        """@return: C{target}, or it behind the TLS of this side."""
        return target if self._layer is None else LayeredEnd(self._layer, target)

    @property
    def reading(self) -> bool:
        return super().reading or (self._layer is not None and not self._layer.shaken.called)

    @property
    def _buffer(self) -> bytearray:
        return self._tunnel.early if self._layer is None else self._layer.decrypted

    @property
    def _over(self) -> Exception | None:
        if self._layer is not None and self._layer.error is not None:
            return self._layer.error
        return None if self._tunnel.listens else ConnectionDone("the client has left")

    def _listen(self, listening: bool) -> None:
        # TLS is a conversation of its own, also while nobody reads
        self._tunnel.listen(self._feed if listening or self._layer is not None else None)

    def _feed(self) -> None:
        if self._layer is not None:
            early = self._tunnel.early
            encrypted = bytes(early)
            early.clear()
            self._layer.receive(encrypted)
        self.heard()

    def close(self) -> None:
        super().close()
        self._tunnel.listen(None)


class TargetConversation(Conversation):
    """With a target whose end nobody has started: what it sends is kept there, and nothing is read unless wanted."""

    def __init__(self, session: Session, end: TargetEnd, clock: IReactorTime) -> None:
        super().__init__(session)
        self._end = end
        self._clock = clock

    def write(self, data: bytes) -> None:
        self._end.write([data])

    def startTLS(self, settings: IOpenSSLClientConnectionCreator) -> Deferred[None]:
        return self._end.startTLS(settings, self._clock)

    @property
    def _buffer(self) -> bytearray:
        return self._end.early

    @property
    def _over(self) -> Exception | None:
        return DialError("Target closed the connection") if self._end.isOver else None

    def _listen(self, listening: bool) -> None:
        self._end.listen(self.heard if listening else None)
