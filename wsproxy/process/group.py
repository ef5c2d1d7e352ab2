"""Process groups, as the kernel sees them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

__all__ = ["groupOf", "groupRuns", "signalGroup"]


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
    """
    Whether a process of this group is running.

    A zombie is not: it waits for whoever adopted it, in a container maybe for ever.
    """
    return signalGroup(group, 0) and any(found == group for found, state in _processes() if state not in "ZX")


def groupOf(pid: int) -> int | None:
    """The group of a process that is running; C{None} if it is not."""
    found = _stat(str(pid))
    return found[0] if found is not None and found[1] not in "ZX" else None


def _processes() -> Iterator[tuple[int, str]]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            found = _stat(name)
            if found is not None:
                yield found


def _stat(pid: str) -> tuple[int, str] | None:
    """Group and state of a process: proc_pid_stat(5). Its name, in parentheses, may contain anything."""
    with suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
        state, _, group, *_ = stream.read().rpartition(")")[2].split()
        return int(group), state
    return None
