"""The log of a process of our own, in the place that twistd was told: a file, stdout or syslog.

twistd's own writers wait for their readers, rename a file at one megabyte (and at SIGUSR1, which to logrotate means
another thing), write behind the hole that C{copytruncate} leaves, and make C{info} of what is a warning.
"""

from __future__ import annotations

import os
import socket
import syslog
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, eventAsText, formatEventAsClassicLogText
from zope.interface import implementer

from wsproxy.daemon.jsonlog import RECORD, asLine, lostRecord, recordOf
from wsproxy.daemon.line import Stamp, lineOf
from wsproxy.daemon.outlet import RETRY, File, Outlet, sinkOf
from wsproxy.daemon.threshold import Threshold
from wsproxy.errors import ConfigError

__all__ = [
    "JSONObserver",
    "Log",
    "SyslogObserver",
    "TextObserver",
    "lostJSON",
    "lostLine",
    "makeLog",
    "retrying",
]

_DEVICE = "/dev/log"

_LOST = "{count} lines of the log were lost: nobody took them"

_PRIORITIES = {
    LogLevel.debug: syslog.LOG_DEBUG,
    LogLevel.info: syslog.LOG_INFO,
    LogLevel.warn: syslog.LOG_WARNING,
    LogLevel.error: syslog.LOG_ERR,
    LogLevel.critical: syslog.LOG_CRIT,
}


def lostLine(count: int) -> bytes:
    """What is said where C{count} lines should have been."""
    event: LogEvent = {
        "log_time": time.time(),
        "log_level": LogLevel.warn,
        "log_namespace": __name__,
        "log_format": _LOST,
        "count": count,
    }
    return (formatEventAsClassicLogText(event) or "").encode()


def lostJSON(count: int) -> bytes:
    """The same, in JSON."""
    return lostRecord(count, _LOST.format(count=count))


@implementer(ILogObserver)
class TextObserver:
    """Writes each event as twistd does."""

    def __init__(self, outlet: Outlet, threshold: Threshold | None = None) -> None:
        self._outlet = outlet
        self._threshold = threshold or Threshold()
        self._stamp = Stamp()

    def __call__(self, event: LogEvent) -> None:
        if not self._threshold.passes(event):
            return
        text = self._ofLine(event) or formatEventAsClassicLogText(event)
        if text:
            self._outlet.write([text.encode("utf-8", "backslashreplace")])

    def _ofLine(self, event: LogEvent) -> str | None:
        line = lineOf(event)
        if not line or "log_system" in event:
            return None
        shown = line.replace("\n", "\n\t")
        return f"{self._stamp.of(event)} [{event['log_namespace']}#{event['log_level'].name}] {shown}\n"


@implementer(ILogObserver)
class JSONObserver:
    """Writes each event as an object on a line."""

    def __init__(self, outlet: Outlet, threshold: Threshold | None = None) -> None:
        self._outlet = outlet
        self._threshold = threshold or Threshold()

    def __call__(self, event: LogEvent) -> None:
        if self._threshold.passes(event):
            self._outlet.write([_asJSON(event).encode("ascii") + b"\n"])


def _asJSON(event: LogEvent) -> str:
    record = event.get(RECORD)
    return asLine(recordOf(event) if record is None else record)


@implementer(ILogObserver)
class SyslogObserver:
    """
    Sends each line of an event to syslog, with the event's level. What the daemon does not take now is lost: it is told
    how much that was.

    @param place: the daemon's socket; or its host and port, over UDP: it is looked up now, once.
    @param structured: in the format of RFC 5424, not the one from before, which RFC 3164 tells of.
    @param threshold: what is sent at least; by default everything.
    @param json: send each event as an object.
    @raise OSError: there is no such host.
    """

    def __init__(
        self,
        prefix: str,
        place: str | tuple[str, int] = _DEVICE,
        *,
        facility: int = syslog.LOG_USER,
        structured: bool = False,
        threshold: Threshold | None = None,
        json: bool = False,
    ) -> None:
        self._prefix = prefix
        self._threshold = threshold or Threshold()
        self._json = json
        self._family: int = socket.AF_UNIX
        self._place: Any = place
        if isinstance(place, tuple):
            self._family, _, _, _, self._place = socket.getaddrinfo(*place, type=socket.SOCK_DGRAM)[0]
        self._facility = facility
        self._structured = structured
        self._socket: socket.socket | None = None
        self._losses = 0
        with suppress(OSError):
            self._connect()  # now: later it may be out of reach, under another root

    def _connect(self) -> socket.socket:
        connection = socket.socket(self._family, socket.SOCK_DGRAM)
        try:
            connection.connect(self._place)
        except BaseException:
            connection.close()
            raise
        connection.setblocking(False)
        self._socket = connection
        return connection

    def __call__(self, event: LogEvent) -> None:
        if not self._threshold.passes(event):
            return
        priority = _PRIORITIES.get(event.get("log_level", LogLevel.info), syslog.LOG_INFO)
        if self._json:
            self._say(priority, _asJSON(event))
            return
        first, *others = eventAsText(event, includeTimestamp=False).splitlines() or [""]
        for line in (first, *(f"\t{line}" for line in others)):
            self._say(priority, line)

    def _say(self, priority: int, line: str) -> None:
        if self._losses and self._send(syslog.LOG_WARNING, _LOST.format(count=self._losses)):
            self._losses = 0
        if not self._send(priority, line):
            self._losses += 1

    def _send(self, priority: int, line: str) -> bool:
        """@return: whether it was taken."""
        data = f"{self._header(priority)}{line}".encode("utf-8", "backslashreplace")
        for _ in range(2):
            try:
                (self._socket or self._connect()).send(data)
                return True
            except BlockingIOError:
                return False
            except OSError:  # the daemon was started anew, perhaps
                if self._socket is not None:
                    self._socket.close()
                    self._socket = None
        return False

    def _header(self, priority: int) -> str:
        what = f"<{priority | self._facility}>"
        if not self._structured:
            return f"{what}{self._prefix}[{os.getpid()}]: "
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return f"{what}1 {now} {socket.gethostname()[:255] or '-'} {self._prefix} {os.getpid()} - - "


