"""An end that is read at a certain rate: what its peer sends beyond that waits with the peer.

What one read brings beyond the tokens that there are (L{Bucket<wsproxy.ends.bucket.Bucket>}) is kept, and told in
pieces as they come; nothing more is read meanwhile. Last words are not held back: at the end, or loss, of the peer all
of them are told at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.logger import Logger

from wsproxy.ends.bucket import Bucket
from wsproxy.ends.end import Buffer, End, Receiver, ignore
from wsproxy.fault import logFault

__all__ = ["PacedEnd"]


class _Gone:
    """In the place of an end that is lost, which leads back to the one that is before it."""

    congested = True
    start = write = pause = resume = finish = close = abort = sendAt = staticmethod(ignore)

    @staticmethod
    def receiveAt(rate: float) -> bool:
        return True

    @staticmethod
    def queued() -> int:
        return 0

    unsent = queued

    @staticmethod
    def unanswered() -> bool:
        return False


_GONE: Any = _Gone()


class PacedEnd:
    """An L{End<wsproxy.ends.end.End>} before another one.

    @param bucket: with the tokens for what is read, its own or one that it shares with others.
    """

    __slots__ = ("_bucket", "_end", "_kept", "_paused", "_receiver")

    _log = Logger()

    def __init__(self, end: End, bucket: Bucket) -> None:
        self._end = end
        self._receiver: Receiver | None = None
        self._bucket = bucket
        self._kept = bytearray()
        self._paused = False  # by the tunnel

    # what the end says

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._end.receiveAt(0.0)  # what has to wait does so with the peer
        self._end.start(Receiver(self._received, self._ended, receiver.drained, self._lost, receiver.leaving))

    def _received(self, data: Buffer) -> None:
        if self._kept:
            self._kept += data
            return
        size = self._bucket.take(len(data))
        if size:
            self._tell(data[:size])
        self._kept += data[size:]
        self._proceed()  # of which it hears nothing any more, where it was lost meanwhile

    def _tell(self, data: Buffer) -> None:
        if self._receiver is not None:
            self._receiver.received(data)

    def _proceed(self) -> None:
        """Read on, or wait for one's turn to tell what is kept."""
        if self._receiver is None or self._paused:
            return
        if self._kept:
            self._end.pause()
            self._bucket.wait(self)
        else:
            self._end.resume()

    def come(self, most: int) -> int:
        """See L{Waiting<wsproxy.ends.bucket.Waiting>}."""
        piece = bytes(self._kept[:most])
        del self._kept[:most]
        try:
            self._tell(piece)
            self._proceed()
        except BaseException as error:
            logFault(self._log, "giving up an end")
            self._giveUp(error)
        return len(piece)

    def _giveUp(self, error: BaseException) -> None:
        try:
            self.abort()
        except BaseException:  # it is not likely to say that it is gone
            self._lost(error if isinstance(error, Exception) else None)

    def _ended(self) -> None:
        self._tellAll()
        if self._receiver is not None:
            self._receiver.ended()

    def _lost(self, error: Exception | None) -> None:
        self._tellAll()
        receiver, self._receiver = self._receiver, None  # it leads back to this end
        self._end = _GONE
        if receiver is not None:
            receiver.lost(error)

    def _tellAll(self) -> None:
        self._bucket.leave(self)
        kept, self._kept = self._kept, bytearray()
        if kept:
            self._bucket.spend(len(kept))
            self._tell(bytes(kept))

    # what the tunnel says

    @property
    def congested(self) -> bool:
        return self._end.congested

    def write(self, buffers: Sequence[Buffer]) -> None:
        self._end.write(buffers)

    def pause(self) -> None:
        self._paused = True
        self._bucket.leave(self)
        self._end.pause()

    def resume(self) -> None:
        self._paused = False
        self._proceed()

    def finish(self) -> None:
        self._end.finish()

    def close(self) -> None:
        self._end.close()

    def abort(self) -> None:
        self._bucket.leave(self)
        self._kept.clear()
        self._end.abort()

    def sendAt(self, rate: float) -> None:
        self._end.sendAt(rate)

    def receiveAt(self, rate: float) -> bool:
        return self._end.receiveAt(min(rate, self._bucket.rate))

    def queued(self) -> int:
        return self._end.queued()

    def unsent(self) -> int:
        return self._end.unsent()

    def unanswered(self) -> bool:
        return self._end.unanswered()
