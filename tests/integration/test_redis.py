"""A real Redis that is there, restarted, deaf, lying or gone: commands are answered, or fail within their bound."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from tests.certificates import LOCAL, Authority, pem
from tests.integration.redisserver import RedisServer
from wsproxy.cluster.address import Address
from wsproxy.cluster.errors import RedisAway, RedisError
from wsproxy.cluster.redis import LONGEST_DELAY, WITHIN, Redis, connect
from wsproxy.errors import ConfigError

reactor: Any = _reactor


class RedisTestCase(TestCase):
    """What is asked of Redis, and what the log has of it."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self._heard)
        self.addCleanup(globalLogPublisher.removeObserver, self._heard)

    def _heard(self, event: Any) -> None:
        if str(event.get("log_namespace", "")).startswith("wsproxy"):
            self.lines.append(str(formatEvent(event)))

    def server(self, *options: str, **more: Any) -> RedisServer:
        server = RedisServer(Path(self.mktemp()).absolute(), *options, **more)
        self.addCleanup(server.stop)
        server.start()
        return server

    def redis(self, port: int, **more: Any) -> Redis:
        redis = connect(reactor, Address(more.pop("host", "127.0.0.1"), port, **more), "--cluster")
        self.addCleanup(redis.stopService)
        return redis

    async def awaits(self, redis: Redis, *words: str) -> Any:
        """Ask until there is an answer, as long as one must be found again."""
        until = time.monotonic() + LONGEST_DELAY + 2 * WITHIN + 1
        while True:
            try:
                return await redis.execute(*words)
            except RedisAway:
                self.assertLess(time.monotonic(), until)
                await deferLater(reactor, 0.02, lambda: None)

    async def assertFails(self, redis: Redis, within: float) -> None:
        began = time.monotonic()
        await self.assertFailure(redis.execute("PING"), RedisAway)
        self.assertLess(time.monotonic() - began, within)


class ThereTests(RedisTestCase):
    """One that does as it should."""

    async def test_answers(self) -> None:
        """It connects when it is first asked, and answers are bytes, text, numbers, nothing and lists of those."""
        server = self.server()
        redis = self.redis(server.port)
        self.assertEqual(server.cli("client", "list").count("\n"), 0)
        self.assertEqual(await redis.execute("SET", "a", b"\xff\r\n1"), "OK")
        self.assertEqual(await redis.execute("GET", "a"), b"\xff\r\n1")
        self.assertEqual(await redis.execute("INCRBY", "n", 41), 41)
        self.assertEqual(await redis.execute("GET", "n"), b"41")
        self.assertIsNone(await redis.execute("GET", "b"))
        self.assertEqual(await redis.execute("MGET", "a", "b", "n"), [b"\xff\r\n1", None, b"41"])
        self.assertEqual(await redis.execute("SET", "a", "2", "NX"), None)

    async def test_many(self) -> None:
        """Answers of a thousand commands at once are those of their questions."""
        redis = self.redis(self.server().port)
        answers = await gatherResults([redis.execute("ECHO", str(number)) for number in range(1000)])
        self.assertEqual(answers, [b"%d" % number for number in range(1000)])

    async def test_large(self) -> None:
        """A value of 100 KB arrives whole."""
        redis = self.redis(self.server().port)
        await redis.execute("SET", "large", b"x" * 100_000)
        self.assertEqual(await redis.execute("GET", "large"), b"x" * 100_000)

    async def test_complaint(self) -> None:
        """What Redis complains of is an error of this command alone."""
        redis = self.redis(self.server().port)
        complaint = await self.assertFailure(redis.execute("NONSENSE"), RedisError)
        self.assertIn("unknown command", str(complaint))
        self.assertEqual(await redis.execute("PING"), "PONG")

    async def test_cancelled(self) -> None:
        """Who does not wait any more does not shift the answers of others."""
        redis = self.redis(self.server().port)
        await redis.execute("PING")
        first, second = redis.execute("ECHO", "1"), redis.execute("ECHO", "2")
        first.cancel()
        self.failureResultOf(first)
        self.assertEqual(await second, b"2")

    async def test_password(self) -> None:
        """It logs in, and works in the database that the address names."""
        server = self.server("--requirepass", "geheim wort")
        redis = self.redis(server.port, password="geheim wort", db=3)
        await redis.execute("SET", "here", "1")
        self.assertEqual(server.cli("-a", "geheim wort", "--no-auth-warning", "-n", "3", "get", "here"), "1")

    async def test_wrongPassword(self) -> None:
        """With a wrong password it is away; the log says why, once, and has no password."""
        redis = self.redis(self.server("--requirepass", "right").port, password="wrongest")
        for _ in range(5):
            await self.assertFails(redis, WITHIN)
        self.assertEqual(len(self.lines), 1, self.lines)
        self.assertIn("WRONGPASS", self.lines[0])
        self.assertNotIn("wrongest", "".join(self.lines) + repr(redis.__dict__))

    async def test_tls(self) -> None:
        """Over TLS it speaks to whoever has a certificate of its name, of the authorities that are trusted."""
        authority = Authority()
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        certificate, ca = folder / "server.pem", folder / "ca.pem"
        certificate.write_bytes(authority.issue(*LOCAL).both)
        ca.write_bytes(pem(authority.certificate))
        server = self.server(tls=(str(certificate), str(certificate), str(ca)))
        trusting = self.redis(server.port, host="localhost", tls=True, authorities=str(ca))
        self.assertEqual(await trusting.execute("PING"), "PONG")
        await self.assertFails(self.redis(server.port, host="localhost", tls=True), WITHIN)
        self.assertIn("certificate", self.lines[-1])