_STDOUT: Mapping[str, Any] = {"kind": "stdout", "json": False}


class Log:
    """
    @ivar observer: for twistd; L{None} where it was told an observer of its own.
    @ivar stdout: the descriptor to write to in other processes, where this one logs to stdout.
    @ivar foreground: whether who sees stderr sees the log as well.
    @ivar threshold: what is logged at least.
    @ivar place: where that is, for programs that have nothing of this: C{kind} is C{"stdout"}, C{"file"}, of which
        there is the C{path}, or C{"syslog"}, with its C{prefix}; and C{json}.
    """

    _log = Logger()

    def __init__(
        self,
        observer: Any = None,
        outlet: Outlet | None = None,
        file: File | None = None,
        stdout: int | None = None,
        foreground: bool = False,
        threshold: Threshold | None = None,
        place: Mapping[str, Any] = _STDOUT,
    ) -> None:
        self.threshold = threshold or Threshold()
        self.place = place
        self.observer = observer
        self.stdout = stdout
        self.foreground = foreground
        self._outlet = outlet
        self._file = file

    def reopen(self) -> None:
        """The file was renamed: go on in the one that has the name now."""
        if self._file is None:
            return
        try:
            self._file.reopen()
            if self._outlet is not None:
                self._outlet.reopened()
        except OSError as error:
            self._log.error("The log cannot be opened anew, and goes on in the old file: {error}", error=error)

    def finish(self, seconds: float) -> None:
        """Have written what waits, within so many seconds."""
        if self._outlet is not None:
            self._outlet.finish(seconds)


def makeLog(twistd: Mapping[str, Any], reactor: Any, stdout: Any, *, form: str = "text", level: str = "debug") -> Log:
    """
    @param twistd: its options.
    @param stdout: the stream.
    @param form: C{"text"} or C{"json"}.
    @param level: what is logged at least.
    @raise ConfigError: the log file cannot be opened, or what logs is not ours, and has a form of its own.
    """
    threshold = Threshold(level)
    if "nodaemon" not in twistd:  # twist, or nobody
        return _theirs(form, "twist", foreground=twistd.get("logFile") is not None)
    if twistd.get("logger"):
        return _theirs(form, "twistd --logger")
    if twistd.get("syslog"):
        prefix = twistd.get("prefix") or "twisted"
        daemon = SyslogObserver(prefix, threshold=threshold, json=form == "json")
        return Log(daemon, threshold=threshold, place={"kind": "syslog", "prefix": prefix, "json": form == "json"})
    path = twistd.get("logfile")
    if path not in (None, "", "-") or not (twistd["nodaemon"] or path == "-"):
        return _fileLog(os.path.abspath(path or "twistd.log"), reactor, form, threshold)
    if not twistd["nodaemon"] or stdout is None:
        return _theirs(form, "a daemon that logs to stdout")  # twistd has something to say to that
    sink = sinkOf(stdout.fileno())
    observer, outlet = _made(sink, reactor, form, threshold)
    place = {**_STDOUT, "json": form == "json"}
    return Log(observer, outlet, stdout=sink.fileno(), foreground=True, threshold=threshold, place=place)


def _theirs(form: str, whose: str, foreground: bool = False) -> Log:
    if form != "text":
        raise ConfigError(f"--log-format {form}: clashes with {whose}")
    return Log(foreground=foreground)


def _fileLog(path: str, reactor: Any, form: str, threshold: Threshold) -> Log:
    try:
        file = File(path)
    except OSError as error:
        raise ConfigError(f"--logfile {path}: {error.strerror}") from None
    observer, outlet = _made(file, reactor, form, threshold)
    place = {"kind": "file", "path": path, "json": form == "json"}
    return Log(observer, outlet, file, threshold=threshold, place=place)


def _made(sink: Any, reactor: Any, form: str, threshold: Threshold) -> tuple[ILogObserver, Outlet]:
    outlet = Outlet(sink, retrying(reactor), lostJSON if form == "json" else lostLine)
    return (JSONObserver if form == "json" else TextObserver)(outlet, threshold), outlet


def retrying(reactor: Any) -> Callable[[Callable[[], None]], object]:
    """@return: what an L{Outlet} tries again with, in any thread."""
    return lambda call: reactor.callFromThread(reactor.callLater, RETRY, call)
