"""Counts of one process and of a parent's workers, and what is said to clients beyond them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.limits.contract import LIMITS, BookContract, TallyContract, take
from tests.limits.loop import Loop, Worker
from wsproxy.access.origin import OriginPolicy
from wsproxy.cluster.parent import PARENT_WITHIN
from wsproxy.errors import Refusal
from wsproxy.interfaces import Identity, Request, Target
from wsproxy.limits.books import OwnBook, ParentBook, answerGuesses
from wsproxy.limits.counts import Counts, Full, Tally, Unknown
from wsproxy.limits.guesses import ALLOWED, REMEMBERED, WINDOW, Guesses
from wsproxy.limits.leases import Leases, ParentTally
from wsproxy.limits.subjects import customer, isOurs
from wsproxy.limits.throttle import Throttle
from wsproxy.limits.turnstile import SessionLimits
from wsproxy.sessions.decision import Admission, Decisions
from wsproxy.testing import makeRequest
from wsproxy.testing.nouns import PEER


def admission(identity: str | None = None, client: Any = PEER, url: str = "/", **more: Any) -> Admission:
    who = None if identity is None else Identity(identity)
    return Admission(makeRequest(url, peer=client, **more), who, Target("demo:"))


class CountsTests(TallyContract, TestCase):
    """Of one process."""

    async def tally(self) -> Tally:
        return Counts(LIMITS)

    async def test_forgets(self) -> None:
        """Nothing is kept of those that have gone, however many they were."""
        counts = Counts(LIMITS)
        for number in range(100):
            counts.take([("client", f"{number}"), ("token", f"{number}")])()
        self.assertEqual(len(counts), 0)


class WorkersTests(TallyContract, TestCase):
    """Of several, whose parent counts."""

    async def tally(self) -> Tally:
        self.loop = Loop()
        self.counts = Counts(LIMITS)
        Leases(self.counts, self.loop)
        return ParentTally(self.loop.worker())

    async def test_together(self) -> None:
        """A limit holds for all workers together."""
        first = await self.tally()
        second = ParentTally(self.loop.worker())
        gives = [await take((first, second)[number % 2], ("all", "")) for number in range(5)]
        for tally in (first, second):
            await self.assertFull("all", tally, ("all", ""))
        gives.pop()()
        await take(second, ("all", ""))

    async def test_dies(self) -> None:
        """What a worker had is given back when it ends, and what the others have is not."""
        first = await self.tally()
        worker = self.loop.worker()
        dying = ParentTally(worker)
        await take(first, ("all", ""), ("client", "c"))
        for _ in range(2):
            await take(dying, ("all", ""), ("client", "c"))
        self.loop.end(worker)
        for _ in range(2):
            await take(first, ("all", ""), ("client", "c"))
        await self.assertFull("client", first, ("all", ""), ("client", "c"))

    async def test_upgraded(self) -> None:
        """What workers have is theirs after the parent's code was replaced, and is given back to the new one."""
        first = await self.tally()
        worker = self.loop.worker()
        second = ParentTally(worker)
        give = await take(first, ("all", ""), ("client", "c"))
        for _ in range(2):
            await take(second, ("all", ""), ("client", "c"))
        loop, counts = Loop(), Counts(LIMITS)
        leases = Leases(counts, loop)
        self.loop.upgrade(loop)
        self.assertEqual((len(leases), len(counts)), (3, len(self.counts)))
        await self.assertFull("client", first, ("all", ""), ("client", "c"))
        give()
        await take(first, ("all", ""), ("client", "c"))
        loop.end(worker)
        self.assertEqual(len(leases), 1)

    async def test_stopped(self) -> None:
        """Where the parent does not answer nobody comes in, within its bound; what it hears later leaves nothing."""
        tally = await self.tally()
        self.loop.stop()
        for ask in (tally.take, tally.look):
            asking = ask([("all", "")])
            assert isinstance(asking, Deferred)
            self.loop.clock.advance(PARENT_WITHIN - 0.1)
            self.assertNoResult(asking)
            self.loop.clock.advance(0.1)
            self.failureResultOf(asking, Unknown)
        self.loop.goOn()
        self.assertEqual(len(self.counts), 0)

    async def test_slow(self) -> None:
        """Nor does it where those whom the parent asks itself are slow, and the worker has ended meanwhile."""
        loop, worker = Loop(), None
        asked: list[Deferred[Any]] = []

        class Slow(Counts):
            def take(self, subjects: Any) -> Any:
                asked.append(Deferred())
                return asked[-1]

        Leases(Slow(LIMITS), loop)
        worker = loop.worker()
        taking = ParentTally(worker).take([("all", "")])
        loop.clock.advance(PARENT_WITHIN)
        self.failureResultOf(taking, Unknown)
        self.assertTrue(asked[0].called)
        ParentTally(worker).take([("all", "")]).addErrback(lambda failure: None)
        loop.end(worker)
        self.assertTrue(asked[1].called)

    async def test_refusedLater(self) -> None:
        """One that is refused after a while is nobody's any more, either."""
        loop = Loop()

        class Elsewhere(Counts):
            def take(self, subjects: Any) -> Any:
                return fail(Full("all"))

        leases = Leases(Elsewhere(LIMITS), loop)
        await self.assertFailure(ParentTally(loop.worker()).take([("all", "")]), Full)
        self.assertEqual(len(leases), 0)