class MissingTests(RedisTestCase):
    def test_missing(self) -> None:
        """Without the extra it is one line that says what is missing."""
        with patch.dict(sys.modules, {"wsproxy.cluster.protocol": None}):
            error = self.assertRaises(ConfigError, connect, reactor, Address("h"), "--token-plugin TokenRedis")
        self.assertEqual(str(error), "--token-plugin TokenRedis: needs txredisapi: pip install 'wsproxy[redis]'")


class AwayTests(RedisTestCase):
    """One that does not."""

    async def test_never(self) -> None:
        """Where nobody listens, each command fails at once, and the log says so once."""
        server = RedisServer(Path(self.mktemp()).absolute())
        redis = self.redis(server.port)
        for _ in range(10):
            await self.assertFails(redis, 0.5)
        self.assertEqual(len(self.lines), 1, self.lines)
        self.assertRegex(self.lines[0], rf"--cluster: redis://127.0.0.1:{server.port}/0 is away: Connection was")

    async def test_restarted(self) -> None:
        """After a restart it is found again; meanwhile commands fail at once."""
        server = self.server()
        redis = self.redis(server.port)
        await redis.execute("PING")
        server.stop()
        for within in (1.0, 1.0, 0.1, 0.1):  # once it has been looked for again, it is known to be away
            await self.assertFails(redis, within)
        server.start()
        self.assertEqual(await self.awaits(redis, "PING"), "PONG")
        self.assertEqual([line.rpartition("/0 ")[2].split(":")[0] for line in self.lines], ["is away", "is back"])

    async def test_lostWhileIdle(self) -> None:
        """A connection that Redis has ended, as it does with those that are idle, costs no command."""
        server = self.server()
        redis = self.redis(server.port)
        await redis.execute("PING")
        server.cli("client", "kill", "type", "normal")
        await deferLater(reactor, 0.02, lambda: None)
        self.assertEqual(await redis.execute("PING"), "PONG")
        self.assertEqual(self.lines, [])

    async def test_deaf(self) -> None:
        """One that is stopped is waited for once; from then on commands fail at once, until it goes on."""
        server = self.server()
        redis = self.redis(server.port)
        await redis.execute("PING")
        server.freeze()
        await self.assertFails(redis, WITHIN + 1)
        await self.assertFails(redis, 0.1)
        await deferLater(reactor, 0.5, lambda: None)  # it has been connected to once more: the kernel does that
        await self.assertFails(redis, 0.1)
        server.thaw()
        self.assertEqual(await self.awaits(redis, "PING"), "PONG")

    async def test_deafFromTheStart(self) -> None:
        """So is one that has never answered."""
        server = self.server()
        server.freeze()
        redis = self.redis(server.port)
        await self.assertFails(redis, WITHIN + 1)
        await self.assertFails(redis, 0.1)

    async def lying(self, *answers: bytes) -> Redis:
        """@param answers: to one command after the other; the last one to all that follow."""
        left = list(answers)

        class Liar(Protocol):
            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                for _ in range(data.count(b"*")):
                    self.transport.write(left.pop(0) if len(left) > 1 else left[0])

        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Liar))
        self.addCleanup(port.stopListening)
        return self.redis(port.getHost().port)

    async def test_lies(self) -> None:
        """What is no answer of Redis's fails within the bound, and is never taken for one."""
        failing = []
        for lie in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff\xfe\r\n", b"$x\r\n", b"*x\r\n", b":one\r\n", b"+PONG"):
            for answers in ((lie,), (b"+PONG\r\n", lie)):
                redis = await self.lying(*answers)
                failing.append(Deferred.fromCoroutine(self.assertFails(redis, WITHIN + 1)))
        await gatherResults(failing)

    async def test_leftWhileConnecting(self) -> None:
        """One that ends while it looks for Redis says nothing of it."""
        server = self.server()
        server.freeze()
        redis = self.redis(server.port)
        waiting = self.assertFailure(redis.execute("PING"), RedisAway)
        await deferLater(reactor, 0.1, lambda: None)
        await redis.stopService()
        await waiting
        self.assertEqual(self.lines, [])

    async def test_endless(self) -> None:
        """An answer without an end is not read to it."""
        for flood in (b"x" * 40_000, b"$2000000000\r\n" + b"x" * 2_000_000, b"\r\n" * 1_000_000):
            redis = await self.lying(b"+PONG\r\n", flood)
            await self.assertFails(redis, WITHIN)

    async def test_unasked(self) -> None:
        """An answer that nobody asked for is not the answer to what is asked next."""
        redis = await self.lying(b"+PONG\r\n+more\r\n", b"+PONG\r\n")
        answers: list[Any] = []
        for _ in range(3):
            try:
                answers.append(await redis.execute("PING"))
            except RedisAway:
                await deferLater(reactor, 0.1, lambda: None)
        self.assertNotIn("more", answers)

    async def test_flapping(self) -> None:
        """One that ends every connection is away."""

        class Flap(Protocol):
            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                self.transport.write(b"+PONG\r\n")
                self.transport.loseConnection()

        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Flap))
        self.addCleanup(port.stopListening)
        redis = self.redis(port.getHost().port)
        await self.assertFails(redis, 0.5)
        await self.assertFails(redis, 0.5)

    async def test_closed(self) -> None:
        """Once it is stopped it answers nothing any more, and nothing is left of its connection."""
        server = self.server()
        redis = self.redis(server.port)
        last: list[Deferred[Any]] = []
        redis.beforeLeaving(lambda: last.append(redis.execute("SET", "last", "1")))
        await redis.execute("PING")
        await redis.stopService()
        self.assertEqual(await last[0], "OK")
        await self.assertFails(redis, 0.1)
        while server.cli("client", "list").count("\n"):
            await deferLater(reactor, 0.02, lambda: None)
