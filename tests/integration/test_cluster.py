"""Limits of several nodes, in a real Redis: they hold together, and go on alone while it is away."""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater

from tests.integration.redisserver import RedisServer
from tests.integration.test_redis import RedisTestCase
from tests.integration.twistd import startTwistd
from tests.limits.contract import LIMITS, BookContract, TallyContract, check, count, look, take
from wsproxy.cluster.cluster import Cluster, joinCluster
from wsproxy.cluster.redis import WITHIN
from wsproxy.errors import ConfigError
from wsproxy.limits.books import ClusterBook
from wsproxy.limits.clustered import LEASE, ClusterTally
from wsproxy.limits.counts import Counts, Full
from wsproxy.limits.guesses import ALLOWED, WINDOW, Guesses

reactor: Any = _reactor


def sleep(seconds: float) -> Deferred[None]:
    return deferLater(reactor, seconds, lambda: None)


class ClusterTestCase(RedisTestCase):
    """Nodes, each with a connection of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.redisServer: RedisServer | None = None

    def there(self) -> RedisServer:
        if self.redisServer is None:
            self.redisServer = self.server()
        return self.redisServer

    def join(self, parameters: str = "?key=geheim") -> Cluster:
        cluster = joinCluster(reactor, f"redis://127.0.0.1:{self.there().port}/{parameters}")
        self.addCleanup(cluster.redis.stopService)
        return cluster

    def node(self, lease: float = LEASE) -> ClusterTally:
        tally = ClusterTally(reactor, Counts(LIMITS), self.join(), LIMITS, lease)
        tally.startService()
        self.addCleanup(tally.stopService)
        return tally

    async def found(self, cluster: Cluster) -> None:
        await self.awaits(cluster.redis, "PING")


class TallyTests(TallyContract, ClusterTestCase):
    """Sessions of one node, in Redis."""

    async def tally(self) -> ClusterTally:
        return self.node()


class NodesTests(TallyContract, ClusterTestCase):
    """Sessions of several nodes."""

    async def tally(self) -> ClusterTally:
        """One of two, of which the other has had its say."""
        other = self.node()
        (await take(other, ("all", ""), ("client", "c"), ("identity", "i"), ("token", "t")))()
        await self.quiet(other)
        return self.node()

    async def quiet(self, tally: ClusterTally) -> None:
        """Wait until Redis has heard what C{tally} has said."""
        await look(tally, ("token", "nobody's"))

    async def test_together(self) -> None:
        """A limit holds for all nodes together."""
        first, second = self.node(), self.node()
        gives = [await take((first, second)[number % 2], ("all", ""), ("client", "c")) for number in range(3)]
        for tally in (first, second):
            await self.assertFull("client", tally, ("all", ""), ("client", "c"))
        gives[1]()
        await self.quiet(second)
        await take(first, ("all", ""), ("client", "c"))
        await self.assertFull("client", second, ("all", ""), ("client", "c"))

    async def test_dies(self) -> None:
        """The sessions of a node that has died count as long as their leases last; those of one that lives go on."""
        living, dying = self.node(lease=0.6), self.node(lease=0.6)
        for tally in (living, dying, dying):
            await take(tally, ("client", "c"))
        dying.stopService()  # nothing more: it does not take its leave
        await self.assertFull("client", living, ("client", "c"))
        await sleep(1.2)
        for _ in range(2):
            await take(living, ("client", "c"))
        await self.assertFull("client", living, ("client", "c"))

    async def test_leaves(self) -> None:
        """Those of a node that ends are free at once."""
        staying, leaving = self.node(), self.node()
        for _ in range(3):
            await take(leaving, ("client", "c"))
        await self.assertFull("client", staying, ("client", "c"))
        leaving.stopService()
        await leaving._redis.stopService()
        for _ in range(3):
            await take(staying, ("client", "c"))

    async def test_refusedWhileRenewing(self) -> None:
        """Who is refused while leases are renewed has none afterwards: when the others leave, all is free at once."""
        full, knocked = self.node(), self.node()
        gives = [await take(full, ("client", "c")) for _ in range(3)]
        knocking = [maybeDeferred(knocked.take, (("client", "c"),)) for _ in range(20)]
        await knocked._renew()
        for each in knocking:
            with self.assertRaises(Full):
                await each
        for give in gives:
            give()
        await self.quiet(full)
        self.assertEqual(self.there().cli("zcard", "wsproxy:main:sessions:client:c"), "0")

    async def test_keys(self) -> None:
        """What stands in Redis has a lifetime, and neither token nor name; its keys are those of the prefix."""
        tally = self.node()
        await take(tally, ("all", ""), ("client", "192.0.2.1"), ("identity", "alice"), ("token", "geheim"))
        book = ClusterBook(Guesses(reactor.seconds), self.join())
        await count(book, "192.0.2.1")
        cli = self.there().cli
        keys = cli("keys", "*").split("\n")
        key = hmac.digest(b"geheim", b"wsproxy cluster", "sha256")
        hidden = [hmac.digest(key, text, "sha256").hex() for text in (b"identity:alice", b"token:geheim")]
        self.assertEqual(
            sorted(keys),
            sorted(
                [
                    "wsproxy:main:guesses:192.0.2.1",
                    "wsproxy:main:sessions:all",
                    "wsproxy:main:sessions:client:192.0.2.1",
                    f"wsproxy:main:sessions:identity:{hidden[0]}",
                    f"wsproxy:main:sessions:token:{hidden[1]}",
                ]
            ),
        )
        for each in keys:
            lifetime = int(cli("pttl", each))
            self.assertTrue(0 < lifetime <= 1000 * (WINDOW if "guesses" in each else LEASE), each)

    async def test_prefix(self) -> None:
        """Clusters with prefixes of their own have nothing in common."""
        tallies = [
            ClusterTally(reactor, Counts(LIMITS), self.join(f"?prefix={prefix}"), LIMITS) for prefix in ("one", "two")
        ]
        for tally in tallies:
            await take(tally, ("token", "t"))

    async def test_empty(self) -> None:
        """A Redis that has lost everything is told of the sessions again as soon as it is back."""
        first, second = self.node(), self.node()
        for _ in range(3):
            await take(first, ("client", "c"))
        self.there().stop()
        self.there().start()
        await self.found(first._cluster)
        await self.found(second._cluster)
        await self.assertFull("client", second, ("client", "c"))


class AloneTests(ClusterTestCase):
    """While Redis is away."""

    async def assertAlone(self, tally: ClusterTally, within: float) -> None:
        """The node's own limits hold."""
        began = time.monotonic()
        gives = [await take(tally, ("client", "c")) for _ in range(3)]
        with self.assertRaises(Full):
            await take(tally, ("client", "c"))
        for give in gives:
            give()
        self.assertLess(time.monotonic() - began, within)

    async def test_gone(self) -> None:
        """A node that has lost Redis goes on with its own counts, without waiting; then they count for all again."""
        first, second = self.node(), self.node()
        await take(first, ("all", ""))
        self.there().stop()
        await self.assertAlone(first, 1.0)
        give = await take(first, ("token", "t"))
        self.there().start()
        await self.found(first._cluster)
        await self.found(second._cluster)
        with self.assertRaises(Full):
            await take(second, ("token", "t"))
        give()
        await look(first, ("token", "t"))
        await take(second, ("token", "t"))

    async def test_deaf(self) -> None:
        """One that waits for a Redis that is stopped does so once, and is let in."""
        tally = self.node()
        await take(tally, ("all", ""))
        self.there().freeze()
        await self.assertAlone(tally, WITHIN + 1)
        await self.assertAlone(tally, 0.2)
        self.there().thaw()
        await self.found(tally._cluster)
        await take(tally, ("token", "t"))

    async def test_refusing(self) -> None:
        """So does one whose Redis is there, but will not have it: the log says so once."""
        tally = self.node()
        await take(tally, ("all", ""))
        self.there().cli("config", "set", "min-replicas-to-write", "1")
        await self.assertAlone(tally, 1.0)
        await self.assertAlone(tally, 1.0)
        self.assertEqual(len(self.lines), 1, self.lines)
        self.assertIn("counts of this node alone: NOREPLICAS", self.lines[0])

    async def test_nonsense(self) -> None:
        """What is no answer to that is none: a node goes on with its own counts."""
        tally = self.node()
        self.there().cli("set", "wsproxy:main:sessions:client:c", "nonsense")
        await self.assertAlone(tally, 1.0)

    async def test_guesses(self) -> None:
        """Guesses are counted by each node for itself."""
        book = ClusterBook(Guesses(reactor.seconds), self.join())
        await count(book, "c")
        self.there().stop()
        began = time.monotonic()
        told = [(await count(book, "c")).told for _ in range(ALLOWED)]
        self.assertEqual(told, [True] * (ALLOWED - 1) + [False])
        self.assertGreater(await check(book, "c"), 0)
        self.assertLess(time.monotonic() - began, 1)


