"""A stream of bytes on its way through a file without a name: written as fast as a session can bring them.

Where the file system can write from memory straight to the disk (C{O_DIRECT}), bytes are gathered in blocks, which one
thread writes while the session goes on; else, and when the disk lags behind, each write is an ordinary one. Ordinary
writes cost the relaying thread a copy into fresh pages: 0.2 ns a byte where the machine has them at hand, and
2.4 where a hypervisor has to find them. A copy into a block that is used over and over costs 0.03.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from functools import partial
from io import FileIO
from mmap import mmap
from queue import SimpleQueue
from threading import Thread

from wsproxy.tunnel.end import Buffer

__all__ = ["BLOCK", "BLOCKS", "Blocks", "Spool"]

BLOCK = 1024 * 1024
"""Bytes written at a time: enough for 1 GB/s and more to a virtual disk, without waking the thread often."""

BLOCKS = 32
"""How many there are, for all spools together: 32 MiB, taken when they are first needed."""

_Job = Callable[[], None]


class Blocks:
    """Memory that spools share, aligned for C{O_DIRECT}, and the thread that writes it.

    Only the relaying thread takes blocks; either gives them back.
    """

    def __init__(self) -> None:
        self._free: list[memoryview] = []
        self._made = 0
        self._jobs: SimpleQueue[_Job | None] | None = None

    def take(self) -> memoryview | None:
        """@return: a block; L{None} while all are in use."""
        if self._free:
            return self._free.pop()
        if self._made == BLOCKS:
            return None
        self._made += 1
        return memoryview(mmap(-1, BLOCK))

    def give(self, block: memoryview) -> None:
        """It may be used again."""
        self._free.append(block)

    def submit(self, job: _Job) -> None:
        """Call it in the thread, after those before it."""
        if self._jobs is None:
            self._jobs = SimpleQueue()
            # an executor would hold the interpreter for 60 us a job
            Thread(target=_work, args=(self._jobs,), name="spool", daemon=True).start()
        self._jobs.put(job)

    def rest(self) -> None:
        """Let the thread go when it is done with what was submitted; there will be another if need be."""
        if self._jobs is not None:
            self._jobs.put(None)
            self._jobs = None


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        job()


class Spool:
    """First in, first out.

    @param file: an empty one, open for reading and writing without a buffer. It is closed with the spool.
    """

    def __init__(self, file: FileIO, blocks: Blocks) -> None:
        self._file = file.fileno()
        self._direct = _openDirect(self._file)
        self._closing = file.close
        self._blocks = blocks
        self._block: memoryview | None = None  # what is being gathered, where that is what we do
        self._unwritten: dict[int, memoryview] = {}  # that, and those the thread has not done yet, by number
        self._written = self._read = 0  # positions in the file
        self._error: OSError | None = None

    def __bool__(self) -> bool:
        """Whether there is something to read."""
        return self._read < self._written

    def write(self, buffers: Sequence[Buffer]) -> None:
        """
        @param buffers: a few hundred at most.
        @raise OSError: the disk takes no more, now or earlier. What is in here is of no use then.
        """
        if self._error is not None:
            raise self._error
        if self._written == 0 and self._direct is not None:
            self._block = self._blocks.take()
            if self._block is not None:
                self._unwritten[0] = self._block
        if self._block is None:
            size = sum(map(len, buffers))
            _complete(os.pwritev(self._file, buffers, self._written), size)
            self._written += size
        else:
            for buffer in buffers:
                self._gather(buffer)

    def _gather(self, buffer: Buffer) -> None:
        done, size = 0, len(buffer)
        while done < size:
            assert self._block is not None
            used = self._written % BLOCK
            part = min(size - done, BLOCK - used)
            self._block[used : used + part] = buffer[done : done + part]
            done += part
            self._written += part
            if used + part == BLOCK:
                self._pass(self._block)

    def _pass(self, block: memoryview) -> None:
        """This one is full: go on with another while the thread writes it, or write it here if there is none."""
        number = self._written // BLOCK
        self._block = self._blocks.take()
        if self._block is not None:
            self._blocks.submit(partial(self._save, number - 1, block))
        else:
            _complete(os.pwrite(self._file, block, self._written - BLOCK), BLOCK)
            del self._unwritten[number - 1]
            self._block = block
        self._unwritten[number] = self._block

    def _save(self, number: int, block: memoryview) -> None:
        """In the thread."""
        try:
            assert self._direct is not None
            try:
                written = os.pwrite(self._direct, block, number * BLOCK)
            except OSError:  # a file system may take exception to what it is asked to write directly
                written = os.pwrite(self._file, block, number * BLOCK)
            _complete(written, BLOCK)
        except OSError as error:
            self._error = error
        del self._unwritten[number]
        self._blocks.give(block)

    def read(self, size: int) -> bytes:
        """
        @param size: of which so much has been written.
        @raise OSError: the disk does not give it back.
        """
        parts: list[bytes] = []
        while size:
            if self._error is not None:
                raise self._error
            number, start = divmod(self._read, BLOCK)
            part = min(size, BLOCK - start)
            block = self._unwritten.get(number)
            if block is None:
                parts.append(os.pread(self._file, part, self._read))
                _complete(len(parts[-1]), part)
            else:
                parts.append(bytes(block[start : start + part]))
            self._read += part
            size -= part
        if self._read == self._written and not self._busy:
            self._clear()
            os.ftruncate(self._file, 0)
        return b"".join(parts)

    @property
    def _busy(self) -> bool:
        """Whether the thread may still use our files."""
        return len(self._unwritten) > (self._block is not None)

    def _clear(self) -> None:
        self._read = self._written = 0
        if self._block is not None:
            self._blocks.give(self._block)
            self._block = None
            self._unwritten.popitem()  # the last, and thus the same

    def close(self) -> None:
        """Drop what is in here."""
        busy = self._busy
        self._clear()
        if busy:
            self._blocks.submit(self._close)
        else:
            self._close()

    def _close(self) -> None:
        if self._direct is not None:
            os.close(self._direct)
        self._closing()


def _openDirect(descriptor: int) -> int | None:
    """@return: a descriptor that writes to the same file, past the page cache; L{None} where there is no such thing."""
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
    except (OSError, AttributeError):
        return None


def _complete(done: int, size: int) -> None:
    if done != size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
