"""Reading a file that holds a secret, which may be a pipe: C{@/dev/fd/3}, of a shell's C{<(pass show key)}.

A pipe is waited for, and somebody must be there to write into it: a FIFO that nobody opens would hold a start, which
nothing ends but C{SIGKILL}.
"""

from __future__ import annotations

import os
import select
import stat
import time

__all__ = ["LARGEST", "PATIENCE", "checkRegular", "openNow", "readSecretFile"]

PATIENCE = 5.0
"""Seconds in which a pipe must have said all."""

LARGEST = 16 << 20
"""Bytes: a file of users may have many. C{/dev/zero} has more."""

_PIECE = 1 << 16


def openNow(path: str, flags: int) -> int:
    """For C{open(…, opener=)}: without waiting for who writes into a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def readSecretFile(path: str, patience: float = PATIENCE) -> str:
    """
    @return: its text, with C{\\n} for an end of line.
    @raise OSError: it cannot be read, or nobody has written all of it in time.
    @raise ValueError: it is no text.
    """
    descriptor = openNow(path, os.O_RDONLY)
    try:
        data = _said(descriptor, time.monotonic() + patience)
    finally:
        os.close(descriptor)
    return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


_heard: dict[tuple[int, int], bytes] = {}
"""What pipes have said, by device and inode: options are looked at more than once, and a pipe says it once."""


def _said(descriptor: int, until: float) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISFIFO(status.st_mode):
        return _whole(descriptor, until)
    key = status.st_dev, status.st_ino
    if key not in _heard:
        _heard[key] = _whole(descriptor, until)
    return _heard[key]


def _whole(descriptor: int, until: float) -> bytes:
    # nobody who has ever opened the other end of a FIFO is no end of file to poll(2), as it is to read(2)
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    data = bytearray()
    while waiting.poll(max(0.0, until - time.monotonic()) * 1000):
        piece = os.read(descriptor, _PIECE)
        data += piece
        if not piece:
            return bytes(data)
        if len(data) > LARGEST:
            raise OSError(0, f"more than {LARGEST >> 20} MiB")
    raise OSError(0, "a pipe that nobody has written to, to its end")


def checkRegular(path: str) -> None:
    """
    Of a file that is read again and again, while we run.

    @raise OSError: it cannot be read, or is something else, which may never end.
    """
    with open(path, "rb", opener=openNow) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(0, "not a regular file")
