"""How the process ends: its signals, its exit status, and what it says when it cannot start.

twistd by itself answers SIGTERM by dying of it (status 143), leaves with status 0 otherwise, and shows a traceback
where a start fails. So L{Exit} takes over in three steps: it asks the reactor to stop, lets twistd tidy up (pidfile,
log), and then leaves with the status that was chosen.

However busy the process is, it has left within a bound. Each arrow is a deadline that L{Watchdog} holds, in a thread of
its own::

    SIGTERM ─► --drain ─► stopped: sessions closed, program ended ─► threads joined ─► left
       └────── --drain + BOUND ───────────────────────────────────────────────────────►┤
              stop(status) ─► BOUND ──────────────────────────────────────────────────►┤
                                                                     └─ THREADS ──────►┘
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from types import FrameType, TracebackType
from typing import Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.daemon.log import Log
from wsproxy.daemon.watchdog import Watchdog
from wsproxy.errors import ConfigError
from wsproxy.escape import escape
from wsproxy.interfaces import IStatusStop

__all__ = ["BOUND", "THREADS", "Exit", "Stoppable", "complaint", "within"]

BOUND = 7.5
"""Seconds, beyond C{--drain}, until the process has left; 8 are promised. Sessions and programs take 5 to 7."""

THREADS = 2.0
"""Seconds that threads are given when everything else has ended: a name lookup may take minutes."""

_LAST_WORDS = 0.3
"""Seconds for what is done on the way out, where a log or a disk may hang, too."""

_log = Logger()

_OBEYED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


_COMMANDS = ("wsproxy", "websockify", "wswrap")
"""Names that this process may have been called by, beside C{twistd websockify}."""


def complaint(error: object) -> str:
    """What stderr shows for C{error}: one line, whatever the operator's words contain."""
    called = os.path.basename(sys.argv[0]) if sys.argv else ""
    return f"{called if called in _COMMANDS else 'twistd websockify'}: {escape(str(error), None)}"


class _Reactor(IReactorCore, IReactorFromThreads):
    """What L{Exit} needs of a reactor."""


class Stoppable(Protocol):
    """What signals do to a proxy."""

    def drain(self) -> Deferred[None]:
        """Take no more clients; fire when the last session is over, or C{--drain} is."""

    def reload(self) -> None:
        """Look at the certificates again."""

    def upgrade(self) -> None:
        """Execute the code that is there now in place of this one, or say why not."""

    def abandon(self, number: int = signal.SIGTERM) -> None:
        """
        The process ends at once: leave no other one behind. In any thread.

        @param number: what the processes of a wrapped program are sent.
        """


