"""Spools: what is written comes back, whoever writes it, and nothing stays behind."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
from collections.abc import Callable
from io import FileIO
from threading import Thread
from threading import enumerate as threads
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.recording import spool as module
from wsproxy.recording.spool import BLOCK, BLOCKS, Blocks, Spool


class HeldBlocks(Blocks):
    """Its thread does what it is given when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Callable[[], None]] = []

    def submit(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def work(self) -> None:
        while self.jobs:
            self.jobs.pop(0)()


class SpoolTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.blocks = HeldBlocks()

    def spool(self, blocks: Blocks | None = None) -> Spool:
        self.file = FileIO(self.mktemp(), "x+")
        return Spool(self.file, blocks or self.blocks)

    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self.file.fileno()).st_size

    def assertFaithful(self, spool: Spool, then: Callable[[], None]) -> None:
        """What goes in comes out, in pieces of any size; C{then} is called after each step."""
        chance = random.Random(7)
        data = chance.randbytes(3 * BLOCK)
        written = read = 0
        while read < len(data):
            size = min(chance.choice((1, 13, 4096, 65536, 300_000, BLOCK + 5)), len(data) - written)
            if size:
                cut = chance.randrange(size + 1)
                whole = memoryview(data)[written : written + size]
                spool.write([whole[:cut], bytes(whole[cut:])])
                written += size
            then()
            size = min(chance.choice((0, 1, 13, 65536, BLOCK)), written - read)
            self.assertEqual(spool.read(size), data[read : read + size])
            read += size
            self.assertEqual(bool(spool), read < written)
            then()
        self.assertEqual(written, len(data))


class OrderTests(SpoolTestCase):
    """First in, first out."""

    def test_unwritten(self) -> None:
        """What no thread has written yet is read from memory."""
        spool = self.spool()
        self.assertFaithful(spool, lambda: None)
        self.assertEqual(self.size(), 0)
        self.assertTrue(self.blocks.jobs)

    def test_written(self) -> None:
        """What has been written is read from the file, which is empty again in the end."""
        spool = self.spool()
        self.assertFaithful(spool, self.blocks.work)
        self.assertEqual(self.size(), 0)

    def test_thread(self) -> None:
        """So it is with a real thread, which goes when it is let go."""
        before = set(threads())
        blocks = Blocks()
        spool = self.spool(blocks)
        self.assertFaithful(spool, lambda: None)
        [thread] = set(threads()) - before
        spool.close()
        blocks.rest()
        thread.join(30)
        self.assertEqual((thread.is_alive(), self.file.closed), (False, True))

    def test_ordinary(self) -> None:
        """Where a file cannot be written directly, it is written at once."""
        self.patch(module, "_openDirect", lambda descriptor: None)
        self.assertFaithful(self.spool(), lambda: None)
        self.assertEqual(self.blocks.jobs, [])

    def test_again(self) -> None:
        """Once empty, it begins anew."""
        spool = self.spool()
        for _ in range(3):
            spool.write([b"x" * (BLOCK + 1)])
            self.blocks.work()
            self.assertEqual(spool.read(BLOCK + 1), b"x" * (BLOCK + 1))
            self.assertEqual((bool(spool), self.size()), (False, 0))


