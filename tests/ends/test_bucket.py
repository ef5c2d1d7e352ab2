"""Ends that share a rate."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.ends.contract import Recorder
from tests.ends.fake import FakeEnd
from wsproxy.ends.bucket import BURST, LEAST, MOMENT, Bucket
from wsproxy.ends.pacedend import PacedEnd

RATE = 100_000
READ = 50_000
"""Bytes that each read brings."""


class Sharing:
    """One of several, whose peer says as much as is read, or as it likes to."""

    def __init__(self, bucket: Bucket) -> None:
        self.end = FakeEnd()
        self.recorder = Recorder()
        self.paced = PacedEnd(self.end, bucket)
        self.paced.start(self.recorder.receiver())

    def say(self, data: bytes = bytes(READ)) -> None:
        if self.end.reading:
            self.end.receive(data)

    @property
    def told(self) -> int:
        return len(self.recorder.received)


class BucketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.bucket = Bucket(self.clock, RATE)

    def sharing(self, count: int) -> list[Sharing]:
        return [Sharing(self.bucket) for _ in range(count)]

    def go(self, seconds: float, *talkers: Sharing) -> list[int]:
        """@return: what was told of each of them meanwhile."""
        before = [talker.told for talker in talkers]
        for _ in range(round(seconds / MOMENT)):
            for talker in talkers:
                talker.say()
            self.clock.advance(MOMENT + 1e-9)
        return [talker.told - size for talker, size in zip(talkers, before, strict=True)]

    def test_equal(self) -> None:
        """As many as there are have equal parts, and all of it together."""
        for count in (1, 2, 3, 40):
            self.setUp()
            talkers = self.sharing(count)
            self.go(BURST, *talkers)
            parts = self.go(10, *talkers)
            self.assertApproximates(sum(parts), 10 * RATE, RATE / 20)
            for part in parts:
                self.assertApproximates(part, 10 * RATE / count, 10 * RATE / count / 10)

    def test_comesAndGoes(self) -> None:
        """What one has was the others' until it came, and is again when it has gone."""
        first, second = self.sharing(2)
        self.go(1, first)
        self.assertApproximates(self.go(1, first)[0], RATE, RATE / 20)
        for part in self.go(1, first, second):
            self.assertApproximates(part, RATE / 2, RATE / 10)
        second.paced.abort()
        second.end.lose()
        self.assertApproximates(self.go(1, first)[0], RATE, RATE / 20)

    def test_deaf(self) -> None:
        """Who is not read, as nobody takes what it says, has no part, whatever it said; nor has who says nothing."""
        talker, deaf, mute = self.sharing(3)
        self.go(1, talker, deaf)
        deaf.paced.pause()
        parts = self.go(10, talker, deaf)
        self.assertApproximates(parts[0], 10 * RATE, RATE / 10)
        self.assertEqual((parts[1], mute.told), (0, 0))
        deaf.paced.resume()
        for part in self.go(1, talker, deaf):
            self.assertApproximates(part, RATE / 2, RATE / 10)

    def test_slow(self) -> None:
        """What one cannot take is the others'."""
        talker, slow = self.sharing(2)
        slow.recorder.onReceived = slow.paced.pause
        before = talker.told
        for _ in range(10):
            slow.paced.resume()
            self.go(1, talker, slow)
        self.assertLess(slow.told, 3 * RATE)
        self.assertApproximates(talker.told - before, 10 * RATE - slow.told, RATE / 2)

    def test_little(self) -> None:
        """Who says little has to wait for one turn at most, whoever else waits."""
        *talkers, little = self.sharing(4)
        self.go(1, *talkers)
        for number in range(1, 20):
            little.say(bytes(100))
            self.go(MOMENT, *talkers)
            self.assertEqual(little.told, 100 * number)

    def test_slowRate(self) -> None:
        """Many of little have their turns one after the other, in pieces that are worth it."""
        self.bucket.rate = 10 * LEAST
        talkers = self.sharing(20)
        self.go(1, *talkers)
        pieces = self.go(2, *talkers)
        self.assertEqual(len([piece for piece in pieces if piece]), 20)
        self.assertApproximates(sum(pieces), 20 * LEAST, 2 * LEAST)

    def test_lastWords(self) -> None:
        """What could not wait is the less for the others, but they wait no longer for that than a burst takes."""
        talker, *leaving = self.sharing(3)
        self.go(1, talker, *leaving)
        for each in leaving:
            each.say()
            each.end.lose()
        self.assertEqual(self.go(BURST / 2, talker), [0])
        self.assertGreater(self.go(BURST * 2, talker)[0], 0)

    def test_change(self) -> None:
        """Another rate holds from the next turn on, and none lets everything pass."""
        talkers = self.sharing(2)
        self.go(1, *talkers)
        self.bucket.rate = 2 * RATE
        self.assertApproximates(sum(self.go(5, *talkers)), 10 * RATE, RATE)
        self.bucket.rate = RATE / 10
        self.assertApproximates(sum(self.go(10, *talkers)), RATE, RATE / 10)
        self.bucket.rate = 0
        self.go(MOMENT, *talkers)
        self.assertEqual(self.go(1, *talkers), [READ * round(1 / MOMENT)] * 2)
        self.assertTrue(all(talker.end.reading for talker in talkers))

    def test_nobody(self) -> None:
        """Nothing is left to do when those who wait are gone."""
        talkers = self.sharing(3)
        self.go(1, *talkers)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for talker in talkers:
            talker.paced.abort()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_within(self) -> None:
        """Whoever is told may do something to the others meanwhile."""
        first, second, third = self.sharing(3)
        self.go(1, first, second, third)

        def received() -> None:
            second.paced.abort()
            third.paced.pause()

        first.recorder.onReceived = received
        self.assertApproximates(self.go(5, first, second, third)[0], 5 * RATE, RATE)
