"""Recorders: what becomes of what they see, of their files, and of sessions when the disk is no use."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.errors import Close, ConfigError
from wsproxy.interfaces import Session
from wsproxy.recording import file as recordingfile
from wsproxy.recording import spool as spoolModule
from wsproxy.recording.backlog import MEMORY, Backlog
from wsproxy.recording.file import RecordingFile, RecordingFiles
from wsproxy.recording.format import END, ENTRY_LIMIT, HEAD, Entry, RecordingReader
from wsproxy.recording.recorder import LAG, REST, Recorder, Recordings
from wsproxy.recording.spool import Blocks, Spool
from wsproxy.testing import makeRequest, makeSession


def read(path: Path) -> list[Entry]:
    """The entries of a complete recording."""
    with path.open("rb") as stream:
        reader = RecordingReader(stream)
        entries = list(reader)
    assert reader.complete
    return entries


class RecordingTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.clock = Clock()
        self.clock.advance(1000)
        self.closes: list[Close] = []

    def files(self, name: str = "rec", keep: int = 0) -> RecordingFiles:
        return RecordingFiles(str(self.directory / name), keep)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())

    def session(self, name: str = "0000beef", peer: str = "192.0.2.1:5000", started: float = 1000) -> Session:
        request = makeRequest(peer=cast(IAddress, peer))  # of which only its str() counts
        return makeSession(id=name, request=request, started=started, close=self.closes.append)

    def record(self, recordings: Recordings) -> Recorder:
        recorder = recordings(self.session(started=self.clock.seconds()))
        assert recorder is not None
        return recorder

    def settle(self) -> None:
        """Let everything be written."""
        while self.clock.getDelayedCalls():
            self.clock.advance(LAG)


class RecorderTests(RecordingTestCase):
    """A session, and what its file says of it."""

    def setUp(self) -> None:
        super().setUp()
        self.recordings = Recordings(self.clock, self.files())

    def test_entries(self) -> None:
        """What passes is written in its order, with the milliseconds since the session began."""
        recorder = self.record(self.recordings)
        recorder.fromTarget(b"login: ")
        self.clock.advance(1.25)
        recorder.fromClient([b"ro", b"ot"], False)
        recorder.fromTarget(b"\xff")
        recorder.close()
        self.assertEqual(
            (self.directory / "rec.1").read_bytes(),
            HEAD + b"'{0{login: ',\n'}1250}ro',\n'}1250}ot',\n'{1250{\\xff',\n" + END,
        )

    def test_soon(self) -> None:
        """What has passed is in the file a little later, while the session goes on."""
        recorder = self.record(self.recordings)
        recorder.fromTarget(b"hello")
        self.clock.advance(LAG)
        self.assertEqual((self.directory / "rec.1").read_bytes(), HEAD + b"'{0{hello',\n")
        recorder.fromTarget(b"world")
        self.clock.advance(LAG)
        self.assertIn(b"world", (self.directory / "rec.1").read_bytes())

    def test_buffers(self) -> None:
        """A buffer may be used again after the call, whether the bytes wait in memory or on disk."""
        recorder = self.record(self.recordings)
        buffer = bytearray(100_000)
        for number in range(10):
            buffer[:] = bytes([number]) * len(buffer)
            recorder.fromTarget(memoryview(buffer))
        recorder.close()
        self.settle()
        recorded = b"".join(entry.data for entry in read(self.directory / "rec.1"))
        self.assertEqual(recorded, b"".join(bytes([number]) * len(buffer) for number in range(10)))

    def test_largeChunks(self) -> None:
        """What is relayed at once becomes entries of 64 KiB at most."""
        recorder = self.record(self.recordings)
        recorder.fromTarget(bytes(2 * ENTRY_LIMIT + 1))
        recorder.close()
        sizes = [len(entry.data) for entry in read(self.directory / "rec.1")]
        self.assertEqual(sizes, [ENTRY_LIMIT, ENTRY_LIMIT, 1])

    def test_smallFrames(self) -> None:
        """Many frames that came at once make one entry."""
        recorder = self.record(self.recordings)
        recorder.fromClient([b"x"] * 1000, False)
        recorder.close()
        self.assertEqual(read(self.directory / "rec.1"), [Entry(True, 0, b"x" * 1000)])

    def test_clockSetBack(self) -> None:
        """Times never decrease, even when the machine's clock is set back."""
        recorder = self.record(self.recordings)
        self.clock.advance(2)
        recorder.fromTarget(b"a")
        self.clock.rightNow -= 1000
        recorder.fromTarget(b"b")
        recorder.close()
        self.assertEqual([entry.milliseconds for entry in read(self.directory / "rec.1")], [2000, 2000])

    def test_nothing(self) -> None:
        """A session in which nobody said anything has a complete recording, too."""
        self.record(self.recordings).close()
        self.assertEqual((self.directory / "rec.1").read_bytes(), HEAD + END)

    def test_whenIdle(self) -> None:
        """Whoever waits for the recordings learns when the last has its end."""
        self.successResultOf(self.recordings.whenIdle())
        recorder, other = self.record(self.recordings), self.record(self.recordings)
        idle = self.recordings.whenIdle()
        for _ in range(10):
            recorder.fromTarget(bytes(ENTRY_LIMIT))
        recorder.close()
        other.close()
        self.assertNoResult(idle)
        self.settle()
        self.successResultOf(idle)
        self.assertEqual(len(read(self.directory / "rec.1")), 10)

    def test_finish(self) -> None:
        """Whoever has to end waits so long and no longer; then each recording is complete as far as it goes."""
        self.successResultOf(self.recordings.finish(0))
        recorder, other = self.record(self.recordings), self.record(self.recordings)
        for number in range(50):
            recorder.fromTarget(bytes([number]) * ENTRY_LIMIT)
        recorder.close()
        finished = self.recordings.finish(self.clock.seconds() + 0.2)
        self.clock.advance(0.1)
        self.assertNoResult(finished)
        with capturedLogs() as events:
            self.clock.advance(0.1)
        self.successResultOf(finished)
        problems = [event["problem"] for event in events if "problem" in event]
        self.assertEqual(problems, ["there is no time for more"] * len(problems))
        recorded = [entry.data[0] for entry in read(self.directory / "rec.1")]
        self.assertEqual(recorded, list(range(len(recorded))))
        self.assertEqual(read(self.directory / "rec.2"), [])
        other.fromTarget(b"too late")
        other.close()
        self.settle()

    def test_finishInTime(self) -> None:
        """Where there is time for all of it, all is written, and no timer stays behind."""
        recorder = self.record(self.recordings)
        for _ in range(50):
            recorder.fromTarget(bytes(ENTRY_LIMIT))
        recorder.close()
        finished = self.recordings.finish(self.clock.seconds() + 100)
        for _ in range(200):
            self.clock.advance(LAG)
        self.successResultOf(finished)
        self.assertEqual((len(read(self.directory / "rec.1")), self.clock.getDelayedCalls()), (50, []))


