"""Where a word was said: relative paths in it are those of that directory, whichever is the current one by now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["absolute", "isSeen", "placed"]

_directory: ContextVar[str | None] = ContextVar("directory", default=None)
_seen: ContextVar[bool] = ContextVar("seen", default=True)


@contextmanager
def placed(directory: str, *, seen: bool = True) -> Iterator[None]:
    """
    Until it is left, L{absolute} goes by C{directory}.

    @param seen: whether every user of this machine can read what is said there.
    """
    before = _directory.set(directory), _seen.set(seen)
    try:
        yield
    finally:
        _directory.reset(before[0])
        _seen.reset(before[1])


def absolute(path: str) -> str:
    """@return: this path from the root of the file system, without C{.} and C{..}."""
    directory = _directory.get()
    return os.path.abspath(path if directory is None else os.path.join(directory, path))


def isSeen() -> bool:
    """Whether every user can read what is being made sense of."""
    return _seen.get()
