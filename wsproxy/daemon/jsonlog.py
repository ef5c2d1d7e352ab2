"""A log for programs: each event is one JSON object on one line.

::

    {"time": 1700000000.123456, "level": "info", "logger": "wsproxy.sessions.session.OpenSession", "message": "…",
     "id": "…", "client": "192.0.2.7:50412", "target": "localhost:5900", "path": "/", "user_agent": "…", "worker": 2}

There are the fields that the event has beside its text: numbers are numbers, strings are cut at L{LONGEST} characters.
The line is ASCII, with C{\\u} and the like for the rest: it can neither be broken nor drive a terminal.
"""

from __future__ import annotations

import json
import time
from typing import Any

from twisted.logger import LogEvent, LogLevel, eventAsText

from wsproxy.daemon.line import lineOf

__all__ = ["LONGEST", "RECORD", "asLine", "lostRecord", "recordOf"]

LONGEST = 200
"""Characters of a field, with the C{…} that says that it was cut."""

MESSAGE = 2000
"""Characters of the text, of which whatever strangers say in it is a part that was cut before."""

RECORD = "record"
"""The field of an event that has its record with it, of a worker's."""

_NAMES = {"session": "id", "userAgent": "user_agent"}

_OURS = frozenset({"line", "text", "format", "isError", "message", "system", "time", "level", "logger", RECORD})
"""What is in the message anyhow, or of Twisted's making."""

_encode = json.JSONEncoder(separators=(", ", ": ")).encode


def recordOf(event: LogEvent, worker: int | None = None) -> dict[str, Any]:
    """
    @param worker: whose it is; L{None}: there are none.
    @return: what JSON can say of it.
    """
    text = lineOf(event)
    if text is None:
        text = eventAsText(event, includeTraceback=False, includeTimestamp=False, includeSystem=False)
    record: dict[str, Any] = {
        "time": round(event.get("log_time", 0.0), 6),
        "level": event.get("log_level", LogLevel.info).name,
        "logger": event.get("log_namespace") or "-",
        "message": _cut(text, MESSAGE),
    }
    for name, value in event.items():
        if not name.startswith("log_") and name not in _OURS:
            if isinstance(value, str):
                record[_NAMES.get(name, name)] = _cut(value, LONGEST)
            elif value is None or isinstance(value, (bool, int, float)):
                record[_NAMES.get(name, name)] = value
    failure = event.get("log_failure")
    if failure is not None:
        record["traceback"] = failure.getTraceback()
    if worker is not None:
        record["worker"] = worker
    return record


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def asLine(record: dict[str, Any]) -> str:
    """@return: it, without an end of line."""
    return _encode(record)


def lostRecord(count: int, text: str) -> bytes:
    """What is said where C{count} lines should have been."""
    record = {"time": round(time.time(), 6), "level": "warn", "logger": __name__, "message": text, "count": count}
    return asLine(record).encode() + b"\n"