class _SlowDisk(RecordingFiles):
    """Takes a millisecond for whatever is written. C{writes} are the files' names, in order."""

    def __init__(self, name: str, clock: Clock) -> None:
        super().__init__(name)
        self._clock = clock
        self.writes: list[str] = []

    def create(self, session: Session) -> RecordingFile:
        file = super().create(session)
        append = file.append

        def slowly(lines: bytes) -> None:
            append(lines)
            self._clock.rightNow += 0.001
            self.writes.append(os.path.basename(file.path))

        file.append = slowly  # type: ignore[method-assign]
        return file


class PaceTests(RecordingTestCase):
    """Writing takes time from relaying."""

    def setUp(self) -> None:
        super().setUp()
        self.slow = _SlowDisk(str(self.directory / "rec"), self.clock)
        self.recordings = Recordings(self.clock, self.slow)

    def next(self) -> float:
        """Seconds until more is written."""
        (call,) = self.clock.getDelayedCalls()
        return round(call.getTime() - self.clock.seconds(), 6)

    def receive(self, recorder: Recorder, size: int) -> None:
        for _ in range(size // ENTRY_LIMIT):
            recorder.fromTarget(bytes(ENTRY_LIMIT))

    def test_fast(self) -> None:
        """A session that is faster than writing goes first; as soon as it pauses, writing has all the time."""
        recorder = self.record(self.recordings)
        self.receive(recorder, 200 * ENTRY_LIMIT)
        self.clock.advance(LAG)
        self.assertEqual(self.next(), REST * 0.001)
        self.receive(recorder, 200 * ENTRY_LIMIT)
        self.clock.advance(self.next())
        self.assertEqual(self.next(), REST * 0.001)
        self.clock.advance(self.next())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.slow.writes), 400)

    def test_noTime(self) -> None:
        """A backlog that is not written in time is given up, and the recording has its end behind what is."""
        recorder = self.record(self.recordings)
        self.receive(recorder, 400 * ENTRY_LIMIT)
        recorder.close()
        finished = self.recordings.finish(self.clock.seconds() + LAG + 0.05)
        self.clock.advance(LAG)
        self.assertNoResult(finished)
        with capturedLogs() as events:
            self.clock.advance(0.05)
        self.successResultOf(finished)
        self.assertEqual([event["problem"] for event in events], ["there is no time for more"])
        self.assertEqual(len(read(self.directory / "rec.1")), 2)
        self.settle()
        self.assertEqual(len(self.slow.writes), 3)

    def test_slow(self) -> None:
        """With a session at less than half the speed of writing, writing does not rest."""
        recorder = self.record(self.recordings)
        self.receive(recorder, 8 * ENTRY_LIMIT)
        self.clock.advance(LAG)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_together(self) -> None:
        """The long backlog of one session does not keep another's few bytes from being written."""
        fast, slow = self.record(self.recordings), self.record(self.recordings)
        self.receive(fast, 8 * ENTRY_LIMIT)
        slow.fromTarget(b"hello")
        self.clock.advance(LAG)
        self.assertEqual(self.slow.writes, ["rec.1", "rec.2", *["rec.1"] * 7])