class TurnstileTests(SynchronousTestCase):
    """What clients are told."""

    def turnstile(self, **limits: int) -> SessionLimits:
        return SessionLimits(Counts(limits), limits, lambda request: request.query.get("token"))

    def assertRefused(self, turnstile: SessionLimits, status: int, option: str, *admitted: Any, **more: Any) -> Refusal:
        refusal = self.assertRaises(Refusal, turnstile.admit, admission(*admitted, **more))
        self.assertEqual((refusal.status, refusal.guess), (status, False))
        self.assertIn(option, refusal.cause)
        return refusal

    def test_all(self) -> None:
        """Beyond all the sessions there may be: 503, and that it is worth another try soon."""
        turnstile = self.turnstile(all=1)
        leave = turnstile.admit(admission())
        refusal = self.assertRefused(turnstile, 503, "--max-sessions")
        self.assertEqual((refusal.reason, refusal.headers), ("Too many sessions", (("Retry-After", "5"),)))
        leave()
        turnstile.admit(admission())

    def test_client(self) -> None:
        """Beyond those of one address: 429; a /64 of IPv6 is one."""
        turnstile = self.turnstile(client=1)
        for one, same, other in (
            (IPv4Address("TCP", "192.0.2.1", 1), IPv6Address("TCP", "::ffff:192.0.2.1", 2), "192.0.2.2"),
            (IPv6Address("TCP", "2001:db8::1", 1), IPv6Address("TCP", "2001:db8::ffff:0:0:1", 2), "2001:db8:0:1::1"),
        ):
            turnstile.admit(admission(client=one))
            self.assertRefused(turnstile, 429, "--max-sessions-per-client", client=same)
            kind = IPv6Address if ":" in other else IPv4Address
            turnstile.admit(admission(client=kind("TCP", other, 1)))

    def test_identity(self) -> None:
        """Beyond those of one user: 429; who is nobody in particular is not counted."""
        turnstile = self.turnstile(identity=1)
        turnstile.admit(admission("alice"))
        self.assertRefused(turnstile, 429, "--max-sessions-per-identity", "alice")
        for other in ("bob", None, None):
            turnstile.admit(admission(other))

    def test_token(self) -> None:
        """Beyond those with one token: 429, and neither the client nor the log reads it."""
        turnstile = self.turnstile(token=1)
        turnstile.admit(admission(url="/?token=geheim"))
        refusal = self.assertRefused(turnstile, 429, "--max-sessions-per-token", url="/?token=geheim")
        self.assertNotIn("geheim", refusal.reason + refusal.cause)
        for other in ("/?token=other", "/", "/"):
            turnstile.admit(admission(url=other))

    def test_explaining(self) -> None:
        """Who only asks is told the same, and counts for nothing."""
        turnstile = self.turnstile(all=1)
        for _ in range(3):
            self.assertIsNone(turnstile.admit(admission(explaining=True)))
        turnstile.admit(admission())
        self.assertRefused(turnstile, 503, "--max-sessions", explaining=True)

    def test_unknown(self) -> None:
        """Where nobody can tell: 503."""
        loop = Loop()
        Leases(Counts({"all": 1}), loop)
        turnstile = SessionLimits(ParentTally(loop.worker()), {"all": 1})
        loop.stop()
        for explaining in (False, True):
            asked = turnstile.admit(admission(explaining=explaining))
            loop.clock.advance(PARENT_WITHIN)
            self.assertEqual(self.failureResultOf(asked, Refusal).value.status, 503)


class CustomerTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Addresses without ports and scopes, unix sockets by their name."""
        for address, name in (
            (IPv4Address("TCP", "192.0.2.1", 1), "192.0.2.1"),
            (IPv6Address("TCP", "::ffff:192.0.2.1", 1), "192.0.2.1"),
            (IPv6Address("TCP", "2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
            (IPv6Address("TCP", "fe80::1%eth0", 1), "fe80::/64"),
            (UNIXAddress(None), "unix"),
            (HostnameAddress(b"client.example", 1), "client.example"),
        ):
            self.assertEqual(customer(address), name)

    def test_ours(self) -> None:
        """Loopback and unix sockets are of this machine."""
        for address, ours in (
            (IPv4Address("TCP", "127.0.0.1", 1), True),
            (IPv4Address("TCP", "127.8.9.1", 1), True),
            (IPv6Address("TCP", "::1", 1), True),
            (IPv6Address("TCP", "0:0::0:1", 1), True),
            (IPv6Address("TCP", "::ffff:127.0.0.1", 1), True),
            (UNIXAddress(None), True),
            (UNIXAddress(b"/run/x"), True),
            (IPv4Address("TCP", "192.0.2.1", 1), False),
            (IPv6Address("TCP", "2001:db8::1", 1), False),
            (HostnameAddress(b"client.example", 1), False),
        ):
            self.assertIs(isOurs(address), ours, address)


class GuessesTests(SynchronousTestCase):
    """Of one process."""

    def setUp(self) -> None:
        self.time = 1000.0
        self.guesses = Guesses(lambda: self.time)

    def test_window(self) -> None:
        """The oldest of ten guesses has to be five minutes old for another one."""
        for _ in range(ALLOWED):
            self.assertTrue(self.guesses.count("c").told)
            self.time += 10
        self.assertEqual(self.guesses.wait("c"), WINDOW - 100)
        self.time = 1000 + WINDOW
        self.assertEqual(self.guesses.wait("c"), 0)
        self.assertEqual(self.guesses.count("c"), (True, 10))
        self.assertEqual(self.guesses.count("c"), (False, 10))

    def test_slowly(self) -> None:
        """Who guesses less often than that is never blocked."""
        for _ in range(100):
            self.time += WINDOW / ALLOWED + 0.1
            self.assertEqual(self.guesses.wait("c"), 0)
            self.assertTrue(self.guesses.count("c").told)

    def test_notLonger(self) -> None:
        """To try while blocked does not prolong it."""
        for _ in range(ALLOWED):
            self.guesses.count("c")
        for _ in range(10):
            self.time += WINDOW / 10
            self.guesses.count("c")
        self.assertEqual(self.guesses.wait("c"), 0)

    def test_said(self) -> None:
        """Somebody else's word counts as well, and is passed on."""
        self.guesses.block("c", 20)
        self.time += 5
        self.assertEqual(self.guesses.wait("c"), 15)
        self.assertEqual(list(self.guesses.blocked()), [("c", 15)])
        self.time += 15
        self.assertEqual(list(self.guesses.blocked()), [])

    def test_bounded(self) -> None:
        """Of more clients than are remembered those are forgotten who have guessed longest ago."""
        for number in range(REMEMBERED):
            self.guesses.count(f"{number}")
        self.guesses.count("0")
        self.guesses.count("new")
        self.assertEqual(len(self.guesses), REMEMBERED)
        for _ in range(ALLOWED - 2):
            self.guesses.count("0")
        self.assertGreater(self.guesses.wait("0"), 0)


class OwnBookTests(BookContract, TestCase):
    async def books(self) -> Sequence[OwnBook]:
        return [OwnBook(Guesses(lambda: 1000.0))]


class ParentBookTests(BookContract, TestCase):
    async def books(self) -> Sequence[ParentBook]:
        self.loop = Loop()
        answerGuesses(OwnBook(Guesses(self.loop.clock.seconds)), self.loop)
        return [self.book() for _ in range(3)]

    def book(self) -> ParentBook:
        made: list[ParentBook] = []

        def start(worker: Worker) -> None:
            made.append(ParentBook(Guesses(self.loop.clock.seconds), worker, clustered=False))

        self.loop.worker(start)
        return made[0]

    async def test_newWorker(self) -> None:
        """A worker that starts later knows who is blocked."""
        books = await self.books()
        for _ in range(ALLOWED):
            await books[0].count("c")
        self.assertGreater(self.book().guesses.wait("c"), 0)

    async def test_stopped(self) -> None:
        """While the parent does not answer each worker counts for itself; its clients are told within the bound."""
        book, *_ = await self.books()
        self.loop.stop()
        for number in range(ALLOWED + 1):
            counting = book.count("c")
            self.loop.clock.advance(PARENT_WITHIN)
            self.assertEqual(self.successResultOf(counting).told, number < ALLOWED)
        self.assertGreater(book.check("c"), 0)