class BlockTests(SpoolTestCase):
    """The memory."""

    def test_noneLeft(self) -> None:
        """When the thread is behind with all blocks, what comes then is written without it, and in its place."""
        spool = self.spool()
        pieces = [bytes([number]) * BLOCK for number in range(BLOCKS + 3)]
        for piece in pieces:
            spool.write([piece])
        self.assertEqual(len(self.blocks.jobs), BLOCKS - 1)
        self.assertEqual([spool.read(BLOCK) for _ in pieces], pieces)
        self.assertIsNone(self.blocks.take())
        self.blocks.work()
        self.assertIsNotNone(self.blocks.take())

    def test_noneAtFirst(self) -> None:
        """One that begins when there is none left is written without, until it is empty."""
        others = [self.blocks.take() for _ in range(BLOCKS)]
        spool = self.spool()
        spool.write([b"one", b"two"])
        self.assertEqual(self.size(), 6)
        for block in others:
            assert block is not None
            self.blocks.give(block)
        spool.write([b"three"])
        self.assertEqual((self.size(), spool.read(11)), (11, b"onetwothree"))
        spool.write([b"four"])
        self.assertEqual((self.size(), spool.read(4)), (0, b"four"))

    def test_returned(self) -> None:
        """An empty spool and a closed one hold none, whatever the thread still has to do."""
        empty, closed = self.spool(), self.spool()
        for spool in (empty, closed):
            spool.write([bytes(3 * BLOCK + 1)])
        self.blocks.work()
        empty.read(3 * BLOCK + 1)
        closed.write([bytes(BLOCK)])
        closed.close()
        self.assertFalse(self.file.closed)
        self.blocks.work()
        self.assertTrue(self.file.closed)
        self.assertEqual(len([self.blocks.take() for _ in range(BLOCKS)]), BLOCKS)
        self.assertIsNone(self.blocks.take())


