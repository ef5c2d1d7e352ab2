"""How the process ends: its signals, its exit status, and what it says when it cannot start.

twistd alone dies of the SIGTERM it was sent (status 143), forgets every other status, and shows a traceback
for what stops a start. Here the reactor is asked to stop, twistd tidies up behind it (pidfile, log), and only
then does the process leave with the status that was chosen.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .errors import ConfigError
from .interfaces import IStatusStop

__all__ = ["Exit", "Stoppable", "complaint", "tellInOneLine"]

_log = Logger()

_OBEYED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def complaint(error: object) -> str:
    """What stderr shows for C{error}: one line, whatever the operator's words contain."""
    return "twistd websockify: " + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(error))


class _Reactor(IReactorCore, IReactorFromThreads):
    """What L{Exit} needs of a reactor."""


class Stoppable(Protocol):
    """What signals do to a proxy."""

    def drain(self) -> Deferred[None]:
        """Take no more clients; fire when the last session is over."""

    def reload(self) -> None:
        """Look at the certificates again."""

    def abandon(self) -> None:
        """The process ends at once: leave no other one behind."""


@implementer(IStatusStop)
class Exit:
    """
    The one way out of the process.

    - SIGTERM, SIGINT: drain, then leave with status 0. A second one: leave at once, with 128 + its number.
    - SIGHUP: reload.
    """

    def __init__(self, reactor: _Reactor, pidfile: str | None = None) -> None:
        """
        @param pidfile: the absolute path of twistd's; removed here only when twistd does not get to it.
        """
        self._reactor = reactor
        self._pidfile = pidfile
        self._status: int | None = None
        self._signalled = False

    def stop(self, status: int) -> None:
        if self._choose(status):
            self._reactor.callWhenRunning(self._reactor.stop)

    def fail(self, failure: Failure) -> None:
        """The proxy cannot start: say why in one line, and leave with status 1."""
        if not failure.check(ConfigError):
            _log.failure("The start failed", failure)
        _tell(failure.value)
        self.stop(1)

    def obeySignals(self, proxy: Stoppable) -> None:
        """From now on, though what a signal asks for waits for the reactor to run."""

        def resume() -> None:
            self._installHandlers(proxy)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _OBEYED)

        self._installHandlers(proxy)
        # Starting, the reactor puts its own handlers there. No signal may arrive before these are back.
        self._reactor.addSystemEventTrigger("before", "startup", signal.pthread_sigmask, signal.SIG_BLOCK, _OBEYED)
        self._reactor.callWhenRunning(resume)

    def _installHandlers(self, proxy: Stoppable) -> None:
        def end(number: int, frame: FrameType | None) -> None:
            if self._signalled:
                proxy.abandon()
                self._leaveAtOnce(128 + number)
            self._signalled = True
            self._reactor.callFromThread(self._drain, proxy, signal.Signals(number).name)

        def reload(number: int, frame: FrameType | None) -> None:
            self._reactor.callFromThread(proxy.reload)

        signal.signal(signal.SIGTERM, end)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a shell script's background job
            signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGHUP, reload)

    def _drain(self, proxy: Stoppable, name: str) -> None:
        _log.info("Received {name}: closing; a second one ends at once", name=name)
        if self._choose(0):
            done = proxy.drain()
            done.addErrback(lambda failure: _log.failure("Draining failed", failure))
            done.addCallback(lambda _: self._reactor.stop())

    def _choose(self, status: int) -> bool:
        """Whether this is the first status, and thus the one to leave with."""
        if self._status is not None:
            return False
        self._status = status
        if status:
            # After twistd's own tidying: nothing that runs inside the reactor can give it a status to return.
            atexit.register(_leave, status)
        return True

    def _leaveAtOnce(self, status: int) -> None:
        # Stopping the reactor instead would wait for its threads, and thus for a slow name server.
        if self._pidfile:
            with suppress(OSError):
                os.unlink(self._pidfile)
        _leave(status)


def tellInOneLine(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """
    A C{sys.excepthook}: one line on stderr. What an operator can mend (L{ConfigError}, and the L{OSError} of
    a log file or a directory that twistd cannot use) needs no more; any other traceback goes to the log.
    """
    if isinstance(error, (ConfigError, OSError)):
        _tell(error)
    else:
        sys.__excepthook__(kind, error, trace)  # to sys.stderr, which is the log by then
        _tell(f"{kind.__name__}: {error}")


def _tell(error: object) -> None:
    _log.error("{error}", error=complaint(error))  # a daemon's stderr is /dev/null
    if sys.__stderr__ is not None:  # sys.stderr is the log
        print(complaint(error), file=sys.__stderr__)


def _leave(status: int) -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            with suppress(OSError):
                stream.flush()
    os._exit(status)
