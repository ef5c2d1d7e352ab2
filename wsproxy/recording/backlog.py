"""What a recorder has seen and not yet written: in memory, and beyond that in a file without a name.

To escape bytes (L{encodeEntry<wsproxy.recording.format.encodeEntry>}) takes several times as long as to relay them
(C{make bench BENCH_ARGS="--only down"}). A session that is faster than its recording leaves its bytes here as they are,
and goes on::

    newest ──► spool: 1 byte from the client?, 8 bytes milliseconds, 4 bytes length, data; … ──► memory ──► oldest

The spool goes with the process: what a crash leaves in it is lost.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Sequence
from struct import Struct

from wsproxy.ends.end import Buffer
from wsproxy.recording.spool import Spool

__all__ = ["MEMORY", "Backlog"]

MEMORY = 262144
"""Bytes in memory, at most."""

_OVERHEAD = 150
"""Bytes that an entry occupies beside its data."""

_HEADER = Struct("<?QI")

_Entry = tuple[bool, int, bytes]
"""From the client?, milliseconds, data. A plain tuple costs a third of a named one."""


class Backlog:
    """
    First in, first out.

    @param openSpool: makes the file, if it comes to that.
    @ivar size: bytes of data in here.
    """

    def __init__(self, openSpool: Callable[[], Spool]) -> None:
        self.size = 0
        self._openSpool = openSpool
        self._memory: deque[_Entry] = deque()
        self._occupied = 0
        self._spool: Spool | None = None

    def __bool__(self) -> bool:
        return bool(self._memory) or bool(self._spool)

    def add(self, fromClient: bool, milliseconds: int, pieces: Sequence[Buffer]) -> None:
        """
        Add an entry for each of a few hundred C{pieces} at most.

        @raise OSError: the spool takes no more. What was in here before can still be taken.
        """
        size = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
        occupied = self._occupied + size + len(pieces) * _OVERHEAD
        if not self._spool and occupied <= MEMORY:
            for piece in pieces:
                self._memory.append((fromClient, milliseconds, bytes(piece)))
            self._occupied = occupied
        else:
            if self._spool is None:
                self._spool = self._openSpool()
            vector: list[Buffer] = []
            for piece in pieces:
                vector += (_HEADER.pack(fromClient, milliseconds, len(piece)), piece)
            self._spool.write(vector)
        self.size += size

    def take(self) -> _Entry:
        """
        The oldest entry; there must be one. Its data is of any length.

        @raise OSError: the spool cannot be read, or was shortened to less than this entry.
        """
        if self._memory:
            entry = self._memory.popleft()
            self._occupied -= len(entry[2]) + _OVERHEAD
        else:
            assert self._spool is not None
            fromClient, milliseconds, size = _HEADER.unpack(_read(self._spool, _HEADER.size))
            entry = (fromClient, milliseconds, _read(self._spool, size))
        self.size -= len(entry[2])
        return entry

    def shorten(self) -> bool:
        """
        Give up some of the newest entries, for the sake of room on the disk. Nothing can be added after that.

        @return: whether that made room.
        """
        return self._spool is not None and self._spool.shorten()

    def close(self) -> None:
        """Drop what is in here."""
        self._memory.clear()
        self.size = 0
        if self._spool is not None:
            self._spool.close()


def _read(spool: Spool, size: int) -> bytes:
    if spool.left < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return spool.read(size)
