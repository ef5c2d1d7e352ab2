"""How several taps come to watch one tunnel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.ends.end import Buffer
from wsproxy.tunnel.tap import closeTap, joinTaps

SESSION: Any = SimpleNamespace(id="0000beef")


class Tap:
    """Says what it is told. Broken, it does not say that it was closed."""

    def __init__(self, say: Callable[[str], None], broken: bool = False) -> None:
        self._say = say
        self._broken = broken

    def fromClient(self, payload: Sequence[Buffer], partial: bool) -> None:
        self._say(f"fromClient {payload!r} {partial}")

    def toTarget(self, congested: bool) -> None:
        self._say(f"toTarget {congested}")

    def fromTarget(self, data: Buffer) -> None:
        self._say(f"fromTarget {data!r}")

    def toClient(self, congested: bool) -> None:
        self._say(f"toClient {congested}")

    def close(self) -> None:
        if self._broken:
            raise ZeroDivisionError
        self._say("close")


class TapTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.said: list[str] = []
        self.tap = Tap(self.said.append)

    def fail_(self, session: object) -> Tap:
        raise ZeroDivisionError

    def test_none(self) -> None:
        """A session that nobody watches has no tap."""
        self.assertIsNone(joinTaps([], SESSION))
        self.assertIsNone(joinTaps([lambda session: None], SESSION))

    def test_one(self) -> None:
        """One tap has nothing put before it."""
        self.assertIs(joinTaps([lambda session: None, lambda session: self.tap], SESSION), self.tap)

    def test_several(self) -> None:
        """Each is told all, in their order."""
        taps = joinTaps([lambda session: self.tap, lambda session: Tap(self.said.append)], SESSION)
        assert taps is not None
        taps.fromClient([b"up"], True)
        taps.toTarget(False)
        taps.fromTarget(b"down")
        taps.toClient(True)
        taps.close()
        wanted = ["fromClient [b'up'] True", "toTarget False", "fromTarget b'down'", "toClient True", "close"]
        self.assertEqual(self.said, [line for line in wanted for _ in range(2)])

    def test_broken(self) -> None:
        """A factory that raises is logged and told of; the others' taps watch."""
        broken: list[None] = []
        tap = joinTaps([self.fail_, lambda session: self.tap], SESSION, lambda: broken.append(None))
        self.assertEqual((tap, len(broken)), (self.tap, 1))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_close(self) -> None:
        """A tap that cannot be closed is logged, and keeps no other from being closed."""
        bad = Tap(self.said.append, broken=True)
        taps = joinTaps([lambda session: bad, lambda session: self.tap], SESSION)
        assert taps is not None
        closeTap(taps, "0000beef")
        closeTap(bad, "0000beef")
        self.assertEqual(self.said, ["close"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
