"""Recordings on disk: how they are named, that none is overwritten, and which of them are kept.

``--record FILE`` makes C{FILE.1}, C{FILE.2} and so on, from the highest number there is. A template, a FILE with one
of these in its last component, makes a name of its own for each session, and a number only where that name is taken:

============= ==================================================================
``{session}`` the session's id, as in the log: its first eight digits
``{time}``    when it began, in UTC: C{20260131T235959Z}
``{peer}``    the client's address, with C{-} for all but letters, digits and dots
============= ==================================================================
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from time import gmtime, strftime

from wsproxy.access.peer import printable
from wsproxy.errors import ConfigError
from wsproxy.interfaces import Session
from wsproxy.recording.format import END, HEAD

__all__ = ["RecordingFile", "RecordingFiles"]

_FIELDS = {"session": "[0-9a-f]+", "time": r"\d{8}T\d{6}Z", "peer": "[0-9A-Za-z.-]+"}
_EMPTY = len(HEAD) + len(END)
"""Bytes of a recording in which nothing was said."""

_FIELD = re.compile(r"\{(\w*)\}")


class RecordingFile:
    """
    One that is being written. Until it is closed it is locked, which tells others to leave it alone.

    @param descriptor: of an empty file.
    @ivar size: bytes written.
    @raise OSError: its head cannot be written; the file is removed.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self.size = 0
        self._lastLine = 0  # where it begins
        self._descriptor = descriptor
        with suppress(OSError):  # not every file system can
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            self.append(HEAD)
        except OSError:
            os.close(descriptor)
            os.unlink(path)
            raise

    def append(self, lines: bytes) -> None:
        """
        @raise OSError: not all could be written. Of those that were, the file has as many as leave room for its end.
        """
        written = 0
        try:
            while written < len(lines):
                written += os.write(self._descriptor, memoryview(lines)[written:])
        except OSError:
            self._keep(lines[: lines.rfind(b"\n", 0, max(0, written - len(END))) + 1])
            with suppress(OSError):
                self._cut()
            raise
        self._keep(lines)

    def _keep(self, lines: bytes) -> None:
        """So much has been written."""
        if lines:
            self._lastLine = self.size + lines.rfind(b"\n", 0, -1) + 1
        self.size += len(lines)

    def _cut(self) -> None:
        os.ftruncate(self._descriptor, self.size)
        os.lseek(self._descriptor, self.size, os.SEEK_SET)

    def close(self) -> None:
        """
        End the recording; in place of its last line, if there is no other room.

        @raise OSError: the line is lost, or the end cannot be written; the file is closed all the same.
        """
        try:
            self.append(END)
        except OSError:
            if self._lastLine:
                self.size = self._lastLine
                self._cut()
                self.append(END)
            raise
        finally:
            os.close(self._descriptor)


class RecordingFiles:
    """
    Makes them.

    @param name: FILE or a template, an absolute path.
    @param keep: how many to keep, beside those being written; 0 for all.
    @raise ConfigError: C{name} cannot name files.
    """

    def __init__(self, name: str, keep: int = 0) -> None:
        self.directory, self._template = os.path.split(name)
        if not self._template or os.path.isdir(name):
            raise ConfigError(f"--record {name}: names a directory")
        *_, last = parts = _FIELD.split(self._template)
        for field in parts[1::2]:
            if field not in _FIELDS:
                raise ConfigError(f"--record {name}: {{{field}}} is not one of {{session}}, {{time}}, {{peer}}")
        if any(brace in part for part in parts[::2] for brace in "{}"):
            raise ConfigError(f"--record {name}: a brace without its other one")
        self._numbered = parts == [last]
        literal = [re.escape(part) if n % 2 == 0 else _FIELDS[part] for n, part in enumerate(parts)]
        number = r"\.(\d+)" if self._numbered else r"(?:\.(\d+))?"
        self._ours = re.compile("".join(literal) + number)
        self._keep = keep
        try:
            numbers = [int(match[1] or 0) for match in map(self._ours.fullmatch, os.listdir(self.directory)) if match]
        except OSError as error:
            raise ConfigError(f"--record {name}: {error.strerror}") from None
        self._next = max(numbers, default=0) + 1

    def create(self, session: Session) -> RecordingFile:
        """
        A new file, mode 0600 less the umask.

        @raise OSError: there can be none.
        """
        name = _FIELD.sub(lambda match: _value(match[1], session), self._template)
        number = self._next if self._numbered else 0
        while True:
            path = os.path.join(self.directory, f"{name}.{number}" if number else name)
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                break
            except FileExistsError:
                number += 1
        if self._numbered:
            self._next = number + 1
        return RecordingFile(path, descriptor)

    def spool(self) -> FileIO:
        """A file without a name on the same file system."""
        return tempfile.TemporaryFile(dir=self.directory, buffering=0)

    def prune(self) -> None:
        """
        Remove all but the newest, and before those the ones that hold nothing: where a disk is full, or strangers come
        and go, what was recorded outlives what was not. Several processes may do so at once.

        @raise OSError: one cannot be removed; the others are.
        """
        if not self._keep:
            return
        problem: OSError | None = None
        for _, _, _, path in sorted(self._found())[: -self._keep]:
            try:
                _removeIfRecording(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                problem = error
        if problem is not None:
            raise problem

    def _found(self) -> Iterator[tuple[bool, int, int, str]]:
        """What may be recordings of ours: whether it holds anything, when it was written last, its number, its path."""
        with os.scandir(self.directory) as entries:
            for entry in entries:
                match = self._ours.fullmatch(entry.name)
                if match:
                    with suppress(FileNotFoundError):  # another process was faster
                        if entry.is_file(follow_symlinks=False):
                            status = entry.stat()
                            yield status.st_size > _EMPTY, status.st_mtime_ns, int(match[1] or 0), entry.path


def _value(field: str, session: Session) -> str:
    match field:
        case "session":
            return session.id[:8]
        case "time":
            return strftime("%Y%m%dT%H%M%SZ", gmtime(session.started))
        case _:
            return re.sub("[^0-9A-Za-z.]+", "-", printable(session.request.client)).strip("-.")[:100] or "unknown"


def _removeIfRecording(path: str) -> None:
    """A template may match an operator's own files, and another process may be writing this one, or have removed it."""
    with open(path, "rb") as stream, suppress(BlockingIOError):
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stream.read(len(HEAD)) == HEAD and os.fstat(stream.fileno()).st_nlink:
            os.unlink(path)
