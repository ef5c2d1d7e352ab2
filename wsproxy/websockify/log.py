"""Where the C{websockify} command logs to: stderr, and besides a file and syslog, where it is told to."""

from __future__ import annotations

import syslog
from collections.abc import Sequence
from typing import Any, TextIO

from twisted.logger import ILogObserver, LogEvent, formatEventAsClassicLogText
from zope.interface import implementer

from wsproxy.daemon.log import Log, SyslogObserver, lostLine, retrying
from wsproxy.daemon.outlet import File, Outlet, sinkOf
from wsproxy.errors import ConfigError
from wsproxy.websockify.translation import Translation

__all__ = ["LineObserver", "Logs", "makeLogs"]


@implementer(ILogObserver)
class LineObserver:
    """The original's lines as they are; everything else as twistd writes it, with the time."""

    def __init__(self, outlets: Sequence[Outlet]) -> None:
        self._outlets = outlets

    def __call__(self, event: LogEvent) -> None:
        line = event.get("original")
        text = f"{line}\n" if line is not None else formatEventAsClassicLogText(event) or ""
        for outlet in self._outlets if text else ():
            outlet.write([text.encode("utf-8", "backslashreplace")])


@implementer(ILogObserver)
class _Observers:
    def __init__(self, observers: Sequence[Any]) -> None:
        self._observers = observers

    def __call__(self, event: LogEvent) -> None:
        for observer in self._observers:
            observer(event)


class Logs(Log):
    """A log in several places."""

    def __init__(self, observer: Any, outlets: Sequence[Outlet], file: File | None, foreground: bool) -> None:
        super().__init__(observer, file=file, foreground=foreground)
        self._outlets = outlets

    def finish(self, seconds: float) -> None:
        for outlet in self._outlets:
            outlet.finish(seconds / len(self._outlets))


def makeLogs(told: Translation, reactor: Any, stderr: TextIO | None) -> Log:
    """
    @param stderr: the stream.
    @raise ConfigError: the file cannot be opened, or there is no such host.
    """
    outlets: list[Outlet] = []
    file = None
    if stderr is not None and not told.daemon:
        outlets.append(Outlet(sinkOf(stderr.fileno()), retrying(reactor), lostLine))
    if told.logFile is not None:
        try:
            file = File(told.logFile)
        except OSError as error:
            raise ConfigError(f"--log-file {told.logFile}: {error.strerror}") from None
        outlets.append(Outlet(file, retrying(reactor), lostLine))
    observers: list[Any] = [LineObserver(outlets)]
    if told.syslog is not None:
        observers.append(_syslog(told))
    return Logs(_Observers(observers), outlets, file, not told.daemon)


def _syslog(told: Translation) -> SyslogObserver:
    assert told.syslog is not None
    facility = syslog.LOG_DAEMON if told.daemon else syslog.LOG_USER
    try:
        return SyslogObserver("websockify", told.syslog, facility=facility, structured=not told.legacySyslog)
    except OSError as error:
        place = told.syslog if isinstance(told.syslog, str) else ":".join(map(str, told.syslog))
        raise ConfigError(f"--syslog {place}: {error.strerror}") from None
