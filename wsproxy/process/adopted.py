"""A child of this process that an earlier version of its code has started: what spawnProcess would have returned."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.fault import logFault

__all__ = ["AdoptedProcess", "descriptorsOf"]

_CHUNK = 65536


def descriptorsOf(transport: Any) -> dict[int, int]:
    """
    @param transport: of a process, whether it was spawned or adopted.
    @return: our ends of its pipes, by the numbers that they have there.
    """
    return {number: pipe.fileno() for number, pipe in transport.pipes.items()}


@implementer(IReadDescriptor)
class _Pipe:
    """One that is read, or, where C{number} is L{None}, what is readable once the process has ended: a pidfd."""

    def __init__(self, process: AdoptedProcess, number: int | None, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._process = process
        self._number = number
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "process"

    def doRead(self) -> None:
        if self._number is None:
            self._process.reap()
        else:
            self._process.read(self._number)

    def connectionLost(self, reason: Failure) -> None:
        """At the end of a pipe there is nothing to be read, as poll(2) has it; or the reactor is going down."""
        if self._number is not None:
            self._process.closeChildFD(self._number)


class AdoptedProcess:
    """
    Needs Linux 5.3, for pidfd_open(2).

    @param pid: a child of this process, which may have ended.
    @param pipes: see L{descriptorsOf}; they do not block, and become this object's.
    @param writable: the numbers of those that are written.
    @raise OSError: it is none.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        protocol: ProcessProtocol,
        pid: int,
        pipes: Mapping[int, int],
        writable: tuple[int, ...] = (),
    ) -> None:
        self.pid: int | None = pid
        self._reactor = reactor
        self._protocol = protocol
        self._status: int | None = None
        self._told = False
        self.pipes = {number: _Pipe(self, number, descriptor) for number, descriptor in pipes.items()}
        self._written = {number for number in self.pipes if number in writable}
        self._end = _Pipe(self, None, os.pidfd_open(pid))
        protocol.makeConnection(self)
        for number, pipe in self.pipes.items():
            if number not in self._written:
                reactor.addReader(pipe)
        reactor.addReader(self._end)

    def read(self, number: int) -> None:
        try:
            data = os.read(self.pipes[number].fileno(), _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.closeChildFD(number)
            return
        try:
            self._protocol.childDataReceived(number, data)
        except BaseException:  # raised to the reactor, it would be the last thing read
            logFault(self._log, "reading from process {pid}", pid=self.pid)

    def closeChildFD(self, number: int) -> None:
        """Close this pipe, if it is open."""
        pipe = self.pipes.pop(number, None)
        if pipe is not None:
            self._reactor.removeReader(pipe)
            os.close(pipe.fileno())
            self._protocol.childConnectionLost(number)
            self._maybeEnded()

    def loseConnection(self) -> None:
        """Close all of them."""
        for number in tuple(self.pipes):
            self.closeChildFD(number)

    def signalProcess(self, number: int) -> None:
        """@raise ProcessExitedAlready: it has ended."""
        if self.pid is None:
            raise ProcessExitedAlready
        os.kill(self.pid, number)

    def reap(self) -> None:
        assert self.pid is not None
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self._status, self.pid = status, None
            self._reactor.removeReader(self._end)
            os.close(self._end.fileno())
            for number in self._written:
                self.closeChildFD(number)
            self._maybeEnded()

    def _maybeEnded(self) -> None:
        """It has when it is gone, and all that it said has been read."""
        if self._status is None or self.pipes or self._told:
            return
        self._told = True
        code = os.waitstatus_to_exitcode(self._status)
        ended: Exception = ProcessDone(self._status) if code == 0 else ProcessTerminated(
            max(code, 0), -code if code < 0 else None, self._status
        )
        self._protocol.processEnded(Failure(ended))
