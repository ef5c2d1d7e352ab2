"""Tokens in a real Redis: what they stand for, and what becomes of lookups while it is restarted, deaf or lying."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater

from tests.integration.redisserver import RedisServer
from tests.integration.test_redis import RedisTestCase
from wsproxy.cluster.redis import LONGEST_DELAY, WITHIN
from wsproxy.errors import Refusal
from wsproxy.testing import makeRequest
from wsproxy.tokens.location import TokenLocation
from wsproxy.tokens.redis import TokenRedis
from wsproxy.tokens.resolver import TokenResolver

reactor: Any = _reactor


class TokenRedisTests(RedisTestCase):
    def resolver(self, server: RedisServer, rest: str = "") -> TokenResolver:
        source = TokenRedis(f"127.0.0.1:{server.port}{rest}", reactor)
        self.addCleanup(source.redis.stopService)
        return TokenResolver(TokenLocation(), source)

    async def resolve(self, resolver: TokenResolver, token: str) -> str:
        """Where that leads, or what the client is told."""
        try:
            target = await maybeDeferred(resolver.resolve, makeRequest(f"/?token={token}"), None)
        except Refusal as refusal:
            return f"{refusal.status} {refusal.reason}{' (a guess)' if refusal.guess else ''}"
        return str(target)

    async def test_values(self) -> None:
        """A value is a target, or an object with one under C{host}; white space around it is nothing."""
        server = self.server()
        resolver = self.resolver(server)
        for value, target in (
            ("console.example:5901", "console.example:5901"),
            (" 192.0.2.1:5901\n", "192.0.2.1:5901"),
            ('{"host": "192.0.2.1:5902"}', "192.0.2.1:5902"),
            ('  {"host": "192.0.2.1:5902", "else": 1}', "192.0.2.1:5902"),
            ("[2001:db8::1]:5903", "[2001:db8::1]:5903"),
            ("tls:console.example:5904", "tls:console.example:5904"),
            ("unix_socket:/run/console", "unix:/run/console"),
        ):
            server.cli("set", "key", value)
            self.assertEqual(await self.resolve(resolver, "key"), target)

    async def test_unknown(self) -> None:
        """A key that is not there is a wrong guess, and so is one that holds no text."""
        server = self.server()
        resolver = self.resolver(server)
        server.cli("lpush", "list", "192.0.2.1:5901")
        for token in ("missing", "list", "*", "%C3%BC"):
            self.assertEqual(await self.resolve(resolver, token), "403 Token not accepted (a guess)")

    async def test_nonsense(self) -> None:
        """A value that says nothing is nobody's guess, and does not end in a traceback."""
        server = self.server()
        resolver = self.resolver(server)
        deep = "{" + '"a":[' * 600
        for value in ("", "nonsense", '{"host": 1}', "{}", "{", '{"host": "x"}', "[" * 3000, "x" * 5000, deep):
            server.cli("set", "key", value)
            self.assertEqual(await self.resolve(resolver, "key"), "503 Service unavailable", value)

    async def test_namespace(self) -> None:
        """With a database, a password and a namespace only what is in there counts."""
        server = self.server("--requirepass", "geheim")
        words = ("-a", "geheim", "--no-auth-warning", "-n", "2")
        server.cli(*words, "set", "a:b:key", "192.0.2.1:1")
        server.cli(*words, "set", "other", "192.0.2.1:2")
        resolver = self.resolver(server, ':2:geheim:"a:b"')
        self.assertEqual(await self.resolve(resolver, "key"), "192.0.2.1:1")
        self.assertEqual(await self.resolve(resolver, "other"), "403 Token not accepted (a guess)")

    async def test_injection(self) -> None:
        """A token is one word of one command, whatever is in it."""
        server = self.server()
        resolver = self.resolver(server)
        server.cli("set", "key", "192.0.2.1:1")
        for token in ("key%0D%0ADEL%20key", "key%20EX%201", "$3", "key%00", "%22key%22"):
            self.assertEqual(await self.resolve(resolver, token), "403 Token not accepted (a guess)", token)
        self.assertEqual(await self.resolve(resolver, "key"), "192.0.2.1:1")

    async def test_restarted(self) -> None:
        """While Redis is restarted it is 503 at once; then lookups are answered again, without any help."""
        server = self.server()
        resolver = self.resolver(server)
        server.cli("set", "key", "192.0.2.1:1")
        self.assertEqual(await self.resolve(resolver, "key"), "192.0.2.1:1")
        server.stop()
        began = time.monotonic()
        for _ in range(5):
            self.assertEqual(await self.resolve(resolver, "key"), "503 Service unavailable")
        self.assertLess(time.monotonic() - began, 2)
        server.start()
        server.cli("set", "key", "192.0.2.1:2")
        until = time.monotonic() + LONGEST_DELAY + WITHIN + 1
        while (found := await self.resolve(resolver, "key")) != "192.0.2.1:2":
            self.assertEqual(found, "503 Service unavailable")
            self.assertLess(time.monotonic(), until)
            await deferLater(reactor, 0.05, lambda: None)

    async def test_deaf(self) -> None:
        """One that is stopped costs its bound once."""
        server = self.server()
        resolver = self.resolver(server)
        self.assertEqual(await self.resolve(resolver, "key"), "403 Token not accepted (a guess)")
        server.freeze()
        began = time.monotonic()
        asked = [Deferred.fromCoroutine(self.resolve(resolver, "key")) for _ in range(5)]
        for each in asked:
            self.assertEqual(await each, "503 Service unavailable")
        self.assertEqual(await self.resolve(resolver, "key"), "503 Service unavailable")
        self.assertLess(time.monotonic() - began, WITHIN + 1)