class ThrottleTests(TestCase):
    """What those are told who guess."""

    def setUp(self) -> None:
        self.guesses = Guesses(lambda: 1000.0)
        self.throttle = Throttle(OwnBook(self.guesses))

    def guess(self, request: Request, guess: bool = True) -> int:
        """@return: the status that the client gets."""
        refusal = Refusal(401, "Wrong", guess=guess)
        try:
            self.throttle.enter(request)
            self.throttle.refused(request, refusal)
        except Refusal as instead:
            return instead.status
        return refusal.status

    def test_eleventh(self) -> None:
        """Ten wrong guesses are answered; from then on it is 429, whatever is tried, and says when to come again."""
        request = makeRequest()
        self.assertEqual([self.guess(request) for _ in range(12)], [401] * 10 + [429] * 2)
        refusal = self.assertRaises(Refusal, self.throttle.enter, request)
        self.assertEqual(refusal.headers, (("Retry-After", f"{WINDOW:.0f}"),))
        self.assertFalse(refusal.guess)
        self.throttle.enter(makeRequest(peer=IPv4Address("TCP", "192.0.2.77", 1)))

    def test_nothingAsked(self) -> None:
        """On behalf of one who is blocked nobody is asked anything, be it to come in or to be told why not."""
        asked: list[Request] = []

        def no(request: Request) -> None:
            asked.append(request)
            raise Refusal(401, "Wrong", guess=True)

        decisions = self.decisions(no)
        statuses = []
        for number in range(40):
            request = makeRequest(explaining=number % 2 == 0)
            statuses.append(self.failureResultOf(decisions.decide(request), Refusal).value.status)
        self.assertEqual(statuses, [401] * ALLOWED + [429] * (40 - ALLOWED))
        self.assertEqual(len(asked), ALLOWED)

    def test_late(self) -> None:
        """Who was on his way in when he was blocked is told the same, be his guess wrong or right."""
        request = makeRequest()
        self.throttle.enter(request)
        for _ in range(ALLOWED):
            self.guess(request)
        wrong = self.assertRaises(Refusal, self.throttle.refused, request, Refusal(401, "Wrong", guess=True))
        right = self.assertRaises(Refusal, self.throttle.admit, Admission(request, None, Target("demo:")))
        self.assertEqual((wrong.status, wrong.reason, wrong.headers), (right.status, right.reason, right.headers))
        self.assertEqual(wrong.status, 429)

    def test_atOnce(self) -> None:
        """Of many guesses for pages at the same time ten are answered; a right one after those is not."""
        answers: list[Deferred[Identity]] = []

        def authenticate(request: Request) -> Deferred[Identity]:
            answers.append(Deferred())
            return answers[-1]

        decisions = self.decisions(authenticate)
        visits = [decisions.visit(replace(makeRequest(), page=True)) for _ in range(50)]
        for answer in answers[:-1]:
            answer.errback(Refusal(401, "Wrong", guess=True))
        answers[-1].callback(Identity("alice"))
        statuses = [self.failureResultOf(visit, Refusal).value.status for visit in visits]
        self.assertEqual(statuses, [401] * ALLOWED + [429] * (50 - ALLOWED))

    def decisions(self, authenticator: Any) -> Decisions:
        return Decisions(
            Clock(),
            origins=OriginPolicy(),
            authenticator=authenticator,
            resolver=lambda request, identity: "demo:",
            authoriser=None,
            gates=[self.throttle],
            turnstiles=[self.throttle],
            webAuth=True,
            timeout=5.0,
        )

    def test_missing(self) -> None:
        """Who shows nothing has guessed nothing."""
        self.assertEqual([self.guess(makeRequest(), guess=False) for _ in range(50)], [401] * 50)

    def test_explaining(self) -> None:
        """A guess for the sake of its explanation is one."""
        statuses = [self.guess(makeRequest(explaining=True)) for _ in range(11)]
        self.assertEqual(statuses, [401] * 10 + [429])

    def test_ours(self) -> None:
        """Clients of this machine guess as often as they like: they may be a proxy, with everybody behind it."""
        for address in (IPv4Address("TCP", "127.0.0.1", 1), IPv6Address("TCP", "::1", 1), UNIXAddress(None)):
            self.assertEqual({self.guess(makeRequest(peer=address)) for _ in range(50)}, {401})

    def test_network(self) -> None:
        """Nobody gets further with the 2**64 addresses that he is given in IPv6."""
        statuses = [self.guess(makeRequest(peer=IPv6Address("TCP", f"2001:db8::{n:x}", 1))) for n in range(1, 13)]
        self.assertEqual(statuses, [401] * 10 + [429] * 2)

    def test_strange(self) -> None:
        """A refusal of somebody's own making that knows nothing of guesses is none."""

        class Own(Refusal):
            def __init__(self) -> None:
                self.status = 403

        self.assertIsNone(self.throttle.refused(makeRequest(), Own()))
