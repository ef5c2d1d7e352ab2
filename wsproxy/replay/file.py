"""Recordings as files: reading them, summing them up, and giving a cut one its end."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from wsproxy.recording.format import LINE_LIMIT, Entry, RecordingError, RecordingReader

__all__ = ["Summary", "readEntries", "repair", "summarise"]


@dataclass
class Summary:
    """What is in a recording. C{complete}: it has its end."""

    milliseconds: int = 0
    bytesFromClient: int = 0
    bytesFromTarget: int = 0
    entriesFromClient: int = 0
    entriesFromTarget: int = 0
    complete: bool = False


def _reader(stream: BinaryIO) -> RecordingReader:
    return RecordingReader(iter(partial(stream.readline, LINE_LIMIT + 1), b""))


def readEntries(path: str) -> Iterator[Entry]:
    """
    The entries of a recording, as far as it goes.

    @raise OSError: it cannot be read.
    @raise RecordingError: it is not one, or is damaged in its midst; as late as this is seen.
    """
    with open(path, "rb") as stream:
        yield from _reader(stream)


def summarise(path: str) -> Summary:
    """
    @raise OSError: it cannot be read.
    @raise RecordingError: it is not a recording, or is damaged in its midst.
    """
    summary = Summary()
    with open(path, "rb") as stream:
        reader = _reader(stream)
        for fromClient, milliseconds, data in reader:
            summary.milliseconds = milliseconds
            if fromClient:
                summary.entriesFromClient += 1
                summary.bytesFromClient += len(data)
            else:
                summary.entriesFromTarget += 1
                summary.bytesFromTarget += len(data)
    summary.complete = reader.complete
    return summary


def repair(path: str) -> bool:
    """
    Give a recording the end that it lacks, in place. What can be read of its last entry stays.

    @return: whether it lacked one.
    @raise OSError: it cannot be read or written.
    @raise RecordingError: it is not a recording, is damaged in its midst, or is still being written.
    """
    with open(path, "r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RecordingError("it is still being written") from None
        reader = _reader(stream)
        for _ in reader:
            pass
        if reader.missing:
            stream.seek(reader.intact)
            stream.truncate()
            stream.write(reader.missing)
    return bool(reader.missing)
