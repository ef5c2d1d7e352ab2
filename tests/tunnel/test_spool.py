"""Spools: what is written comes back, whoever writes it, and nothing stays behind."""

from __future__ import annotations

import os
import random
import resource
import signal
from collections.abc import Callable
from io import FileIO
from threading import enumerate as threads

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.tunnel import spool as module
from wsproxy.tunnel.spool import BLOCK, BLOCKS, Blocks, Spool


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
        """What the thread could not write fails the next write, and the next read; blocks are not lost by it."""
        spool = self.spool()
        spool.write([bytes(BLOCK)])
        self.blocks.work()
        with self.assertRaises(OSError):
            spool.write([b"more"])
        with self.assertRaises(OSError):
            spool.read(1)
        spool.close()
        self.assertEqual([self.blocks.take() for _ in range(BLOCKS)].count(None), 0)

    def test_ordinary(self) -> None:
        """Without the thread it fails at once."""
        self.patch(module, "_openDirect", lambda descriptor: None)
        with self.assertRaises(OSError):
            self.spool().write([bytes(BLOCK)])
