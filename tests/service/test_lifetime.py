"""When a proxy ends by itself."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.config import LifetimeConfig
from wsproxy.errors import Close
from wsproxy.interfaces import Ending, IObserver
from wsproxy.service.lifetime import Lifetime
from wsproxy.sessions.sessions import Sessions
from wsproxy.testing import makeSession


class FakeSessions:
    """Counts sessions that a test opens and closes, in the order in which the real ones tell it."""

    def __init__(self) -> None:
        self.count = 0
        self.session = makeSession()
        self.refusing: str | None = None
        self.observers: list[IObserver] = []

    def __len__(self) -> int:
        return self.count

    def observe(self, observer: IObserver) -> None:
        self.observers.append(observer)

    def refuseNew(self, reason: str) -> None:
        self.refusing = reason

    def open(self) -> None:
        self.count += 1
        for observer in self.observers:
            observer.opened(self.session)

    def close(self) -> None:
        self.count -= 1
        for observer in self.observers:
            observer.closed(self.session, Ending("client", Close(1000)))


class LifetimeTests(SynchronousTestCase):
    def begin(self, **settings: Any) -> None:
        self.clock = Clock()
        self.sessions = FakeSessions()
        self.calls: list[str] = []
        self.lifetime = Lifetime(
            self.clock,
            LifetimeConfig(**settings),
            cast(Sessions, self.sessions),
            lambda: self.calls.append("stop listening"),
            lambda: self.calls.append("stop"),
        )
        self.lifetime.start()

    def tearDown(self) -> None:
        """However it ends, no timer is left behind."""
        self.lifetime.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def assertTakesNoMore(self) -> None:
        self.assertEqual(self.calls, ["stop listening"])
        self.assertEqual(self.sessions.refusing, "No more sessions are accepted")

    def assertStopped(self) -> None:
        self.assertEqual(self.calls, ["stop listening", "stop"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_forEver(self) -> None:
        """Without these options a proxy does not end by itself."""
        self.begin()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.sessions.open()
        self.sessions.close()
        self.assertEqual((self.calls, self.sessions.refusing), ([], None))

    def test_runOnce(self) -> None:
        """The first session is the last: nothing listens once it is open, and it ends when that closes."""
        self.begin(runOnce=True)
        self.clock.advance(1000)
        self.assertEqual(self.calls, [])
        self.sessions.open()
        self.assertTakesNoMore()
        self.sessions.close()
        self.assertStopped()

    def test_runOnceTwice(self) -> None:
        """Of two that came at once both are served."""
        self.begin(runOnce=True)
        self.sessions.open()
        self.sessions.open()
        self.sessions.close()
        self.assertTakesNoMore()
        self.sessions.close()
        self.assertStopped()

    def test_timeout(self) -> None:
        """After that time nothing listens; without a session it ends there and then."""
        self.begin(timeout=60.0)
        self.clock.advance(59.9)
        self.assertEqual(self.calls, [])
        self.clock.advance(0.1)
        self.assertStopped()
        self.assertEqual(self.sessions.refusing, "No more sessions are accepted")

    def test_timeoutWithSessions(self) -> None:
        """With sessions it ends when the last of them does."""
        self.begin(timeout=60.0)
        self.sessions.open()
        self.sessions.open()
        self.clock.advance(60)
        self.sessions.close()
        self.assertTakesNoMore()
        self.sessions.close()
        self.assertStopped()

    def test_sessionsBeforeTimeout(self) -> None:
        """Sessions that come and go before do not count."""
        self.begin(timeout=60.0)
        self.sessions.open()
        self.sessions.close()
        self.assertEqual(self.calls, [])
        self.clock.advance(60)
        self.assertStopped()

    def test_idle(self) -> None:
        """It ends after that long without a session, from the start on."""
        self.begin(idleTimeout=10.0)
        self.clock.advance(9.9)
        self.assertEqual(self.calls, [])
        self.clock.advance(0.1)
        self.assertStopped()

    def test_idleAgain(self) -> None:
        """While there is a session, however many came and went, it is not idle; then the time begins anew."""
        self.begin(idleTimeout=10.0)
        self.clock.advance(9)
        self.sessions.open()
        self.sessions.open()
        self.clock.advance(100)
        self.sessions.close()
        self.clock.advance(100)
        self.sessions.close()
        self.clock.advance(9.9)
        self.assertEqual(self.calls, [])
        self.clock.advance(0.1)
        self.assertStopped()

    def test_idleAndTimeout(self) -> None:
        """Whichever comes first ends it, once."""
        self.begin(idleTimeout=10.0, timeout=5.0)
        self.clock.advance(20)
        self.assertStopped()

    def test_idleAfterTimeout(self) -> None:
        """When the time is over there is no waiting for another session."""
        self.begin(idleTimeout=10.0, timeout=5.0)
        self.sessions.open()
        self.clock.advance(5)
        self.sessions.close()
        self.assertStopped()

    def test_why(self) -> None:
        """The log says which option it was."""
        reasons: list[str] = []
        for settings in ({"idleTimeout": 5.0}, {"timeout": 5.0}, {"runOnce": True}):
            with capturedLogs() as events:
                self.begin(**settings)
                self.clock.advance(5)
                self.sessions.open()
            reasons += [formatEvent(event).partition(" ")[0] for event in events]
        self.assertEqual(reasons, ["--idle-timeout", "--timeout", "--run-once"])

    def test_cancel(self) -> None:
        """A proxy that ends for another reason is left to whoever ends it."""
        self.begin(idleTimeout=10.0, timeout=5.0, runOnce=True)
        self.lifetime.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.sessions.open()
        self.sessions.close()
        self.assertEqual(self.calls, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelledWhileEnding(self) -> None:
        """The same where it was ending by itself already."""
        self.begin(runOnce=True)
        self.sessions.open()
        self.lifetime.cancel()
        self.sessions.close()
        self.assertTakesNoMore()