class FullTests(SpoolTestCase):
    """A disk that takes no more."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(signal.signal, signal.SIGXFSZ, signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, limits)
        resource.setrlimit(resource.RLIMIT_FSIZE, (BLOCK // 2, limits[1]))

    def test_thread(self) -> None:
        """What the thread could not write is read from memory, and nothing more is taken; blocks are not lost by it."""
        spool = self.spool()
        data = random.Random(1).randbytes(2 * BLOCK + 5)
        spool.write([data])
        self.blocks.work()
        for _ in range(2):
            with self.assertRaises(OSError):
                spool.write([b"more"])
        self.assertEqual((spool.left, spool.read(BLOCK + 1)), (len(data), data[: BLOCK + 1]))
        self.assertEqual(spool.read(BLOCK + 4), data[BLOCK + 1 :])
        self.assertFalse(spool)
        self.assertEqual(self.free(), BLOCKS)
        with self.assertRaises(OSError):
            spool.write([b"more"])
        spool.close()

    def test_closed(self) -> None:
        """Closed with blocks that could not be written, it gives them back as well, whatever is still to be tried."""
        spool = self.spool()
        spool.write([bytes(3 * BLOCK)])
        self.blocks.jobs.pop(0)()
        spool.close()
        self.assertEqual((bool(spool), self.file.closed), (False, False))
        self.blocks.work()
        self.assertEqual((self.free(), self.file.closed), (BLOCKS, True))

    def test_ordinary(self) -> None:
        """Without the thread it fails at once, and what was written before can be read."""
        self.patch(module, "_openDirect", lambda descriptor: None)
        spool = self.spool()
        spool.write([bytes(BLOCK // 4), b"last"])
        with self.assertRaises(OSError):
            spool.write([b"all or nothing", bytes(BLOCK)])
        self.assertEqual(spool.left, BLOCK // 4 + 4)
        self.assertEqual(spool.read(BLOCK // 4 + 4)[-4:], b"last")
        self.assertFalse(spool)
        spool.close()

    def test_torn(self) -> None:
        """So it is when the disk fills in the midst of what is written, with no block left for it."""
        spool = self.spool()
        spool.write([b"before"])
        others = [self.blocks.take() for _ in range(BLOCKS - 1)]
        self.assertNotIn(None, others)
        with self.assertRaises(OSError):
            spool.write([bytes(BLOCK - 10), b"more than there is room for"])
        self.assertEqual((spool.left, spool.read(6), bool(spool)), (6, b"before", False))
        spool.close()

    def test_noThread(self) -> None:
        """A thread that cannot be had is a disk that takes no more."""

        def refuse(thread: Thread) -> None:
            raise RuntimeError("can't start new thread")

        self.patch(Thread, "start", refuse)
        blocks = Blocks()
        spool = self.spool(blocks)
        spool.write([b"before"])
        with self.assertRaises(OSError):
            spool.write([bytes(BLOCK)])
        self.assertEqual(spool.read(6), b"before")
        spool.close()
        self.assertNotIn(None, [blocks.take() for _ in range(BLOCKS)])

    def free(self) -> int:
        """Blocks that can be had."""
        taken = list(iter(self.blocks.take, None))
        for block in taken:
            self.blocks.give(block)
        return len(taken)


class ShorterTests(SpoolTestCase):
    """The newest makes room for the oldest."""

    def test_shorter(self) -> None:
        """What is in the file goes, the newest first, a block at least or a part at a time; the rest is still there."""
        data = random.Random(2).randbytes(5 * BLOCK + 17)
        spool = self.spool()
        spool.write([data])
        self.blocks.work()
        self.assertEqual((spool.left, self.size()), (len(data), 5 * BLOCK))
        self.assertEqual(spool.read(10), data[:10])
        self.assertTrue(spool.shorten())
        self.assertEqual((spool.left, self.size()), (4 * BLOCK - 10, 4 * BLOCK))
        self.assertEqual(spool.read(4 * BLOCK - 10), data[10 : 4 * BLOCK])
        self.assertFalse(spool.shorten())
        with self.assertRaises(OSError):
            spool.write([b"more"])
        spool.close()
        self.assertTrue(self.file.closed)

    def test_nothing(self) -> None:
        """What is in memory alone makes no room, and stays."""
        spool = self.spool()
        spool.write([b"here"])
        self.assertFalse(spool.shorten())
        self.assertEqual(spool.read(4), b"here")
        spool.close()


class AnyOrderTests(SynchronousTestCase):
    """Writing, reading, the thread's turns and a disk that fails, in any order."""

    def setUp(self) -> None:
        self.failing = False
        self.patch(module, "BLOCK", 8192)
        self.patch(os, "pwrite", self.failingly(os.pwrite))
        self.patch(os, "pwritev", self.failingly(os.pwritev))

    def failingly(self, write: Callable[..., int]) -> Callable[..., int]:
        def fail(descriptor: int, data: Any, offset: int) -> int:
            if self.failing and offset % 3:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return write(descriptor, data[: len(data) // 2] if self.failing else data, offset)

        return fail

    def test_faithful(self) -> None:
        """What was taken comes out as it was, up to where the disk failed or it was shortened; no block is lost."""
        for seed in range(300):
            self.failing = False
            self.play(random.Random(seed))

    def play(self, chance: random.Random) -> None:
        count = chance.choice((1, 2, 3, 8))
        with patch.object(module, "BLOCKS", count):
            blocks = HeldBlocks()
            spool = Spool(FileIO(self.mktemp(), "x+"), blocks)
            taken, read = bytearray(), 0
            refused = shortened = False
            for _ in range(chance.randrange(80)):
                match chance.choice("wwwwrrrttfs" if len(taken) > 50_000 else "wwwwrrrttf"):
                    case "w":
                        buffers = [chance.randbytes(chance.choice((1, 13, 4096, 9000, 30_000))) for _ in range(2)]
                        try:
                            spool.write(buffers)
                        except OSError:
                            refused = True
                        else:
                            self.assertFalse(refused)
                            taken += b"".join(buffers)
                    case "r":
                        size = chance.randint(0, spool.left)
                        self.assertEqual(spool.read(size), taken[read : read + size])
                        read += size
                    case "t":
                        if blocks.jobs:
                            blocks.jobs.pop(0)()
                    case "f":
                        self.failing = chance.random() < 0.3
                    case "s":
                        spool.shorten()
                        refused = shortened = True
                self.assertTrue(shortened or spool.left == len(taken) - read)
            left = spool.left
            self.assertEqual(spool.read(left), taken[read : read + left])
            spool.close()
            blocks.work()
            free = list(iter(blocks.take, None))
            self.assertEqual((len(free), len({id(block.obj) for block in free})), (count, count))
