"""One timer beats for every tunnel."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.ends.contract import KINDS
from wsproxy.tunnel.heartbeat import Heartbeat
from wsproxy.tunnel.tunnel import Tunnel


class FakeTunnel:
    """Remembers when it was called."""

    def __init__(self, clock: Clock, beaten: Any = None) -> None:
        self._clock = clock
        self._beaten = beaten
        self.beats: list[float] = []
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True

    def heartbeat(self) -> None:
        self.beats.append(self._clock.seconds())
        if self._beaten is not None:
            self._beaten()


class HeartbeatTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.heartbeat = Heartbeat(self.clock, 16.0)

    def add(self, beaten: Any = None) -> Tunnel:
        tunnel = cast(Tunnel, FakeTunnel(self.clock, beaten))
        self.heartbeat.add(tunnel)
        return tunnel

    def beats(self, tunnel: Tunnel) -> list[float]:
        return cast(FakeTunnel, tunnel).beats

    def wait(self, seconds: float) -> None:
        self.clock.pump([0.25] * int(seconds * 4))

    def test_interval(self) -> None:
        """Each tunnel hears once an interval, for the first time when it has been there for one."""
        tunnel = self.add()
        self.wait(64)
        self.assertEqual(self.beats(tunnel), [16, 32, 48, 64])

    def test_spread(self) -> None:
        """Tunnels that came at different times are not called at the same time."""
        first = self.add()
        self.wait(5.5)
        second = self.add()
        self.wait(40)
        self.assertEqual(self.beats(first), [16, 32])
        (one, two) = self.beats(second)
        self.assertEqual(two - one, 16)
        # the first may come early by a sixteenth
        self.assertTrue(5.5 + 15 <= one <= 5.5 + 16, one)

    def test_remove(self) -> None:
        """A tunnel that was removed is not called; the others are."""
        first, second = self.add(), self.add()
        self.wait(20)
        self.heartbeat.remove(first)
        self.wait(20)
        self.assertEqual(self.beats(first), [16])
        self.assertEqual(self.beats(second), [16, 32])

    def test_removeFromWithin(self) -> None:
        """A tunnel may go when it is called."""
        first: Tunnel = self.add(lambda: self.heartbeat.remove(first))
        second: Tunnel = self.add(lambda: self.heartbeat.remove(second))
        self.wait(40)
        self.assertEqual((self.beats(first), self.beats(second)), ([16], [16]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_raises(self) -> None:
        """One that raises is aborted, and called no more; the others are."""
        for kind in KINDS:
            with self.subTest(kind=kind):
                self.setUp()

                def beaten(kind: type[BaseException] = kind) -> None:
                    raise kind

                first, second = self.add(beaten), self.add()
                self.wait(40)
                self.assertEqual(len(self.flushLoggedErrors(kind)), 1)
                self.assertTrue(cast(FakeTunnel, first).aborted)
                self.assertEqual((self.beats(first), self.beats(second)), ([16], [16, 32]))

    def test_timer(self) -> None:
        """There is one timer however many tunnels there are, and none without any."""
        self.assertEqual(self.clock.getDelayedCalls(), [])
        tunnels = [self.add() for _ in range(100)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for tunnel in tunnels:
            self.heartbeat.remove(tunnel)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_again(self) -> None:
        """After a time without tunnels the next one is called like the first."""
        self.heartbeat.remove(self.add())
        self.wait(7)
        tunnel = self.add()
        self.wait(32)
        self.assertEqual(self.beats(tunnel), [23, 39])

    def test_none(self) -> None:
        """An interval of 0 is none: nothing runs."""
        heartbeat = Heartbeat(self.clock, 0.0)
        tunnel = cast(Tunnel, FakeTunnel(self.clock))
        heartbeat.add(tunnel)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        heartbeat.remove(tunnel)
