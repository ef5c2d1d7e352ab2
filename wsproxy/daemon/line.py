"""The lines that there are of every session, logged and written at a fraction of what twisted.logger takes for others.

That sorts all levels to see whether one is one, makes a logger for each use of it, and parses each format: two lines of
a session that is soon over were 9 per cent of what a connection costs. An event that is made here is one like any
other, for whoever observes the log.
"""

from __future__ import annotations

import time
from typing import Any

from twisted.logger import LogEvent, Logger, LogLevel, formatTime

__all__ = ["Stamp", "lineOf", "logLine"]

_FORMAT = "{line}"


def logLine(log: Logger, line: str, **fields: Any) -> None:
    """
    Log C{line} as it is, as C{log.info("{line}", line=line, **fields)} does.

    @param log: one that belongs to no object.
    @param fields: what else there is to the event.
    """
    fields.update(
        line=line,
        log_logger=log,
        log_level=LogLevel.info,
        log_namespace=log.namespace,
        log_source=log.source,
        log_format=_FORMAT,
        log_time=time.time(),
    )
    log.observer(fields)


def lineOf(event: LogEvent) -> str | None:
    """@return: the text of what L{logLine} has logged; L{None} for another event."""
    if event.get("log_format") != _FORMAT or "log_failure" in event or "log_flattened" in event:
        return None
    line = event.get("line")
    return line if type(line) is str else None


class Stamp:
    """The time of an event as twistd writes it, to the second."""

    def __init__(self) -> None:
        self._second: int | None = None
        self._text = ""

    def of(self, event: LogEvent) -> str:
        when = event["log_time"]
        if int(when) != self._second:
            self._second = int(when)
            self._text = formatTime(when)
        return self._text
