"""Processes and their groups, as the kernel sees them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["Process", "descendants", "descends", "groupRuns", "isRunning", "signalGroup"]

_ATTEMPTS = 3
"""Walks up a tree in which processes come and go."""


@dataclass(frozen=True, slots=True)
class Process:
    """One that is running; a zombie is not: it waits for whoever adopted it, in a container maybe for ever.

    @ivar name: of what it executes; anything, of 15 bytes at most.
    """

    pid: int
    parent: int
    group: int
    name: str


def signalGroup(group: int, number: int) -> bool:
    """@return: whether there was anybody to be signalled."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # a setuid program is all there is
        return True
    return True


def groupRuns(group: int) -> bool:
    """Whether a process of this group is running."""
    return signalGroup(group, 0) and any(found.group == group for found in _processes())


def isRunning(pid: int) -> bool:
    return _stat(str(pid)) is not None


def descendants(ancestor: int) -> list[Process]:
    """All processes below this one; a parent before its children."""
    children: defaultdict[int, list[Process]] = defaultdict(list)
    for found in _processes():
        children[found.parent].append(found)
    below = list(children[ancestor])
    for found in below:
        below += children[found.pid]
    return below


def descends(pid: int, ancestor: int) -> bool:
    """Whether a process that is running has this one above it."""
    for _ in range(_ATTEMPTS):
        above: Process | None = _stat(str(pid))
        if above is None:
            return False
        while above is not None and above.parent not in (0, ancestor):
            above = _stat(str(above.parent))
        if above is not None:
            return above.parent == ancestor
    return False


def _processes() -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            found = _stat(name)
            if found is not None:
                yield found


def _stat(pid: str) -> Process | None:
    """See proc_pid_stat(5). A process's name, in parentheses, may contain anything."""
    with suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
        head, _, tail = stream.read().rpartition(")")
        state, parent, group, *_ = tail.split()
        return None if state in "ZX" else Process(int(pid), int(parent), int(group), head.partition("(")[2])
    return None