class BooksTests(BookContract, ClusterTestCase):
    """Guesses at several nodes."""

    async def books(self) -> Sequence[ClusterBook]:
        return [ClusterBook(Guesses(reactor.seconds), self.join()) for _ in range(3)]

    async def test_right(self) -> None:
        """Who is blocked at one node learns nothing at another from a right guess either."""
        first, second, _ = await self.books()
        for _ in range(ALLOWED):
            await count(first, "c")
        self.assertEqual(second.guesses.wait("c"), 0)
        self.assertGreater(await check(second, "c"), WINDOW - 5)
        self.assertGreater(second.guesses.wait("c"), WINDOW - 5)


class URLTests(RedisTestCase):
    """C{--cluster}."""

    def test_wrong(self) -> None:
        """What is no such URL is told without a word of it: it holds a password."""
        for url in (
            "", "redis", "http://geheim@h", "redis://", "redis://:geheim@h:x/", "redis://geheim@h/one", "redis://h:99999",
            "redis://h/?geheim=1", "redis://h/?prefix=a:geheim", "redis://h/#geheim", "redis://[geheim/", "redis://h/?geheim",
        ):  # fmt: skip
            error = self.assertRaises(ConfigError, joinCluster, reactor, url)
            self.assertTrue(str(error).startswith("--cluster: "), url)
            self.assertNotIn("geheim", str(error))

    async def test_environment(self) -> None:
        """A URL in the environment is taken out of it: programs that are started here do not inherit it."""
        program = 'echo "url: [$CLUSTER]"; exec sleep 60'
        words = ("--listen", "127.0.0.1:0", "--cluster", "env:CLUSTER", "--", "sh", "-c", program, "{port}")
        twistd = startTwistd(self, *words, CLUSTER="redis://:geheim@127.0.0.1/")
        await twistd.line(r"url: \[\]")
        outcome = await twistd.stop()
        self.assertNotIn("geheim", outcome.out + outcome.err)

    def test_authorities(self) -> None:
        """A file of authorities is told of now, not to the first client."""
        for url, complaint in (
            ("rediss://h?cafile=ca.pem", "--cluster: cafile in the URL: an absolute path is wanted"),
            ("rediss://h?cafile=/nowhere/ca.pem", "--cluster: /nowhere/ca.pem: No such file or directory"),
        ):
            self.assertEqual(str(self.assertRaises(ConfigError, joinCluster, reactor, url)), complaint)

    async def test_start(self) -> None:
        """A start with such a URL is one line, with status 1; one that holds a secret is warned of."""
        outcome = await startTwistd(self, "--target", "demo:", "--cluster", "redis://h/geheim").end()
        self.assertEqual(outcome.status, 1)
        self.assertRegex(outcome.err, r"^twistd websockify: --cluster: not redis://.*\n$")
        self.assertNotIn("geheim", outcome.err + outcome.out)
        words = ("--target", "demo:", "--listen", "127.0.0.1:0", "--cluster")
        for url, warning in (
            ("redis://:geheim@127.0.0.1", "--cluster: all users of this machine can read it"),
            ("redis://127.0.0.1", "--cluster: neither key= nor a password"),
        ):
            twistd = startTwistd(self, *words, url)
            await twistd.line("Listening on")
            outcome = await twistd.stop()
            self.assertEqual(outcome.out.count("--cluster"), 1, outcome.out)
            self.assertIn(warning, outcome.out)

    def test_silent(self) -> None:
        """No password is shown of what is made of it."""
        cluster = joinCluster(reactor, "rediss://user:geheim@[::1]:7000/3?key=geheimer")
        self.assertEqual(str(cluster.redis._address), "rediss://[::1]:7000/3")
        self.assertNotIn("geheim", repr(vars(cluster)) + repr(vars(cluster.redis)).replace("geheimer", ""))

    def test_hidden(self) -> None:
        """Nodes that are told the same hide alike; others do not."""
        urls = ("redis://h?key=one", "redis://:x@other:7?key=one", "redis://h?key=two", "redis://:one@h", "redis://h")
        hidden = [joinCluster(reactor, url).hidden("token") for url in urls]
        self.assertEqual(hidden[0], hidden[1])
        self.assertEqual(hidden[0], hidden[3])
        self.assertEqual(len(set(hidden)), 3)
