"""Clients that come at once: how long they keep others waiting, and in what order they get in."""

from __future__ import annotations

import contextlib
import ssl
from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.frontend.connection import TLSClient
from tests.frontend.test_switch import GET, TIMEOUT, SwitchTestCase
from wsproxy.frontend.switch import WAITING_LIMIT
from wsproxy.frontend.turns import SLICE, Turns

STEP = SLICE * 0.4
"""Seconds that a step takes here: three fill a slice."""


class Loop(Clock):
    """One that calls what is due in a turn, and what that asks for in the next, as reactors do."""

    def turn(self) -> None:
        due, self.calls = self.calls, []
        for call in due:
            call.called = 1
            call.func(*call.args, **call.kw)


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Loop()
        self.turns = Turns(self.clock)
        self.taken: list[int] = []

    def step(self, number: int) -> None:
        self.taken.append(number)
        self.clock.rightNow += STEP  # time passes, and nothing else happens

    def take(self, number: int, begun: bool = False) -> bool:
        return self.turns.take(partial(self.step, number), begun)

    def turn(self) -> None:
        """The event loop's next."""
        self.clock.turn()

    def test_alone(self) -> None:
        """What comes now and then is done at once, and nothing is left to do."""
        for number in range(10):
            self.assertTrue(self.take(number))
            self.clock.advance(0.01)
        self.assertEqual(self.taken, [*range(10)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slices(self) -> None:
        """Of what comes at once, what fits into a slice is done in each turn, in order."""
        took = [self.take(number) for number in range(8)]
        self.assertEqual(took, [True] * 3 + [False] * 5)
        self.assertEqual(self.taken, [0, 1, 2])
        self.turn()
        self.assertEqual(self.taken, [*range(6)])
        self.assertEqual(self.turns.waiting, 2)
        self.turn()
        self.assertEqual(self.taken, [*range(8)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_queue(self) -> None:
        """Nobody overtakes those who wait, though there is time."""
        for number in range(5):
            self.take(number)
        self.clock.rightNow += 1
        self.assertFalse(self.take(5))
        self.turn()
        self.turn()
        self.assertEqual(self.taken, [*range(6)])

    def test_begun(self) -> None:
        """Who has begun goes first: what was done for them already is not to be in vain."""
        for number in range(5):
            self.take(number)
        self.take(5, begun=True)
        self.take(6, begun=True)
        self.turn()
        self.assertEqual(self.taken, [0, 1, 2, 5, 6, 3])

    def test_broken(self) -> None:
        """A step that fails in its turn is logged, and the others have theirs."""

        def fail() -> None:
            raise ZeroDivisionError

        for number in range(3):
            self.take(number)
        self.turns.take(fail, False)
        self.take(4)
        self.turn()
        self.assertEqual(self.taken, [0, 1, 2, 4])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class WaitingTests(SwitchTestCase):
    """Clients that wait for their turn."""

    def setUp(self) -> None:
        super().setUp()
        self.occupy()

    def occupy(self) -> None:
        """Others have had all of this turn."""
        self.factory.turns.take(partial(setattr, self.clock, "rightNow", self.clock.rightNow + 2 * SLICE), False)

    def hello(self) -> bytes:
        """What a client over TLS begins with."""
        client = TLSClient(self.connect(), self.clock)
        with contextlib.suppress(ssl.SSLWantReadError):
            client.tls.do_handshake()
        return client._outgoing.read()

    def test_http(self) -> None:
        """A request is answered in the next turn, and what has come behind it meanwhile is not lost."""
        connection = self.connect(GET)
        connection.send(GET)
        self.assertEqual(connection.told, b"")
        self.clock.advance(0)
        self.assertEqual(connection.told.count(b"plain"), 2)

    def test_ahead(self) -> None:
        """Who sends much ahead is not read for a while."""
        connection = self.connect(GET)
        connection.send(bytes(WAITING_LIMIT))
        self.assertEqual(connection.transport.producerState, "paused")
        self.clock.advance(0)
        self.assertEqual(connection.transport.producerState, "producing")

    def test_ended(self) -> None:
        """A client that says no more is answered, too."""
        connection = self.connect(GET)
        connection.transport.halfClose()
        self.clock.advance(0)
        self.assertIn(b"plain", connection.told)

    def test_tls(self) -> None:
        """Hands are shaken in the next turn."""
        connection = self.connect(self.hello())
        self.assertEqual(connection.told, b"")
        self.clock.advance(0)
        self.assertEqual(connection.told[:1], b"\x16")

    def test_patience(self) -> None:
        """To wait costs no time of the client's: there is no deadline until its turn has come, and then a new one."""
        connection = self.connect(GET[:2])
        [deadline] = self.clock.getDelayedCalls()
        self.clock.advance(TIMEOUT * 0.9)
        self.occupy()
        connection.send(GET[2:])
        [turn] = self.clock.getDelayedCalls()
        self.assertIsNot(turn, deadline)
        self.assertEqual(turn.getTime(), self.clock.seconds())
        self.clock.advance(0)
        self.assertIn(b"plain", connection.told)

    def test_gone(self) -> None:
        """Who has gone is passed over."""
        connection = self.connect(GET)
        connection.lose()
        self.clock.advance(0)
        self.assertEqual(connection.told, b"")

    def test_left(self) -> None:
        """Nobody shakes hands with one that has left, though it would still read."""
        connection = self.connect(self.hello())
        connection.transport.halfClose()
        self.clock.advance(0)
        self.assertEqual(connection.told, b"")
        self.assertTrue(connection.transport.disconnecting)
