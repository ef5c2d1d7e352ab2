"""One of several processes that serve the same listening sockets: the child of L{wsproxy.workers.parent}.

::

    python -m wsproxy.workers.child NUMBER REACTOR stdout|parent

    0       the L{Channel<wsproxy.workers.channel.Channel>} to the parent; its end is the end of this process
    1, 2    what Python itself has to say; 1 is the log, where the parent logs to its own stdout

Signals are the parent's: an init system or a terminal may send them to every process, and here they mean nothing.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    eventAsText,
    globalLogBeginner,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.cluster.parent import PARENT_WITHIN
from wsproxy.config import fromPlain
from wsproxy.daemon.clock import useMonotonic
from wsproxy.daemon.exit import THREADS, within
from wsproxy.daemon.garbage import passOverStart
from wsproxy.daemon.jsonlog import asLine, recordOf
from wsproxy.daemon.line import Stamp, lineOf
from wsproxy.daemon.log import lostLine, retrying
from wsproxy.daemon.outlet import Outlet, sinkOf
from wsproxy.daemon.threshold import Threshold
from wsproxy.daemon.watchdog import Watchdog
from wsproxy.dialling.names import installResolver
from wsproxy.endpoints.listen import Listen
from wsproxy.errors import ConfigError
from wsproxy.fault import logFault
from wsproxy.interfaces import IStatusStop
from wsproxy.process.listeners import ListenersElsewhere
from wsproxy.service.proxy import Fitting, Proxy
from wsproxy.wiring import WrappedProgram, assemble
from wsproxy.workers.accepting import Share, SharedEndpoint
from wsproxy.workers.channel import Channel, ChannelError
from wsproxy.workers.messages import Message
from wsproxy.workers.unheard import ignore

__all__ = ["Child", "ChildLog", "main"]

LOG_DELAY = 0.02
"""Seconds until a log line goes to the parent."""

BOUND = 7.0
"""Seconds until a worker that is to end has left, where nobody is left to kill it earlier."""

MUTE = 1024 * 1024
"""Bytes that the parent has not read beyond which it is not asked: there may be none, as new code cannot start."""

_LAST_WORDS = 0.3
"""Seconds for those who read what it says last."""


@implementer(IStatusStop)
class Child:
    """
    Does as the parent says.

    @param number: which worker this is to people, from 1; no other one that lives has the same.
    @param channel: to the parent; not started.
    @param lines: of the log, which come before whatever is said after them.
    @param watchdog: ends this process where it does not itself.
    """

    _log = Logger()

    def __init__(self, reactor: Any, number: int, channel: Channel, lines: ChildLog, watchdog: Watchdog) -> None:
        self._reactor = reactor
        self._number = number
        self._place = 0  # among those that accept
        self._channel = channel
        self._lines = lines
        self._watchdog = watchdog
        self._proxy: Proxy | None = None
        self._listeners = ListenersElsewhere(self._tell)
        self._stopping = False
        self._prepared: tuple[dict[str, Any], Fitting] | None = None
        self._verbs: dict[str, Callable[..., object]] = {
            "start": self._start,
            "program": self._listeners.become,
            "sessions": self._sessions,
            "reload": self._reload,
            "check": self._check,
            "forget": self._forget,
            "become": self._become,
            "drain": self._drain,
            "retire": self._retire,
            "end": self._end,
            "log.level": lines.setLevel,
        }
        channel.start(self._verbs, ended=lambda: self.stop(0))
        reactor.addSystemEventTrigger("before", "shutdown", self._stopped)
        reactor.addSystemEventTrigger("during", "shutdown", watchdog.leaveWithin, THREADS)

    def ask(self, verb: str, /, *, within: float = PARENT_WITHIN, **fields: Any) -> Deferred[Any]:
        """See L{Parent<wsproxy.cluster.parent.Parent>}, as with those below."""
        if self._channel.waiting > MUTE:
            return fail(ChannelError("the parent does not read"))
        return self._channel.ask(verb, within=within, **fields)

    @property
    def isBehind(self) -> bool:
        return self._channel.waiting > 0

    def tell(self, verb: str, /, **fields: Any) -> None:
        self._channel.tell(verb, **fields)

    def hear(self, verb: str, function: Callable[..., object]) -> None:
        self._verbs[verb] = function

    def _tell(self, verb: str, /, **fields: Any) -> None:
        self._lines.flush()
        self._channel.tell(verb, **fields)

    def stop(self, status: int) -> None:
        """End; the status is the parent's to leave with."""
        if not self._stopping:
            self._stopping = True
            self._watchdog.leaveWithin(BOUND)
            self._reactor.stop()

    def fail(self, failure: Failure) -> None:
        """The parent cannot have a worker with this configuration."""
        self._tell("unable", line=failure.getErrorMessage())
        self.stop(1)

    def _stopped(self) -> Deferred[None]:
        stopped = succeed(None) if self._proxy is None else self._proxy.stopService()
        self._tell("ending")
        return stopped

    def _start(self, **settings: Any) -> None:
        try:
            self._serve(**settings)
        except ConfigError:
            self.fail(Failure())
        except BaseException:
            logFault(self._log, "starting")
            self.stop(1)

    def _serve(
        self, config: dict[str, Any], listens: list[str], wrapped: list[Any], descriptors: tuple[int, ...]
    ) -> None:
        memory, *sockets = descriptors
        self._share = Share(memory)
        os.close(memory)
        settings = fromPlain(config)
        self._place = (self._number - 1) % settings.listening.workers
        adopted = self._adopted(listens, sockets)
        program = WrappedProgram(*wrapped) if wrapped else None
        self._lines.become(settings.logging.format, settings.logging.level)
        proxy = assemble(settings, self._reactor, self, adopted, program, self._listeners, self)
        self._proxy = proxy
        if settings.admin.wanted:
            from wsproxy.admin.make import answerAdmin  # late: a web site, for some

            answerAdmin(self._reactor, proxy, self, self._number)
        proxy.privilegedStartService()
        proxy.startService()
        proxy.started.addCallbacks(lambda _: self._tell("up"), self.fail)

    def _adopted(self, listens: list[str], sockets: Sequence[int]) -> list[Listen]:
        return [
            Listen(text, SharedEndpoint(self._reactor, descriptor, self._share, self._place))
            for text, descriptor in zip(listens, sockets, strict=True)
        ]

    def _check(self, config: dict[str, Any]) -> str | None:
        """Make what these settings need, to become that later. @return: why it cannot be."""
        if self._proxy is None:
            return None
        try:
            self._prepared = config, self._proxy.fit(fromPlain(config))
        except ConfigError as error:
            return str(error)
        return None

    def _forget(self) -> None:
        self._prepared = None

    def _become(
        self, config: dict[str, Any], listens: list[str], removed: list[str], descriptors: tuple[int, ...] = ()
    ) -> None:
        if self._proxy is None:
            return
        prepared, self._prepared = self._prepared, None
        try:
            known = prepared is not None and prepared[0] == config
            fitting = prepared[1] if known and prepared is not None else self._proxy.fit(fromPlain(config))
            self._proxy.become(fitting)
            self._proxy.stopAt(removed)
            listening = Deferred.fromCoroutine(self._proxy.listenAlso(self._adopted(listens, descriptors), fitting))
            listening.addErrback(lambda failure: self._log.failure("Listening", failure))
        except BaseException:  # another worker is started with them
            logFault(self._log, "changing settings")
            self.stop(1)

    def _sessions(self) -> int:
        return 0 if self._proxy is None else self._proxy.sessions

    def _reload(self) -> None:
        if self._proxy is not None:
            self._proxy.lookAtCertificates()

    def _drain(self) -> None:
        self._endAfter(lambda proxy: proxy.drain())

    def _retire(self) -> None:
        self._log.info("makes room for another version; sessions: {count}", count=self._sessions())
        self._endAfter(lambda proxy: proxy.retire())

    def _endAfter(self, leave: Callable[[Proxy], Deferred[None]]) -> None:
        if self._proxy is not None:
            drained = leave(self._proxy)
            drained.addErrback(lambda failure: self._log.failure("Draining failed", failure))
            drained.addCallback(lambda _: self.stop(0))

    def _end(self) -> None:
        if self._proxy is not None:
            self._proxy.end(0)


