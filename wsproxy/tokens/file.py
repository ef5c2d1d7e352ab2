"""One file of tokens, which an application writes while it is read.

::

    a request ─► stat ─┬─ nothing has changed ─────────────────────► the table
                       ├─ it has: read it; what is new counts ─────► the table, and what is new
                       └─ it has been still for a second: it is whole, and what is missing is gone

What is read while a file changes may be half of it. So what it says counts at once, all but a last line that does not
end yet, and what it does not say proves nothing. A file that has vanished, or cannot be read, says nothing. Nor does
one prove anything, however still, whose last line neither ends nor says anything: its writer was killed, or its disk
is full.

A long file is read in a thread; requests that come meanwhile wait, and nobody else does.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.daemon.threads import Threads
from wsproxy.escape import escape
from wsproxy.fault import logFault
from wsproxy.tokens.lines import NOTHING, Edition, fresh, parse
from wsproxy.tokens.stillness import Stamp, Stillness, stampOf

__all__ = ["TokenLines"]

_SHORT = 65536
"""Bytes that are read and understood within a millisecond or two."""

_NAMED = 10
"""Bad lines that are named at a time; where there are more, it is another kind of file."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What came of reading a file."""

    stamp: Stamp
    hasty: bool
    settled: bool
    base: Edition
    new: dict[str, str] | None
    """What to add to what is known; L{None} where C{base} is all that counts."""
    body: str
    """What was read, but for a last line that does not end."""
    last: tuple[str, str] | None
    """What the last line says, which does not end."""
    bad: list[tuple[int, str]]


