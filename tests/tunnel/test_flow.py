"""How fast a direction goes, and who is told."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.ends.fake import FakeEnd
from tests.tunnel.tunnelcase import TunnelTestCase, binary
from wsproxy.ends.room import FASTEST
from wsproxy.tunnel.flow import ENOUGH, FREE, WINDOW, Flow

SLOW = 1_000_000
"""Bytes a second."""


class FlowTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.reader, self.writer = FakeEnd(), FakeEnd()
        self.writer.receiving = FASTEST
        self.failures = 0
        self.carried = 0
        self.flow = Flow(self.clock, self.reader, self.writer, 0, self.fail_)

    def fail_(self) -> None:
        self.failures += 1

    def go(self, rate: float, seconds: float, step: float = WINDOW) -> None:
        """The reader takes so much, and holds up the writer all the time."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            self.carried += round(rate * step)
            self.flow.drained(self.carried)

    def test_unknown(self) -> None:
        """Whoever has held up somebody for the first time may be fast all the same."""
        self.assertEqual((self.reader.sending, self.writer.receiving), (0, FASTEST))

    def test_known(self) -> None:
        """Both ends are told the rate, and told again when it is another."""
        for rate in (SLOW, SLOW * 10, SLOW / 3):
            self.go(rate, 0.2)
            self.assertApproximates(self.reader.sending / rate, 1, 0.01)
            self.assertEqual(self.writer.receiving, self.reader.sending)

    def test_fast(self) -> None:
        """Beyond what needs room all rates are the same, and a writer that was never told one is not told those."""
        self.writer.receiving = -1
        self.go(FASTEST * 50, 0.1)
        self.assertEqual((self.reader.sending, self.writer.receiving), (FASTEST, -1))
        self.reader.sending = 0
        self.go(FASTEST * 2, 5)
        self.assertEqual((self.reader.sending, self.writer.receiving), (0, -1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slowAndFast(self) -> None:
        """One that was told is told that it is fast now."""
        self.go(SLOW, 0.1)
        self.go(FASTEST * 2, 0.1)
        self.assertEqual((self.reader.sending, self.writer.receiving), (FASTEST, FASTEST))

    def test_burst(self) -> None:
        """Much at once is soon known to be fast."""
        self.flow.drained(ENOUGH - 1)
        self.assertEqual(self.reader.sending, 0)
        self.flow.drained(ENOUGH)
        self.assertEqual(self.reader.sending, FASTEST)

    def test_often(self) -> None:
        """What is drained many times in a moment is measured over the whole of it."""
        self.go(SLOW, 0.2, step=WINDOW / 7)
        self.assertApproximates(self.reader.sending / SLOW, 1, 0.01)

    def test_free(self) -> None:
        """A reader that holds up nobody leaves its writer free, two seconds later; until it does again."""
        self.go(SLOW, 5)
        self.assertEqual(self.writer.receiving, self.reader.sending)
        self.clock.pump([FREE, FREE])
        self.assertEqual(self.writer.receiving, FASTEST)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.go(SLOW, 0.2)
        self.assertApproximates(self.writer.receiving / SLOW, 1, 0.01)

    def test_stalled(self) -> None:
        """One that takes nothing for long is still the slower one, and nobody looks at it again and again."""
        self.go(SLOW, 1)
        told = self.writer.receiving
        self.reader.congested = True
        self.clock.pump([FREE] * 10)
        self.assertEqual(self.writer.receiving, told)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_fails(self) -> None:
        """A writer that raises later on is the tunnel's to deal with."""
        self.go(SLOW, WINDOW)
        self.patch(self.writer, "receiveAt", lambda rate: 1 / 0)
        self.clock.pump([FREE, FREE])
        self.assertEqual(self.failures, 1)

    def test_stop(self) -> None:
        """Nothing is left of one that is over."""
        self.go(SLOW, 0.1)
        self.flow.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TunnelFlowTests(TunnelTestCase):
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