class ChildLog:
    """
    Log lines: they go L{LOG_DELAY} seconds later, many together. That halves what they cost: each line on its own would
    wake the parent. Nothing here waits for whoever reads them.

    @param number: of this worker, for the log.
    @param channel: where they go, to be logged by the parent.
    @param stdout: write them there, as twistd would, instead. It takes a third of what they cost otherwise: two lines
        of a connection 30 µs instead of 90.
    """

    def __init__(self, reactor: Any, number: int, channel: Channel, stdout: Outlet | None) -> None:
        self._reactor = reactor
        self._number = number
        self._channel = channel
        self._stdout = stdout
        self._lines: list[bytes] = []
        self._scheduled = False
        self._stamp = Stamp()
        self._threshold = Threshold()
        self._json = False

    def become(self, form: str, level: str) -> None:
        """From now on, C{form} is C{"text"} or C{"json"}, and so much is logged."""
        self._json = form == "json"
        self._threshold.set(level)

    def setLevel(self, level: str) -> None:
        """From now on, what is less than this is not logged."""
        self._threshold.set(level)

    def log(self, event: LogEvent) -> None:
        """An L{ILogObserver}."""
        if not self._threshold.passes(event):
            return
        if self._json:
            self._lines.append(self._record(event))
        else:
            self._lines += self._text(event)
        if not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(LOG_DELAY, self.flush)

    def _record(self, event: LogEvent) -> bytes:
        record = recordOf(event, self._number)
        if self._stdout is not None:
            return asLine(record).encode("ascii") + b"\n"
        return Message("log", _fields(event, record["message"], record)).encode()

    def _text(self, event: LogEvent) -> list[bytes]:
        level = event.get("log_level", LogLevel.info).name
        namespace = event.get("log_namespace", __name__)
        text = lineOf(event) or eventAsText(event, includeTimestamp=False, includeSystem=False)
        if self._stdout is not None:
            start = f"{self._stamp.of(event)} [{namespace}#{level}] worker {self._number}: "
            return [f"{start}{line}\n".encode("utf-8", "backslashreplace") for line in text.splitlines()]
        return [_encode(namespace, level, text)]

    def flush(self) -> None:
        self._scheduled = False
        lines, self._lines = self._lines, []
        if not lines:
            return
        if self._stdout is not None:
            self._stdout.write(lines)
        else:
            self._channel.tellIfRoom(lines)

    def finish(self) -> None:
        """What is said last must not be lost with the process; but nobody is waited for who does not listen."""
        self.flush()
        self._channel.finish(_LAST_WORDS)
        if self._stdout is not None:
            self._stdout.finish(_LAST_WORDS)