class TokenLines:
    """
    @param path: of the file.
    @param clock: for durations; as L{Stillness} has it, with C{now}.
    @param threads: for long files.
    @param vanished: told why the file cannot be read: once, until it can be again.
    """

    _log = Logger()

    def __init__(
        self,
        path: str,
        clock: IReactorTime,
        threads: Threads,
        vanished: Callable[[OSError], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._threads = threads
        self._vanished = vanished
        self._stillness = Stillness(clock, now)
        self._base = NOTHING
        self._body = ""
        self._new: dict[str, str] = {}
        self._last: tuple[str, str] | None = None
        self._told: set[str] = set()
        self._lost = False
        self._waiting: list[Deferred[None]] | None = None

    def get(self, token: str) -> str | None:
        """@return: what this token stands for, as far as is known."""
        return self._new.get(token) or self._base.entries.get(token)

    def getNew(self, token: str) -> str | None:
        """@return: the same, where the file has said so since it was last known to be whole."""
        return self._new.get(token)

    def isHalf(self, token: str) -> bool:
        """Whether the file is about to say something else of this token: its line does not end yet."""
        return self._last is not None and self._last[0] == token and self._last[1] != self.get(token)

    def look(self) -> Deferred[None] | None:
        """
        Learn what has changed.

        @return: L{None} where that is known already; else it fires when it is, unless it has changed again.
        """
        if self._waiting is not None:
            return self._wait()
        try:
            status = os.stat(self._path)
        except OSError as error:
            self._lose(error)
            return None
        stamp = stampOf(status)
        if self._stillness.isCurrent(stamp):
            return None
        if status.st_size <= _SHORT and len(self._base.content) <= _SHORT:
            self._readNow()
            return None
        self._waiting = []
        waiting = self._wait()
        self._threads.call(self._read).addBoth(self._taken)
        return waiting

    def load(self, told: bool = False) -> None:
        """
        Read it now, however long it is.

        @param told: somebody has named its bad lines already.
        @raise OSError: it cannot be read.
        """
        self._take(self._read(), told)

    def _wait(self) -> Deferred[None]:
        assert self._waiting is not None
        waiting: Deferred[None] = Deferred(self._forget)
        self._waiting.append(waiting)
        return waiting

    def _forget(self, waiting: Deferred[None]) -> None:
        if self._waiting is not None and waiting in self._waiting:
            self._waiting.remove(waiting)

    def _taken(self, outcome: _Reading | Failure) -> None:
        assert self._waiting is not None
        waiting, self._waiting = self._waiting, None
        if isinstance(outcome, _Reading):
            self._take(outcome)
        elif isinstance(outcome.value, OSError):
            self._lose(outcome.value)
        else:
            logFault(self._log, "reading {path}", outcome, path=escape(self._path, None))
        for each in waiting:
            if not each.called:  # one of those before it may have had it cancelled
                each.callback(None)

    def _readNow(self) -> None:
        try:
            self.load()
        except OSError as error:
            self._lose(error)

    def _read(self) -> _Reading:
        """Perhaps in a thread; nothing is changed."""
        with open(self._path, "rb", opener=_opened) as stream:
            stamp = stampOf(os.fstat(stream.fileno()))
            hasty, still = self._stillness.isHasty(stamp), self._stillness.isStill(stamp)
            content = stream.read().decode("utf-8", "surrogateescape").removeprefix("\ufeff")
            if stampOf(os.fstat(stream.fileno())) != stamp:
                still = False
        base = self._base
        body, last = _atLastLine(content)
        cut = still and base is not NOTHING and _isCut(last)
        if still and not cut:
            base = base.next(content)
            return _Reading(stamp, hasty, True, base, None, content, None, list(base.bad))
        if base is NOTHING or (self._stillness.isBusy() and not base.content.startswith(body)):
            base = base.next(body)
            return _Reading(stamp, hasty, False, base, None, body, _only(last), list(base.bad))
        new = parse(fresh(self._body, body))
        untold = [line for _, line in new.bad if line not in self._told]
        bad = [(_number(body, line) if count < _NAMED else 0, line) for count, line in enumerate(untold)]
        if cut and last not in self._told:
            bad.append((body.count("\n") + 1, last))
        return _Reading(stamp, hasty, cut, base, new.entries, body, _only(last), bad)

    def _take(self, reading: _Reading, told: bool = False) -> None:
        self._lost = False
        self._base = reading.base
        self._body = reading.body
        if reading.new is None:
            self._new = {}
        else:
            self._new.update(reading.new)  # what was there once counts, until it is known to be gone
        self._last = reading.last
        self._stillness.read(reading.stamp, hasty=reading.hasty, settled=reading.settled, whole=reading.new is None)
        if told:
            self._told = {line for _, line in reading.bad}
        else:
            self._tell(reading.bad, forget=reading.new is None)

    def _tell(self, bad: Iterable[tuple[int, str]], forget: bool) -> None:
        """Name bad lines that were not named yet, by their numbers: what they hold may be a token."""
        bad = list(bad)
        numbers = [number for number, line in bad if line not in self._told]
        lines = {line for _, line in bad}
        self._told = lines if forget else self._told | lines
        for number in numbers[:_NAMED]:
            self._log.warn(
                "{path}, line {number}: not TOKEN: TARGET, where TARGET is HOST:PORT or what else --target takes",
                path=escape(self._path, None),
                number=number,
            )
        if numbers[_NAMED:]:
            self._log.warn(
                "{path}: {count} more lines like that", path=escape(self._path, None), count=len(numbers) - _NAMED
            )

    def _lose(self, error: OSError) -> None:
        if not self._lost:
            self._lost = True
            self._vanished(error)


def _opened(path: str, flags: int) -> int:
    """One that is no regular file may have to be waited for, or never end."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "not a regular file")
    return descriptor


def _atLastLine(content: str) -> tuple[str, str]:
    """@return: all lines that end, and the one that does not."""
    end = content.rfind("\n") + 1
    return content[:end], content[end:]


def _isCut(line: str) -> bool:
    """Whether a last line is one that its writer has not finished: it does not end, and says nothing."""
    parsed = parse([line])
    return bool(parsed.bad)


def _only(line: str) -> tuple[str, str] | None:
    """What a line says that may be half of one: then half of a port may be a port."""
    return next(iter(parse([line]).entries.items()), None)


def _number(content: str, line: str) -> int:
    """Of a line that is in there."""
    return f"\n{content}".count("\n", 0, f"\n{content}".index(f"\n{line}\n") + 1)
