"""Where log lines go, without ever waiting for whoever reads them.

A pipe that nobody reads, a stopped terminal or a stopped parent takes 64 KiB and then nothing: a process that writes
its log as a file is written comes to a halt, with all its sessions. Here what cannot be written waits for a while, up
to L{LIMIT}; what comes beyond that is lost, and how much it was is said when there is somebody to say it to::

    lines ─► Outlet ─┬─► Pipe, Socket: what they take now
                     └─► File: a disk is waited for; opened anew when it was renamed
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from select import PIPE_BUF
from threading import RLock
from typing import Protocol

__all__ = ["LIMIT", "RETRY", "File", "Outlet", "Sink", "Stream", "sinkOf"]

LIMIT = 256 * 1024
"""Bytes that wait for a reader."""

RETRY = 0.1
"""Seconds until a reader is tried again."""


class Sink(Protocol):
    """Takes bytes, or not now."""

    def fileno(self) -> int: ...

    def send(self, data: bytes) -> int:
        """
        @return: how many of them it took.
        @raise BlockingIOError: none, but it may later.
        @raise OSError: none, and these it never will.
        """


class Pipe:
    """
    A pipe or a terminal.

    @param descriptor: does not block by itself.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def send(self, data: bytes) -> int:
        return os.write(self._descriptor, data)


class SharedPipe(Pipe):
    """One that blocks, and has to for the sake of others: it is asked before each piece, which a pipe takes whole."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def send(self, data: bytes) -> int:
        if not self._poll.poll(0):
            raise BlockingIOError(errno.EAGAIN, "nobody reads")
        return super().send(data[:PIPE_BUF])


class Socket:
    """What systemd makes of stdout."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, data: bytes) -> int:
        return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


class File:
    """
    A log file by its name. Where another program cuts it off, writing goes on at its new end.

    @raise OSError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = self._open()

    def _open(self) -> int:
        flags = os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            return os.open(self._path, flags | os.O_WRONLY, 0o666)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return os.open(self._path, flags | os.O_RDWR)  # a FIFO that nobody reads yet

    def fileno(self) -> int:
        return self._descriptor

    def send(self, data: bytes) -> int:
        return os.write(self._descriptor, data)

    def reopen(self) -> None:
        """
        Go on in the file that has the name now; it is made if there is none.

        @raise OSError: that cannot be done; then in the one in use.
        """
        old, self._descriptor = self._descriptor, self._open()
        os.close(old)


def sinkOf(descriptor: int) -> Sink:
    """
    @param descriptor: a standard stream. It is left as it is: whether it blocks is shared with other processes, the
        shell of a terminal among them.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        return Socket(descriptor)
    if stat.S_ISREG(mode) or not os.get_blocking(descriptor):
        return Pipe(descriptor)
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return Pipe(os.open(f"/proc/self/fd/{descriptor}", flags))
    except OSError:  # somebody else's, or not Linux
        return SharedPipe(descriptor)


class Stream:
    """Text to an outlet, where a file was expected."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet

    def write(self, text: str) -> None:
        self._outlet.write([text.encode()])

    def flush(self) -> None:
        """It is as far as it gets."""


class Outlet:
    """
    May be written to in any thread.

    @param later: calls what it is given, L{RETRY} seconds later.
    @param lost: the line that says how many were.
    """

    def __init__(self, sink: Sink, later: Callable[[Callable[[], None]], object], lost: Callable[[int], bytes]) -> None:
        self.sink = sink
        self._later = later
        self._lost = lost
        self._lock = RLock()  # the garbage collector may log in the midst of it
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._losses = 0
        self._told = 0  # of them, in the line that waits
        self._torn = False  # whether the first line is the rest of one
        self._failed = False  # whether nothing was taken that was offered last
        self._retrying = False

    @property
    def waiting(self) -> int:
        """Bytes that nobody has taken so far."""
        return self._size

    def unsent(self) -> bytes:
        """@return: what nobody has taken so far, the rest of a line at its beginning."""
        with self._lock:
            return b"".join(self._lines)

    def write(self, lines: Iterable[bytes], needed: bool = False) -> None:
        """
        @param lines: each with its end.
        @param needed: never lose these.
        """
        with self._lock:
            for line in lines:
                if needed or self._size + len(line) <= LIMIT:
                    self._lines.append(line)
                    self._size += len(line)
                else:
                    self._losses += 1
            if not self._retrying:
                self._send()

    def _send(self) -> None:
        while self._lines or self._losses:
            if not self._lines:
                self._told, self._losses = self._losses, 0
                self._lines.append(self._lost(self._told))
                self._size = len(self._lines[0])
            try:
                self._sent(self.sink.send(self._piece()))
                self._failed = False
            except BlockingIOError:
                self._retry()
                return
            except OSError:  # nobody will ever read it, or the disk is full
                self._failed = True
                self._lose()
                return

    def _lose(self) -> None:
        """Give up what waits; but for the rest of a line, to which the next one would be glued."""
        rest = [self._lines.popleft()] if self._torn else []
        told = 0 if rest else self._told  # what a rest tells it will have told
        self._losses += told + len(self._lines) - bool(told)
        self._lines = deque(rest)
        self._size = sum(map(len, rest))
        self._told -= told

    def reopened(self) -> None:
        """What is written from now on goes elsewhere: of a line that has begun before, the rest is of no use there."""
        with self._lock:
            if self._torn:
                self._size -= len(self._lines.popleft())
                self._losses += self._told or 1
                self._told, self._torn = 0, False

    def _piece(self) -> bytes:
        """Whole lines, as many as go into a pipe undivided (pipe(7)): others write to it as well."""
        first = self._lines[0]
        if len(self._lines) == 1 or len(first) + len(self._lines[1]) > PIPE_BUF:
            return first
        piece: list[bytes] = []
        size = 0
        for line in self._lines:
            size += len(line)
            if size > PIPE_BUF:
                break
            piece.append(line)
        return b"".join(piece)

    def _sent(self, count: int) -> None:
        self._size -= count
        while self._lines and count >= len(self._lines[0]):
            count -= len(self._lines.popleft())
            self._told = 0  # that line is always the first
            self._torn = False
        if count:
            self._lines[0] = self._lines[0][count:]
            self._torn = True

    def _retry(self) -> None:
        if not self._retrying:
            self._retrying = True
            self._later(self._again)

    def _again(self) -> None:
        with self._lock:
            self._retrying = False
            self._send()

    def finish(self, seconds: float) -> None:
        """This is the end of it: wait so long for a reader, at most."""
        end = time.monotonic() + seconds
        poll = select.poll()
        with suppress(OSError, ValueError):
            poll.register(self.sink.fileno(), select.POLLOUT)
            self._later = lambda again: None
            self._again()
            while self._lines and not self._failed and (left := end - time.monotonic()) > 0:
                poll.poll(left * 1000)
                self._again()
