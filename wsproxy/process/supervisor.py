"""Runs a program for as long as the proxy runs, and knows where it listens.

::

             start            report of rebind, or the address it was told
    service ───────► Run ───────────────────────────────────────────────────► Listeners ◄── ProgramDialer
               ▲      │ exit
               │      ├─ exit ────► the proxy ends, with the program's status
               │      ├─ ignore ──► nothing: it has put itself in the background
               └──────┴─ respawn ─► the rest of its process group is ended, and it starts again
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from errno import EACCES
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.daemon.backoff import HEALTHY, Backoff
from wsproxy.escape import escape
from wsproxy.process.command import Command
from wsproxy.process.group import Process, descendants, descends, isRunning
from wsproxy.process.guard import Guard
from wsproxy.process.launch import NOT_EXECUTABLE, NOT_FOUND
from wsproxy.process.listeners import Listeners
from wsproxy.process.report import Report
from wsproxy.process.reportsocket import ReportSocket
from wsproxy.process.run import NEEDED, Run
from wsproxy.process.sockets import listening

__all__ = ["OPENS_WITHIN", "TOLD", "Rebinding", "Supervisor", "WrapMode"]

OPENS_WITHIN = 5.0
"""Seconds until a program that has opened no port is mentioned."""

SETTLING = 0.05
"""Seconds for what is about to leave the process group: a daemon forks twice, and the first child goes at once."""

TOLD = 0
"""The port, to L{Listeners}, of a program that was told where to listen."""

_BINDS = 1024
"""Reports of sockets remembered that were bound: another process may be the one that listens."""


class WrapMode(Enum):
    """What the end of the program means."""

    EXIT = "exit"
    IGNORE = "ignore"
    RESPAWN = "respawn"


@dataclass(frozen=True, slots=True)
class Rebinding:
    """That the program's port is moved.

    @ivar library: the path of rebind.so.
    @ivar port: the port to move; L{None}: every one.
    """

    library: str
    port: int | None


class _Directory:
    """One that is there already."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cleanup(self) -> None:
        shutil.rmtree(self.name, ignore_errors=True)


