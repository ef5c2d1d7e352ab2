"""Log lines, and readers of all kinds."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.daemon.outlet import LIMIT, File, Outlet, Sink, sinkOf

LINE = b"x" * 99 + b"\n"


class Full:
    """A sink that takes what the test says."""

    def __init__(self) -> None:
        self.room = 0
        self.error: OSError | None = None
        self.taken = b""

    def fileno(self) -> int:
        return -1

    def send(self, data: bytes) -> int:
        if self.error is not None:
            raise self.error
        if not self.room:
            raise BlockingIOError
        taken = data[: self.room]
        self.room -= len(taken)
        self.taken += taken
        return len(taken)


class OutletTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.retries: list[Callable[[], None]] = []

    def outlet(self, sink: Sink) -> Outlet:
        return Outlet(sink, self.retries.append, lambda count: b"%d lost\n" % count)

    def retry(self) -> None:
        [again], self.retries[:] = self.retries[:], []
        again()


class WaitingTests(OutletTestCase):
    """A reader that takes nothing for a while."""

    def setUp(self) -> None:
        super().setUp()
        self.sink = Full()
        self.log = self.outlet(self.sink)

    def test_waits(self) -> None:
        """What it does not take now it gets later, in order, however it was divided."""
        self.log.write([b"one\n", b"two\n"])
        self.log.write([b"three\n"])
        self.assertEqual(len(self.retries), 1)
        for room in (3, 2, 100):
            self.sink.room = room
            self.retry()
        self.assertEqual(self.sink.taken, b"one\ntwo\nthree\n")
        self.log.write([b"four\n"])
        self.assertEqual(self.sink.taken, b"one\ntwo\nthree\nfour\n")
        self.assertEqual(self.retries, [])

    def test_lost(self) -> None:
        """What does not fit is lost, and counted: what waits is bounded."""
        count = LIMIT // len(LINE) + 5
        for _ in range(count):
            self.log.write([LINE])
        kept = LIMIT // len(LINE)
        self.sink.room = 10 * LIMIT
        self.retry()
        self.assertEqual(self.sink.taken, LINE * kept + b"5 lost\n")
        self.log.write([LINE])
        self.assertTrue(self.sink.taken.endswith(b"5 lost\n" + LINE))

    def test_needed(self) -> None:
        """What must not be lost is not."""
        for _ in range(LIMIT // len(LINE) + 5):
            self.log.write([LINE])
        self.log.write([b"needed\n"], needed=True)
        self.sink.room = 10 * LIMIT
        self.retry()
        self.assertTrue(self.sink.taken.endswith(LINE + b"needed\n5 lost\n"))

    def test_fullDisk(self) -> None:
        """Lines that fail are counted as well, and told of when there is room again; nobody fails because of them."""
        self.sink.error = OSError(28, "No space left on device")
        for _ in range(3):
            self.log.write([LINE])
        self.assertEqual(self.retries, [])
        self.sink.error, self.sink.room = None, 1000
        self.log.write([b"again\n"])
        self.assertEqual(self.sink.taken, b"again\n3 lost\n")

    def test_fullAgain(self) -> None:
        """The line that tells of losses is not the last that is known of them."""
        self.sink.error = OSError(28, "No space left on device")
        self.log.write([LINE, LINE])
        self.sink.error, self.sink.room = None, 6
        self.log.write([b"again\n"])  # and no room for more
        self.sink.error = OSError(28, "No space left on device")
        self.retry()
        self.sink.error, self.sink.room = None, 1000
        self.log.write([b"more\n"])
        self.assertEqual(self.sink.taken, b"again\nmore\n2 lost\n")


    def test_torn(self) -> None:
        """A line of which the disk took half is written to its end before another; nobody waits for that at the end."""
        self.sink.room = 40
        self.log.write([LINE])
        self.sink.error = OSError(28, "No space left on device")
        self.retry()
        self.log.write([LINE])
        self.log.finish(60)
        self.sink.error, self.sink.room = None, 1000
        self.log.write([b"again\n"])
        self.assertEqual(self.sink.taken, LINE + b"again\n1 lost\n")

    def test_tornAndReopened(self) -> None:
        """In another file such a line does not go on."""
        self.sink.room = 40
        self.log.write([LINE])
        self.sink.error = OSError(28, "No space left on device")
        self.retry()
        self.log.reopened()
        self.sink.taken = b""
        self.sink.error, self.sink.room = None, 1000
        self.log.write([b"again\n"])
        self.assertEqual(self.sink.taken, b"again\n1 lost\n")


class SinkTests(OutletTestCase):
    """The real ones, of which nobody waits for a reader."""

    def fill(self, sink: Sink) -> None:
        """Write until it takes no more."""
        log = self.outlet(sink)
        for _ in range(10 * LIMIT // len(LINE)):
            log.write([LINE])
        self.assertEqual(len(self.retries), 1)

    def pipe(self) -> tuple[int, int]:
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        return reader, writer

    def test_pipe(self) -> None:
        """A pipe takes what goes into it; for others that have it, it blocks as before."""
        reader, writer = self.pipe()
        self.fill(sinkOf(writer))
        self.assertTrue(os.get_blocking(writer))
        self.assertTrue(os.read(reader, 1000).startswith(LINE))

    def test_pipeThatCannotBeReopened(self) -> None:
        """So does one of another user."""
        _, writer = self.pipe()

        def refuse(*arguments: object) -> int:
            raise PermissionError(13, "Permission denied")

        self.patch(os, "open", refuse)
        self.fill(sinkOf(writer))
        self.assertTrue(os.get_blocking(writer))

    def test_terminal(self) -> None:
        """So does a terminal that was stopped."""
        main, terminal = os.openpty()
        self.addCleanup(os.close, main)
        self.addCleanup(os.close, terminal)
        self.fill(sinkOf(terminal))
        self.assertTrue(os.get_blocking(terminal))

    def test_socket(self) -> None:
        """So does a socket, as systemd gives one."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        self.fill(sinkOf(ours.fileno()))
        self.assertTrue(os.get_blocking(ours.fileno()))

    def test_gone(self) -> None:
        """A reader that has gone is nobody's concern."""
        reader, writer = os.pipe()
        log = self.outlet(sinkOf(writer))
        os.close(reader)
        self.addCleanup(os.close, writer)
        log.write([LINE])
        self.assertEqual(self.retries, [])

    def test_slow(self) -> None:
        """In the end a reader that is slow is waited for, and one that does not read is not."""
        reader, writer = self.pipe()
        log = self.outlet(sinkOf(writer))
        log.write([LINE] * 2000)
        log.finish(0.1)
        os.set_blocking(reader, False)
        received = b""
        for _ in range(100):
            try:
                received += os.read(reader, LIMIT)
            except BlockingIOError:
                break
            log.finish(0)
        self.assertEqual(received, LINE * 2000)


