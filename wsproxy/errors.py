"""What goes wrong, and what a client is told: one place for close codes, HTTP refusals and start-up errors.

No Twisted in here. Every error on the way of the data ends as one of four values:

- L{ConfigError}: the operator asked for something impossible; one line on stderr, exit status other than 0.
- L{Refusal}: a request is answered with an HTTP status before the upgrade.
- L{DialError}: a target cannot be reached; the WebSocket, which is open by then, is closed with its words.
- L{Close}: an open WebSocket is closed with a code (RFC 6455 section 7.4) and a reason a person can read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "Close",
    "CloseCode",
    "ConfigError",
    "DialError",
    "NotAllowed",
    "PeerClosed",
    "Refusal",
    "WireError",
    "WordsError",
    "checkClose",
]

_REASON_LIMIT = 123
"""Bytes of UTF-8 in a close reason: RFC 6455 section 5.5."""


class CloseCode(IntEnum):
    """RFC 6455 section 7.4.1, and ours from the private range (4000 up)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    """The client's Close frame carried no code. Never on the wire."""
    ABNORMAL = 1006
    """The client vanished without a Close frame. Never on the wire."""
    INVALID_DATA = 1007
    INTERNAL_ERROR = 1011
    IDLE = 4000
    EXPIRED = 4001
    HEARTBEAT_LOST = 4002


@dataclass(frozen=True, slots=True)
class Close:
    """How a WebSocket ends: a close code and at most 123 bytes of UTF-8 (RFC 6455 section 5.5.1)."""

    code: int
    reason: str = ""


def checkClose(close: Close) -> None:
    """
    Of one that an embedder has made: that a client can be sent it (RFC 6455 section 7.4).

    @raise TypeError: it is none, or is made of something else than a number and a text.
    @raise ValueError: nobody may send this code.
    """
    if not isinstance(close, Close):
        raise TypeError(f"{type(close).__name__} is not a Close")
    code, reason = close.code, close.reason
    if not isinstance(code, int) or isinstance(code, bool):
        raise TypeError(f"a close code is an int, not {type(code).__name__}")
    if not isinstance(reason, str):
        raise TypeError(f"a close reason is a str, not {type(reason).__name__}")
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise ValueError(f"{int(code)} is no close code that can be sent")


class WireError(Exception):
    """The client broke the protocol: the connection is to be closed with C{close}."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.close = Close(code, reason)


class PeerClosed(Exception):
    """
    A WebSocket that we are the client of has ended. What protocols are told is Twisted's C{ConnectionDone} or
    C{ConnectionLost} as well.

    @ivar close: with which close code, and why: what its server has sent, or what was found out. 1006 where nobody
        has said anything.
    """

    def __init__(self, close: Close) -> None:
        super().__init__(close)
        self.close = close

    @property
    def told(self) -> str:
        """Both in one line."""
        return f"{int(self.close.code)} {self.close.reason}".rstrip()


class ConfigError(Exception):
    """The operator asked for something impossible; C{str()} is one line naming the option and the value."""


class WordsError(ConfigError):
    """What was asked for makes no sense, whatever there is on this machine: commands answer it with a status of 2."""


class DialError(Exception):
    """
    A target could not be reached. C{str()} is a close reason: at most 123 bytes of UTF-8, which tell the
    client what happened and not where. C{__cause__} is for the log.
    """

    def __init__(self, reason: str) -> None:
        # it may quote a path with bytes that are not UTF-8, which Python holds as surrogates
        super().__init__(reason.encode(errors="replace")[:_REASON_LIMIT].decode(errors="ignore"))


class NotAllowed(DialError):
    """
    A target must not be dialled. The client learns no more than that.

    @param cause: for the log alone: which, why, and what cures it, in one line.
    """

    def __init__(self, cause: str) -> None:
        super().__init__("Target not allowed")
        self.cause = cause


class Refusal(Exception):
    """A request ends with this HTTP status instead of an upgrade.

    @param status: 300 to 599; with another, and with what is no text, the client is told 503.
    @param reason: shown to the client: it names no secret and does not tell a known token from an unknown one.
    @param cause: for the log alone: what was wrong, and what cures it, in one line.
    @param guess: whether the client has tried credentials or a token, and they are wrong: unknown, expired, malformed;
        not missing. Guesses are counted.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        headers: tuple[tuple[str, str], ...] = (),
        *,
        cause: str = "",
        guess: bool = False,
    ) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.headers = headers
        self.cause = cause
        self.guess = guess
