"""Records sessions, one file each, without holding them up.

While bytes pass, a L{Recorder} only keeps them, with the time. Escaping and writing them is done later by
L{Recordings}, for all sessions in turn::

    tunnel ──► Recorder ──► Backlog ──► Recordings: a piece of one recording, a rest, a piece of the next … ──► file

A recording is usually L{LAG} seconds behind its session. Sessions that send more than half of what could be written
have the processor first: writing rests in between, the backlog grows, and is written when they pause or end.
"""

from __future__ import annotations

import errno
import sys
from collections import deque
from collections.abc import Sequence
from enum import Enum

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from wsproxy.ends.end import Buffer
from wsproxy.errors import Close, CloseCode
from wsproxy.interfaces import Session
from wsproxy.recording.backlog import Backlog
from wsproxy.recording.file import RecordingFile, RecordingFiles
from wsproxy.recording.format import END, ENTRY_LIMIT, encodeEntry
from wsproxy.recording.spool import Blocks, Spool

__all__ = ["LAG", "Recorder", "Recordings"]

LAG = 0.02
"""Seconds before what came is written: a quiet session's small pieces are written together."""

REST = 100
"""The rest after a piece, while sessions are too fast for writing: so many times what the piece took to write."""

LONGEST_REST = 0.5
"""Seconds that a rest takes at most: one slow write is no sign of a slow disk."""

_FLOOD = 64
"""Frames that came in one read have an entry each; from so many on, they share one."""

_PIECE = 256
"""Entries of one recording that are written at once, at most; or L{ENTRY_LIMIT} bytes, whichever comes first."""

_TURN = 0.001
"""Seconds of writing until relaying has its turn; or L{ENTRY_LIMIT} bytes, whichever comes first."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class _State(Enum):
    RECORDING = "recording"
    CLOSING = "closing"  # nothing more will come, but not all that came is written
    CLOSED = "closed"


class Recordings:
    """
    The L{TapFactory<wsproxy.interfaces.TapFactory>} that records.

    @param clock: for the times of entries, and for the writing.
    @param maxSize: bytes at which a recording ends; 0 for no limit.
    @param required: close a session that cannot be recorded, or not to its end.
    @ivar received: bytes that have come to be recorded since writing looked at it.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, files: RecordingFiles, *, maxSize: int = 0, required: bool = False) -> None:
        self.clock = clock
        self._blocks = Blocks()
        self.maxSize = maxSize
        self._files = files
        self._required = required
        self._open: set[Recorder] = set()
        self._behind: deque[Recorder] = deque()
        self.received = 0
        self._looked = clock.seconds()
        self._idle: list[Deferred[None]] = []

    def __call__(self, session: Session) -> Recorder | None:
        try:
            file = self._files.create(session)
        except OSError as error:
            self.failed(session, error.strerror)
            return None
        self._log.info("{session:.8} is recorded as {path}", session=session.id, path=file.path)
        recorder = Recorder(self, session, file)
        self._open.add(recorder)
        return recorder

    def spool(self) -> Spool:
        """
        For a backlog.

        @raise OSError: there can be no file for it.
        """
        return Spool(self._files.spool(), self._blocks)

    @property
    def busy(self) -> bool:
        """Whether there is a recording that has no end yet."""
        return bool(self._open)

    def whenIdle(self) -> Deferred[None]:
        """Fires when every recording has its end."""
        if not self._open:
            return succeed(None)
        deferred: Deferred[None] = Deferred(self._idle.remove)
        self._idle.append(deferred)
        return deferred

    def finish(self, by: float) -> Deferred[None]:
        """
        Fires when every recording has its end: when all is written, or else given up.

        @param by: when to give up what is not written, in seconds of the clock.
        """
        idle = self.whenIdle()
        if self._open:
            call = self.clock.callLater(max(0.0, by - self.clock.seconds()), self._giveUp)
            idle.addCallback(lambda _: call.cancel() if call.active() else None)
        return idle

    def _giveUp(self) -> None:
        for recorder in tuple(self._open):
            recorder.giveUp()

    def behind(self, recorder: Recorder) -> None:
        """This recorder has something to write. It says so once, and again only when it had written all."""
        self._behind.append(recorder)
        if len(self._behind) == 1:
            self.clock.callLater(LAG, self._write)

    def _write(self) -> None:
        """Those in the queue write a piece each, in turn; who has more goes to the end of it."""
        began = now = self.clock.seconds()
        written = 0
        for _ in range(len(self._behind)):
            recorder = self._behind.popleft()
            written += recorder.write()
            if recorder.waiting:
                self._behind.append(recorder)
            now = self.clock.seconds()
            if written >= ENTRY_LIMIT or now - began >= _TURN:
                break
        took = max(0.0, now - began)  # a clock may be set back
        # received / elapsed * 2 <= written / took, without dividing by a time that may be 0
        keepsUp = 2 * self.received * took <= written * (now - self._looked)
        self.received, self._looked = 0, now
        if self._behind:
            self.clock.callLater(0 if keepsUp else min(REST * took, LONGEST_REST), self._write)

    def ended(self, recorder: Recorder) -> None:
        """This recording is closed."""
        self._open.remove(recorder)
        try:
            self._files.prune()
        except OSError as error:
            self._log.warn("removing old recordings: {error}", error=error)
        if not self._open:
            self._blocks.rest()
            waiting, self._idle = self._idle, []
            for deferred in waiting:
                deferred.callback(None)

    def failed(self, session: Session, problem: str | None) -> None:
        """Nothing more of this session will be recorded. @param problem: why."""
        self._log.warn(
            "{session:.8} is not recorded any further: {problem}{outcome}",
            session=session.id,
            problem=problem,
            outcome="; closing it" if self._required else "",
        )
        if self._required:
            self.clock.callLater(0, session.close, Close(CloseCode.INTERNAL_ERROR, "Recording failed"))


