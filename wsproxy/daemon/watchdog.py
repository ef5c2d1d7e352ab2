"""A thread that ends the process in time when nothing else in it does.

::

    signal ─► C level of Python ─► pipe ─► watchdog ─┬─► whoever had signals reported before: the reactor
                     │                               └─► a deadline, and at its end os._exit
                     └─► handler, in the main thread: as soon as that is not busy

A plugin that blocks keeps the main thread from its handlers, and a thread that hangs, as in a name lookup, keeps the
interpreter from ending. The one does not keep the watchdog from seeing the signal, nor the other from leaving.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

__all__ = ["LAST_CALL", "Watchdog"]

LAST_CALL = 1.0
"""Seconds before the end at which other processes are told that it comes."""

_NO_SIGNAL = b"\0"

_NO_MORE: int = getattr(select, "POLLRDHUP", 0)
"""What tells of a socket that is shut down on the other side. A pipe's POLLHUP need not be asked for."""


class Watchdog:
    """
    @param hangUp: a descriptor of a pipe or a socket whose other end may go away, or write no more.
    """

    def __init__(self, hangUp: int | None = None) -> None:
        self._hangUp = hangUp
        self._reader, self._writer = os.pipe()
        for descriptor in (self._reader, self._writer):
            os.set_blocking(descriptor, False)
        self._before = -1
        self._end: float | None = None
        self._called = False
        self._noticed: Callable[[int], object] = lambda number: None
        self._lastCall: Callable[[], object] = lambda: None
        self._leave: Callable[[], object] = lambda: None

    def start(
        self, noticed: Callable[[int], object], lastCall: Callable[[], object], leave: Callable[[], object]
    ) -> None:
        """
        All of these are called in the watchdog's own thread.

        @param noticed: told of each signal that has a handler; with 0 when C{hangUp} did.
        @param lastCall: called L{LAST_CALL} seconds before the end.
        @param leave: ends the process. It should not return.
        """
        self._noticed, self._lastCall, self._leave = noticed, lastCall, leave
        # Not to this thread: whoever has them held back for a while does so in the main thread alone.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            Thread(target=self._watch, name="watchdog", daemon=True).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def watchSignals(self) -> None:
        """Have signals reported here; again when somebody else has had himself put there. In the main thread."""
        before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        if before != self._writer:
            self._before = before

    def leaveWithin(self, seconds: float) -> None:
        """Be gone by then, or earlier if that was said already. In any thread."""
        end = time.monotonic() + seconds
        if self._end is None or end < self._end:
            self._end = end
            with suppress(BlockingIOError):  # full, it wakes up all the same
                os.write(self._writer, _NO_SIGNAL)

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        if self._hangUp is not None:
            poll.register(self._hangUp, _NO_MORE)
        while True:
            for descriptor, _ in poll.poll(self._patience()):
                if descriptor == self._reader:
                    self._read()
                else:
                    poll.unregister(descriptor)
                    self._noticed(0)
            self._look()

    def _read(self) -> None:
        data = os.read(self._reader, 1024)
        for number in data:
            if number:
                self._noticed(number)
        if self._before != -1 and data.strip(_NO_SIGNAL):
            with suppress(OSError):  # full, it wakes up all the same; or it is gone
                os.write(self._before, data)

    def _patience(self) -> float | None:
        """@return: milliseconds until there is something to do."""
        if self._end is None:
            return None
        due = self._end - (0 if self._called else LAST_CALL)
        return max(0.0, due - time.monotonic()) * 1000 + 1

    def _look(self) -> None:
        if self._end is None:
            return
        now = time.monotonic()
        if not self._called and now >= self._end - LAST_CALL:
            self._called = True
            with suppress(BaseException):  # whatever it is, the end comes
                self._lastCall()
        if now >= self._end:
            self._end = None
            self._leave()
