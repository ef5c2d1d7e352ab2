"""What somebody else's code has raised: a plugin's, a tap's, an observer's, a dialer's, a transport's.

Whoever calls it catches L{BaseException}, not L{Exception}: C{asyncio.CancelledError} is none, nor is what C{sys.exit}
raises. Past a boundary they would end no process, for a reactor catches them too. But what the reactor then drops may
serve everybody: the reader of a listening port, or of all pumped sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["logFault", "tellLog"]


def tellLog(say: Callable[..., None], text: str, *details: Any, **fields: Any) -> None:
    """
    Have C{say}, a method of a logger, log this. Raises nothing: observers of the log are somebody's code as well, and
    Twisted catches no more than L{Exception} of theirs.
    """
    with suppress(BaseException):
        say(text, *details, **fields)


def logFault(log: Logger, text: str, failure: Failure | None = None, **fields: Any) -> None:
    """Log a failure, that of this moment by default. Raises nothing, either."""
    tellLog(log.failure, text, failure, **fields)
