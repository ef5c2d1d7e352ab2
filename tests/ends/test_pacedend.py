"""An end that is read at a certain rate."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.ends.contract import EndContract, HalfContract, Recorder
from tests.ends.fake import FakeEnd
from tests.ends.test_ends import OverTLS, Pumped, PumpedTLS
from wsproxy.ends.bucket import BURST, MOMENT, Bucket
from wsproxy.ends.end import End
from wsproxy.ends.pacedend import PacedEnd
from wsproxy.ends.transport import TransportEnd

RATE = 10_000
BUCKET = round(RATE * BURST)


class Paced:
    """Before whichever end there is, at a rate that keeps many a byte for a while."""

    def adopt(self: Any, end: TransportEnd) -> End:
        from twisted.internet import reactor

        return PacedEnd(super().adopt(end), Bucket(reactor, 100e6))  # type: ignore[misc]  # a mixin


class PacedTransportTests(Paced, HalfContract, TestCase):
    """Before a transport's end."""


class PacedTransportOverTLSTests(Paced, OverTLS, EndContract, TestCase):
    """Before a transport's end over TLS."""


class PacedPumpTests(Paced, Pumped, HalfContract, TestCase):
    """Before a pumped end."""


class PacedPumpOverTLSTests(Paced, PumpedTLS, EndContract, TestCase):
    """Before a pumped end over TLS."""


class PacedEndTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.end = FakeEnd()
        self.recorder = Recorder()
        self.paced = PacedEnd(self.end, Bucket(self.clock, RATE))
        self.paced.start(self.recorder.receiver())

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def pump(self, seconds: float) -> None:
        self.clock.pump([MOMENT / 2 + 1e-9] * round(2 * seconds / MOMENT))

    def test_little(self) -> None:
        """What is less than the rate passes at once, and is read on."""
        for number in range(100):
            self.end.receive(bytes(1000))
            self.assertEqual(len(self.recorder.received), 1000 * (number + 1))
            self.assertTrue(self.end.reading)
            self.clock.advance(0.1)

    def test_rate(self) -> None:
        """What comes at once passes at the rate, in order, and nothing more is read meanwhile."""
        data = bytes(range(250)) * 200
        self.end.receive(data)
        self.assertEqual(len(self.recorder.received), BUCKET)
        self.assertFalse(self.end.reading)
        for second in range(1, 4):
            self.pump(1)
            self.assertApproximates(len(self.recorder.received), second * RATE + BUCKET, RATE * MOMENT)
        self.pump(2)
        self.assertEqual(self.recorder.received, data)
        self.assertTrue(self.end.reading)

    def test_kernel(self) -> None:
        """The kernel keeps little from the start, and is never told of a rate beyond it."""
        self.assertEqual(self.end.receiving, 0)
        self.paced.receiveAt(1e9)
        self.assertEqual(self.end.receiving, RATE)
        self.paced.receiveAt(1000)
        self.assertEqual(self.end.receiving, 1000)

    def test_pause(self) -> None:
        """While paused, nothing passes, nor is anybody waited for; then it goes on."""
        self.end.receive(bytes(RATE))
        self.paced.pause()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        before = len(self.recorder.received)
        self.pump(2)
        self.assertEqual(len(self.recorder.received), before)
        self.paced.resume()
        self.assertFalse(self.end.reading)
        self.pump(1)
        self.assertEqual(len(self.recorder.received), RATE)
        self.assertTrue(self.end.reading)

    def test_pausedWithin(self) -> None:
        """Whoever cannot take what passes says so then: the end is read again when they can."""
        self.recorder.onReceived = self.paced.pause
        self.end.receive(bytes(BUCKET + 1))
        self.assertFalse(self.end.reading)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.recorder.onReceived = lambda: None
        self.paced.resume()
        self.pump(1)
        self.assertEqual(len(self.recorder.received), BUCKET + 1)
        self.assertTrue(self.end.reading)

    def test_lastWords(self) -> None:
        """What is kept passes before the end, and before the loss, of the peer."""
        for leave, event in ((self.end.end, "ended"), (self.end.lose, "lost")):
            self.setUp()
            self.end.receive(bytes(RATE))
            getattr(self.end, leave.__name__)()
            self.assertEqual(len(self.recorder.received), RATE)
            self.assertEqual(self.recorder.events[-1], event)

    def test_abort(self) -> None:
        """Nothing is left of one that is aborted, and it says so."""
        self.end.receive(bytes(RATE))
        self.paced.abort()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.end.lose()
        self.assertEqual(self.recorder.events[-1], "lost")
        self.assertEqual(len(self.recorder.received), BUCKET)

    def test_lostWithin(self) -> None:
        """Whoever is told may have the end lost meanwhile: that was all."""
        self.end.prompt = True
        self.recorder.onReceived = self.paced.abort
        self.end.receive(bytes(RATE))
        self.assertEqual(self.recorder.events[-1], "lost")

    def test_raises(self) -> None:
        """What an end raises that was not asked by anybody ends it, whether it says so or not."""
        for mute in (False, True):
            self.setUp()
            self.end.prompt = True
            self.end.receive(bytes(BUCKET + 1))
            self.patch(self.end, "resume", lambda: 1 / 0)
            if mute:
                self.patch(self.end, "abort", lambda: 1 / 0)
            self.pump(1)
            self.assertEqual(self.recorder.events[-1], "lost")
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