class Supervisor(Service):
    """
    @param rebinding: L{None} for a program that is told where to listen by placeholders.
    @param listeners: told where the program listens.
    @param ended: called with the program's exit status where that ends the proxy (L{WrapMode.EXIT}).
    @param moved: called with each report of a socket that listens.
    @param fronts: whether it is for the program that a port is listened on here.
    @param left: the L{state} of the one before this, whose program goes on.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        command: Command,
        mode: WrapMode,
        rebinding: Rebinding | None,
        listeners: Listeners,
        *,
        ended: Callable[[int], object],
        moved: Callable[[Report], object] = lambda report: None,
        fronts: Callable[[int], bool] = lambda port: False,
        left: Mapping[str, Any] | None = None,
    ) -> None:
        self._reactor = reactor
        self._command = command
        self._mode = mode
        self._rebinding = rebinding
        self._listeners = listeners
        self._ended = ended
        self._moved = moved
        self._fronts = fronts
        self._left = left
        self._run: Run | None = None
        self._supervision: Deferred[None] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | _Directory | None = None
        self._reports: ReportSocket | None = None
        self._grace: IDelayedCall | None = None
        self._guard: Guard | None = None
        self._bound: OrderedDict[str, Report] = OrderedDict()
        self._addresses: set[str] = set()
        self._ending: Deferred[None] | None = None
        self._told = False
        self._toldOfStrangers = False

    def startService(self) -> None:
        """@raise OSError: there is no place for the socket that the program is to report to."""
        super().startService()
        if self._left is not None:
            self._resume(self._left)
        else:
            self._directory = tempfile.TemporaryDirectory(prefix="wsproxy-")
        if self._rebinding is not None and self._reports is None:
            assert self._directory is not None
            self._reports = ReportSocket(self._reactor, self._directory.name, self._reported)
        self._supervision = Deferred.fromCoroutine(self._supervise())
        self._supervision.addErrback(self._failed)

    def state(self) -> dict[str, Any]:
        """@return: all of it, as JSON can say it, for the code that goes on with this program."""
        return {
            "directory": None if self._directory is None else self._directory.name,
            "run": None if self._run is None else self._run.state(),
            "reports": None if self._reports is None else [self._reports.path, self._reports.fileno()],
            "guard": None if self._guard is None else [self._guard.port, self._guard.descriptors],
            "listeners": self._listeners.state(),
            "bound": [asdict(report) for report in self._bound.values()],
            "addresses": list(self._addresses),
            "awaited": self._grace is not None,
            "told": [self._told, self._toldOfStrangers],
        }

    @staticmethod
    def descriptors(state: Mapping[str, Any]) -> list[int]:
        """@return: those that a L{state} speaks of."""
        found = [] if state["run"] is None else list(state["run"]["pipes"].values())
        return [*found, *(state["reports"] or ())[1:], *(each for them in (state["guard"] or ())[1:] for each in them)]

    def _resume(self, left: Mapping[str, Any]) -> None:
        """Take over what is there."""
        self._directory = _Directory(left["directory"])
        if left["reports"] is not None:
            path, descriptor = left["reports"]
            self._reports = ReportSocket.continued(self._reactor, path, descriptor, self._reported)
        if left["guard"] is not None:
            self._guard = Guard.continued(*left["guard"])
        self._listeners.resume(left["listeners"])
        self._bound.update((report["address"], Report(**report)) for report in left["bound"])
        self._addresses.update(left["addresses"])
        self._told, self._toldOfStrangers = left["told"]

    def _resumeRun(self, left: Mapping[str, Any]) -> Run:
        if left["awaited"]:
            self._grace = self._reactor.callLater(OPENS_WITHIN, self._graceIsOver)
        return Run.continued(self._reactor, self._logLine, left["run"])

    def stopService(self) -> Deferred[None]:
        """@return: fires when nothing in the program's process group runs any more."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def abandon(self, number: int) -> None:
        """Signal all of the program's process group, and wait for nothing. In any thread."""
        if self._run is not None:
            self._run.signal(number)

    async def _stop(self) -> None:
        if self._supervision is not None:
            self._supervision.cancel()
        self._cancelGrace()
        await self._endRun()
        self._listeners.running = False
        self._listeners.clear()
        if self._reports is not None:
            self._reports.close()
        if self._directory is not None:
            self._directory.cleanup()

    async def _supervise(self) -> None:
        backoff = Backoff()
        left = None if self._left is None else self._left["run"]
        if left is not None and left["status"] is not None and self._mode is WrapMode.IGNORE:
            assert self._left is not None
            self._run = self._resumeRun(self._left)  # it is in the background, and has been for a while
            return
        while True:
            began = self._reactor.seconds()
            status = await self._runOnce()
            if self._mode is not WrapMode.RESPAWN:
                break
            delay = backoff.delay(self._listeners.served or self._reactor.seconds() - began >= HEALTHY)
            self._log.info("{program} starts again in {delay:.0f} s", program=self._command.name, delay=delay)
            await deferLater(self._reactor, delay)
        if self._mode is WrapMode.EXIT:
            self._ended(status)

    async def _runOnce(self) -> int:
        """Run the program, and what it needs to be told. @return: its exit status."""
        listeners, name = self._listeners, self._command.name
        self._ending = None
        left, self._left = self._left, None
        if left is not None and left["run"] is not None:
            run = self._run = self._resumeRun(left)
            return await self._await(run)
        run = self._run = Run(self._reactor, self._logLine)
        run.began.addCallback(lambda pid: self._log.info("{program} started as process {pid}", program=name, pid=pid))
        try:
            self._check()
            command = self._prepared()
            run.start(command)
        except OSError as error:
            self._log.error("{program} cannot be started: {error}", program=name, error=str(error))
            return NOT_EXECUTABLE
        listeners.running = True
        listeners.served = False
        for address in reversed(command.addresses):
            listeners.add(TOLD, address)
        if self._rebinding is not None:
            self._grace = self._reactor.callLater(OPENS_WITHIN, self._graceIsOver)
        return await self._await(run)

    def _logLine(self, line: str) -> None:
        self._log.info("{program}: {line}", program=self._command.name, line=line)

    async def _await(self, run: Run) -> int:
        """@return: the exit status of what runs."""
        listeners, name = self._listeners, self._command.name
        status = await run.exited
        if self._reports is not None:
            self._reports.doRead()  # what the program said last came in before its end did
        self._log.info("{program} ended with status {status}", program=name, status=status)
        if self._mode is WrapMode.IGNORE:
            self._tellOfFailure(status)
        else:
            self._tellOfBackground(run, status)
            self._cancelGrace()
            listeners.running = False
            listeners.clear()
            await self._endRun()
        return status

    def _check(self) -> None:
        """@raise PermissionError: the user that twistd has become must not run it."""
        library = [] if self._rebinding is None else [self._rebinding.library]
        path = self._command.forbidden(*NEEDED, *library)
        if path is not None:
            raise PermissionError(EACCES, f"Permission denied for user {os.geteuid()}", path)

    def _prepared(self) -> Command:
        """@raise OSError: there are no ports or descriptors left."""
        assert self._directory is not None
        if self._rebinding is None or self._reports is None:
            return self._command.placed(self._directory.name)
        self._guard = Guard()
        self._toldOfStrangers = False
        return self._command.moved(self._rebinding.library, self._rebinding.port, self._guard.port, self._reports.path)

    def _endRun(self) -> Deferred[None]:
        """
        @return: fires when nothing in the program's process group runs any more, and what has left it is named. Who no
            longer waits for that stops nothing.
        """
        if self._ending is None:
            self._ending = Deferred.fromCoroutine(self._endingRun())
            self._ending.addErrback(self._failed)
        done: Deferred[None] = Deferred()
        self._ending.addCallback(done.callback)
        return done

    async def _endingRun(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            if self._outside(run):
                await deferLater(self._reactor, SETTLING)
            others = self._outside(run)
            await run.end()
            if run.runs():
                self._log.warn(
                    "{program} cannot be ended (process group {pid})", program=self._command.name, pid=run.pid
                )
            self._tellOfSurvivors(others)
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        self._bound.clear()
        self._addresses.clear()

    def _outside(self, run: Run) -> list[Process]:
        """What the program has started that has left its process group."""
        below = [] if run.launcher is None else descendants(run.launcher)
        return [process for process in below if process.group != run.pid]

    def _reported(self, report: Report, pid: int) -> bool:
        launcher = None if self._run is None else self._run.launcher
        if launcher is None or not descends(pid, launcher):
            self._refuse(pid)
        elif report.event == "taken":
            return self._fronts(report.port)
        elif report.event == "bind":
            self._bound[report.address] = report
            if len(self._bound) > _BINDS:
                self._bound.popitem(last=False)
        elif report.port:
            self._listens(report, pid)
        elif report.address in self._bound:  # else it is none of the sockets that were moved
            self._listens(replace(self._bound[report.address], event="listen"), pid)
        return False

    def _listens(self, report: Report, pid: int) -> None:
        self._cancelGrace()
        self._addresses.add(report.address)
        self._log.info(
            "{program} listens on {address} instead of port {port} (process {pid})",
            program=self._command.name,
            address=report.address,
            port=report.port,
            pid=pid,
        )
        self._listeners.add(report.port, report.address)
        self._moved(report)

    def _refuse(self, pid: int) -> None:
        if not self._toldOfStrangers:
            self._toldOfStrangers = True
            self._log.warn(
                "{program}: process {pid} is none that the program has started; what it reports is ignored",
                program=self._command.name,
                pid=pid,
            )

    def _cancelGrace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _graceIsOver(self) -> None:
        self._grace = None
        self._tellOfAlternatives(f"has run for {OPENS_WITHIN:.0f} s without opening")

    def _tellOfAlternatives(self, what: str) -> None:
        if not self._told:
            self._told = True
            self._log.warn(
                "{program} {what} {port}. rebind does not reach a static, setuid or Go program, nor one that is "
                "started with an environment of its own (env -i): tell such a program where to listen, with {{port}} "
                "or {{socket}} in its arguments",
                program=self._command.name,
                what=what,
                port=self._portName,
            )

    @property
    def _portName(self) -> str:
        assert self._rebinding is not None
        return "a port" if self._rebinding.port is None else f"port {self._rebinding.port}"

    def _tellOfFailure(self, status: int) -> None:
        """What has failed is not in the background, and has said itself what was wrong."""
        if status and self._grace is not None:
            self._cancelGrace()
            self._log.warn(
                "{program} has failed without opening {port}", program=self._command.name, port=self._portName
            )

    def _tellOfBackground(self, run: Run, status: int) -> None:
        """Of a program whose end was not the end of it; else, if it opened no port, of why that may be."""
        if status == 0 and self._outside(run):
            self._log.warn(
                "{program} has put itself in the background; --wrap-mode ignore serves such a program",
                program=self._command.name,
            )
        elif self._grace is not None and status not in (NOT_FOUND, NOT_EXECUTABLE):
            self._tellOfAlternatives("ended without opening")

    def _tellOfSurvivors(self, others: list[Process]) -> None:
        """Of each lot of processes only the one that has started the others is named."""
        left = {process.pid for process in others if isRunning(process.pid)}
        for process in others:
            if process.pid not in left or process.parent in left:
                continue
            addresses = sorted(listening(process.pid) & self._addresses)
            self._log.info(
                "{program}: process {pid} ({name}) has left the process group, and goes on {what}",
                program=self._command.name,
                pid=process.pid,
                name=escape(process.name, None),
                what=f"listening on {', '.join(addresses)}" if addresses else "running",
            )

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("supervising {program}", failure, program=self._command.name)
