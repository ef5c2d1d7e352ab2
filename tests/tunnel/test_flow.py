"""How fast a direction goes, and who is told."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.ends.fake import FakeEnd
from tests.tunnel.tunnelcase import TunnelTestCase, binary
from wsproxy.ends.room import FASTEST
from wsproxy.tunnel.flow import ENOUGH, WINDOW, Flow

SLOW = 1_000_000
"""Bytes a second."""


class FlowTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.reader, self.writer = FakeEnd(), FakeEnd()
        self.carried = 0
        self.flow = Flow(self.clock, self.reader, self.writer, 0)

    def go(self, rate: float, seconds: float, step: float = WINDOW) -> None:
        """The reader takes so much, and holds up the writer all the time."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            self.carried += round(rate * step)
            self.flow.drained(self.carried)

    def test_unknown(self) -> None:
        """A little at once tells nothing, for it may be that the kernels on the way have taken it; much does."""
        self.flow.drained(ENOUGH - 1)
        self.assertEqual((self.reader.sending, self.writer.receiving), (0, 0))
        self.flow.drained(ENOUGH)
        self.assertEqual((self.reader.sending, self.writer.receiving), (FASTEST, FASTEST))

    def test_known(self) -> None:
        """Both ends are told the rate, and told again when it is another."""
        for rate in (SLOW, SLOW * 10, SLOW / 3):
            self.go(rate, 0.2)
            self.assertApproximates(self.reader.sending / rate, 1, 0.01)
            self.assertEqual(self.writer.receiving, self.reader.sending)

    def test_fast(self) -> None:
        """Beyond what needs room all rates are the same."""
        self.go(FASTEST * 50, 0.1)
        self.assertEqual((self.reader.sending, self.writer.receiving), (FASTEST, FASTEST))
        self.reader.sending = self.writer.receiving = 0
        self.go(FASTEST * 2, 5)
        self.assertEqual((self.reader.sending, self.writer.receiving), (0, 0))

    def test_again(self) -> None:
        """A writer's end that cannot keep less as yet is told again, until it can; the reader's is not."""
        self.go(FASTEST, 0.1)
        self.writer.settled = False
        self.go(SLOW, 0.1)
        self.reader.sending = self.writer.receiving = 0
        self.go(SLOW, 0.1)
        self.assertEqual((self.reader.sending, self.writer.receiving > 0), (0, True))
        self.writer.settled = True
        self.go(SLOW, 0.1)
        self.writer.receiving = 0
        self.go(SLOW, 0.1)
        self.assertEqual(self.writer.receiving, 0)

    def test_often(self) -> None:
        """What is drained many times in a moment is measured over the whole of it."""
        self.go(SLOW, 0.2, step=WINDOW / 7)
        self.assertApproximates(self.reader.sending / SLOW, 1, 0.01)


class TunnelFlowTests(TunnelTestCase):
    def test_first(self) -> None:
        """A target's end keeps little before anything is known, and before it has said anything."""
        self.target.receiving = -1
        self.connect()
        self.assertEqual(self.target.receiving, 0)

    def test_down(self) -> None:
        """A slow client keeps both ends short."""
        self.connect()
        for _ in range(10):
            self.client.congested = True
            self.target.receive(bytes(100_000))
            self.assertFalse(self.target.reading)
            self.clock.advance(0.1)
            self.client.drain()
        for rate in (self.client.sending, self.target.receiving):
            self.assertApproximates(rate / SLOW, 1, 0.01)

    def test_up(self) -> None:
        """A slow target keeps its own end short; the client's takes in what the kernel likes, for it is far away."""
        self.connect()
        for _ in range(10):
            self.target.congested = True
            self.client.receive(binary(bytes(100_000)))
            self.assertFalse(self.client.reading)
            self.clock.advance(0.1)
            self.target.drain()
            self.assertTrue(self.client.reading)
        self.assertApproximates(self.target.sending / SLOW, 1, 0.01)
        self.assertEqual(self.client.receiving, 0)
