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

from wsproxy.ends.end import Buffer

__all__ = ["BLOCK", "BLOCKS", "Blocks", "Spool"]

BLOCK = 1024 * 1024
"""Bytes written at a time: enough for 1 GB/s and more to a virtual disk, without waking the thread often."""

BLOCKS = 32
"""How many there are, for all spools together: 32 MiB, taken when they are first needed."""

_PARTS = 64
"""What is given up at a time is that part of what is left, or a block."""

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
        block = memoryview(mmap(-1, BLOCK))
        self._made += 1
        return block

    def give(self, block: memoryview) -> None:
        """It may be used again."""
        self._free.append(block)

    def submit(self, job: _Job) -> None:
        """
        Call it in the thread, after those before it.

        @raise OSError: there can be no thread.
        """
        if self._jobs is None:
            jobs: SimpleQueue[_Job | None] = SimpleQueue()
            try:
                # an executor would hold the interpreter for 60 us a job
                Thread(target=_work, args=(jobs,), name="spool", daemon=True).start()
            except RuntimeError as error:
                raise OSError(errno.EAGAIN, str(error)) from None
            self._jobs = jobs
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

    A disk that takes no more does not take away what is in here: blocks that could not be written stay in memory until
    they are read.

    @param file: an empty one, open for reading and writing without a buffer. It is closed with the spool.
    """

    def __init__(self, file: FileIO, blocks: Blocks) -> None:
        self._file = file.fileno()
        self._direct = _openDirect(self._file)
        self._closing = file.close
        self._blocks = blocks
        self._block: memoryview | None = None  # what is being gathered, where that is what we do
        self._unwritten: dict[int, memoryview] = {}  # that, and those the thread has not written, by number
        self._submitted = self._done = 0  # blocks that were handed to the thread, and what it has tried
        self._written = self._read = 0  # positions in the file
        self._error: OSError | None = None

    def __bool__(self) -> bool:
        """Whether there is something to read."""
        return self._read < self._written

    @property
    def left(self) -> int:
        """Bytes to read."""
        return self._written - self._read

    def write(self, buffers: Sequence[Buffer]) -> None:
        """
        @param buffers: a few hundred at most.
        @raise OSError: the disk takes no more, now or earlier: nothing of this is in here, and all that was before.
        """
        if self._error is not None:
            raise self._error
        before = self._written
        try:
            self._write(buffers)
        except OSError as error:
            self._error = error
            self._written = before
            raise

    def _write(self, buffers: Sequence[Buffer]) -> None:
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
        following = self._blocks.take()
        if following is None:
            _complete(os.pwrite(self._file, block, self._written - BLOCK), BLOCK)
            del self._unwritten[number - 1]
            following = block
        self._unwritten[number] = self._block = following
        if following is not block:
            self._blocks.submit(partial(self._save, number - 1, block))
            self._submitted += 1

    def _save(self, number: int, block: memoryview) -> None:
        """In the thread."""
        try:
            if self._error is None:
                self._savePart(number, block)
                del self._unwritten[number]
                self._blocks.give(block)
        except OSError as error:
            self._error = error
        self._done += 1

    def _savePart(self, number: int, block: memoryview) -> None:
        assert self._direct is not None
        try:
            written = os.pwrite(self._direct, block, number * BLOCK)
        except OSError:  # a file system may take exception to what it is asked to write directly
            written = os.pwrite(self._file, block, number * BLOCK)
        _complete(written, BLOCK)

    def read(self, size: int) -> bytes:
        """
        @param size: of which so much has been written.
        @raise OSError: the disk does not give it back.
        """
        parts: list[bytes] = []
        while size:
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

    def shorten(self) -> bool:
        """
        Take no more, and give the newest of what is in the file back to the disk, a part of it at a time.

        @return: whether there was any.
        """
        self._error = self._error or OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        end = min(self._written, os.fstat(self._file).st_size)
        if end <= self._read:
            return False
        self._written = max(self._read, end - max(BLOCK, (end - self._read) // _PARTS))
        os.ftruncate(self._file, self._written)
        return True

    @property
    def _busy(self) -> bool:
        """Whether the thread may still use our files."""
        return self._submitted != self._done

    def _clear(self) -> None:
        """Not while L{_busy}."""
        self._read = self._written = 0
        self._block = None
        while self._unwritten:
            self._blocks.give(self._unwritten.popitem()[1])

    def close(self) -> None:
        """Drop what is in here."""
        self._read = self._written = 0
        if self._busy:
            self._blocks.submit(self._close)
        else:
            self._close()

    def _close(self) -> None:
        self._clear()
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
