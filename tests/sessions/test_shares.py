"""What the sessions of an identity share."""

from __future__ import annotations

import gc

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.ends.fake import FakeEnd
from wsproxy.ends.end import Receiver
from wsproxy.ends.pacedend import PacedEnd
from wsproxy.sessions.shares import Shares


class SharesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.shares = Shares(Clock(), 1000)

    def test_same(self) -> None:
        """One identity has one bucket in each direction, and another one its own."""
        buckets = [self.shares.bucket(name, up) for name in ("alice", "bob") for up in (True, False)]
        self.assertEqual(len(set(buckets)), 4)
        self.assertIs(self.shares.bucket("alice", up=True), buckets[0])
        self.assertEqual({bucket.rate for bucket in buckets}, {1000})

    def test_freed(self) -> None:
        """Nothing is left of an identity when its last end has gone, without a garbage collector."""
        gc.disable()
        self.addCleanup(gc.enable)
        ends = [FakeEnd() for _ in range(2)]
        paced = [PacedEnd(end, self.shares.bucket("alice", up=True)) for end in ends]
        for each, end in zip(paced, ends, strict=True):
            each.start(Receiver(lambda data: None, lambda: None, lambda: None, lambda error: None))
            end.receive(bytes(5000))
        while paced:
            self.assertEqual(len(self.shares), 1)
            paced.pop().abort()
            ends.pop().lose()
        del each, end
        self.assertEqual(len(self.shares), 0)

    def test_change(self) -> None:
        """A new rate is that of those who are there, and of those who come."""
        here = self.shares.bucket("alice", up=True)
        self.shares.change(2000)
        self.assertEqual((here.rate, self.shares.bucket("bob", up=True).rate), (2000, 2000))
