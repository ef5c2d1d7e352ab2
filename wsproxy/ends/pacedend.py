"""An end that is read at a certain rate: what its peer sends beyond that waits with the peer.

A bucket of tokens, one for each byte: it fills at the rate, and holds those of a moment or two. What one read brings
beyond them is kept, and told in pieces as they come; nothing more is read meanwhile. Last words are not held back: at
the end, or loss, of the peer all of them are told at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from wsproxy.ends.end import Buffer, End, Receiver
from wsproxy.fault import logFault

__all__ = ["MOMENT", "PacedEnd"]

MOMENT = 0.1
"""Seconds from one piece to the next; the bucket holds the tokens of two."""


class PacedEnd:
    """An L{End<wsproxy.ends.end.End>} before another one.

    @param rate: bytes a second that are read.
    """

    __slots__ = ("_clock", "_end", "_kept", "_most", "_paused", "_rate", "_receiver", "_since", "_timer", "_tokens")

    _log = Logger()

    def __init__(self, end: End, rate: float, clock: IReactorTime) -> None:
        self._end = end
        self._receiver: Receiver | None = None
        self._rate = rate
        self._clock = clock
        self._kept = bytearray()
        self._paused = False  # by the tunnel
        self._most = max(2 * rate * MOMENT, 1.0)  # a timer may be late
        self._tokens = self._most
        self._since = clock.seconds()
        self._timer: IDelayedCall | None = None

    # what the end says

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._end.receiveAt(self._rate)
        self._end.start(Receiver(self._received, self._ended, receiver.drained, self._lost, receiver.leaving))

    def _received(self, data: Buffer) -> None:
        if self._kept:
            self._kept += data
        else:
            self._kept += data[self._tell(data) :]
            self._proceed()  # of which it hears nothing any more, where it was lost meanwhile

    def _tell(self, data: Buffer) -> int:
        """@return: how many of these bytes there were tokens for, and were told."""
        now = self._clock.seconds()
        self._tokens = min(self._tokens + (now - self._since) * self._rate, self._most)
        self._since = now
        size = min(len(data), int(self._tokens))
        if size and self._receiver is not None:
            self._tokens -= size
            self._receiver.received(data[:size])
        return size

    def _proceed(self) -> None:
        """Read on, or come back for what is kept."""
        if self._receiver is None or self._paused:
            return
        if not self._kept:
            self._end.resume()
        elif self._timer is None:
            self._end.pause()
            self._timer = self._clock.callLater(MOMENT, self._come)

    def _come(self) -> None:
        self._timer = None
        try:
            told = self._tell(bytes(self._kept[: int(self._most) + 1]))
            del self._kept[:told]
            self._proceed()
        except BaseException as error:
            logFault(self._log, "giving up an end")
            self._giveUp(error)

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
        if receiver is not None:
            receiver.lost(error)

    def _tellAll(self) -> None:
        self._stop()
        kept, self._kept = self._kept, bytearray()
        if kept and self._receiver is not None:
            self._receiver.received(bytes(kept))

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # what the tunnel says

    @property
    def congested(self) -> bool:
        return self._end.congested

    def write(self, buffers: Sequence[Buffer]) -> None:
        self._end.write(buffers)

    def pause(self) -> None:
        self._paused = True
        self._stop()
        self._end.pause()

    def resume(self) -> None:
        self._paused = False
        self._proceed()

    def finish(self) -> None:
        self._end.finish()

    def close(self) -> None:
        self._end.close()

    def abort(self) -> None:
        self._stop()
        self._kept.clear()
        self._end.abort()

    def sendAt(self, rate: float) -> None:
        self._end.sendAt(rate)

    def receiveAt(self, rate: float) -> None:
        self._end.receiveAt(min(rate, self._rate))

    def queued(self) -> int:
        return self._end.queued()

    def unsent(self) -> int:
        return self._end.unsent()

    def unanswered(self) -> bool:
        return self._end.unanswered()
