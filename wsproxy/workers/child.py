"""One of several processes that serve the same listening sockets: the child of L{wsproxy.workers.parent}.

::

    python -m wsproxy.workers.child NUMBER REACTOR stdout|parent

    0       what the parent says (L{wsproxy.workers.messages}); its end is the end of this process
    1, 2    what Python itself has to say; 1 is the log, where the parent logs to its own stdout
    3       reports and log lines, to the parent
    4       memory shared among the workers (L{wsproxy.workers.accepting})
    5, …    listening sockets

Signals are the parent's: an init system or a terminal may send them to every process, and here they mean nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    eventAsText,
    formatTime,
    globalLogBeginner,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.config import fromPlain
from wsproxy.daemon.clock import useMonotonic
from wsproxy.daemon.exit import THREADS, within
from wsproxy.daemon.log import lostLine, retrying
from wsproxy.daemon.outlet import Outlet, sinkOf
from wsproxy.daemon.watchdog import Watchdog
from wsproxy.dialling.names import installResolver
from wsproxy.endpoints.listen import Listen
from wsproxy.errors import ConfigError
from wsproxy.interfaces import IStatusStop
from wsproxy.process.listeners import ListenersElsewhere
from wsproxy.service.proxy import Proxy
from wsproxy.wiring import WrappedProgram, assemble
from wsproxy.workers.accepting import Share, SharedEndpoint
from wsproxy.workers.messages import REPORTS, SHARE, SOCKETS, Messages, encode

__all__ = ["Child", "ChildLog", "main"]

LOG_DELAY = 0.02
"""Seconds until a log line goes to the parent."""

BOUND = 7.0
"""Seconds until a worker that is to end has left, where nobody is left to kill it earlier."""

_LAST_WORDS = 0.3
"""Seconds for those who read what it says last."""

_CHUNK = 65536

_NEEDED = frozenset({"up", "unable", "ending"})
"""Words that the parent waits for."""


@implementer(IReadDescriptor, IStatusStop)
class Child:
    """
    Does as the parent says.

    @param index: which worker this is, from 0.
    @param report: tells the parent something.
    @param watchdog: ends this process where it does not itself.
    """

    _log = Logger()

    def __init__(self, reactor: Any, index: int, report: Callable[..., None], watchdog: Watchdog) -> None:
        self._reactor = reactor
        self._index = index
        self._report = report
        self._watchdog = watchdog
        self._messages = Messages()
        self._proxy: Proxy | None = None
        self._listeners = ListenersElsewhere(report)
        self._stopping = False
        os.set_blocking(0, False)
        reactor.addReader(self)
        reactor.addSystemEventTrigger("before", "shutdown", self._stopped)
        reactor.addSystemEventTrigger("during", "shutdown", watchdog.leaveWithin, THREADS)

    def fileno(self) -> int:
        return 0

    def logPrefix(self) -> str:
        return "parent"

    def doRead(self) -> Any:
        """@return: what has the reactor call L{connectionLost}, at the end of the pipe."""
        try:
            data = os.read(0, _CHUNK)
        except BlockingIOError:
            return None
        for verb, *words in self._messages.feed(data):
            try:
                getattr(self, f"_do_{verb}")(*words)
            except Exception:  # raised to the reactor, it would be the end of all sessions
                self._log.failure("obeying {verb}", verb=verb)
                if self._proxy is None:
                    self.stop(1)
        return None if data else CONNECTION_DONE

    def connectionLost(self, reason: Failure) -> None:
        """There is no parent any more, or it wants this to end; or it is the reactor that is going down."""
        self.stop(0)

    def stop(self, status: int) -> None:
        """End; the status is the parent's to leave with."""
        if not self._stopping:
            self._stopping = True
            self._watchdog.leaveWithin(BOUND)
            self._reactor.stop()

    def fail(self, failure: Failure) -> None:
        """The parent cannot have a worker with this configuration."""
        self._report("unable", failure.getErrorMessage())
        self.stop(1)

    def _stopped(self) -> Deferred[None]:
        stopped = succeed(None) if self._proxy is None else self._proxy.stopService()
        self._report("ending")
        return stopped

    def _do_start(self, plain: dict[str, Any], listens: list[str], wrapped: list[Any]) -> None:
        share = Share(SHARE)
        adopted = [
            Listen(text, SharedEndpoint(self._reactor, SOCKETS + number, share, self._index))
            for number, text in enumerate(listens)
        ]
        program = WrappedProgram(*wrapped) if wrapped else None
        try:
            proxy = assemble(fromPlain(plain), self._reactor, self, adopted, program, self._listeners)
        except ConfigError:
            self.fail(Failure())
            return
        self._proxy = proxy
        proxy.privilegedStartService()
        proxy.startService()
        proxy.started.addCallbacks(lambda _: self._report("up"), self.fail)

    def _do_program(self, state: list[Any]) -> None:
        self._listeners.become(state)

    def _do_reload(self) -> None:
        if self._proxy is not None:
            self._proxy.reload()

    def _do_drain(self) -> None:
        if self._proxy is not None:
            drained = self._proxy.drain()
            drained.addErrback(lambda failure: self._log.failure("Draining failed", failure))
            drained.addCallback(lambda _: self.stop(0))

    def _do_end(self) -> None:
        if self._proxy is not None:
            self._proxy.end(0)


