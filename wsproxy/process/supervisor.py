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

import tempfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.process.command import Command
from wsproxy.process.group import groupOf
from wsproxy.process.launch import NOT_EXECUTABLE, NOT_FOUND
from wsproxy.process.listeners import Listeners
from wsproxy.process.notify import ReportSocket
from wsproxy.process.report import Report
from wsproxy.process.run import Run

__all__ = ["GRACE", "HEALTHY", "LONGEST_DELAY", "SHORTEST_DELAY", "TOLD", "Rebinding", "Supervisor", "WrapMode"]

SHORTEST_DELAY, LONGEST_DELAY = 1.0, 30.0
"""Seconds from the end of a program to its next start: twice as many each time, unless it was healthy."""

HEALTHY = 10.0
"""Seconds of life that make a run a healthy one; having served a client does so, too."""

GRACE = 5.0
"""Seconds until a program that has opened no port is mentioned."""

TOLD = 0
"""The port, to L{Listeners}, of a program that was told where to listen."""

_SERVERS = 64
"""Processes remembered that have listened."""


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


class Supervisor(Service):
    """
    @param rebinding: L{None} for a program that is told where to listen by placeholders.
    @param listeners: told where the program listens.
    @param ended: called with the program's exit status where that ends the proxy (L{WrapMode.EXIT}).
    @param moved: called with each report of a socket that listens.
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
    ) -> None:
        self._reactor = reactor
        self._command = command
        self._mode = mode
        self._rebinding = rebinding
        self._listeners = listeners
        self._ended = ended
        self._moved = moved
        self._run: Run | None = None
        self._supervision: Deferred[None] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._reports: ReportSocket | None = None
        self._grace: IDelayedCall | None = None
        self._servers: OrderedDict[int, str] = OrderedDict()
        self._told = False

    def startService(self) -> None:
        """@raise OSError: there is no place for the socket that the program is to report to."""
        super().startService()
        self._directory = tempfile.TemporaryDirectory(prefix="wsproxy-")
        if self._rebinding is not None:
            self._reports = ReportSocket(self._reactor, self._directory.name, self._reported)
        self._supervision = Deferred.fromCoroutine(self._supervise())
        self._supervision.addErrback(self._failed)

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
        if self._run is not None:
            await self._run.end()
            self._tellOfSurvivors(self._run)
        self._listeners.running = False
        self._listeners.clear()
        if self._reports is not None:
            self._reports.close()
        if self._directory is not None:
            self._directory.cleanup()

    async def _supervise(self) -> None:
        delay = SHORTEST_DELAY
        while True:
            began = self._reactor.seconds()
            status = await self._runOnce()
            if self._mode is not WrapMode.RESPAWN:
                break
            if self._listeners.served or self._reactor.seconds() - began >= HEALTHY:
                delay = SHORTEST_DELAY
            self._log.info("{program} starts again in {delay:.0f} s", program=self._command.name, delay=delay)
            await deferLater(self._reactor, delay)
            delay = min(2 * delay, LONGEST_DELAY)
        if self._mode is WrapMode.EXIT:
            self._ended(status)

    async def _runOnce(self) -> int:
        """Run the program, and what it needs to be told. @return: its exit status."""
        listeners, name = self._listeners, self._command.name
        command = self._prepared()
        self._run = Run(self._reactor, lambda line: self._log.info("{program}: {line}", program=name, line=line))
        try:
            self._run.start(command)
        except OSError as error:
            self._log.error("{program} cannot be started: {error}", program=name, error=str(error))
            return NOT_EXECUTABLE
        self._log.info("{program} started as process {pid}", program=name, pid=self._run.pid)
        listeners.running = True
        listeners.served = False
        for address in reversed(command.addresses):
            listeners.add(TOLD, address)
        if self._rebinding is not None:
            self._grace = self._reactor.callLater(GRACE, self._graceIsOver)
        status = await self._run.exited
        if self._reports is not None:
            self._reports.doRead()  # what the program said last came in before its end did
        self._log.info("{program} ended with status {status}", program=name, status=status)
        if self._mode is not WrapMode.IGNORE:
            if self._grace is not None and status not in (NOT_FOUND, NOT_EXECUTABLE):
                self._tellOfAlternatives("ended without opening")
            self._cancelGrace()
            listeners.running = False
            listeners.clear()
            await self._run.end()
        return status

    def _prepared(self) -> Command:
        assert self._directory is not None
        if self._rebinding is None or self._reports is None:
            return self._command.placed(self._directory.name)
        return self._command.moved(self._rebinding.library, self._rebinding.port, self._reports.path)

    def _reported(self, report: Report, pid: int) -> None:
        if not report.listens:
            return
        self._cancelGrace()
        self._servers[pid] = report.address
        self._servers.move_to_end(pid)
        if len(self._servers) > _SERVERS:
            self._servers.popitem(last=False)
        self._log.info(
            "{program} listens on {address} instead of port {port} (process {pid})",
            program=self._command.name,
            address=report.address,
            port=report.port,
            pid=pid,
        )
        self._listeners.add(report.port, report.address)
        self._moved(report)

    def _cancelGrace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _graceIsOver(self) -> None:
        self._grace = None
        self._tellOfAlternatives(f"has run for {GRACE:.0f} s without opening")

    def _tellOfAlternatives(self, what: str) -> None:
        assert self._rebinding is not None
        port = self._rebinding.port
        if not self._told:
            self._told = True
            self._log.warn(
                "{program} {what} {port}. The port of a static, setuid or Go program cannot be moved: tell it where "
                "to listen, with {{port}} or {{socket}} in its arguments",
                program=self._command.name,
                what=what,
                port="a port" if port is None else f"port {port}",
            )

    def _tellOfSurvivors(self, run: Run) -> None:
        if run.runs():
            self._log.warn("{program} cannot be ended (process group {pid})", program=self._command.name, pid=run.pid)
        for pid, address in self._servers.items():
            if groupOf(pid) not in (None, run.pid):
                self._log.info(
                    "{program}: process {pid} has left the process group, and goes on listening on {address}",
                    program=self._command.name,
                    pid=pid,
                    address=address,
                )

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("supervising {program}", failure, program=self._command.name)
