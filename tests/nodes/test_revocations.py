"""What was revoked ends, and does not come in again."""

from __future__ import annotations

import math
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.limits.loop import Loop
from wsproxy.cluster.cluster import hiding
from wsproxy.errors import ConfigError, Refusal
from wsproxy.interfaces import Admitted, Ending, Identity, IObserver, ITurnstile, Request, Session, Target
from wsproxy.nodes.doorman import PATIENCE, Door, Doorman
from wsproxy.nodes.ledger import Ledger
from wsproxy.nodes.revocation import LIFETIME, LONGEST, SHORTEST, Revocation, fromEntry, fromPlain
from wsproxy.nodes.revocations import Revocations, makeOrder
from wsproxy.nodes.subject import Subjects, tokenExpiry
from wsproxy.nodes.workers import Foreman, hearParent
from wsproxy.sessions.decision import Admission
from wsproxy.testing import makeRequest, makeSession

NOW = 1_700_000_000.0


def tokenOf(request: Request) -> str | None:
    return request.path.removeprefix("/") or None


HIDE = hiding("redis://h?key=geheim")

SUBJECTS = Subjects(HIDE, tokenOf)


def signed(payload: str) -> str:
    return f"eyJhbGciOiJIUzI1NiJ9.{urlsafe_b64encode(payload.encode()).decode().rstrip('=')}.c2lnbmF0dXJl"


def who(name: str | None = None, token: str = "", **claims: Any) -> Admission:
    """Somebody who is to come in."""
    identity = None if name is None else Identity(name)
    return Admission(makeRequest(f"/{token}"), identity, Target("demo:", claims=claims))


def sits(admission: Admission, started: float = NOW) -> Session:
    """The session of that."""
    return makeSession(admission.target, request=admission.request, identity=admission.identity, started=started)


def revoked(kind: str, name: str, at: float = NOW, lasts: float = 100, before: float = math.inf) -> Revocation:
    return Revocation(kind, SUBJECTS.hidden(kind, name), at, at + lasts, before)


class Sessions:
    """Those that are open, and those that are just being decided about."""

    def __init__(self, *subjects: Any) -> None:
        self.subjects = list(subjects)
        self.ended: list[Any] = []
        self.asked: set[str] = set()

    def revoke(self, matches: Callable[[Admitted], bool], reason: str, among: Iterable[str]) -> int:
        self.asked = {*among}
        ended = [each for each in self.subjects if getattr(each, "id", None) in (None, *among) and matches(each)]
        self.ended += ended
        return len(ended)


class SubjectTests(SynchronousTestCase):
    """Whom a revocation is about."""

    def test_hidden(self) -> None:
        """What stands for somebody shows nothing, and is another one for each kind."""
        hidden = [SUBJECTS.hidden(kind, "name") for kind in ("identity", "token", "jti")]
        self.assertEqual(len({*hidden}), 3)
        for each in hidden:
            self.assertRegex(each, "^[0-9a-f]{32}$")

    def test_sub(self) -> None:
        """Where nobody was asked who that is, the token says so; else it does not count."""
        alice = SUBJECTS.hidden("identity", "alice")
        self.assertIn(alice, SUBJECTS.of(who(sub="alice")))
        self.assertNotIn(alice, SUBJECTS.of(who("bob", sub="alice")))

    def test_signature(self) -> None:
        """A signed token is the same with another signature, any other is not the same with another ending."""
        token = signed("{}")
        self.assertEqual(SUBJECTS.hidden("token", token), SUBJECTS.hidden("token", f"{token[:-1]}Q"))
        self.assertNotEqual(SUBJECTS.hidden("token", "a.b.c"), SUBJECTS.hidden("token", "a.b.d"))

    def test_expiry(self) -> None:
        """A signed token says when it expires; others do not, nor does nonsense."""
        self.assertEqual(tokenExpiry(signed('{"exp": 17}')), 17)
        for payload in ("{}", "[]", '{"exp": "x"}', '{"exp": true}', '{"exp": NaN}', '{"exp": 1e999}', "{", "\xff"):
            self.assertIsNone(tokenExpiry(signed(payload)), payload)
        for token in ("", "a.b.c", "eyJ.\xff.x", "eyJ.x.x"):
            self.assertIsNone(tokenExpiry(token), token)


