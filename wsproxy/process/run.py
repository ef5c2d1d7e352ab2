"""One run of a program, and of all that it starts in its process group.

L{wsproxy.process.launch} stands between us and the program: it says how the program fares, ends its group when we hang
up, and does so as well when we are killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from wsproxy.process.adopted import AdoptedProcess, descriptorsOf
from wsproxy.process.command import Command
from wsproxy.process.group import groupRuns, signalGroup
from wsproxy.process.launch import LIFE_LINE, NOT_EXECUTABLE, STATUS
from wsproxy.process.output import LineLog

__all__ = ["KILL_AFTER", "NEEDED", "Run"]

KILL_AFTER = 5.0
"""Seconds from TERM to KILL."""

_GIVE_UP_AFTER = 2.0
"""Seconds after KILL until the launcher is killed itself: it has been stopped."""

_LAUNCHER = str(Path(__file__).with_name("launch.py"))

NEEDED = (sys.executable, _LAUNCHER)
"""Files that are read to run anything."""


class Run(ProcessProtocol):
    """
    @param log: called with each line that the program prints.
    @ivar began: fires when the program has been started, with its process id.
    @ivar exited: fires with the exit status of the program itself, 128 + the number for a signal.
    @ivar pid: its process and group; 0 before it was started.
    """

    transport: Any

    def __init__(self, reactor: Any, log: Callable[[str], None]) -> None:
        self.began: Deferred[int] = Deferred()
        self.exited: Deferred[int] = Deferred()
        self.pid = 0
        self._reactor = reactor
        self._streams = {1: LineLog(log), 2: LineLog(log), STATUS: LineLog(self._told)}
        self._status: int | None = None
        self._gone: Deferred[None] = Deferred()
        self._over: Deferred[None] = Deferred()

    @classmethod
    def continued(cls, reactor: Any, log: Callable[[str], None], state: Mapping[str, Any]) -> Run:
        """
        @return: the run of which this is the L{state}, and which an earlier version of this code has started.
        @raise OSError: it is no more.
        """
        run = cls(reactor, log)
        if state["pid"]:
            run._told(f"pid {state['pid']}")
        if state["status"] is not None:
            run._told(f"exit {state['status']}")
        if state["launcher"] is None:
            run._gone.callback(None)
            run._over.callback(None)
        else:
            pipes = {int(number): descriptor for number, descriptor in state["pipes"].items()}
            AdoptedProcess(reactor, run, state["launcher"], pipes, writable=(LIFE_LINE,))
        return run

    def state(self) -> dict[str, Any]:
        """@return: all of it, as JSON can say it."""
        return {
            "pid": self.pid,
            "status": self._status,
            "launcher": None if self._over.called else self.launcher,
            "pipes": {} if self.transport is None or self._over.called else descriptorsOf(self.transport),
        }

    def start(self, command: Command) -> None:
        """@raise OSError: there are no processes or descriptors left."""
        words = [sys.executable, "-I", "-S", _LAUNCHER, str(KILL_AFTER), command.path, *command.words]
        with closing(FileIO(os.devnull)) as nothing:
            self._reactor.spawnProcess(
                self,
                words[0],
                words,
                dict(command.environment),
                childFDs={0: nothing.fileno(), 1: "r", 2: "r", LIFE_LINE: "w", STATUS: "r"},
            )

    @property
    def launcher(self) -> int | None:
        """The process that is above all others of this run, as long as it runs."""
        pid: int | None = None if self.transport is None else self.transport.pid
        return pid

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._streams[childFD].feed(data)

    def childConnectionLost(self, childFD: int) -> None:
        if childFD in self._streams:
            self._streams[childFD].end()
        if childFD == STATUS:
            self._leaderless()
            self._gone.callback(None)

    def _told(self, line: str) -> None:
        """What the launcher says."""
        what, number = line.split()
        if what == "pid":
            self.pid = int(number)
            self.began.callback(self.pid)
        else:
            self._status = int(number)
            self.exited.callback(self._status)

    def _leaderless(self) -> None:
        """The launcher is gone: after the program, unless somebody has killed it, or it could not be run."""
        if not self.exited.called:
            if self.pid:
                signalGroup(self.pid, signal.SIGKILL)
            self._status = 128 + signal.SIGKILL if self.pid else NOT_EXECUTABLE
            self.exited.callback(self._status)

    def processEnded(self, reason: Failure) -> None:
        self._over.callback(None)

    def runs(self) -> bool:
        """Whether anything in the process group runs, so soon after its end that the number is nobody else's."""
        return self.pid != 0 and groupRuns(self.pid)

    def signal(self, number: int) -> None:
        """Send a signal to all of the process group, if anything in it runs."""
        if self.runs():
            signalGroup(self.pid, number)

    async def end(self) -> None:
        """End all of the process group: TERM, and KILL after L{KILL_AFTER} seconds."""
        if self.transport is None or self._over.called:
            return
        self.transport.closeChildFD(LIFE_LINE)
        killing = self._reactor.callLater(KILL_AFTER + _GIVE_UP_AFTER, self._killLauncher)
        await self._gone
        if killing.active():
            killing.cancel()
        self.transport.loseConnection()
        await self._over

    def _killLauncher(self) -> None:
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(signal.SIGKILL)
