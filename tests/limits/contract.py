"""What is expected of whoever counts sessions, and guesses: one suite for each, over all there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.trial.unittest import TestCase

from wsproxy.limits.books import Book
from wsproxy.limits.counts import Full, Give, Tally
from wsproxy.limits.guesses import ALLOWED, WINDOW, Verdict

if TYPE_CHECKING:
    _Mixin = TestCase
else:
    _Mixin = object

__all__ = ["LIMITS", "BookContract", "TallyContract", "check", "count", "look", "take"]

LIMITS = {"all": 5, "client": 3, "identity": 2, "token": 1}


async def take(tally: Tally, *subjects: tuple[str, str]) -> Give:
    give: Give = await maybeDeferred(tally.take, subjects)
    return give


async def look(tally: Tally, *subjects: tuple[str, str]) -> None:
    await maybeDeferred(tally.look, subjects)


async def count(book: Book, client: str) -> Verdict:
    verdict: Verdict = await maybeDeferred(book.count, client)
    return verdict


async def check(book: Book, client: str) -> float:
    wait: float = await maybeDeferred(book.check, client)
    return wait


class TallyContract(_Mixin):
    """Mixed into a test case that has C{tally()}, with L{LIMITS}."""

    async def tally(self) -> Tally:
        raise NotImplementedError

    async def assertFull(self, kind: str, tally: Tally, *subjects: tuple[str, str]) -> None:
        for ask in (look, take):
            full = await self.assertFailure(Deferred.fromCoroutine(ask(tally, *subjects)), Full)
            self.assertEqual(full.kind, kind)

    async def test_limit(self) -> None:
        """There are as many as there may be; one that goes makes room for one."""
        tally = await self.tally()
        gives = [await take(tally, ("all", "")) for _ in range(5)]
        await self.assertFull("all", tally, ("all", ""))
        gives.pop()()
        await look(tally, ("all", ""))
        gives.append(await take(tally, ("all", "")))
        await self.assertFull("all", tally, ("all", ""))

    async def test_each(self) -> None:
        """Each client, identity and token has a count of its own."""
        tally = await self.tally()
        for kind, limit in LIMITS.items():
            if kind != "all":
                for name in ("one", "another"):
                    for _ in range(limit):
                        await take(tally, (kind, name))
                    await self.assertFull(kind, tally, (kind, name))

    async def test_allOrNone(self) -> None:
        """A session that has no room in one respect counts in none."""
        tally = await self.tally()
        await take(tally, ("token", "t"))
        for _ in range(9):
            await self.assertFull("token", tally, ("all", ""), ("client", "c"), ("token", "t"))
        for _ in range(3):
            await take(tally, ("all", ""), ("client", "c"))

    async def test_looking(self) -> None:
        """To look counts nothing."""
        tally = await self.tally()
        for _ in range(9):
            await look(tally, ("token", "t"))
        await take(tally, ("token", "t"))

    async def test_nothing(self) -> None:
        """A session that is subject to no limit has room always."""
        tally = await self.tally()
        for _ in range(9):
            (await take(tally))()

    async def test_atOnce(self) -> None:
        """Of many that come at the same time as many are let in as there is room for."""
        tally = await self.tally()
        outcomes: list[Any] = await gatherResults(
            [maybeDeferred(tally.take, [("all", "")]).addErrback(lambda failure: failure.trap(Full)) for _ in range(20)]
        )
        self.assertEqual(outcomes.count(Full), 15)
        for outcome in outcomes:
            if outcome is not Full:
                outcome()
        await take(tally, ("all", ""))

    async def test_givenUp(self) -> None:
        """One whose client did not wait for the answer does not count."""
        tally = await self.tally()
        for _ in range(9):
            taking = maybeDeferred(tally.take, [("token", "t")])
            if taking.called:
                (await taking)()
            else:
                taking.cancel()
                await self.assertFailure(taking, CancelledError)
        await take(tally, ("token", "t"))


class BookContract(_Mixin):
    """Mixed into a test case that has C{books()}, all of the same client's guesses."""

    async def books(self) -> Sequence[Book]:
        raise NotImplementedError

    async def test_told(self) -> None:
        """Ten guesses are answered, wherever they are made; from then on the client waits for the oldest to be over."""
        books = await self.books()
        for number in range(ALLOWED):
            told, wait = await count(books[number % len(books)], "c")
            self.assertTrue(told)
            self.assertEqual(wait > 0, number == ALLOWED - 1)
        for book in books:
            told, wait = await count(book, "c")
            self.assertFalse(told)
            self.assertTrue(WINDOW - 5 < wait <= WINDOW)
            self.assertTrue(WINDOW - 5 < await check(book, "c") <= WINDOW)
            self.assertTrue(WINDOW - 5 < book.guesses.wait("c") <= WINDOW)

    async def test_others(self) -> None:
        """It is nobody else's loss."""
        books = await self.books()
        for _ in range(ALLOWED):
            await count(books[0], "c")
        for book in books:
            self.assertEqual(await check(book, "d"), 0)
            self.assertTrue((await count(book, "d")).told)

    async def test_atOnce(self) -> None:
        """Of many guesses at the same time ten are answered."""
        books = await self.books()
        verdicts = await gatherResults([maybeDeferred(books[i % len(books)].count, "c") for i in range(100)])
        self.assertEqual(sum(told for told, _ in verdicts), ALLOWED)
