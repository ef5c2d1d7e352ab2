"""The admin side over HTTP, in memory: what many who come, or one who asks without end, may take of it."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.admin.test_office import Workers
from tests.frontend.connection import responses
from tests.transport import FakeTransport
from wsproxy.admin.crew import Heard
from wsproxy.admin.history import History
from wsproxy.admin.levels import Levels
from wsproxy.admin.office import HEALTH, Office
from wsproxy.admin.site import IDLE, AdminSite
from wsproxy.admin.visits import WHOLE_WITHIN, Visits

ASKED = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class VisitsTests(SynchronousTestCase):
    """Of a site that anybody may ask."""

    def setUp(self) -> None:
        self.clock = Clock()
        crew = Workers()
        crew.heard = Heard(({"draining": False, "listening": True},))
        office = Office(crew, History(), Levels("info", lambda level: None), lambda: succeed(""))
        self.visits = Visits(self.clock, AdminSite(cast(Any, self.clock), office, HEALTH, None), 3)

    def come(self) -> FakeTransport:
        transport = FakeTransport()
        transport.connect(cast(Any, self.visits.buildProtocol(cast(Any, None))))
        self.addCleanup(transport.lose)
        return transport

    def turn(self) -> None:
        """One of the reactor's: what is put off to the next one is not done yet, as C{advance} would."""
        for call in self.clock.getDelayedCalls():
            if call.getTime() <= self.clock.seconds():
                due: Any = call
                function, arguments = due.func, due.args
                due.cancel()
                function(*arguments)

    def answers(self, transport: FakeTransport) -> int:
        return len(responses(transport.value()))

    def test_turns(self) -> None:
        """Of requests that came at once one is answered in a turn of the reactor, of any status, and in the end all."""
        wrong = b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for asked in (ASKED, wrong):
            transport = self.come()
            transport.receive(asked * 5)
            for turns in range(1, 6):
                self.turn()
                self.assertEqual(self.answers(transport), turns)
            self.turn()
            self.assertEqual((self.answers(transport), transport.aborted), (5, False))

    def test_half(self) -> None:
        """A request that does not come whole is waited for as long as at the front door, however it drips."""
        silent, half, later = (self.come() for _ in range(3))
        later.receive(ASKED)
        self.clock.advance(0)
        for _ in range(5):
            half.receive(b"GET /h")
            self.clock.advance(WHOLE_WITHIN / 5)
        self.assertEqual([each.aborted for each in (silent, half, later)], [True, True, False])
        later.receive(b"GET")
        self.clock.advance(WHOLE_WITHIN)
        self.assertTrue(later.aborted)

    def test_idle(self) -> None:
        """Whoever has been answered may ask again within a minute."""
        transport = self.come()
        for _ in range(2):
            transport.receive(ASKED)
            self.clock.advance(0)
            self.clock.advance(IDLE - 1)
        self.assertEqual((self.answers(transport), transport.aborted), (2, False))

    def test_most(self) -> None:
        """Where there are as many as may be, the oldest goes that is not being answered; whoever asks is answered."""
        first, *others = (self.come() for _ in range(3))
        first.receive(ASKED)
        fourth = self.come()
        self.assertEqual([each.aborted for each in (first, *others, fourth)], [False, True, False, False])
        self.clock.advance(0)
        self.assertEqual(self.answers(first), 1)
        for each in (first, others[1], fourth):
            each.receive(ASKED)
        self.assertIsNone(self.visits.buildProtocol(cast(Any, None)))
        self.clock.advance(0)
        self.assertEqual([self.answers(each) for each in (first, others[1], fourth)], [2, 1, 1])
