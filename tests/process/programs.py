"""Programs to be run by these tests, and a look at what became of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from wsproxy.process.command import Command

__all__ = ["python", "running", "until"]


def python(script: str, *arguments: str) -> Command:
    """A command that runs a Python script, which is told these arguments."""
    words = (sys.executable, "-I", "-S", "-c", script, *arguments)
    return Command(sys.executable, words, dict(os.environ))


def running(pid: int) -> bool:
    """Whether a process runs; a zombie does not, but is not gone either: see L{state}."""
    return state(pid) not in (None, "Z")


def state(pid: int) -> str | None:
    """The state of a process, as in ps(1); C{None} when there is no such process."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return None


async def until(condition: Callable[[], Any]) -> Any:
    """@return: what C{condition} answered first that is true. Trial's timeout bounds it."""
    from twisted.internet import reactor

    while not (answer := condition()):
        pause: Deferred[None] = deferLater(reactor, 0.02)
        await pause
    return answer
