"""Sessions that a verifier is asked about again."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.authentication.test_forward import makeRequest
from wsproxy.authentication.recheck import Rechecks, makeForwardAuth
from wsproxy.config import AuthenticationConfig
from wsproxy.errors import Close, Refusal
from wsproxy.interfaces import Ending, IAuthenticator, Identity, IObserver, Request, Session, Target

EVERY = 60.0


class FakeSession:
    """As much of a session as observers use; its request is no longer whole after the first call."""

    def __init__(self, number: int, identity: Identity | None) -> None:
        self.id = f"{number:032x}"
        self.request = makeRequest({"cookie": "a=b"})
        self.identity = identity
        self.target = Target("target:1")
        self.started = 0.0
        self.closes: list[Close] = []

    def close(self, close: Close) -> None:
        self.closes.append(close)


class RecheckTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[Request] = []
        self.answer: Any = Identity("me")
        self.rechecks = Rechecks(self.clock, self.ask, EVERY)
        self.sessions = 0

    async def ask(self, request: Request) -> Identity | None:
        self.asked.append(request)
        if isinstance(self.answer, BaseException):
            raise self.answer
        answer: Identity | None = await self.answer if isinstance(self.answer, Deferred) else self.answer
        return answer

    def open(self, identity: Identity | None = None) -> FakeSession:
        self.sessions += 1
        session = FakeSession(self.sessions, identity)
        self.rechecks.opened(cast(Session, session))
        return session

    def wait(self, seconds: float) -> None:
        self.clock.pump([0.5] * int(2 * seconds))

    def assertClosed(self, session: FakeSession, reason: str) -> None:
        """With 4001, once, and nobody is asked any more."""
        self.assertEqual(session.closes, [Close(4001, reason)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_interface(self) -> None:
        """It watches sessions come and go, whatever it has not seen come, too."""
        verifyObject(IObserver, self.rechecks)
        self.rechecks.closed(cast(Session, FakeSession(1, None)), Ending("client", Close(1000)))

    def test_confirmed(self) -> None:
        """A session is asked about again, with what it came with, and goes on while the answer is the same."""
        session = self.open(Identity("me"))
        session.request = makeRequest()  # as much as is left of it
        self.wait(10 * EVERY)
        self.assertEqual(session.closes, [])
        self.assertTrue(10 <= len(self.asked) <= 14, len(self.asked))
        self.assertEqual({request.headers["cookie"] for request in self.asked}, {"a=b"})

    def test_anonymous(self) -> None:
        """So does one of nobody in particular, whose answers may have cookies."""
        session = self.open()
        for self.answer in (None, Identity("", responseHeaders=(("Set-Cookie", "a=b"),))):
            self.wait(EVERY)
        self.assertEqual((session.closes, len(self.asked)), ([], 2))

    def test_withdrawn(self) -> None:
        """Every refusal ends it within the time."""
        for status in (401, 403, 302):
            session = self.open(Identity("me"))
            self.answer = Refusal(status, "No")
            self.wait(EVERY)
            self.assertClosed(session, "Access withdrawn")

    def test_others(self) -> None:
        """So does the answer that it is somebody else now, or nobody."""
        for self.answer in (Identity("you"), None):
            session = self.open(Identity("me"))
            self.wait(EVERY)
            self.assertClosed(session, "Access withdrawn")

    def test_withdrawnLater(self) -> None:
        """And one that has to be waited for."""
        self.answer = Deferred()
        session = self.open(Identity("me"))
        self.wait(EVERY)
        self.answer.errback(Refusal(403, "No"))
        self.assertClosed(session, "Access withdrawn")

    def test_gone(self) -> None:
        """While a verifier is gone, sessions go on, for twice the time since it let them in; it is asked more often."""
        session = self.open(Identity("me"))
        self.answer = Refusal(503, "Service unavailable")
        self.wait(2 * EVERY - 1)
        self.assertEqual(session.closes, [])
        self.assertGreaterEqual(len(self.asked), 4)
        self.wait(1)
        self.assertClosed(session, "Access not confirmed")

    def test_back(self) -> None:
        """One that is back in time has lost no session."""
        session = self.open(Identity("me"))
        for _ in range(3):
            self.answer = Refusal(503, "Service unavailable")
            self.wait(EVERY / 2)
            self.answer = Identity("me")
            self.wait(EVERY)
        self.assertEqual(session.closes, [])

    def test_mute(self) -> None:
        """One that never answers is waited for no longer than that."""
        cancelled: list[bool] = []
        self.answer = Deferred(lambda _: cancelled.append(True))
        session = self.open(Identity("me"))
        self.wait(2 * EVERY)
        self.assertClosed(session, "Access not confirmed")
        self.assertEqual(cancelled, [True])

    def test_broken(self) -> None:
        """A mistake of ours is logged, and counts as no answer."""
        self.answer = ZeroDivisionError()
        session = self.open(Identity("me"))
        self.wait(EVERY)
        self.assertEqual((session.closes, len(self.flushLoggedErrors(ZeroDivisionError))), ([], len(self.asked)))
        self.wait(EVERY)
        self.assertGreaterEqual(len(self.asked), 3)
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertClosed(session, "Access not confirmed")

    def test_closed(self) -> None:
        """Of a session that is over nothing is left, whatever it waits for."""
        cancelled: list[bool] = []
        for self.answer in (Identity("me"), Deferred(lambda _: cancelled.append(True))):
            session = self.open(Identity("me"))
            self.wait(EVERY)
            self.rechecks.closed(cast(Session, session), Ending("client", Close(1000)))
            self.assertEqual((session.closes, self.clock.getDelayedCalls()), ([], []))
        self.assertEqual(cancelled, [True])

    def test_closedLate(self) -> None:
        """Nor by what a verifier comes to that was given up: a refusal, a failure, consent."""
        for late in (Refusal(503, "No"), Refusal(403, "No"), ZeroDivisionError(), Identity("me")):

            def giveUp(waiting: Deferred[Any], late: Any = late) -> None:
                waiting.errback(late) if isinstance(late, Exception) else waiting.callback(late)

            self.answer = Deferred(giveUp)
            session = self.open(Identity("me"))
            self.wait(EVERY)
            self.rechecks.closed(cast(Session, session), Ending("client", Close(1000)))
            self.assertEqual((session.closes, self.clock.getDelayedCalls()), ([], []))

    def test_spread(self) -> None:
        """Sessions that have come together are not asked about all at once."""
        for _ in range(100):
            self.open(Identity("me"))
        times: set[float] = set()
        for _ in range(int(EVERY)):
            before = len(self.asked)
            self.clock.advance(1)
            times |= {self.clock.seconds()} if len(self.asked) > before else set()
        self.assertEqual(len(self.asked), 100)
        self.assertGreater(len(times), 5)


class MadeTests(SynchronousTestCase):
    """What becomes of the settings."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def test_once(self) -> None:
        """Without C{--auth-recheck} nobody is asked again."""
        forward, rechecks = makeForwardAuth(AuthenticationConfig(url="http://127.0.0.1:9000/"), self.reactor)
        verifyObject(IAuthenticator, forward)
        self.assertIsNone(rechecks)

    def test_again(self) -> None:
        """With it, the same verifier is asked, by requests of their own, and by the same rules."""
        config = AuthenticationConfig(url="http://127.0.0.1:9000/", copy=("Remote-User",), recheck=EVERY)
        forward, rechecks = makeForwardAuth(config, self.reactor)
        assert rechecks is not None
        asking = [Deferred.fromCoroutine(forward.authenticate(makeRequest())) for _ in range(64)]
        session = FakeSession(1, Identity("me"))
        rechecks.opened(cast(Session, session))
        self.reactor.advance(0)
        self.assertEqual(len(self.reactor.tcpClients), 64)
        self.reactor.advance(EVERY)
        self.assertEqual([client[:2] for client in self.reactor.tcpClients[64:]], [("127.0.0.1", 9000)])
        rechecks.closed(cast(Session, session), Ending("client", Close(1000)))
        for each in asking:
            self.failureResultOf(each, Refusal)
