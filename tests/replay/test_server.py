"""Playing a recording to clients."""

from __future__ import annotations

import math
from itertools import starmap
from pathlib import Path

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.recording.format import END, HEAD, Entry, encodeEntry
from wsproxy.replay.server import Player, PlayerFactory

ENTRIES = [
    Entry(False, 0, b"RFB"),
    Entry(True, 100, b"never sent"),
    Entry(False, 2000, b"one"),
    Entry(False, 2000, b"two"),
    Entry(True, 3000, b"bye"),
]


class PlayerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.clock = Clock()
        self.errors: list[Exception] = []
        self.write(b"".join(starmap(encodeEntry, ENTRIES)) + END)

    def write(self, lines: bytes) -> None:
        self.path.write_bytes(HEAD + lines)

    def play(self, speed: float = 1) -> tuple[Player, StringTransport]:
        player = PlayerFactory(str(self.path), self.clock, speed, self.errors.append).buildProtocol(None)
        transport = StringTransport()
        player.makeConnection(transport)
        self.clock.advance(0)
        return player, transport

    def test_times(self) -> None:
        """The target's bytes come at their times; the client's do not, but they take their time."""
        _, transport = self.play()
        self.assertEqual(transport.value(), b"RFB")
        self.clock.pump([1.9])
        self.assertEqual(transport.value(), b"RFB")
        self.clock.pump([0.1])
        self.assertEqual(transport.value(), b"RFBonetwo")
        self.clock.pump([0.9])
        self.assertFalse(transport.disconnecting)
        self.clock.pump([0.1])
        self.assertTrue(transport.disconnecting)
        self.assertIsNone(transport.producer)

    def test_speed(self) -> None:
        """Twice as fast, it takes half of the time."""
        _, transport = self.play(2)
        self.clock.pump([0.9])
        self.assertEqual(transport.value(), b"RFB")
        self.clock.pump([0.1, 0.5])
        self.assertEqual(transport.value(), b"RFBonetwo")
        self.assertTrue(transport.disconnecting)

    def test_maximum(self) -> None:
        """At the highest speed it takes no time."""
        _, transport = self.play(math.inf)
        self.assertEqual(transport.value(), b"RFBonetwo")
        self.assertTrue(transport.disconnecting)
        self.assertEqual(self.clock.seconds(), 0)

    def test_slowClient(self) -> None:
        """A client that does not keep up is waited for, and then gets what is overdue at once."""
        player, transport = self.play()
        player.pauseProducing()
        self.clock.pump([2, 10])
        self.assertEqual(transport.value(), b"RFB")
        player.resumeProducing()
        self.clock.pump([0])
        self.assertEqual(transport.value(), b"RFBonetwo")
        self.assertTrue(transport.disconnecting)

    def test_pauseBetween(self) -> None:
        """A pause that is over before the next bytes are due changes nothing."""
        player, transport = self.play()
        player.pauseProducing()
        player.resumeProducing()
        self.clock.pump([2])
        self.assertEqual(transport.value(), b"RFBonetwo")

    def test_clientLeaves(self) -> None:
        """Nothing is left to do when the client has gone."""
        player, _ = self.play()
        player.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clientTalks(self) -> None:
        """What the client says changes nothing."""
        player, transport = self.play(math.inf)
        player.dataReceived(b"anything")
        self.assertEqual(transport.value(), b"RFBonetwo")

    def test_eachFromTheStart(self) -> None:
        """Each client is played the whole recording."""
        self.play(math.inf)
        _, transport = self.play(math.inf)
        self.assertEqual(transport.value(), b"RFBonetwo")

    def test_cut(self) -> None:
        """A recording that was cut off is played as far as it goes."""
        self.write(b"'{0{whole',\n'{0{par\\x")
        _, transport = self.play(math.inf)
        self.assertEqual(transport.value(), b"wholepar")
        self.assertTrue(transport.disconnecting)

    def test_damaged(self) -> None:
        """A recording with a damaged line is played to there; then the connection breaks, and it is told why."""
        self.write(b"'{0{whole',\nnonsense\n")
        _, transport = self.play(math.inf)
        self.assertEqual(transport.value(), b"whole")
        self.assertTrue(transport.disconnected)
        self.assertEqual([str(error) for error in self.errors], ["line 3 is not an entry"])
