"""Tokens that an HTTP service knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.tokens.service import Conversation, Service, says
from wsproxy.dialling.webservice import LONGEST, WebService
from wsproxy.errors import ConfigError, Refusal
from wsproxy.interfaces import Target
from wsproxy.tokens.api import BaseTokenAPI, JSONTokenApi

reactor: Any = _reactor


class APITestCase(TestCase):
    """A service, and who asks it, for half a second at most."""

    kind: Any = BaseTokenAPI

    async def setUp(self) -> None:
        self.service = Service(says(200, b"h:1"))
        self.port = self.service.listen()
        self.addCleanup(self.service.stop)
        self.ask("/tokens/%s")

    def ask(self, path: str, user: str = "", patience: float = 0.5) -> None:
        source = f"http://{user}127.0.0.1:{self.port}{path}"
        self.tokens = self.kind(source, reactor, lambda reactor: WebService(reactor, patience))
        self.addCleanup(self.tokens.close)

    async def refusal(self, token: str = "red") -> Refusal:
        with self.assertRaises(Refusal) as caught:
            await self.tokens.lookup(token)
        refusal = caught.exception
        self.assertIsInstance(refusal, Refusal)
        return refusal  # type: ignore[no-any-return]  # which the assertion has just said

    async def assertUnavailable(self, answer: Callable[[Conversation, str], object], cause: str) -> None:
        self.service.answer = answer
        refusal = await self.refusal()
        self.assertEqual((refusal.status, refusal.guess), (503, False))
        self.assertIn(cause, refusal.cause)
        self.assertNotIn("red", refusal.cause)


class BaseTests(APITestCase):
    """C{HOST:PORT}."""

    async def test_answers(self) -> None:
        """A target of any kind, with white space around; of whoever it is, it may not name what only files may."""
        for body, expected in (
            (b"db.example:5900", Target("db.example:5900")),
            (b" [::1]:5900\r\n", Target("[::1]:5900")),
            (b"tls:db.example:443 proxy=v2", Target("tls:db.example:443", proxyHeader="v2")),
            (b"unix_socket:/run/x.sock", Target("unix:/run/x.sock", sockets=False)),
        ):
            self.service.answer = says(200, body)
            self.assertEqual(await self.tokens.lookup("red"), expected)
        await self.assertUnavailable(says(200, b"autobahn:unix\\:/run/x:url=ws\\://x"), "what is no target")

    async def test_quoted(self) -> None:
        """A token is one part of the path, whatever is in it, and comes to the service as it was."""
        got: list[str] = []
        self.service.answer = lambda conversation, token: (got.append(token), conversation.say(200, b"h:1"))
        sent = [
            "a/../b",
            "../x",
            "a?b=c#d",
            "a%2Fb",
            "a b+c",
            "ä\u202e",
            "%s",
            "a&b=c",
            "http://evil.example/",
            "...",
            "%",
        ]
        for token in sent:
            await self.tokens.lookup(token)
        self.assertEqual(got, sent)
        for head in self.service.heads:
            path = head.split(" ")[1]
            self.assertRegex(path, r"^/tokens/[A-Za-z0-9_.~%-]+$")

    async def test_query(self) -> None:
        """It may be in the query, and other percent signs are written twice."""
        self.ask("/a%%2Fb?x=%%20&token=%s&y=1")
        await self.tokens.lookup("a&b c")
        self.assertEqual(self.service.heads[-1].split(" ")[1], "/a%2Fb?x=%20&token=a%26b%20c&y=1")

    async def test_dots(self) -> None:
        """What a server takes for a step in its path is not asked for."""
        for token in (".", "..", "\ud800"):
            refusal = await self.refusal(token)
            self.assertEqual((refusal.status, refusal.guess), (403, True))
        self.assertEqual(self.service.heads, [])

    async def test_credentials(self) -> None:
        """Credentials of the URL go into a header, and into nothing else."""
        self.ask("/%s", "me%%40home:s%%3Ame@")
        await self.tokens.lookup("red")
        self.assertIn("Authorization: Basic bWVAaG9tZTpzOm1l", self.service.heads[-1])
        self.assertNotIn("s%3Ame", self.service.heads[-1])

    async def test_unknown(self) -> None:
        """By 4xx the service does not know the token."""
        for status in (400, 403, 404, 410, 422):
            self.service.answer = says(status, b"h:1")
            self.assertIsNone(await self.tokens.lookup("red"))

    async def test_says_nothing(self) -> None:
        """A service that is not for us, too busy, elsewhere or broken has said nothing of the token."""
        for status in (401, 407, 408, 425, 429, 300, 301, 302, 307, 500, 502, 503, 599):
            answer = says(status, b"h:1", b"Location: http://127.0.0.1:1/")
            await self.assertUnavailable(answer, f"answers {status}")

    async def test_lies(self) -> None:
        """What is no target, or no HTTP, is none."""
        for body in (b"", b"nonsense", b"h:0", b"h:1\nh:2", b"\xff\xfe:1", b"h:1 x", b"<html>h:1</html>"):
            await self.assertUnavailable(says(200, body), "what is no target")
        await self.assertUnavailable(lambda conversation, _: conversation.transport.write(b"h:1\r\n\r\n"), "no HTTP")

    async def test_breaksOff(self) -> None:
        """Half of an answer is none, though it may look like one: half of a port is a port."""
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nh:5900"
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nh:59\r\n2\r\n00\r\n0\r\n\r\n"
        for answer in (whole, chunked):
            for length in range(0, len(answer), 3):

                def breakOff(conversation: Conversation, token: str, part: bytes = answer[:length]) -> None:
                    conversation.transport.write(part)
                    conversation.transport.loseConnection()

                await self.assertUnavailable(breakOff, "it breaks off")
            self.service.answer = lambda conversation, _, answer=answer: conversation.transport.write(answer)
            self.assertEqual(str(await self.tokens.lookup("red")), "h:5900")

    async def test_withoutLength(self) -> None:
        """An answer that ends with its connection is taken, as servers of HTTP/1.0 give them."""

        def answer(conversation: Conversation, token: str) -> None:
            conversation.transport.write(b"HTTP/1.0 200 OK\r\n\r\nh:5900")
            conversation.transport.loseConnection()

        self.service.answer = answer
        self.assertEqual(str(await self.tokens.lookup("red")), "h:5900")

    async def test_hangs(self) -> None:
        """Nobody waits for long, wherever the service stops, nor for one that goes on and on."""
        for start, more in (
            (b"", b""),
            (b"HTTP/1.1 200 OK\r\n", b""),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nh:59", b""),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
            (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ):

            def hang(conversation: Conversation, token: str, start: bytes = start, more: bytes = more) -> None:
                conversation.transport.write(start)
                if more:
                    conversation.flood(more)

            started = reactor.seconds()
            await self.assertUnavailable(hang, "no answer within 0.5 s")
            self.assertLess(reactor.seconds() - started, 1.5)
        await self.assertGone()

    async def assertGone(self) -> None:
        """Connections of questions that came to nothing are closed."""
        while self.service.connections:
            await deferLater(reactor, 0.01)

    async def test_floods(self) -> None:
        """Nor is more read than an answer has, be it body or headers."""
        for start, more, cause in (
            (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 9000, f"more than {LONGEST} bytes"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", b" " * 9000, f"more than {LONGEST} bytes"),
            (b"HTTP/1.1 200 OK\r\n", b"X: %s\r\n" % (b"y" * 9000), "it breaks off"),
        ):

            def flood(conversation: Conversation, token: str, start: bytes = start, more: bytes = more) -> None:
                conversation.transport.write(start)
                conversation.flood(more)

            await self.assertUnavailable(flood, cause)
        await self.assertGone()

    async def test_gone(self) -> None:
        """A service that is not there is not waited for; once it is back, it is asked again."""
        await self.service.stop()
        refusal = await self.refusal()
        self.assertIn("it refuses connections", refusal.cause)
        self.service._port = reactor.listenTCP(self.port, self.service, interface="127.0.0.1")
        self.assertEqual(str(await self.tokens.lookup("red")), "h:1")

    async def test_kept(self) -> None:
        """Connections are kept, and no cookie of one client's answer comes with another's question."""
        self.service.answer = says(200, b"h:1", b"Set-Cookie: last=red")
        for _ in range(3):
            await self.tokens.lookup("red")
        self.assertEqual(self.service.opened, 1)
        self.assertNotIn("ookie", "".join(self.service.heads))

    async def test_cancelled(self) -> None:
        """When nobody waits any longer the connection is closed."""
        asked: Deferred[None] = Deferred()
        self.service.answer = lambda conversation, token: asked.callback(None)
        waiting = Deferred.fromCoroutine(self.tokens.lookup("red"))
        await asked
        waiting.cancel()
        await self.assertFailure(waiting, CancelledError)
        await self.assertGone()

    async def test_many(self) -> None:
        """However many ask at once, each has the answer to its own question, and so many connections there are."""

        def later(conversation: Conversation, token: str) -> None:
            reactor.callLater(int(token) % 7 / 1000, conversation.say, 200, b"h:%s" % token.encode())

        self.service.answer = later
        self.ask("/%s", patience=20)
        numbers = range(1, 301)
        found = await gatherResults([Deferred.fromCoroutine(self.tokens.lookup(str(number))) for number in numbers])
        self.assertEqual([str(target) for target in found], [f"h:{number}" for number in numbers])
        self.assertLessEqual(self.service.opened, 64)


class JSONTests(APITestCase):
    """C{{"host": …, "port": …}}."""

    kind = JSONTokenApi

    async def test_answers(self) -> None:
        """Host and port of an object, the port a number or not."""
        for body, expected in (
            (b'{"host": "db.example", "port": 5900, "more": []}', "db.example:5900"),
            (b'{"host": "::1", "port": "5900"}', "[::1]:5900"),
            (b'{"host": "unix_socket", "port": "/run/x"}', "unix:/run/x"),
        ):
            self.service.answer = says(200, body)
            self.assertEqual(await self.tokens.lookup("red"), Target(expected))

    async def test_lies(self) -> None:
        """Anything else is no answer."""
        for body in (
            *(b"", b"h:1", b"null", b"[]", b'"h:1"', b"{}", b'{"host": "h"}', b'{"host": null, "port": 1}', b"{"),
            *(b'{"host": "h", "port": 1.5}', b'{"host": "h", "port": true}', b'{"host": "h", "port": 0}', b"[" * 60000),
            *(
                b'{"host": ["h"], "port": 1}',
                b'{"host": "h", "port": 1' + b"0" * 5000 + b"}",
                b'{"host": "h", "port": 1}}',
            ),
        ):
            await self.assertUnavailable(says(200, body), "what is no target")


class SourceTests(SynchronousTestCase):
    """The URL."""

    def test_checked(self) -> None:
        """It has one place for the token, which is not where the host is; and what is wrong is told without it."""
        for source in (
            *(
                "http://h/",
                "http://h/%s/%s",
                "http://%s/",
                "http://%s.h/x",
                "http://h:%s/",
                "http://%s@h/x",
                "h/%s",
                "",
            ),
            *(
                "ftp://h/%s",
                "http://h/%d",
                "http://h/%",
                "http://h/%2F%s",
                "http://h/x#%s",
                "http:///%s",
                "http://h/ %s",
            ),
            *("http://h/\n%s", "http://h:0/%s", "http://h:99999/%s", "http://h/%%s", "http://sesame@h/%s%s"),
        ):
            error = self.assertRaises(ConfigError, BaseTokenAPI, source, reactor)
            self.assertTrue(str(error).startswith("--token-source: expected http://"), source)
            self.assertNotIn("sesame", str(error))