def main() -> None:
    """The process."""
    ignore()
    number, reactorModule, log = sys.argv[1:]
    import_module(reactorModule).install()
    from twisted.internet import reactor as _reactor  # late: it is the parent's kind

    reactor: Any = _reactor
    useMonotonic(reactor)
    installResolver(reactor)
    passOverStart(reactor)
    connection = _connection()
    channel = Channel(reactor, connection, "the parent", _lost)
    stdout = Outlet(sinkOf(1), retrying(reactor), lostLine) if log == "stdout" else None
    lines = ChildLog(reactor, int(number), channel, stdout)
    globalLogBeginner.beginLoggingTo([cast(ILogObserver, lines.log)], redirectStandardIO=False)
    watchdog = Watchdog(hangUp=connection.fileno())
    Child(reactor, int(number), channel, lines, watchdog)

    def leave() -> None:
        within(_LAST_WORDS, lines.finish)
        os._exit(0)

    watchdog.start(lambda number: watchdog.leaveWithin(BOUND), lambda: None, leave)
    reactor.run(installSignalHandlers=False)
    lines.finish()


def _connection() -> socket.socket:
    """@return: what was stdin, which programs that are started here inherit, and which is none from now on."""
    connection = socket.socket(fileno=os.dup(0))
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return connection


def _fields(event: LogEvent, text: str, record: dict[str, Any]) -> dict[str, Any]:
    """What is said of an event that goes with its record."""
    level = event.get("log_level", LogLevel.info).name
    return {"namespace": event.get("log_namespace", __name__), "level": level, "text": text, "record": record}


def _encode(namespace: str, level: str, text: str) -> bytes:
    return Message("log", {"namespace": namespace, "level": level, "text": text}).encode()


def _lost(count: int) -> bytes:
    return _encode(__name__, "warn", f"{count} lines of the log were lost: nobody took them")


if __name__ == "__main__":
    main()