class Recorder:
    """The L{Tap<wsproxy.interfaces.Tap>} on one session. An entry is what was relayed at once."""

    __slots__ = (
        "_backlog",
        "_began",
        "_failed",
        "_file",
        "_limit",
        "_recordings",
        "_seconds",
        "_state",
        "_time",
        "session",
    )

    def __init__(self, recordings: Recordings, session: Session, file: RecordingFile) -> None:
        self.session = session
        self._recordings = recordings
        self._file = file
        self._backlog = Backlog(recordings.spool)
        self._limit = recordings.maxSize
        self._seconds = recordings.clock.seconds
        self._began = self._seconds()  # of the clock that entries are timed by; C{session.started} is the time of day
        self._time = 0
        self._state = _State.RECORDING
        self._failed = False

    @property
    def waiting(self) -> bool:
        """Whether there is something to write."""
        return bool(self._backlog)

    def fromClient(self, payload: Sequence[Buffer], partial: bool) -> None:
        self._add(True, payload if len(payload) < _FLOOD else (b"".join(payload),))

    def toTarget(self, congested: bool) -> None:
        """Recorded when it came."""

    def fromTarget(self, data: Buffer) -> None:
        self._add(False, (data,))

    def toClient(self, congested: bool) -> None:
        """Recorded when it came."""

    def _add(self, fromClient: bool, pieces: Sequence[Buffer]) -> None:
        if self._state is not _State.RECORDING:
            return
        backlog = self._backlog
        before = backlog.size
        if not before and not backlog:
            self._recordings.behind(self)
        milliseconds = int((self._seconds() - self._began) * 1000)
        if milliseconds > self._time:  # never backwards, even where the clock is set back
            self._time = milliseconds
        try:
            backlog.add(fromClient, self._time, pieces)
        except OSError as error:
            self._fail(error)
        else:
            self._recordings.received += backlog.size - before
            if self._limit and self._file.size + backlog.size > self._limit:
                self._state = _State.CLOSING  # escaping makes it no shorter: nothing that comes now would fit in

    def write(self) -> int:
        """Write a piece of the backlog, if there is one. @return: bytes of data in it."""
        if self._state is _State.CLOSED:
            return 0
        backlog = self._backlog
        room = self._limit - self._file.size - len(END) if self._limit else sys.maxsize
        lines: list[bytes] = []
        size = 0
        problem: OSError | None = None
        try:
            while backlog and size < ENTRY_LIMIT and len(lines) < _PIECE and room >= 0:
                fromClient, milliseconds, data = backlog.take()
                size += len(data)
                while data and room >= 0:
                    line = encodeEntry(fromClient, milliseconds, data[:ENTRY_LIMIT])
                    data = data[ENTRY_LIMIT:]
                    room -= len(line)
                    if room >= 0:
                        lines.append(line)
        except OSError as error:
            problem = error
        try:
            self._append(b"".join(lines))
        except OSError as error:
            problem = error
        if problem is not None:
            self._end(problem.strerror)
        elif room < 0:
            self._end("--record-max-size is reached")
        elif self._state is _State.CLOSING and not backlog:
            self._end(None)
        return size

    def _append(self, lines: bytes) -> None:
        """Where the disk is full, the newest of the backlog makes room for the oldest of it."""
        while lines:
            before = self._file.size
            try:
                self._file.append(lines)
                return
            except OSError as error:
                if error.errno not in _FULL or not self._backlog.shorten():
                    raise
                self._fail(error)
                lines = lines[self._file.size - before :]

    def _fail(self, error: OSError) -> None:
        """Nothing more can be recorded; what has been seen before will be written."""
        if not self._failed:
            self._failed = True
            self._recordings.failed(self.session, error.strerror)
        self._state = _State.CLOSING

    def close(self) -> None:
        """The session is over. What little there usually is to write is written now, the rest in its turn."""
        if self._state is not _State.CLOSED:
            self._state = _State.CLOSING
            self.write()

    def giveUp(self) -> None:
        """There is no time for the rest."""
        if self._state is not _State.CLOSED:
            self._end("there is no time for more")

    def _end(self, problem: str | None) -> None:
        self._state = _State.CLOSED
        self._backlog.close()
        try:
            self._file.close()
        except OSError as error:
            problem = problem or error.strerror
        if problem is not None and not self._failed:
            self._recordings.failed(self.session, problem)
        self._recordings.ended(self)
