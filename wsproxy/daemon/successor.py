"""The code that takes the place of this one, in the same process: the same command line, executed once more.

::

    rehearse ─► a process of its own starts with the same words as the same user, as far as it can without a socket,
                and says whether it would do ─► not: one line, and nothing has happened
    become   ─► execv

Between the two lies little that can fail. Where execv itself does, this code goes on.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from wsproxy.daemon.handover import VARIABLE, Handover, leave
from wsproxy.escape import escape

__all__ = ["REHEARSED_WITHIN", "Successor", "Unfit", "commandLine"]

REHEARSED_WITHIN = 60.0
"""Seconds that new code is given to say whether it can start; on a machine that is busy it takes some."""

_LAST = 4096
"""Bytes of what it prints that are kept: the last line says what is wrong."""


class Unfit(Exception):
    """The new code cannot start; why not, in one line."""


class Successor:
    """
    @param words: the command line, from the interpreter on.
    @param environment: that of both.
    @param directory: where the command line was given.
    @param secrets: those that came from the environment, by their names there.
    @param finish: has the log written.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        directory: str,
        secrets: Mapping[str, str],
        finish: Callable[[], object] = lambda: None,
    ) -> None:
        self._words = list(words)
        self._environment = dict(environment)
        self._directory = directory
        self._secrets = dict(secrets)
        self._finish = finish

    def rehearse(self, reactor: Any, state: Mapping[str, Any]) -> Deferred[None]:
        """@return: fires when it could start; fails with L{Unfit}."""
        rehearsal = _Rehearsal(reactor)
        try:
            descriptor = self._leave(True, state)
        except OSError as error:
            rehearsal.done.errback(Unfit(f"{error.strerror}"))
            return rehearsal.done
        try:
            environment = {**self._environment, VARIABLE: "3"}
            with open(os.devnull, "rb") as nothing:
                streams = {0: nothing.fileno(), 1: "r", 2: "r", 3: descriptor}
                words, where = self._words, self._directory
                reactor.spawnProcess(rehearsal, words[0], words, environment, where, childFDs=streams)
            rehearsal.limit(REHEARSED_WITHIN)
        except OSError as error:
            rehearsal.done.errback(Unfit(f"{error.strerror}"))
        finally:
            os.close(descriptor)
        return rehearsal.done

    def become(self, state: Mapping[str, Any], descriptors: Iterable[int]) -> NoReturn:
        """
        Execute it. Signals that come meanwhile wait for it.

        @param descriptors: those that C{state} speaks of.
        @raise OSError: that is impossible, and everything as it was.
        """
        passed = list(descriptors)
        here = os.open(".", os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
        try:
            passed.append(self._leave(False, state))
            os.chdir(self._directory)
            for each in passed:
                os.set_inheritable(each, True)
            self._finish()
            os.execve(self._words[0], self._words, {**self._environment, VARIABLE: str(passed[-1])})
        except BaseException:
            for each in passed:
                os.set_inheritable(each, False)
            os.fchdir(here)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            raise
        finally:
            os.close(here)

    def _leave(self, rehearsal: bool, state: Mapping[str, Any]) -> int:
        return leave(Handover(rehearsal, {**state, "secrets": self._secrets}))


_HELD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def commandLine() -> list[str]:
    """@return: what this process was executed with, and where its interpreter is."""
    return [sys.executable, *sys.orig_argv[1:]]


class _Rehearsal(ProcessProtocol):
    """@ivar done: see L{Successor.rehearse}."""

    transport: Any

    def __init__(self, reactor: Any) -> None:
        self.done: Deferred[None] = Deferred()
        self._reactor = reactor
        self._said = b""
        self._limit: IDelayedCall | None = None
        self._late = False

    def limit(self, seconds: float) -> None:
        self._limit = self._reactor.callLater(seconds, self._stop)

    def _stop(self) -> None:
        self._limit, self._late = None, True
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(signal.SIGKILL)
        self.transport.loseConnection()  # it may have left its output to somebody else

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._said = (self._said + data)[-_LAST:]

    def processEnded(self, reason: Failure) -> None:
        if self._limit is not None:
            self._limit.cancel()
        value: Any = reason.value
        if self._late:
            self.done.errback(Unfit(f"it has not started within {REHEARSED_WITHIN:.0f} s"))
        elif value.signal is not None:
            self.done.errback(Unfit(f"it ended by signal {value.signal}"))
        elif value.exitCode:
            lines = self._said.decode("utf-8", "backslashreplace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), f"status {value.exitCode}")
            self.done.errback(Unfit(escape(last, None)))
        else:
            self.done.callback(None)