class EntryTests(SynchronousTestCase):
    """A revocation in the log, and on the way to a worker."""

    def test_read(self) -> None:
        """An entry is what it says, from when its id says."""
        fields = [b"kind", b"jti", b"subject", b"ab", b"until", b"1700000100000"]
        self.assertEqual(fromEntry(b"1700000000500-3", fields), Revocation("jti", "ab", NOW + 0.5, NOW + 100))

    def test_nonsense(self) -> None:
        """What is none is told apart."""
        for fields in (
            [], [b"kind"], [b"kind", b"jti", b"subject", b"x"], [b"kind", b"new", b"subject", b"x", b"until", b"1"],
            [b"kind", b"jti", b"subject", b"\xff", b"until", b"1"], [b"kind", b"jti", b"subject", b"x", b"until", b"?"],
        ):  # fmt: skip
            self.assertRaises(ValueError, fromEntry, b"1-0", fields)

    def test_plain(self) -> None:
        """It is the same after JSON."""
        for each in (revoked("jti", "x"), revoked("identity", "x", before=17.5)):
            self.assertEqual(fromPlain(each.plain), each)


class OrderTests(SynchronousTestCase):
    """What is said to be revoked, and for how long."""

    def test_lifetime(self) -> None:
        """A day; as long as was said; until a token expires, and a minute more."""
        self.assertEqual(makeOrder("jti", "x").atLeast, LIFETIME)
        self.assertEqual(makeOrder("identity", "x", 600).atLeast, 600)
        self.assertEqual(makeOrder("identity", "x", 1).atLeast, SHORTEST)
        self.assertEqual(makeOrder("token", "opaque").atLeast, LIFETIME)
        order = makeOrder("token", signed('{"exp": 1999999999}'))
        self.assertEqual((order.until, order.atLeast), (1999999999 + SHORTEST, SHORTEST))
        order = makeOrder("token", signed('{"exp": 1}'), 600)
        self.assertEqual(order.atLeast, 600)
        self.assertLess(makeOrder("token", signed('{"exp": 253402300799}')).until, 1e11)

    def test_nonsense(self) -> None:
        """What makes no sense is not said."""
        for kind, name in (("other", "x"), ("jti", "")):
            self.assertRaises(ConfigError, makeOrder, kind, name)
        for lifetime in (0, -1, LONGEST + 1, math.nan, math.inf):
            self.assertRaises(ConfigError, makeOrder, "jti", "x", lifetime)

    def test_ownNode(self) -> None:
        """It holds here before anybody else knows, be it that nobody ever does."""
        heard: list[Revocation] = []

        class Away:
            def append(self, *arguments: Any) -> Deferred[None]:
                return Deferred()

        for log in (Away(), None):
            done = Revocations(SUBJECTS, heard.extend, log, lambda: NOW).revoke("jti", "x", 90)  # type: ignore[arg-type]
            self.assertEqual(heard.pop(), revoked("jti", "x", lasts=90))
            if log is None:
                self.successResultOf(done)
            else:
                self.assertNoResult(done)


class DoormanTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.now = NOW
        self.doors: dict[Doorman, Door] = {}
        self.ledger = Ledger(lambda: self.now)
        self.doorman = self.make()

    def make(self, required: bool = False) -> Doorman:
        doorman = Doorman(self.clock, HIDE, self.ledger, required)
        self.doors[doorman] = doorman.door(tokenOf)
        return doorman

    @property
    def door(self) -> Door:
        return self.doors[self.doorman]

    def guard(self, *subjects: Any) -> Sessions:
        sessions = Sessions(*subjects)
        self.doorman.guard(sessions)
        for each in subjects:
            if hasattr(each, "id"):
                self.door.opened(each)
        return sessions

    def refusal(self, admitted: Admitted, doorman: Doorman | None = None) -> int | None:
        try:
            self.assertIsNone(self.doors[doorman or self.doorman].admit(admitted))
        except Refusal as refusal:
            return refusal.status
        return None


