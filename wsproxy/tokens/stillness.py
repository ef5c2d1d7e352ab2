"""Whether a file is being written: what its times of change tell, and what they do not.

A change is seen by the status of a path (stat(2)): its inode, its size, and the times of change, which nobody can set
(C{st_ctime}: a file that is renamed or copied with its old times has a new one). Two things are not seen by it:

- A second change in the same tick of the kernel's clock, 1 to 10 ms long, or seconds where a file system counts in
  those. Whoever has read a file so shortly after its change must read it again.
- Whether the change is complete. Nobody says so; but who writes a file does so at once, so that one that has not
  changed for a second is whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

__all__ = ["STILL", "Stamp", "Stillness", "stampOf"]

STILL = 1.0
"""Seconds without a change after which a file is whole."""

BUSY = 30.0
"""Seconds after which a file counts as it is, though it is never still: it may be written for each user of a site."""

_TICK = 0.05
_COARSE = 2.0
"""FAT's tick."""

_SECOND = 1_000_000_000

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, and when it was changed: its content, and that or its status; in nanoseconds since the epoch."""


def stampOf(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Stillness:
    """
    Of one path.

    @param clock: for what was seen to be still: the file system's clock may be another machine's.
    @param now: the time of day, in seconds since the epoch.
    """

    def __init__(self, clock: IReactorTime, now: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._now = now
        self._stamp: Stamp | None = None
        self._seen = 0.0
        self._restless: float | None = None
        self._looked = clock.seconds()
        self._hasty = False
        self._settled = False

    def isCurrent(self, stamp: Stamp) -> bool:
        """Whether nothing has changed, and nothing more can be learned from it by reading it again."""
        return stamp == self._stamp and (self._settled or not (self._hasty or self.isStill(stamp)))

    def isStill(self, stamp: Stamp) -> bool:
        """Whether it is whole."""
        if self._now() - stamp[-1] / _SECOND >= STILL:
            return True
        return stamp == self._stamp and self._clock.seconds() - self._seen >= STILL

    def isBusy(self) -> bool:
        """Whether it has been changing for so long, each time that it was read, that it must count as it is."""
        now = self._clock.seconds()
        return self._restless is not None and now - self._restless >= BUSY > now - self._looked

    def isHasty(self, stamp: Stamp) -> bool:
        """Whether a change that comes after this moment need not be seen by another stamp."""
        tick = _TICK if stamp[-1] % _SECOND else _COARSE
        return self._now() - stamp[-1] / _SECOND < tick

    def read(self, stamp: Stamp, *, hasty: bool, settled: bool, whole: bool) -> None:
        """
        It was read.

        @param stamp: from before.
        @param hasty: L{isHasty}, from before.
        @param settled: it is still, and was read as that.
        @param whole: it was taken as it is, settled or not.
        """
        now = self._clock.seconds()
        if stamp != self._stamp:
            self._stamp, self._seen = stamp, now
        self._hasty, self._settled = hasty, settled
        if settled:
            self._restless = None
        elif whole or self._restless is None or now - self._looked >= BUSY:
            self._restless = now
        self._looked = now
