"""One of several processes that serve the same listening sockets: the child of L{wsproxy.workers}.

::

    python -m wsproxy.worker NUMBER REACTOR

    0       what the parent says (L{wsproxy.control}); its end is the end of this process
    1, 2    what Python itself has to say
    3       reports and log lines, to the parent
    4       memory shared among the workers (L{wsproxy.share})
    5, …    listening sockets

Signals are the parent's: an init system or a terminal may send them to every process, and here they mean nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.config import fromPlain
from wsproxy.control import REPORTS, SHARE, SOCKETS, Messages, encode
from wsproxy.errors import ConfigError
from wsproxy.interfaces import IStatusStop
from wsproxy.listen import Listen
from wsproxy.process.listeners import ListenersElsewhere
from wsproxy.proxy import Proxy
from wsproxy.service import WrappedProgram, makeWorker
from wsproxy.share import Share, SharedEndpoint

__all__ = ["Worker", "main"]

_CHUNK = 65536


@implementer(IReadDescriptor, IStatusStop)
class Worker:
    """
    Does as the parent says.

    @param index: which worker this is, from 0.
    @param report: tells the parent something.
    """

    def __init__(self, reactor: Any, index: int, report: Any) -> None:
        self._reactor = reactor
        self._index = index
        self._report = report
        self._messages = Messages()
        self._proxy: Proxy | None = None
        self._listeners = ListenersElsewhere(report)
        self._stopping = False
        os.set_blocking(0, False)
        reactor.addReader(self)
        reactor.addSystemEventTrigger("before", "shutdown", self._stopped)

    def fileno(self) -> int:
        return 0

    def logPrefix(self) -> str:
        return "parent"

    def doRead(self) -> None:
        with suppress(BlockingIOError):
            data = os.read(0, _CHUNK)
            if not data:
                self._reactor.removeReader(self)
                self.stop(0)
            for verb, *words in self._messages.feed(data):
                getattr(self, f"_do_{verb}")(*words)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is going down."""

    def stop(self, status: int) -> None:
        """End; the status is the parent's to leave with."""
        if not self._stopping:
            self._stopping = True
            self._reactor.stop()

    def fail(self, failure: Failure) -> None:
        """The parent cannot have a worker with this configuration."""
        self._report("unable", failure.getErrorMessage())
        self.stop(1)

    def _stopped(self) -> Deferred[None]:
        return succeed(None) if self._proxy is None else self._proxy.stopService()

    def _do_start(self, plain: dict[str, Any], listens: list[str], wrapped: list[Any]) -> None:
        share = Share(SHARE)
        adopted = [
            Listen(text, SharedEndpoint(self._reactor, SOCKETS + number, share, self._index))
            for number, text in enumerate(listens)
        ]
        program = WrappedProgram(*wrapped) if wrapped else None
        try:
            proxy = makeWorker(fromPlain(plain), self._reactor, self, adopted, program, self._listeners)
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
            self._proxy.drain().addCallback(lambda _: self.stop(0))

    def _do_end(self) -> None:
        if self._proxy is not None:
            self._proxy.end(0)


def _report(verb: str, *words: object) -> None:
    """Blocking, as a log is: what is said last must not be lost with the process."""
    with suppress(BrokenPipeError):  # the parent is no more, and stdin says so
        message = encode(verb, *words)
        while message:
            message = message[os.write(REPORTS, message) :]


@implementer(ILogObserver)
class _ReportedLog:
    """A log that the parent writes."""

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info).name
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        _report("log", event.get("log_namespace", __name__), level, text)


def main() -> None:
    """The process."""
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    number, reactorModule = sys.argv[1:]
    globalLogBeginner.beginLoggingTo([_ReportedLog()], redirectStandardIO=False)
    import_module(reactorModule).install()
    from twisted.internet import reactor as _reactor  # late: it is the parent's kind

    reactor: Any = _reactor
    Worker(reactor, int(number) - 1, _report)
    reactor.run(installSignalHandlers=False)


if __name__ == "__main__":
    main()