class EndingTests(DoormanTestCase):
    """Sessions."""

    def test_each(self) -> None:
        """All of one that is revoked end, and those who are about to be one; no others."""
        verifyObject(IObserver, self.door)
        verifyObject(ITurnstile, self.door)
        for kind, name in (("identity", "alice"), ("token", "t"), ("jti", "j")):
            concerned = who("alice", "t", jti="j")
            other = who("bob", "u", jti="k")
            sessions = self.guard(first := sits(concerned), sits(other), concerned, other)
            self.doorman.hear([revoked(kind, name)])
            self.assertEqual(sessions.ended, [first, concerned])

    def test_one(self) -> None:
        """A session is ended by its id, and who had it may come again."""
        sessions = self.guard(first := sits(who("alice")), sits(who("alice")))
        self.doorman.know(True)
        self.doorman.hear([revoked("session", first.id)])
        self.assertEqual(sessions.ended, [first])
        self.assertIsNone(self.refusal(who("alice")))

    def test_few(self) -> None:
        """Of many sessions those are asked that it can be about, and no others."""
        crowd = [sits(who(f"user{number}", jti=str(number))) for number in range(100)]
        sessions = self.guard(*crowd)
        self.doorman.hear([revoked("jti", "7"), revoked("jti", "unknown")])
        self.assertEqual(sessions.asked & {each.id for each in crowd}, {crowd[7].id})

    def test_missed(self) -> None:
        """What was missed ends the identity's sessions from before it, and no later ones; tokens have no before."""
        before, later = sits(who("alice", "t"), NOW - 1), sits(who("alice", "t"), NOW + 1)
        sessions = self.guard(before, later)
        self.doorman.hear([revoked("identity", "alice", before=NOW)])
        self.assertEqual(sessions.ended, [before])
        sessions.ended.clear()
        self.doorman.hear([revoked("token", "t", before=NOW)])
        self.assertEqual(sessions.ended, [before, later])

    def test_ended(self) -> None:
        """Nothing is kept of sessions that are over."""
        sessions = [sits(who("alice", "t", jti=jti)) for jti in ("i", "j", "j")]
        self.guard(*sessions)
        for session in sessions:
            self.door.closed(session, Ending("client", None))  # type: ignore[arg-type]
        self.assertEqual((self.doorman._of, self.doorman._by), ({}, {}))

    def test_several(self) -> None:
        """All sessions of one token end, but for those that have ended already."""
        first, second, third = (sits(who("alice", "t")) for _ in range(3))
        sessions = self.guard(first, second, third)
        self.door.closed(second, Ending("client", None))  # type: ignore[arg-type]
        sessions.subjects.remove(second)
        self.doorman.hear([revoked("token", "t")])
        self.assertEqual(sessions.ended, [first, third])

    def test_broken(self) -> None:
        """Where sessions cannot be ended that is logged, and whoever comes is refused all the same."""
        sessions = self.guard(who("alice", jti="j"))
        self.doorman.know(True)
        sessions.subjects = [object()]
        self.doorman.hear([revoked("jti", "j")])
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.assertEqual(self.refusal(who(jti="j")), 403)


