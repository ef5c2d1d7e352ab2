"""Access that ends: by the time of day, after a time, in silence, and when it is taken back."""

from __future__ import annotations

import gc
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.sessions.test_sessions import SessionTestCase, Upgrade
from tests.transport import FakeTransport
from tests.tunnel.client import Frame
from wsproxy.errors import Close
from wsproxy.interfaces import Identity, Session, Target
from wsproxy.sessions.expiry import EXPIRED, IDLE, LOOK, OVER, Expiry, Term
from wsproxy.sessions.session import ABORT_TIMEOUT, END_TIMEOUT
from wsproxy.wire.frames import BINARY, CLOSE, PING, PONG

EPOCH = 1_000_000.0
"""What the time of day is when a test begins, where the other clock begins with 0."""


class Limited:
    """A session that keeps how it was ended."""

    def __init__(self) -> None:
        self.carried = 0
        self.told: Close | None = None

    def end(self, close: Close) -> None:
        assert self.told is None, "ended twice"
        self.told = close


class ExpiryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.step = EPOCH

    def expiry(self, sessionTimeout: float = 0.0, idleTimeout: float = 0.0) -> Expiry:
        return Expiry(self.clock, lambda: self.clock.seconds() + self.step, sessionTimeout, idleTimeout)

    def pass_(self, seconds: float, session: Limited, say: bool = False) -> None:
        """So much time passes, as reactors let it pass: in pieces."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            if say:
                session.carried += 1

    def test_expires(self) -> None:
        """A session ends when what let it in expires, and not before."""
        expiry, session = self.expiry(), Limited()
        expiry.begin(session, EPOCH + 60)
        self.pass_(59.9, session, say=True)
        self.assertIsNone(session.told)
        self.pass_(0.2, session)
        self.assertEqual(session.told, EXPIRED)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_past(self) -> None:
        """What has expired already, or for ever, ends it at once, but not within the call that begins it."""
        for when in (EPOCH - 1, 0, float("-inf")):
            expiry, session = self.expiry(), Limited()
            expiry.begin(session, when)
            self.assertIsNone(session.told)
            self.clock.advance(0)
            self.assertEqual(session.told, EXPIRED)

    def test_forward(self) -> None:
        """The time of day leaps forward, or the machine has slept: a session is over within a second."""
        expiry, session = self.expiry(), Limited()
        expiry.begin(session, EPOCH + 3600)
        self.pass_(10, session)
        self.step += 7200
        self.pass_(LOOK, session)
        self.assertEqual(session.told, EXPIRED)

    def test_back(self) -> None:
        """The time of day is set back: a session ends after as long as it had, not when that time comes again."""
        expiry, session = self.expiry(), Limited()
        expiry.begin(session, EPOCH + 60)
        self.pass_(10, session)
        self.step -= 3600
        self.pass_(49.9, session)
        self.assertIsNone(session.told)
        self.pass_(0.2, session)
        self.assertEqual(session.told, EXPIRED)

    def test_renewed(self) -> None:
        """What is renewed ends later, sooner, or not at all."""
        for when, ends in ((EPOCH + 120, 120), (EPOCH + 30, 30), (None, None), (EPOCH - 5, 20.1)):
            self.clock, expiry, session = Clock(), self.expiry(), Limited()
            expiry = self.expiry()
            term = expiry.begin(session, EPOCH + 60)
            self.pass_(20, session)
            expiry.set(term, when)
            self.pass_(9.8 if ends == 30 else 0.0 if ends == 20.1 else 99.8, session)
            self.assertIsNone(session.told)
            self.pass_(0.4, session)
            self.assertEqual(session.told, None if ends is None else EXPIRED)
            expiry.end(term)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_renewedOften(self) -> None:
        """What is renewed all the time costs no memory for each time."""
        expiry, session = self.expiry(), Limited()
        term = expiry.begin(session, EPOCH + 60)
        for number in range(1000):
            self.pass_(0.1, session)
            expiry.set(term, EPOCH + 60 + number)
        self.assertLess(len(expiry._due._heap) + len(expiry._dueWall._heap), 10)
        expiry.end(term)

    def test_timeout(self) -> None:
        """A session lasts as long as it may, whatever is said, and however long its token is good."""
        expiry, session = self.expiry(sessionTimeout=60), Limited()
        expiry.begin(session, EPOCH + 3600)
        self.pass_(59.9, session, say=True)
        self.assertIsNone(session.told)
        self.pass_(0.2, session)
        self.assertEqual(session.told, OVER)

    def test_timeoutNotRenewed(self) -> None:
        """To be renewed is no way around that."""
        expiry, session = self.expiry(sessionTimeout=60), Limited()
        term = expiry.begin(session, EPOCH + 30)
        expiry.set(term, EPOCH + 3600)
        self.pass_(60.1, session)
        self.assertEqual(session.told, OVER)

    def test_idle(self) -> None:
        """Silence ends a session, an eighth of the time late at most."""
        expiry, session = self.expiry(idleTimeout=80), Limited()
        expiry.begin(session, None)
        self.pass_(300, session, say=True)
        self.assertIsNone(session.told)
        self.pass_(79.8, session)
        self.assertIsNone(session.told)
        self.pass_(20.4, session)
        self.assertEqual(session.told, IDLE)

    def test_neverSaid(self) -> None:
        """So does that of a client that never says anything."""
        expiry, session = self.expiry(idleTimeout=80), Limited()
        expiry.begin(session, None)
        self.pass_(79.8, session)
        self.assertIsNone(session.told)
        self.pass_(0.4, session)
        self.assertEqual(session.told, IDLE)

    def test_nothing(self) -> None:
        """Sessions that are bounded by nothing are not known here, and there is no timer."""
        self.assertFalse(self.expiry().always)
        self.assertTrue(self.expiry(sessionTimeout=1).always)
        self.assertTrue(self.expiry(idleTimeout=1).always)

    def test_left(self) -> None:
        """Sessions that have ended by themselves leave nothing behind, however long they might have lasted."""
        expiry = self.expiry(sessionTimeout=86400)
        terms = [expiry.begin(Limited(), None) for _ in range(1000)]
        for term in terms[1:]:
            expiry.end(term)
        self.assertLess(len(expiry._due._heap), 200)
        expiry.end(terms[0])
        expiry.end(terms[0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_raises(self) -> None:
        """A session that cannot be ended keeps no other one from its end."""

        class Broken(Limited):
            def end(self, close: Close) -> None:
                raise RuntimeError("broken")

        expiry, session = self.expiry(), Limited()
        expiry.begin(Broken(), EPOCH + 1)
        expiry.begin(session, EPOCH + 1)
        self.pass_(1.1, session)
        self.assertEqual(session.told, EXPIRED)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class SessionEndTests(SessionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.sessions = self.makeSessions(now=lambda: EPOCH + self.clock.seconds())

    def assertClosed(self, upgrade: Upgrade, code: int, reason: str) -> None:
        self.assertEqual([message.payload for message in upgrade.told() if message.opcode == CLOSE],
                         [code.to_bytes(2, "big") + reason.encode()])  # fmt: skip

    def test_earlier(self) -> None:
        """The earlier counts: that of the identity, or that of the target."""
        for identity, target, ends in ((10, 20, 10), (20, 10, 10), (10, None, 10), (None, 10, 10)):
            with self.subTest(identity=identity, target=target):
                began = EPOCH + self.clock.seconds()
                expiries = [None if each is None else began + each for each in (identity, target)]
                self.plugin.answers["authenticate"] = Identity("me", expires=expiries[0])
                self.plugin.answers["resolve"] = Target("console:1", expires=expiries[1])
                upgrade = self.connect()
                self.clock.pump([0.5] * (2 * ends - 1))
                self.assertEqual(upgrade.told(), [])
                self.clock.pump([0.5, 0.1])
                self.assertClosed(upgrade, 4001, "Token expired")
                upgrade.transport.lose()
                self.plugin.target.lose()
                self.plugin.target = FakeTransport()

    def test_deaf(self) -> None:
        """A client that does not answer, and one whose ends do not go, are gone within the bound."""
        self.plugin.answers["resolve"] = Target("console:1", expires=EPOCH + 1)
        upgrade = self.connect()
        self.clock.pump([0.5, 0.6])
        self.assertClosed(upgrade, 4001, "Token expired")
        self.clock.pump([0.5] * int(2 * (END_TIMEOUT + ABORT_TIMEOUT)))
        self.assertEqual(len(self.sessions), 0)

    def test_silenced(self) -> None:
        """What the client says after its access has ended does not reach the target; what it said before does."""
        self.plugin.answers["resolve"] = Target("console:1", expires=EPOCH + 1)
        upgrade = self.connect()
        upgrade.send(Frame(BINARY, b"before"))
        self.clock.pump([0.5, 0.6])
        upgrade.send(Frame(BINARY, b"after"))
        self.assertEqual(self.plugin.target.value(), b"before")
        self.assertClosed(upgrade, 4001, "Token expired")
        upgrade.send(Frame(CLOSE, (4001).to_bytes(2, "big")))
        self.assertEqual(self.plugin.target.value(), b"before")

    def test_notConnectedYet(self) -> None:
        """Access that ends while the target is being dialled never reaches it."""
        cancelled: list[Any] = []
        self.plugin.answers["dial"] = Deferred(cancelled.append)
        self.plugin.answers["resolve"] = Target("console:1", expires=EPOCH + 1)
        upgrade = self.open()
        upgrade.send(Frame(BINARY, b"secret"))
        self.clock.pump([0.5, 0.6])
        self.assertClosed(upgrade, 4001, "Token expired")
        self.assertEqual(len(cancelled), 1)
        self.assertIsNone(self.plugin.factory.buildProtocol(None))  # type: ignore[union-attr]

    def test_expireAt(self) -> None:
        """Whoever has the session renews it, from its opening on."""
        held: list[Session] = []

        class Renewing:
            def opened(self, session: Session) -> None:
                held.append(session)
                session.expireAt(EPOCH + 5)

            def closed(self, session: Session, ending: Any) -> None:
                session.expireAt(EPOCH + 500)  # harmless

        self.sessions.observe(Renewing())
        upgrade = self.connect()
        self.clock.pump([1.0] * 4)
        held[0].expireAt(EPOCH + 10)
        self.clock.pump([1.0] * 5)
        self.assertEqual(upgrade.told(), [])
        self.clock.pump([1.0, 0.1])
        self.assertClosed(upgrade, 4001, "Token expired")
        held[0].expireAt(EPOCH + 100)
        upgrade.transport.lose()
        self.plugin.target.lose()
        self.assertEqual(len(self.sessions), 0)

    def test_nonsense(self) -> None:
        """A plugin's nonsense about it is a mistake of the plugin's."""
        for nonsense in ("tomorrow", float("nan"), True, b"1", [1]):
            with self.subTest(nonsense=nonsense):
                self.plugin.answers["resolve"] = Target("console:1", expires=nonsense)  # type: ignore[arg-type]
                self.assertRefused(self.open(), 503, "Service unavailable")
                self.plugin.answers["resolve"] = Target("console:1")
                self.plugin.answers["authenticate"] = Identity("me", expires=nonsense)  # type: ignore[arg-type]
                self.assertRefused(self.open(), 503, "Service unavailable")
                self.plugin.answers["authenticate"] = None
                self.assertEqual(len(self.flushLoggedErrors(TypeError)), 2)
        self.connect()
        [session] = self.sessions
        self.assertRaises(TypeError, session.expireAt, "tomorrow")

    def test_idle(self) -> None:
        """Payload keeps a session, either way; pings do not."""
        self.sessions = self.makeSessions(sessionIdleTimeout=8, heartbeat=1)
        upgrade = self.connect()
        for _ in range(10):
            upgrade.send(Frame(BINARY, b"x"))
            self.clock.pump([1.0] * 4)
            self.plugin.target.receive(b"y")
            self.clock.pump([1.0] * 4)
        self.assertEqual(len(self.sessions), 1)
        for _ in range(10):
            upgrade.send(Frame(PING), Frame(PONG))
            self.clock.pump([1.0])
        self.assertClosed(upgrade, 4001, "Idle too long")

    def test_freed(self) -> None:
        """A session with a bound is freed with its end, as any other."""
        self.plugin.answers["resolve"] = Target("console:1", expires=EPOCH + 1000)
        upgrade = self.connect()
        [session] = self.sessions
        term: Term = session._term  # type: ignore[attr-defined]
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        upgrade.transport.lose()
        self.plugin.target.lose()
        self.clock.advance(0)
        self.assertIsNone(term.session)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RevocationTests(SessionTestCase):
    def test_open(self) -> None:
        """Those that are meant are closed with 4001 and why; others stay."""
        self.plugin.answers["authenticate"] = Identity("alice")
        alice = self.open()
        self.plugin.answers["authenticate"] = Identity("bob", {"jti": "7"})
        bob = self.open()
        count = self.sessions.revoke(lambda session: session.identity is not None and session.identity.name == "bob")
        self.assertEqual(count, 1)
        self.assertEqual(bob.told()[-1].payload, (4001).to_bytes(2, "big") + b"Access revoked")
        self.assertEqual(alice.told(), [])

    def test_undecided(self) -> None:
        """Who is being decided about at that moment is refused, if it is meant, and leaves the turnstiles."""
        left: list[str] = []
        consent: Deferred[None] = Deferred()
        self.sessions = self.makeSessions(turnstiles=[lambda admitted: lambda: left.append("left")])
        self.plugin.answers["authorise"] = consent
        upgrade = self.open()
        self.assertEqual(self.sessions.revoke(lambda session: session.target.text == "console:1"), 0)
        self.assertIsNone(upgrade.refusal)
        consent.callback(None)
        self.assertRefused(upgrade, 403, "Access revoked")
        self.assertEqual(left, ["left"])

    def test_undecidedOthers(self) -> None:
        """Others who are being decided about are let in."""
        consent: Deferred[None] = Deferred()
        self.plugin.answers["authorise"] = consent
        upgrade = self.open()
        self.sessions.revoke(lambda session: session.target.text == "console:2")
        consent.callback(None)
        self.assertIsNotNone(upgrade.end)

    def test_raises(self) -> None:
        """Whoever cannot say who is meant is told so, and nobody is; who is decided about later is, to be safe."""

        def who(session: Any) -> bool:
            raise LookupError

        self.open()
        self.assertRaises(LookupError, self.sessions.revoke, who)
        self.assertEqual(self.upgrades[0].told(), [])
