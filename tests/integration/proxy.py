"""A real C{twistd websockify} that may outlive a test, and what can be seen of it from outside."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.inotify import IN_CLOSE_WRITE, IN_MODIFY, INotify
from twisted.internet.threads import deferToThread
from twisted.python.filepath import FilePath

from tests.integration.twistd import REACTOR, ROOT, TWISTD

__all__ = ["Proxy", "descriptors", "ticks"]

reactor: Any = _reactor


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory(pid: int) -> int:
    """Bytes of memory that are a process's own: neither files nor shared."""
    found = re.search(r"^RssAnon:\s*(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def ticks(pid: int) -> int:
    """Processor time of a process so far, in hundredths of a second (C{proc(5)}: utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


class Proxy:
    """
    It is none of the reactor's business, so that the tests of a class can share it.

    @param folder: its working directory, made here; the log is C{log} in it.
    @param arguments: C{websockify}'s.
    @param prefix: a command that runs it.
    @param listen: where it listens.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        prefix: tuple[str, ...] = (),
        environment: Mapping[str, str] = {},
        listen: tuple[str, ...] = ("--listen", "127.0.0.1:0"),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._log = folder / "log"
        command = [*prefix, TWISTD, "-n", *REACTOR, "--pidfile=", "websockify", *listen, *arguments]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            )
        self._read = 0
        self._lines: list[str] = []
        self._memory: int | None = None
        self._partial = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lines(self) -> list[str]:
        """What it has said so far."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            said = log.read()
        self._read += len(said)
        *lines, self._partial = (self._partial + said).split(b"\n")
        self._lines += (line.decode() for line in lines)
        return self._lines

    async def port(self) -> int:
        """Where it listens, once it does."""
        return int((await self.said(r" starting on (\d+)"))[0][1])

    async def said(self, pattern: str, count: int = 1, since: int = 0) -> list[re.Match[str]]:
        """
        The matches of C{pattern} in its lines, once there are C{count}; the last of them may go on.

        @param since: how many lines to pass over.
        """
        expression = re.compile(pattern)
        found: list[re.Match[str]] = []
        changed: Deferred[None] = Deferred()
        ended = False

        def happened(_: object, path: object, mask: int) -> None:
            nonlocal changed, ended
            ended = ended or bool(mask & IN_CLOSE_WRITE)
            fired, changed = changed, Deferred()
            fired.callback(None)

        watch = INotify(reactor)
        watch.startReading()
        watch.watch(FilePath(str(self._log)), IN_MODIFY | IN_CLOSE_WRITE, callbacks=[happened])
        try:
            while True:
                ended = ended or self._process.poll() is not None
                lines = self.lines
                found += filter(None, map(expression.search, lines[since:]))
                since = len(lines)
                if len(found) >= count:
                    return found
                if ended:
                    raise AssertionError(f"no line {pattern!r} in {lines}")
                await changed
        finally:
            watch.connectionLost(None)

    def grown(self) -> int:
        """
        By how many bytes its own memory is larger than when this was asked for the first time. What a test leaves
        behind would hide what the next one takes, were it measured anew.
        """
        now = memory(self.pid)
        if self._memory is None:
            self._memory = now
        return now - self._memory

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> Any:
        """A Deferred of its exit status, once it has one: negative for a signal."""
        return deferToThread(self._process.wait)

    def stop(self) -> Any:
        """Ask it to end, if it has not. @return: fires with its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
        return self.end()

    def kill(self) -> None:
        """Away with it, if it is still there, without the reactor."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
