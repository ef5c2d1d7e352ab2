"""What is said of a target that was not reached: to its client, and in the log."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.errors import ConfigError, DialError, NotAllowed, Refusal
from wsproxy.escape import escape
from wsproxy.fault import logFault

__all__ = ["UNREACHABLE", "excuse"]

_log = Logger()

UNREACHABLE = "Target unreachable"
"""What the client reads of errors that were not made to be read."""

_EVERYDAY = (ConnectError, ConnectionClosed, DNSLookupError)
"""How Twisted's endpoints say that there was no connection. The log does without a traceback."""


def excuse(failure: Failure, session: str, doing: str) -> tuple[str, str]:
    """
    @param session: whose target it is.
    @param doing: what somebody was doing who has raised what was not made to be read: that is logged.
    @return: what the client is to read, and what else there is to say for the log, if anything. Raises nothing.
    """
    try:
        return _reason(failure, session, doing), ", ".join(dict.fromkeys(_causes(failure.value)))
    except BaseException:  # anybody's exception may have a __str__ of its own
        logFault(_log, "{session:.8} telling why", session=session)
        return UNREACHABLE, ""


def _reason(failure: Failure, session: str, doing: str) -> str:
    match failure.value:
        case DialError() as error:
            return str(error) or UNREACHABLE
        case Refusal(reason=str() as words):
            return words or UNREACHABLE
        case ConfigError():
            return "Target misconfigured"
    if not failure.check(*_EVERYDAY):
        logFault(_log, "{session:.8} {doing}", failure, session=session, doing=doing)
    return UNREACHABLE


def _causes(error: BaseException | None) -> Iterator[str]:
    """What there is to know of a failed dial beside what the client reads: errors of the system, and the operator's."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop(0)
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        waiting.append(cause.__cause__)
        if isinstance(cause, ExceptionGroup):
            waiting += cause.exceptions
        elif isinstance(cause, NotAllowed):
            yield escape(cause.cause, None)
        elif isinstance(cause, ConfigError):
            yield escape(str(cause))
        else:
            code = getattr(cause, "osError", None) or getattr(cause, "errno", None)
            if isinstance(code, int) and code in errno.errorcode:
                yield f"{errno.errorcode[code]}: {os.strerror(code)}"
