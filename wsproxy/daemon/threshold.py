"""Which events are logged: those of a level, and of higher ones. It may change at any time."""

from __future__ import annotations

from twisted.logger import LogEvent, LogLevel

__all__ = ["Threshold"]


class Threshold:
    """@param level: what is logged at least, by its name."""

    def __init__(self, level: str = "debug") -> None:
        self.set(level)

    def set(self, level: str) -> None:
        """From now on."""
        least = LogLevel.lookupByName(level)
        self._dropped = frozenset(each for each in LogLevel.iterconstants() if each < least)

    def passes(self, event: LogEvent) -> bool:
        return event.get("log_level") not in self._dropped