class ChildLog:
    """
    What is said to the parent: at once, but for log lines, which go L{LOG_DELAY} seconds later, many together. That
    halves what they cost: each line on its own would wake the parent. Nothing here waits for it: L{Outlet}.

    @param number: of this worker, for the log.
    @param stdout: write log lines there, as twistd would, instead of having the parent do that. It takes a third of
        what they cost otherwise: two lines of a connection 30 µs instead of 90.
    """

    def __init__(self, reactor: Any, number: int, parent: Outlet, stdout: Outlet | None) -> None:
        self._reactor = reactor
        self._number = number
        self._parent = parent
        self._stdout = stdout
        self._lines: list[bytes] = []
        self._scheduled = False
        self._second = 0
        self._time = ""

    def say(self, verb: str, *words: object) -> None:
        self.flush()
        self._parent.write([encode(verb, *words)], needed=verb in _NEEDED)

    def log(self, event: LogEvent) -> None:
        """An L{ILogObserver}."""
        level = event.get("log_level", LogLevel.info).name
        namespace = event.get("log_namespace", __name__)
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        if self._stdout is not None:
            if self._second != int(event["log_time"]):
                self._second = int(event["log_time"])
                self._time = formatTime(event["log_time"])
            start = f"{self._time} [{namespace}#{level}] worker {self._number}: "
            self._lines += [f"{start}{line}\n".encode("utf-8", "backslashreplace") for line in text.splitlines()]
        else:
            self._lines.append(encode("log", namespace, level, text))
        if not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(LOG_DELAY, self.flush)

    def flush(self) -> None:
        self._scheduled = False
        lines, self._lines = self._lines, []
        if lines:
            (self._stdout or self._parent).write(lines)

    def finish(self) -> None:
        """What is said last must not be lost with the process; but nobody is waited for who does not listen."""
        self.flush()
        for outlet in filter(None, (self._parent, self._stdout)):
            outlet.finish(_LAST_WORDS)


def main() -> None:
    """The process."""
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(each, signal.SIG_IGN)
    number, reactorModule, log = sys.argv[1:]
    import_module(reactorModule).install()
    from twisted.internet import reactor as _reactor  # late: it is the parent's kind

    reactor: Any = _reactor
    useMonotonic(reactor)
    installResolver(reactor)
    os.set_blocking(REPORTS, False)
    parent = Outlet(sinkOf(REPORTS), retrying(reactor), _lost)
    stdout = Outlet(sinkOf(1), retrying(reactor), lostLine) if log == "stdout" else None
    reports = ChildLog(reactor, int(number), parent, stdout)
    globalLogBeginner.beginLoggingTo([cast(ILogObserver, reports.log)], redirectStandardIO=False)
    watchdog = Watchdog(hangUp=0)
    Child(reactor, int(number) - 1, reports.say, watchdog)

    def leave() -> None:
        within(_LAST_WORDS, reports.finish)
        os._exit(0)

    watchdog.start(lambda number: watchdog.leaveWithin(BOUND), lambda: None, leave)
    reactor.run(installSignalHandlers=False)
    reports.finish()


def _lost(count: int) -> bytes:
    return encode("log", __name__, "warn", f"{count} lines of the log were lost: nobody took them")


if __name__ == "__main__":
    main()