class LimitTests(RecordingTestCase):
    """C{--record-max-size}"""

    def flood(self, recordings: Recordings) -> Recorder:
        recorder = self.record(recordings)
        for _ in range(100):
            recorder.fromTarget(b"x" * 100)
            self.clock.advance(LAG)
        return recorder

    def test_full(self) -> None:
        """A recording ends at its largest size, complete, with one line in the log, and the session goes on."""
        recordings = Recordings(self.clock, self.files(), maxSize=1000)
        with capturedLogs() as events:
            recorder = self.flood(recordings)
            recorder.close()
            self.settle()
        self.assertEqual([event["log_level"] for event in events], [LogLevel.info, LogLevel.warn])
        size = (self.directory / "rec.1").stat().st_size
        self.assertTrue(1000 - 120 < size <= 1000, size)
        self.assertEqual(len(read(self.directory / "rec.1")), 8)
        self.assertEqual(self.closes, [])
        self.successResultOf(recordings.whenIdle())

    def test_fullAtOnce(self) -> None:
        """What a session says all at once does not make a larger file, nor a larger spool."""
        recordings = Recordings(self.clock, self.files(), maxSize=MEMORY)
        recorder = self.record(recordings)
        for _ in range(100):
            recorder.fromTarget(b"x" * 100_000)
        self.assertEqual(recordings.received, 300_000)  # what comes after that would not fit in
        recorder.close()
        self.settle()
        self.assertLessEqual((self.directory / "rec.1").stat().st_size, MEMORY)
        sizes = {len(entry.data) for entry in read(self.directory / "rec.1")}
        self.assertEqual(sizes, {ENTRY_LIMIT, 100_000 - ENTRY_LIMIT})

    def test_tiny(self) -> None:
        """A limit that nothing fits under is no more than that."""
        self.flood(Recordings(self.clock, self.files(), maxSize=1)).close()
        self.assertEqual(read(self.directory / "rec.1"), [])

    def test_required(self) -> None:
        """With C{--record-required}, that is the end of the session."""
        self.flood(Recordings(self.clock, self.files(), maxSize=1000, required=True))
        self.assertEqual([close.code for close in self.closes], [1011])


