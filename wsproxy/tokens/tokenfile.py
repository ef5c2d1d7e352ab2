"""C{TokenFile} and C{ReadOnlyTokenFile}: tokens and their targets in a file, or a directory of files."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from wsproxy.daemon.threads import Threads
from wsproxy.errors import ConfigError
from wsproxy.escape import escape
from wsproxy.interfaces import Target
from wsproxy.tokens.directory import TokenDirectory
from wsproxy.tokens.file import TokenLines
from wsproxy.tokens.targets import asTarget

__all__ = ["ReadOnlyTokenFile", "TokenFile"]

_HALF = 0.05
"""Seconds until a line that does not end is looked at again."""

_ONCE = 0.2
"""Seconds for which one look is enough, where nobody waits at the door."""


class ReadOnlyTokenFile:
    """
    What it says when the proxy starts, for good.

    @param source: the path of a file, or of a directory of files.
    @param reactor: for durations and threads.
    @param now: the time of day, in seconds since the epoch.
    @param told: another process has told of its bad lines.
    @raise ConfigError: it cannot be read.
    """

    _log = Logger()

    def __init__(self, source: str, reactor: Any, now: Callable[[], float] = time.time, *, told: bool = False) -> None:
        self._source = source
        self._clock: IReactorTime = reactor
        kind = TokenDirectory if os.path.isdir(source) else TokenLines
        self._lines = kind(source, reactor, Threads(reactor, 1, "tokens"), self._vanished, now)
        try:
            self._lines.load(told)
        except OSError as error:
            raise ConfigError(f"--token-source {escape(_whose(error, source), None)}: {error.strerror}") from None

    def lookup(self, token: str) -> Any:
        return self._target(token)

    def stillGood(self, token: str) -> bool:
        """Whether it is still known."""
        return self._lines.get(token) is not None

    def _target(self, token: str) -> Target | None:
        text = self._lines.get(token)
        return None if text is None else asTarget(text, True)

    def _vanished(self, error: OSError) -> None:
        self._log.warn(
            "{source}: {reason}; what it said still counts",
            source=escape(_whose(error, self._source), None),
            reason=error.strerror,
        )


class TokenFile(ReadOnlyTokenFile):
    """
    What it says at the time of each request: lines that were added count at once; lines that are gone, once the file
    has been still for a second. A file that is written just now, or has vanished, says nothing of what it does not say.
    """

    _looked = -math.inf

    def lookup(self, token: str) -> Any:
        waiting = self._lines.look()
        if waiting is None and not self._lines.isHalf(token):
            return self._target(token)
        return Deferred.fromCoroutine(self._later(token, waiting))

    def stillGood(self, token: str) -> bool:
        """Whether it is still known, as far as can be told without waiting. All open sessions may be asked about."""
        now = self._clock.seconds()
        if now - self._looked >= _ONCE:
            self._looked = now
            self._lines.look()
        return self._lines.get(token) is not None

    async def _later(self, token: str, waiting: Deferred[None] | None) -> Target | None:
        if waiting is not None:
            await waiting
            waiting = self._lines.look()  # what was waited for may have begun before the request came
            if waiting is not None:
                await waiting
        while self._lines.isHalf(token):
            await deferLater(self._clock, _HALF)
            waiting = self._lines.look()
            if waiting is not None:
                await waiting
        return self._target(token)


def _whose(error: OSError, source: str) -> str:
    """The path that there is a problem with."""
    return error.filename if isinstance(error.filename, str) else source
