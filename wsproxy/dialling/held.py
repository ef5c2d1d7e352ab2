"""A unix socket that stays the one which was looked at, whatever becomes of its path before it is connected to.

A directory on the way, or the socket itself, may be a symbolic link that somebody changes in between. So the file is
opened first, by C{O_PATH}, which neither reads nor connects; the kernel says where it really is, and connects to what
was opened by its entry in C{/proc/self/fd} (proc(5)). Where there is none, the path without its links has to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["heldSocket"]

_PROC = "/proc/self/fd"
_DELETED = " (deleted)"


@contextmanager
def heldSocket(path: str) -> Iterator[tuple[str, str]]:
    """
    @return: where the socket really is, and the path by which to connect to it as long as this lasts.
    @raise OSError: there is none.
    """
    if not (hasattr(os, "O_PATH") and os.path.isdir(_PROC)):
        real = os.path.realpath(path)
        yield real, real
        return
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        held = f"{_PROC}/{descriptor}"
        real = os.readlink(held)
        if real.endswith(_DELETED):
            raise FileNotFoundError(2, "deleted meanwhile", path)
        yield real, held
    finally:
        os.close(descriptor)
