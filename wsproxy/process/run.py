"""One run of a program, and of all that it starts in its process group."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from io import FileIO
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from wsproxy.process.command import Command
from wsproxy.process.group import groupRuns, signalGroup
from wsproxy.process.output import LineLog

__all__ = ["KILL_AFTER", "Run"]

KILL_AFTER = 5.0
"""Seconds from TERM to KILL."""

_GIVE_UP_AFTER = 1.0
"""Seconds that KILL may take; a process in an uninterruptible sleep takes longer."""

_POLL = 0.02
"""Seconds between two looks at a group that is ending: the kernel tells nobody when it has."""

_WATCH = 1.0
"""Seconds between two looks at a group whose leader has ended. Once it is empty its number can be given to others."""

_LAUNCHER = str(Path(__file__).with_name("launch.py"))


class Run(ProcessProtocol):
    """
    @param log: called with each line that the program prints.
    @ivar exited: fires with the exit status of the program itself, 128 + the number for a signal.
    @ivar pid: its process and group; 0 before it was started.
    """

    transport: Any

    def __init__(self, reactor: Any, log: Callable[[str], None]) -> None:
        self.exited: Deferred[int] = Deferred()
        self.pid = 0
        self._reactor = reactor
        self._streams = {1: LineLog(log), 2: LineLog(log)}
        self._leading = True
        self._running = False
        self._over = False
        self._watching: IDelayedCall | None = None

    def start(self, command: Command) -> None:
        """@raise OSError: there are no processes or descriptors left."""
        words = [sys.executable, "-I", "-S", _LAUNCHER, command.path, *command.words]
        with closing(FileIO(os.devnull)) as nothing:
            self._reactor.spawnProcess(
                self, words[0], words, dict(command.environment), childFDs={0: nothing.fileno(), 1: "r", 2: "r"}
            )
        self.pid = self.transport.pid
        self._running = True

    def outReceived(self, data: bytes) -> None:
        self._streams[1].feed(data)

    def errReceived(self, data: bytes) -> None:
        self._streams[2].feed(data)

    def childConnectionLost(self, childFD: int) -> None:
        self._streams[childFD].end()

    def processExited(self, reason: Failure) -> None:
        self._leading = False
        self._watch()
        value: Any = reason.value
        self.exited.callback(value.exitCode if value.signal is None else 128 + value.signal)

    def processEnded(self, reason: Failure) -> None:
        self._over = True

    def _watch(self) -> None:
        """Without its leader the group is ours only as long as there is anybody in it."""
        self._watching = self._reactor.callLater(_WATCH, self._watch) if self.runs() else None

    def runs(self) -> bool:
        """Whether anything in the process group runs."""
        self._running = self._running and (self._leading or groupRuns(self.pid))
        return self._running

    async def end(self) -> None:
        """End all of the process group: TERM, and KILL after L{KILL_AFTER} seconds."""
        for number, seconds in (signal.SIGTERM, KILL_AFTER), (signal.SIGKILL, _GIVE_UP_AFTER):
            self.signal(number)
            deadline = self._reactor.seconds() + seconds
            while self.runs() and self._reactor.seconds() < deadline:
                await deferLater(self._reactor, _POLL)
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if self.transport is not None:
            self.transport.loseConnection()
            while not (self._over or self._leading):
                await deferLater(self._reactor, 0)

    def signal(self, number: int) -> None:
        """Send a signal to all of the process group, if anything in it runs."""
        # the launcher leads no group yet when it has just been forked
        if self.runs() and not signalGroup(self.pid, number) and self._leading:
            os.kill(self.pid, number)
