"""One of several processes, as its parent sees it; what it is to itself is in L{wsproxy.workers.child}."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from wsproxy.process.output import LineLog
from wsproxy.workers.messages import REPORTS, Messages, encode

__all__ = ["Worker"]

_logger = cache(Logger)
"""By the namespace of whoever said something in a worker."""


class Worker(ProcessProtocol):
    """
    One process.

    @param received: called with each message that is not about the process alone.
    @ivar complaint: why it cannot start, where the configuration is to blame.
    @ivar ending: fires when its clients have been told to go, or it has ended.
    """

    transport: Any
    _log = Logger()

    def __init__(self, number: int, received: Callable[..., None]) -> None:
        self.complaint: str | None = None
        self.ending: Deferred[None] = Deferred()
        self._number = number
        self._received = received
        self._messages = Messages()
        self._output = {1: LineLog(self._printed), 2: LineLog(self._printed)}
        self._listening = True
        self._status: int | None = None
        self._waiting: list[Deferred[int]] = []

    def start(
        self, reactor: Any, environment: dict[str, str], descriptors: dict[int, int], stdout: int | None
    ) -> None:
        """@raise OSError: it cannot be."""
        # -P: modules are not looked for in the current directory, which is anybody's
        words = [sys.executable, "-P", "-m", "wsproxy.workers.child", str(self._number), type(reactor).__module__]
        words.append("parent" if stdout is None else "stdout")
        childFDs = {0: "w", 1: "r" if stdout is None else stdout, 2: "r", REPORTS: "r", **descriptors}
        reactor.spawnProcess(self, words[0], words, environment, childFDs=childFDs)
        self._log.info("worker {number} started as process {pid}", number=self._number, pid=self.transport.pid)

    def tell(self, verb: str, *words: object) -> None:
        if self._listening:
            self.transport.writeToChild(0, encode(verb, *words))

    def hangUp(self) -> None:
        """It is to end."""
        self._listening = False
        self.transport.closeChildFD(0)

    def kill(self) -> None:
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(signal.SIGKILL)

    def ended(self) -> Deferred[int]:
        """@return: fires with its exit status, 128 + the number for a signal."""
        deferred: Deferred[int] = Deferred()
        if self._status is None:
            self._waiting.append(deferred)
        else:
            deferred.callback(self._status)
        return deferred

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if childFD in self._output:
            self._output[childFD].feed(data)
            return
        for verb, *words in self._messages.feed(data):
            try:
                self._heard(verb, *words)
            except Exception:  # raised to the reactor, it would be the last thing heard of this worker
                self._log.failure("worker {number} said {verb}", number=self._number, verb=verb)

    def _heard(self, verb: str, *words: Any) -> None:
        if verb == "log":
            self._logged(*words)
        elif verb == "up":
            self._log.info("worker {number} is up", number=self._number)
            self._received(verb)
        elif verb == "ending":
            self._isEnding()
        elif verb == "unable":
            [self.complaint] = words
        else:
            self._received(verb, *words)

    def _isEnding(self) -> None:
        if not self.ending.called:
            self.ending.callback(None)

    def _logged(self, namespace: str, level: str, text: str) -> None:
        emit, severity = _logger(namespace).emit, LogLevel.lookupByName(level)
        for line in text.splitlines():
            emit(severity, "worker {number}: {line}", number=self._number, line=line)

    def _printed(self, line: str) -> None:
        self._log.warn("worker {number}: {line}", number=self._number, line=line)

    def childConnectionLost(self, childFD: int) -> None:
        if childFD in self._output:
            self._output[childFD].end()
        elif childFD == 0:
            self._listening = False

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        self._status = value.exitCode if value.signal is None else 128 + value.signal
        self._isEnding()
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(self._status)