@implementer(IStatusStop)
class Exit:
    """
    The one way out of the process.

    - SIGTERM, SIGINT: drain, then leave with status 0. A second one: leave at once, with 128 + its number.
    - SIGHUP: reload.
    - SIGUSR1: go on in a new log file.
    - SIGUSR2: upgrade.
    """

    def __init__(
        self,
        reactor: _Reactor,
        pidfile: str | None = None,
        *,
        drain: float = 0.0,
        log: Log | None = None,
        watchdog: Watchdog | None = None,
        inherited: bool = False,
    ) -> None:
        """
        @param pidfile: the absolute path of twistd's; removed here only when twistd does not get to it.
        @param drain: seconds that the proxy may drain.
        @param watchdog: without one there is no bound.
        @param inherited: the pidfile is from the code before this one, and twistd knows nothing of it.
        """
        self._reactor = reactor
        self._pidfile = pidfile
        self._inherited = inherited
        self._drainTime = drain
        self._ownLog = Log() if log is None else log
        self._watchdog = watchdog
        self._status: int | None = None
        self._signalled = False
        self._noticed = False
        atexit.register(self._ownLog.finish, 1.0)
        if inherited:
            atexit.register(self._removePidfile)

    def stop(self, status: int) -> None:
        if self._choose(status):
            self._leaveWithin(BOUND)
            self._reactor.callWhenRunning(self._reactor.stop)

    def fail(self, failure: Failure) -> None:
        """The proxy cannot start: say why in one line, and leave with status 1."""
        if not failure.check(ConfigError):
            _log.failure("The start failed", failure)
        self._tell(failure.value)
        self.stop(1)

    def tellInOneLine(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """
        A C{sys.excepthook}: one line on stderr. What an operator can mend (L{ConfigError}, and the L{OSError} of
        a log file or a directory that twistd cannot use) needs no more; any other traceback goes to the log.
        """
        if isinstance(error, (ConfigError, OSError)):
            self._tell(error)
        else:
            sys.__excepthook__(kind, error, trace)  # to sys.stderr, which is the log by then
            self._tell(f"{kind.__name__}: {error}")

    def _tell(self, error: object) -> None:
        """Once: where the log is seen beside stderr, it has no need of the line."""
        if sys.__stderr__ is None or not self._ownLog.foreground:  # a daemon's stderr is /dev/null
            _log.error("{error}", error=complaint(error))
        if sys.__stderr__ is not None:  # sys.stderr is the log
            print(complaint(error), file=sys.__stderr__)

    def obeySignals(self, proxy: Stoppable) -> None:
        """From now on, though what a signal asks for waits for the reactor to run."""
        watchdog = self._watchdog

        def resume() -> None:
            self._installHandlers(proxy)
            if watchdog is not None:
                watchdog.watchSignals()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _OBEYED)

        self._installHandlers(proxy)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _OBEYED)  # held back while this code took another's place
        if watchdog is not None:
            watchdog.watchSignals()
            watchdog.start(self._notice, proxy.abandon, lambda: self._giveUp(proxy))
        # Starting, the reactor puts its own handlers there. No signal may arrive before these are back.
        self._reactor.addSystemEventTrigger("before", "startup", signal.pthread_sigmask, signal.SIG_BLOCK, _OBEYED)
        self._reactor.addSystemEventTrigger("during", "shutdown", self._leaveWithin, THREADS)
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

        def reopen(number: int, frame: FrameType | None) -> None:
            self._reactor.callFromThread(self._ownLog.reopen)

        signal.signal(signal.SIGTERM, end)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a shell script's background job
            signal.signal(signal.SIGINT, end)
        def upgrade(number: int, frame: FrameType | None) -> None:
            self._reactor.callFromThread(proxy.upgrade)

        signal.signal(signal.SIGHUP, reload)
        signal.signal(signal.SIGUSR1, reopen)
        signal.signal(signal.SIGUSR2, upgrade)

    def _drain(self, proxy: Stoppable, name: str) -> None:
        _log.info("Received {name}: closing; a second one ends at once", name=name)
        if self._choose(0):
            self._leaveWithin(self._drainTime + BOUND)
            done = maybeDeferred(proxy.drain)
            done.addErrback(lambda failure: _log.failure("Draining failed", failure))
            done.addCallback(lambda _: self._stopNow())

    def _stopNow(self) -> None:
        self._leaveWithin(BOUND)
        self._reactor.stop()

    def _leaveWithin(self, seconds: float) -> None:
        if self._watchdog is not None:
            self._watchdog.leaveWithin(seconds)

    def _choose(self, status: int) -> bool:
        """Whether this is the first status, and thus the one to leave with."""
        if self._status is not None:
            return False
        self._status = status
        if status:
            # After twistd's own tidying: nothing that runs inside the reactor can give it a status to return.
            atexit.register(self._leave, status)
        return True

    def _notice(self, number: int) -> None:
        """The watchdog has seen a signal, which the main thread may be too busy for."""
        if number not in (signal.SIGTERM, signal.SIGINT):
            return
        if self._noticed:
            self._leaveWithin(THREADS)
        self._noticed = True
        self._leaveWithin(self._drainTime + BOUND)

    def _giveUp(self, proxy: Stoppable) -> None:
        """The time is over."""

        def lastWords() -> None:
            proxy.abandon(signal.SIGKILL)
            _log.warn("Not everything has ended in time; leaving all the same")

        within(_LAST_WORDS, lastWords)
        self._leaveAtOnce(self._status or 0)

    def _leaveAtOnce(self, status: int) -> None:
        # Stopping the reactor instead would wait for its threads, and thus for a slow name server.
        within(_LAST_WORDS, self._removePidfile)
        self._leave(status)

    def _removePidfile(self) -> None:
        if self._pidfile:
            with suppress(OSError):
                os.unlink(self._pidfile)

    def _leave(self, status: int) -> None:
        if self._inherited:
            within(_LAST_WORDS, self._removePidfile)
        within(_LAST_WORDS, lambda: self._ownLog.finish(_LAST_WORDS))
        within(_LAST_WORDS, _flush)
        os._exit(status)


def within(seconds: float, call: Callable[[], object]) -> None:
    """Call this, but do not wait any longer for it to return."""
    thread = Thread(target=call, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is on its way out, and has no threads any more
        call()
    else:
        thread.join(seconds)


def _flush() -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            with suppress(OSError):
                stream.flush()
