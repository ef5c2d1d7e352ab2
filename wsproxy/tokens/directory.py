"""A directory of token files: each as if it were alone, and what all of them say together.

A file that is taken out of the directory is what a line is that is taken out of a file: its tokens are gone once the
directory has been still for a second. Names that begin with a dot or end with C{~} are passed over, which are editors'
and Kubernetes' own. Of two files with the same token the later one by name counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from wsproxy.daemon.threads import Threads
from wsproxy.tokens.file import TokenLines
from wsproxy.tokens.stillness import Stillness, stampOf

__all__ = ["TokenDirectory"]


class TokenDirectory:
    """
    @param path: of the directory.
    @param vanished: told why the directory cannot be read: once, until it can be again.

    The rest is L{TokenLines}'s.
    """

    def __init__(
        self,
        path: str,
        clock: IReactorTime,
        threads: Threads,
        vanished: Callable[[OSError], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._clock = clock
        self._threads = threads
        self._vanished = vanished
        self._now = now
        self._stillness = Stillness(clock, now)
        self._files: dict[str, TokenLines] = {}
        self._lost = False

    def get(self, token: str) -> str | None:
        """@return: what this token stands for, as far as is known."""
        return self._first(token, TokenLines.getNew) or self._first(token, TokenLines.get)

    def _first(self, token: str, get: Callable[[TokenLines, str], str | None]) -> str | None:
        return next(filter(None, (get(file, token) for file in self._files.values())), None)

    def isHalf(self, token: str) -> bool:
        """See L{TokenLines.isHalf}."""
        return any(file.isHalf(token) for file in self._files.values())

    def look(self) -> Deferred[None] | None:
        """See L{TokenLines.look}. Each file is asked for its status: 2 µs of each."""
        self._list()
        waiting = [each for each in (file.look() for file in self._files.values()) if each is not None]
        if not waiting:
            return None
        done: Deferred[None] = gatherResults(waiting).addCallback(lambda _: None)
        return done

    def load(self, told: bool = False) -> None:
        """
        Read all now.

        @param told: see L{TokenLines.load}.
        @raise OSError: one cannot be read.
        """
        self._list(load=True, told=told)

    def _list(self, load: bool = False, told: bool = False) -> None:
        try:
            stamp = stampOf(os.stat(self._path))
            if self._stillness.isCurrent(stamp):
                return
            hasty, still = self._stillness.isHasty(stamp), self._stillness.isStill(stamp)
            names = set(_names(self._path))
        except OSError as error:
            if load:
                raise
            self._lose(error)
            return
        self._lost = False
        known = names if still else names | self._files.keys()
        self._files = {
            name: self._files.get(name) or self._begin(name, load, told) for name in sorted(known, reverse=True)
        }
        self._stillness.read(stamp, hasty=hasty, settled=still, whole=still)

    def _begin(self, name: str, load: bool, told: bool) -> TokenLines:
        path = os.path.join(self._path, name)
        file = TokenLines(path, self._clock, self._threads, self._lostOne, self._now)
        if load:
            with suppress(FileNotFoundError):
                file.load(told)
        return file

    def _lostOne(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # whether a file is there, its directory tells
            self._vanished(error)

    def _lose(self, error: OSError) -> None:
        if not self._lost:
            self._lost = True
            self._vanished(error)


def _names(path: str) -> Iterator[str]:
    """Of the files in a directory."""
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and not entry.name.endswith("~") and entry.is_file():
                yield entry.name