class _FullDisk(RecordingFiles):
    """Its spools cannot be written."""

    def spool(self) -> FileIO:
        return FileIO("/dev/full", "r+")


class TroubleTests(RecordingTestCase):
    """Disks and directories that fail."""

    def test_directoryLost(self) -> None:
        """Without its directory, a session is not recorded: one line in the log, and it goes on."""
        recordings = Recordings(self.clock, self.files())
        self.directory.rmdir()
        with capturedLogs() as events:
            self.assertIsNone(recordings(self.session()))
            self.settle()
        self.assertEqual([event["problem"] for event in events], ["No such file or directory"])
        self.assertEqual(self.closes, [])

    def test_directoryLostAndRequired(self) -> None:
        """With C{--record-required} it is closed, though not before its tap could have been returned."""
        recordings = Recordings(self.clock, self.files(), required=True)
        self.directory.rmdir()
        self.assertIsNone(recordings(self.session()))
        self.assertEqual(self.closes, [])
        self.settle()
        self.assertEqual([close.code for close in self.closes], [1011])

    def test_spoolFull(self) -> None:
        """
        When the backlog finds no room, the recording has all that came before, and its end; one line in the log; the
        session goes on.
        """
        recordings = Recordings(self.clock, _FullDisk(str(self.directory / "rec")))
        recorder = self.record(recordings)
        recorder.fromTarget(b"before")
        self.clock.advance(LAG)
        with capturedLogs() as events:
            for number in range(10):
                recorder.fromTarget(bytes([number]) * ENTRY_LIMIT)
            recorder.fromTarget(b"too late")
            recorder.close()
            self.settle()
        self.assertEqual([event["problem"] for event in events], ["No space left on device"])
        self.assertEqual(self.closes, [])
        self.assertEqual(
            [entry.data for entry in read(self.directory / "rec.1")],
            [b"before", *(bytes([number]) * ENTRY_LIMIT for number in range(MEMORY // (ENTRY_LIMIT + 150)))],
        )
        self.successResultOf(recordings.whenIdle())

    def test_spoolFullAndRequired(self) -> None:
        """With C{--record-required} the session is closed then, not when the backlog is written."""
        recordings = Recordings(self.clock, _FullDisk(str(self.directory / "rec")), required=True)
        recorder = self.record(recordings)
        for _ in range(10):
            recorder.fromTarget(bytes(ENTRY_LIMIT))
        self.clock.advance(0)
        self.assertEqual([close.code for close in self.closes], [1011])
        self.assertEqual((self.directory / "rec.1").read_bytes(), HEAD)
        recorder.close()
        self.settle()
        self.assertEqual(len(read(self.directory / "rec.1")), 3)

    def recorded(self, spools: Callable[[Blocks], Spool], count: int) -> list[Entry]:
        """What is recorded of so many entries of 64 KiB, each of one byte value, over such spools."""
        files = self.files()
        recordings = Recordings(self.clock, files)
        blocks = Blocks()
        self.patch(recordings, "spool", lambda: spools(blocks))
        recorder = self.record(recordings)
        for number in range(count):
            recorder.fromTarget(bytes([number]) * ENTRY_LIMIT)
        recorder.close()
        self.settle()
        self.successResultOf(recordings.whenIdle())
        return read(self.directory / "rec.1")

    def test_spoolFails(self) -> None:
        """A disk that fails in the midst, on any way to it, leaves the recording complete up to there."""
        pwrite, pwritev = os.pwrite, os.pwritev

        def failing(write: Callable[..., int]) -> Callable[..., int]:
            def fail(descriptor: int, data: Any, offset: int) -> int:
                if offset > 2_000_000:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                return write(descriptor, data, offset)

            return fail

        self.patch(os, "pwrite", failing(pwrite))
        self.patch(os, "pwritev", failing(pwritev))
        for direct in (True, False):
            if not direct:
                self.patch(spoolModule, "_openDirect", lambda descriptor: None)
            with capturedLogs() as events:
                entries = self.recorded(lambda blocks: Spool(self.files().spool(), blocks), 200)
            problems = [event["problem"] for event in events if "problem" in event]
            # a thread may be told too late of the failure for anybody to notice: then all is recorded
            self.assertIn(problems, ([], ["Input/output error"]) if direct else (["Input/output error"],))
            self.assertEqual([entry.data[0] for entry in entries], list(range(len(entries))))
            self.assertGreater(len(entries), 2_000_000 // ENTRY_LIMIT)
            (self.directory / "rec.1").unlink()

    def test_spoolUnreadable(self) -> None:
        """So does one that does not give back what it took."""

        class Unreadable(Spool):
            def read(self, size: int) -> bytes:
                if self.left < 3 * ENTRY_LIMIT:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                return super().read(size)

        with capturedLogs() as events:
            entries = self.recorded(lambda blocks: Unreadable(self.files().spool(), blocks), 20)
        self.assertEqual([event["problem"] for event in events if "problem" in event], ["Input/output error"])
        self.assertEqual([entry.data[0] for entry in entries], list(range(18)))

    def test_lastLine(self) -> None:
        """Where not even the end fits it takes the place of the last line."""
        path = self.directory / "rec.1"
        file = RecordingFile(str(path), os.open(path, os.O_WRONLY | os.O_CREAT))
        file.append(b"'{0{a',\n'{0{b',\n")
        file.append(b"'{0{last one',\n")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file.size + len(END) - 1, limits[1]))
        try:
            self.assertRaises(OSError, file.close)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertEqual([entry.data for entry in read(path)], [b"a", b"b"])

    def test_fileFull(self) -> None:
        """On a disk that is full, the file has the lines that fit, and its end."""
        path = self.directory / "rec.1"
        file = RecordingFile(str(path), os.open(path, os.O_WRONLY | os.O_CREAT))
        file.append(b"'{0{a',\n")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        lines = [b"'{0{b',\n", b"'{0{c',\n", b"'{0{d',\n"]
        resource.setrlimit(resource.RLIMIT_FSIZE, (file.size + len(b"".join(lines)) - 1, limits[1]))
        try:
            self.assertRaises(OSError, file.append, b"".join(lines))
            file.close()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertEqual([entry.data for entry in read(path)], [b"a", b"b"])


class NameTests(RecordingTestCase):
    """Which file a session is recorded in."""

    def create(self, files: RecordingFiles, session: Session | None = None) -> str:
        file = files.create(session or self.session())
        file.close()
        return os.path.basename(file.path)

    def test_numbers(self) -> None:
        """Files are numbered from 1; after a restart, from the highest there is, whatever has been removed."""
        files = self.files()
        self.assertEqual([self.create(files) for _ in range(3)], ["rec.1", "rec.2", "rec.3"])
        (self.directory / "rec.1").unlink()
        (self.directory / "rec.old").touch()
        (self.directory / "rec").touch()
        self.assertEqual(self.create(self.files()), "rec.4")

    def test_neverOverwritten(self) -> None:
        """A file or link that has come to be there since is left alone."""
        files = self.files()
        (self.directory / "rec.1").write_text("mine")
        (self.directory / "rec.2").symlink_to("elsewhere")
        self.assertEqual(self.create(files), "rec.3")
        self.assertEqual((self.directory / "rec.1").read_text(), "mine")
        self.assertFalse((self.directory / "elsewhere").exists())

    def test_mode(self) -> None:
        """Nobody but the owner can read a recording."""
        self.addCleanup(os.umask, os.umask(0))
        self.create(self.files())
        self.assertEqual(stat.S_IMODE((self.directory / "rec.1").stat().st_mode), 0o600)

    def test_template(self) -> None:
        """A template names files by session, time and client; a number comes in only where a name is taken."""
        files = self.files("vnc-{time}-{session}-{peer}.js")
        name = "vnc-19700101T001640Z-0000beef-192.0.2.1-5000.js"
        self.assertEqual([self.create(files) for _ in range(3)], [name, f"{name}.1", f"{name}.2"])

    def test_client(self) -> None:
        """Behind a proxy in front that is trusted, it is the real client's address that is in the name."""
        client = IPv4Address("TCP", "192.0.2.7", 0)
        session = makeSession(request=makeRequest(client=client), id="0000beef", started=1000)
        self.assertEqual(self.create(self.files("{peer}"), session), "192.0.2.7")

    def test_peers(self) -> None:
        """No client can choose a name that leads elsewhere."""
        for peer, expected in {
            "[::1]:5000": "1-5000",
            "[fe80::1%eth0]:80": "fe80-1-eth0-80",
            "unix:/run/../etc/x": "unix-run-..-etc-x",
            "unix": "unix",
            "../..": "unknown",
            "a" * 300: "a" * 100,
        }.items():
            self.assertEqual(self.create(self.files("{peer}"), self.session(peer=peer)), expected)

    def test_useless(self) -> None:
        """A FILE that cannot name files is refused at the start."""
        for name, complaint in {
            "": "names a directory",
            "missing/rec": "No such file or directory",
            "{when}": "{when} is not one of {session}, {time}, {peer}",
            "{session": "a brace without its other one",
            "{session}}": "a brace without its other one",
        }.items():
            error = self.assertRaises(ConfigError, RecordingFiles, os.path.join(self.directory, name))
            self.assertEqual(str(error), f"--record {self.directory / name}{'/' * (not name)}: {complaint}")
        self.assertRaises(ConfigError, RecordingFiles, str(self.directory))


class KeepTests(RecordingTestCase):
    """C{--record-keep}"""

    def sessions(self, name: str, keep: int, count: int) -> None:
        recordings = Recordings(self.clock, self.files(name, keep))
        for number in range(count):
            recorder = recordings(self.session(f"{number:08x}"))
            assert recorder is not None
            recorder.close()

    def test_newest(self) -> None:
        """The newest recordings are kept, also over a restart."""
        self.sessions("rec", 2, 3)
        self.assertEqual(self.names(), ["rec.2", "rec.3"])
        self.sessions("rec", 2, 1)
        self.assertEqual(self.names(), ["rec.3", "rec.4"])

    def test_empty(self) -> None:
        """A recording is not removed for the sake of later ones that hold nothing."""
        recordings = Recordings(self.clock, self.files(keep=2))
        for said in (b"first", b"second", b"third"):
            recorder = self.record(recordings)
            recorder.fromTarget(said)
            recorder.close()
            self.clock.pump([0, 1, 1])
        self.sessions("rec", 2, 3)
        self.assertEqual(self.names(), ["rec.2", "rec.3"])

    def test_template(self) -> None:
        """So are those that a template named."""
        self.sessions("{session}", 1, 2)
        self.assertEqual(self.names(), ["00000001"])

    def test_stillWritten(self) -> None:
        """A recording that is still being written, by whichever process, is not removed."""
        recordings = Recordings(self.clock, self.files(keep=1))
        recorder = self.record(recordings)
        for _ in range(3):
            self.record(recordings).close()
        self.assertEqual(self.names(), ["rec.1", "rec.4"])
        recorder.fromTarget(b"here")
        recorder.close()
        self.assertEqual(read(self.directory / "rec.1"), [Entry(False, 0, b"here")])

    def test_others(self) -> None:
        """What is no recording is not removed, whatever its name."""
        (self.directory / "rec.1").write_text("my own notes")
        (self.directory / "rec.2").symlink_to("rec.1")
        (self.directory / "record.3").write_bytes(HEAD + END)
        self.sessions("rec", 1, 3)
        self.assertEqual(self.names(), ["rec.1", "rec.2", "rec.5", "record.3"])

    def removedElsewhere(self, removed: list[str]) -> None:
        """From now on another process removes these whenever a directory has been read."""
        scandir = os.scandir

        @contextmanager
        def slow(directory: str) -> Iterator[list[Any]]:
            with scandir(directory) as entries:
                found = list(entries)
            for name in removed:
                (self.directory / name).unlink(missing_ok=True)
            yield found

        self.patch(os, "scandir", slow)

    def test_removedMeanwhile(self) -> None:
        """What another process has removed already is no trouble; nor does one that cannot be removed keep others."""
        self.sessions("rec", 0, 5)
        self.removedElsewhere(["rec.1", "rec.3"])
        self.files(keep=1).prune()
        self.assertEqual(self.names(), ["rec.5"])

        self.sessions("rec", 0, 3)
        remove = recordingfile._removeIfRecording

        def stubborn(path: str) -> None:
            if path.endswith(".5"):
                raise PermissionError(13, "Permission denied")
            os.unlink(path)
            remove(path)

        self.patch(recordingfile, "_removeIfRecording", stubborn)
        self.assertRaises(PermissionError, self.files(keep=1).prune)
        self.assertEqual(self.names(), ["rec.5", "rec.8"])

    def test_processes(self) -> None:
        """Several processes record into one directory and keep the newest, without a word of trouble."""
        words = [sys.executable, "-c", _PROCESS, str(self.directory / "rec")]
        processes = [subprocess.Popen(words, stderr=subprocess.PIPE) for _ in range(3)]
        self.assertEqual([process.communicate(timeout=60)[1] for process in processes], [b""] * 3)
        self.assertTrue(0 < len(self.names()) <= 5, self.names())


_PROCESS = """
import sys
from wsproxy.recording.file import RecordingFiles
from wsproxy.testing import makeSession
files = RecordingFiles(sys.argv[1], 3)
for number in range(200):
    files.create(makeSession(id=str(number))).close()
    files.prune()
"""


class BacklogTests(SynchronousTestCase):
    def test_order(self) -> None:
        """What goes in comes out, in order, over memory and spool and back, and the spool shrinks again."""
        path = self.mktemp()
        backlog = Backlog(lambda: Spool(FileIO(path, "x+"), Blocks()))
        expected: list[Entry] = []
        taken: list[Entry] = []
        for number in range(200):
            entry = Entry(number % 3 == 0, number, bytes([number]) * (number * 40))
            backlog.add(entry.fromClient, entry.milliseconds, [entry.data])
            expected.append(entry)
            self.assertEqual(backlog.size, sum(len(entry.data) for entry in expected[len(taken) :]))
            if number % 50 == 49:
                count = len(expected) - len(taken) if number == 149 else 10
                taken += [backlog.take() for _ in range(count)]
                self.assertEqual(bool(backlog), number != 149)
                if number == 149:
                    self.assertEqual(os.stat(path).st_size, 0)
        while backlog:
            taken.append(backlog.take())
        self.assertEqual(taken, expected)
        backlog.close()

    def test_memory(self) -> None:
        """However small the pieces, memory is bounded, and what fits in there needs no disk."""
        opened: list[FileIO] = []

        def openSpool() -> Spool:
            opened.append(FileIO(self.mktemp(), "x+"))
            return Spool(opened[0], Blocks())

        backlog = Backlog(openSpool)
        for _ in range(1000):
            backlog.add(False, 0, [b"x"])
        self.assertEqual(opened, [])
        for _ in range(1000):
            backlog.add(False, 0, [b"x"])
        self.assertEqual(len(opened), 1)
        backlog.close()
        self.assertTrue(opened[0].closed)
