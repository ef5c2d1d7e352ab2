"""stdin, stdout and stderr that whoever starts us has closed (C{2>&-}).

A descriptor that is free goes to the next file or socket that is opened: what is said to stderr would be said to that.
Python has L{None} in the place of such a stream, and C{print} takes that for stdout.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from io import FileIO, TextIOWrapper
from typing import Any

__all__ = ["fillStandard"]


@cache
def fillStandard() -> frozenset[int]:
    """
    Have nothing be said and read there; to be called before anything is opened.

    @return: which of 0, 1 and 2 were closed.
    """
    closed = frozenset(number for number in (0, 1, 2) if not _isOpen(number))
    for _ in closed:  # the lowest free one is what open(2) answers with
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = sys.__stdin__ = _nothing("r")  # type: ignore[misc]
    if sys.stdout is None:
        sys.stdout = sys.__stdout__ = _nothing("w")  # type: ignore[misc]
    if sys.stderr is None:
        sys.stderr = sys.__stderr__ = _nothing("w")  # type: ignore[misc]
    return closed


def _nothing(mode: str) -> TextIOWrapper:
    raw: Any = FileIO(os.devnull, mode)
    return TextIOWrapper(raw, encoding="utf-8")


def _isOpen(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
