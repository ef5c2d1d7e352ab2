"""A real C{twistd websockify}, in a process and a directory of its own."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

__all__ = ["REACTOR", "ROOT", "TWISTD", "Outcome", "Running", "daemonTwistd", "start", "startTwistd"]

ROOT = Path(__file__).parents[2]
TWISTD = str(Path(sys.executable).with_name("twistd"))

REACTOR = ("--reactor", os.environ["WSPROXY_REACTOR"]) if os.environ.get("WSPROXY_REACTOR") else ()
"""twistd's option for another reactor than its default, if the tests are to have one."""

# A daemon is nobody's child: this stands in for init, and tells how it and its launcher ended.
_INIT = """
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
print("launcher left with", subprocess.run(sys.argv[1:]).returncode, flush=True)
try:
    while True:
        pid, status = os.wait()
        print(pid, "left with", os.waitstatus_to_exitcode(status), flush=True)
except ChildProcessError:
    pass
"""


@dataclass(frozen=True)
class Outcome:
    """How a process ended. C{status} is negative for a signal."""

    status: int
    out: str
    err: str


class Running(ProcessProtocol):
    """
    A process under observation.

    @ivar directory: its working directory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._streams = {1: b"", 2: b""}
        self._outcome: Outcome | None = None
        self._watches: list[tuple[re.Pattern[str], Deferred[re.Match[str]]]] = []
        self._mourners: list[Deferred[Outcome]] = []

    @property
    def alive(self) -> bool:
        return self._outcome is None

    @property
    def pid(self) -> int:
        assert self.transport is not None
        return self.transport.pid

    def line(self, pattern: str) -> Deferred[re.Match[str]]:
        """
        The first match of C{pattern} within a line of stdout or stderr, now or later.

        @raise AssertionError: the process ended without.
        """
        result: Deferred[re.Match[str]] = Deferred()
        self._watches.append((re.compile(pattern), result))
        self._look()
        return result

    def end(self) -> Deferred[Outcome]:
        """How the process ended, once it has."""
        result: Deferred[Outcome] = Deferred()
        if self._outcome is None:
            self._mourners.append(result)
        else:
            result.callback(self._outcome)
        return result

    def signal(self, name: str) -> None:
        """Send it C{"TERM"}, C{"HUP"}, …"""
        assert self.transport is not None
        self.transport.signalProcess(name)

    async def stop(self) -> Outcome:
        """Ask it to end, as an operator would."""
        self.signal("TERM")
        return await self.end()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._streams[childFD] += data
        self._look()

    def processEnded(self, reason: Failure) -> None:
        value = reason.value
        status = -value.signal if value.signal else value.exitCode
        self._outcome = Outcome(status, self._text(1), self._text(2))
        self._look()
        while self._mourners:
            self._mourners.pop().callback(self._outcome)

    async def cleanUp(self) -> None:
        if self.alive:
            with suppress(ProcessExitedAlready):
                self.signal("KILL")
            await self.end()

    def _text(self, descriptor: int) -> str:
        return self._streams[descriptor].decode(errors="replace")

    def _look(self) -> None:
        lines = [line for descriptor in (1, 2) for line in self._text(descriptor).split("\n")[:-1]]
        for watch in self._watches[:]:
            pattern, result = watch
            found = next(filter(None, map(pattern.search, lines)), None)
            if found is not None:
                self._watches.remove(watch)
                result.callback(found)
            elif self._outcome is not None:
                self._watches.remove(watch)
                result.errback(AssertionError(f"no line {pattern.pattern!r} from {self._outcome}"))


def start(test: TestCase, arguments: Sequence[str], **environment: str) -> Running:
    """Run a program until it ends, or until the test does, in a directory of its own."""
    directory = Path(test.mktemp()).absolute()
    directory.mkdir(parents=True)
    running = Running(directory)
    everywhere = {"PYTHONPATH": str(ROOT), "COLUMNS": "80", **environment}
    reactor.spawnProcess(running, arguments[0], arguments, {**os.environ, **everywhere}, str(directory))
    test.addCleanup(lambda: Deferred.fromCoroutine(running.cleanUp()))
    return running


def startTwistd(test: TestCase, *arguments: str, options: Sequence[str] = (), **environment: str) -> Running:
    """C{twistd -n} with these options of its own, and C{websockify} with these arguments."""
    return start(test, [TWISTD, "-n", *REACTOR, *options, "websockify", *arguments], **environment)


def daemonTwistd(
    test: TestCase, options: Sequence[str], *arguments: str, program: Sequence[str] = (TWISTD,), **environment: str
) -> Running:
    """
    C{twistd} in the background, with C{twistd.pid}, C{log} and these options of its own. The lines C{launcher
    left with N} and, later, C{PID left with N} tell how the launching process and the daemon ended.

    @param program: what runs twistd.
    """
    own = ("--pidfile", "twistd.pid", "--logfile", "log")
    command = [*program, *REACTOR, *own, *options, "websockify", *arguments]
    running = start(test, [sys.executable, "-c", _INIT, *command], **environment)

    def killDaemon() -> None:
        pidfile = running.directory / "twistd.pid"
        if running.alive and pidfile.exists():
            with suppress(ProcessLookupError):
                os.kill(int(pidfile.read_text()), signal.SIGKILL)

    test.addCleanup(killDaemon)
    return running