class AdmittingTests(DoormanTestCase):
    """Whoever comes."""

    def setUp(self) -> None:
        super().setUp()
        self.doorman.know(True)

    def test_refused(self) -> None:
        """Tokens and their ids are refused, until that is over."""
        for kind, admitted in (("token", who(token="t")), ("jti", who(jti="t"))):
            self.assertIsNone(self.refusal(admitted))
            self.doorman.hear([revoked(kind, "t", at=self.now)])
            self.assertEqual(self.refusal(admitted), 403)
            self.now += 100
            self.assertIsNone(self.refusal(admitted))

    def test_identity(self) -> None:
        """Of an identity, tokens that were made before, or may have been; no later ones, and no passwords."""
        self.doorman.hear([revoked("identity", "alice")])
        for claims, status in (
            ({"iat": NOW - 0.001}, 403), ({"iat": NOW}, None), ({"exp": NOW + 60}, 403), ({"iat": "x"}, 403),
            ({"iat": NOW + 1, "exp": NOW + 60}, None), ({}, None),
        ):  # fmt: skip
            self.assertEqual(self.refusal(who("alice", **claims)), status, claims)
            self.assertIsNone(self.refusal(who("bob", **claims)))

    def test_again(self) -> None:
        """What is revoked again is so for the longer of both, and from the later moment on."""
        self.doorman.hear([revoked("identity", "alice", at=NOW, lasts=1000)])
        self.doorman.hear([revoked("identity", "alice", at=NOW + 10, lasts=60)])
        self.doorman.hear([revoked("identity", "alice", at=NOW, lasts=1000)])
        self.now += 500
        self.assertEqual(self.refusal(who("alice", iat=NOW + 5)), 403)
        self.assertIsNone(self.refusal(who("alice", iat=NOW + 15)))

    def test_forgotten(self) -> None:
        """What is over is not kept."""
        self.doorman.hear([revoked("jti", str(number)) for number in range(100)])
        self.now += 200
        self.doorman.hear([revoked("jti", "new", at=self.now)])
        self.assertEqual(len(self.ledger), 1)


class KnowingTests(DoormanTestCase):
    """What is known of revocations, and what is not."""

    def test_waits(self) -> None:
        """Who comes before anything is known waits for that."""
        for fresh, status in ((True, 403), (False, 403)):
            doorman = self.make()
            waiting = self.doors[doorman].admit(who(jti="j"))
            self.assertNoResult(waiting)
            doorman.hear([revoked("jti", "j")])
            doorman.know(fresh)
            self.assertEqual(self.failureResultOf(waiting, Refusal).value.status, status)

    def test_patience(self) -> None:
        """But not for ever; whoever gives up leaves nothing behind."""
        waiting = self.door.admit(who(jti="j"))
        self.clock.advance(PATIENCE)
        self.successResultOf(waiting)
        given = self.door.admit(who())
        given.cancel()
        self.assertEqual(self.doorman._waiting, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_required(self) -> None:
        """Where it must be known, nobody comes in while it is not."""
        doorman = self.make(required=True)
        late = self.doors[doorman].admit(who())
        self.clock.advance(PATIENCE)
        self.assertEqual(self.failureResultOf(late, Refusal).value.status, 503)
        doorman.know(True)
        self.assertIsNone(self.refusal(who(), doorman))
        doorman.know(False)
        self.assertEqual(self.refusal(who(), doorman), 503)
        self.doorman.know(False)
        self.assertIsNone(self.refusal(who()))


class WorkersTests(DoormanTestCase):
    """A parent and its workers."""

    def test_told(self) -> None:
        """All are told of what is revoked, and who starts later of what was."""
        loop = Loop()
        foreman = Foreman(Ledger(lambda: NOW), loop)
        doormen = [self.make() for _ in range(2)]
        loop.worker(lambda worker: hearParent(doormen[0], worker))
        foreman.hear([revoked("jti", str(number)) for number in range(2500)])
        foreman.know(True)
        self.doorman = doormen[1]
        self.ledger = Ledger(lambda: NOW)
        late = self.make()
        loop.worker(lambda worker: hearParent(late, worker))
        for doorman in (doormen[0], late):
            self.assertEqual([self.refusal(who(jti=jti), doorman) for jti in ("0", "2499", "2500")], [403, 403, None])
