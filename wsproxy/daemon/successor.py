"""The code that takes the place of this one, in the same process: the same command line, executed once more.

::

    rehearse ─► a process of its own starts with the same words as the same user, as far as it can without a client,
                and says whether it would do ─► not: one line, and nothing has happened
    become   ─► execv of the L{caretaker<wsproxy.daemon.caretaker>}, which runs those words, and where they fail after
                all holds the place until they do not

Where execv itself fails, this code goes on.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from wsproxy.daemon.handover import COULD_START, VARIABLE, Handover, leave
from wsproxy.daemon.log import Log
from wsproxy.escape import escape

__all__ = ["REHEARSED_WITHIN", "Successor", "Unfit", "commandLine", "divided"]

REHEARSED_WITHIN = 60.0
"""Seconds that new code is given to say whether it can start; on a machine that is busy it takes some."""

_HANDOVER, _CODE = 3, 4
"""Descriptors of a rehearsal."""

_CARETAKER = Path(__file__).with_name("caretaker.py")

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
    @param log: where this code logs.
    @param pidfile: its path, if there is one.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        directory: str,
        secrets: Mapping[str, str],
        log: Log,
        pidfile: str | None = None,
    ) -> None:
        self._interpreter, self._program = divided(words)
        self._environment = dict(environment)
        self._directory = directory
        self._secrets = dict(secrets)
        self._log = log
        self._pidfile = pidfile
        self._caretaker = _CARETAKER.read_bytes()  # now: what is installed next may replace it

    def rehearse(self, reactor: Any, state: Mapping[str, Any]) -> Deferred[None]:
        """@return: fires when it could start; fails with L{Unfit}."""
        rehearsal = _Rehearsal(reactor)
        descriptors: list[int] = []
        try:
            descriptors += (self._leaveCode(), self._leave(True, state, _CODE))
            with open(os.devnull, "rb") as nothing:
                streams = {0: nothing.fileno(), 1: "r", 2: "r", _HANDOVER: descriptors[1], _CODE: descriptors[0]}
                words, environment = self._words(_CODE), {**self._environment, VARIABLE: str(_HANDOVER)}
                reactor.spawnProcess(rehearsal, words[0], words, environment, self._directory, childFDs=streams)
            rehearsal.limit(REHEARSED_WITHIN)
        except OSError as error:
            rehearsal.done.errback(Unfit(f"{error.strerror}"))
        finally:
            for each in descriptors:
                os.close(each)
        return rehearsal.done

    def become(self, state: Mapping[str, Any], descriptors: Iterable[int], channels: Iterable[int]) -> NoReturn:
        """
        Execute it. Signals that come meanwhile wait for it.

        @param descriptors: those that C{state} speaks of.
        @param channels: those of them whose other ends are workers'.
        @raise OSError: that is impossible, and everything as it was.
        """
        passed, own = list(descriptors), list[int]()
        here = os.open(".", os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
        try:
            own.append(self._leaveCode())
            own.append(self._leave(False, state, own[0], passed, list(channels)))
            os.chdir(self._directory)
            for each in (*passed, *own):
                os.set_inheritable(each, True)
            self._log.finish(1.0)
            words = self._words(own[0])
            os.execve(words[0], words, {**self._environment, VARIABLE: str(own[1])})
        except BaseException:
            for each in passed:
                os.set_inheritable(each, False)
            os.fchdir(here)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            raise
        finally:
            for each in (*own, here):
                os.close(each)

    def _words(self, code: int) -> list[str]:
        return [*self._interpreter, "-c", _loader(code), *self._program]

    def _leaveCode(self) -> int:
        descriptor = os.memfd_create("caretaker", os.MFD_CLOEXEC)
        os.write(descriptor, self._caretaker)
        return descriptor

    def _leave(
        self,
        rehearsal: bool,
        state: Mapping[str, Any],
        code: int,
        descriptors: Sequence[int] = (),
        channels: Sequence[int] = (),
    ) -> int:
        caretaker = {
            "interpreter": self._interpreter,
            "program": self._program,
            "loader": _loader(code),
            "code": code,
            "descriptors": descriptors,
            "channels": channels,
            "log": self._log.place,
            "pidfile": self._pidfile,
            "failures": 0,
            "reason": None,
        }
        return leave(Handover(rehearsal, {**state, "secrets": self._secrets}, caretaker))


def _loader(code: int) -> str:
    """What has Python execute what is in that descriptor. No module is looked for in the directory: it is anybody's."""
    return f"import sys; sys.flags.safe_path or sys.path.pop(0); import os; exec(os.pread({code}, {1 << 20}, 0))"


_HELD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def commandLine() -> list[str]:
    """@return: what this process was executed with, and where its interpreter is."""
    return [sys.executable, *sys.orig_argv[1:]]


def divided(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """
    @param words: of Python.
    @return: the interpreter with its own options; and the script, C{-m} or C{-c}, with all that follows.
    """
    at = 1
    while at < len(words) and words[at].startswith("-") and words[at] != "-":
        word = words[at]
        flags = "" if word.startswith("--") else word[1:]
        valued = next((place for place, letter in enumerate(flags) if letter in "cmWX"), None)
        if valued is None:
            at += 2 if word == "--check-hash-based-pycs" else 1
        elif flags[valued] in "WX":
            at += 1 if flags[valued + 1 :] else 2
        else:
            own, value = flags[:valued], flags[valued + 1 :]
            return [*words[:at], *([f"-{own}"] if own else [])], [
                f"-{flags[valued]}", *([value] if value else []), *words[at + 1 :]
            ]
    return [*words[:at]], [*words[at:]]


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
        elif not value.exitCode:
            self.done.errback(Unfit("it ended with status 0, and has not said that it could start"))
        elif value.exitCode != COULD_START:
            lines = self._said.decode("utf-8", "backslashreplace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), f"status {value.exitCode}")
            self.done.errback(Unfit(escape(last, None)))
        else:
            self.done.callback(None)