class FileTests(OutletTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp())
        self.file = File(str(self.path))
        self.log = self.outlet(self.file)

    def test_appends(self) -> None:
        """What is there is kept, and what is cut off is gone."""
        self.log.write([b"one\n"])
        self.outlet(File(str(self.path))).write([b"two\n"])
        self.assertEqual(self.path.read_bytes(), b"one\ntwo\n")
        os.truncate(self.path, 0)
        self.log.write([b"three\n"])
        self.assertEqual(self.path.read_bytes(), b"three\n")

    def test_reopened(self) -> None:
        """Renamed, it is written to until it is opened anew."""
        old = self.path.with_name("old")
        self.path.rename(old)
        self.log.write([b"one\n"])
        self.file.reopen()
        self.log.write([b"two\n"])
        self.assertEqual((old.read_bytes(), self.path.read_bytes()), (b"one\n", b"two\n"))

    def test_notReopened(self) -> None:
        """Where that is not possible, the old one goes on."""
        old = self.path.with_name("old")
        self.path.rename(old)
        self.path.mkdir()
        self.assertRaises(OSError, self.file.reopen)
        self.log.write([b"one\n"])
        self.assertEqual(old.read_bytes(), b"one\n")

    def test_fifo(self) -> None:
        """A FIFO that nobody reads does not keep the start."""
        path = self.mktemp()
        os.mkfifo(path)
        self.outlet(File(path)).write([LINE])
