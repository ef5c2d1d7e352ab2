"""Links: made by C{wsproxy token}, and good for what they say, with real processes on both sides."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.wire import Echo
from twisted.trial.unittest import TestCase

from tests.components import requireComponent
from tests.integration.client import Client, Response
from tests.integration.proxy import Proxy
from tests.integration.recipes import recipesOf
from tests.integration.redisserver import RedisServer
from tests.integration.test_life import GREETING, LifeTestCase
from tests.integration.twistd import ROOT, TWISTD, startTwistd
from tests.jose.tokens import ecKey, private, public, signed, unsigned
from wsproxy.cluster.redis import WITHIN

reactor: Any = _reactor

WSPROXY = str(Path(sys.executable).with_name("wsproxy"))

USED = "This link was good once, and has been used"

_EXPLAIN = "application/wsproxy-refusal+json"


async def listen(test: TestCase) -> int:
    """@return: the port of an echo."""
    echo: Any = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Echo))
    test.addCleanup(echo.stopListening)
    return int(echo.getHost().port)


class LinksTestCase(LifeTestCase):
    """A proxy with a key for links, and links for it, which lead to the built-in target."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        self.key = self.folder / "link.key"
        self.key.write_text(f"{secrets.token_hex(32)}\n")

    async def serve(self, *arguments: str) -> Proxy:
        self.proxy = Proxy(self.folder, "--link-key", f"@{self.key}", *arguments)
        self.addCleanup(self.proxy.stop)
        self.port = await self.proxy.port()
        return self.proxy

    def link(self, *words: str) -> str:
        command = [WSPROXY, "token", "--key", f"@{self.key}", "--target", "demo:", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()

    async def upgrade(self, path: str = "/", cookie: str | None = None) -> tuple[Response, Client]:
        client = Client(self.connect())
        return await client.upgrade(path, headers=() if cookie is None else (f"Cookie: {cookie}",)), client

    async def get(self, path: str, *lines: str) -> tuple[Response, bytes]:
        """A page."""
        client = Client(self.connect())
        head = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines, "", ""]
        client.stream.write("\r\n".join(head).encode())
        return await client.response(), await client.stream.rest()

    async def explained(self, path: str, *lines: str) -> tuple[int, str]:
        """What a page is told of why there is no WebSocket."""
        _, body = await self.get(path, f"Accept: {_EXPLAIN}", *lines)
        told = json.loads(body)
        return told["status"], told["reason"]

    async def assertOneOfMany(self) -> None:
        link = f"/?token={self.link('--once')}"
        outcomes = await gatherResults([Deferred.fromCoroutine(self.upgrade(link)) for _ in range(50)])
        self.assertEqual(sorted(response.status for response, _ in outcomes), [101] + [403] * 49)


class UseTests(LinksTestCase):
    async def test_way(self) -> None:
        """A link leads where it says, for whom it says; the log has the name, and nothing of any token."""
        await self.serve()
        good, bad = self.link("--identity", "alice"), self.link("--expires", "1")[:-2]
        response, client = await self.upgrade(f"/?token={good}")
        self.assertEqual(response.status, 101)
        self.assertEqual(await client.exactly(len(GREETING)), GREETING)
        await client.leave()
        self.assertEqual((await self.upgrade(f"/?token={bad}"))[0].status, 403)
        self.assertEqual((await self.upgrade())[0].status, 403)
        await self.proxy.said("Token not accepted")
        said = "\n".join(self.proxy.lines)
        self.assertIn("alice", said)
        self.assertRegex(said, "Token not accepted: link [0-9a-f]{8}: malformed")
        for part in (*good.split("."), *bad.split("."), self.key.read_text().strip()):
            self.assertNotIn(part, said)

    async def test_once(self) -> None:
        """What is good once is, and not while one only asks; then a page can tell why, and others are told the same."""
        await self.serve()
        link = f"/?token={self.link('--once')}"
        self.assertEqual(await self.explained(link), (101, ""))
        self.assertEqual((await self.upgrade(link))[0].status, 101)
        self.assertEqual((await self.upgrade(link))[0].status, 403)
        self.assertEqual(await self.explained(link), (403, USED))

    async def test_last(self) -> None:
        """It is spent last: whoever is refused for something else has it still."""
        await self.serve("--max-sessions", "1")
        response, first = await self.upgrade(f"/?token={self.link()}")
        self.assertEqual(response.status, 101)
        link = f"/?token={self.link('--once')}"
        other = Client(self.connect())
        self.assertEqual((await other.upgrade(link, headers=["Origin: http://evil.example"])).status, 403)
        self.assertEqual((await self.upgrade(link))[0].status, 503)
        await first.leave()
        await self.proxy.said("closed by client")
        self.assertEqual((await self.upgrade(link))[0].status, 101)

    async def test_manyAtOnce(self) -> None:
        """Of 50 who come with it at once, one is let in."""
        await self.serve()
        await self.assertOneOfMany()

    async def test_restart(self) -> None:
        """A link from before a restart is not good once, for nobody knows whether it was used; others stay good."""
        await self.serve()
        once, often = self.link("--once"), self.link()
        self.assertEqual((await self.upgrade(f"/?token={once}"))[0].status, 101)
        await self.proxy.stop()
        await self.serve()
        self.assertEqual((await self.upgrade(f"/?token={often}"))[0].status, 101)
        self.assertEqual((await self.upgrade(f"/?token={once}"))[0].status, 403)
        status, reason = await self.explained(f"/?token={once}")
        self.assertEqual((status, reason), (403, "This link is from before the last restart; ask for a new one"))
        self.assertEqual((await self.upgrade(f"/?token={self.link('--once')}"))[0].status, 101)

    async def test_expires(self) -> None:
        """A session ends when its link does, and says so."""
        await self.serve()
        response, client = await self.upgrade(f"/?token={self.link('--expires', '3')}")
        self.assertEqual(response.status, 101)
        _, told = await client.rest()
        self.assertEqual(told, (4001, "Token expired"))

    async def test_explain(self) -> None:
        """--explain says what a link would get, and spends nothing; what others remember it cannot know."""
        link = f"/?token={self.link('--once')}"
        for path, status in ((link, 0), (link, 0), (link[:-3], 1)):
            running = startTwistd(self, "--link-key", f"@{self.key}", "--explain", path)
            outcome = await running.end()
            self.assertEqual(outcome.status, status, outcome)
            self.assertNotIn(link[9:30], outcome.out + outcome.err)


class WorkersTests(LinksTestCase):
    """Two workers, whose parent remembers what was used."""

    async def serve(self, *arguments: str) -> Proxy:
        proxy = await super().serve("--workers", "2", *arguments)
        await proxy.said(r"worker \d+ is up", 2)
        return proxy

    async def test_manyAtOnce(self) -> None:
        """Of 50 who come with one link at once, one is let in, though both workers are asked."""
        await self.serve()
        await self.assertOneOfMany()

    async def test_workerDies(self) -> None:
        """What a worker had asked for before it died is still used."""
        await self.serve()
        link = f"/?token={self.link('--once')}"
        self.assertEqual((await self.upgrade(link))[0].status, 101)
        for found in await self.proxy.said(r"worker \d+ started as process (\d+)", 2):
            os.kill(int(found[1]), signal.SIGKILL)
        await self.proxy.said(r"worker \d+ is up", 4)
        self.assertEqual((await self.upgrade(link))[0].status, 403)
        self.assertEqual(await self.explained(link), (403, USED))

    async def test_parentIsMute(self) -> None:
        """Where the parent does not answer, what is good once is not let in; the rest is."""
        await self.serve()
        self.proxy.signal(signal.SIGSTOP)
        self.addCleanup(self.proxy.signal, signal.SIGCONT)
        self.assertEqual((await self.upgrade(f"/?token={self.link('--once')}"))[0].status, 503)
        self.assertEqual((await self.upgrade(f"/?token={self.link()}"))[0].status, 101)
        self.proxy.signal(signal.SIGCONT)


class ClusterTests(LinksTestCase):
    """Nodes with a Redis."""

    def setUp(self) -> None:
        super().setUp()
        self.redis = RedisServer(self.folder / "redis", "--appendonly", "yes", "--appendfsync", "always")
        self.addCleanup(self.redis.stop)
        self.redis.start()
        self.url = f"redis://127.0.0.1:{self.redis.port}/?key=geheim"

    async def serve(self, *arguments: str) -> Proxy:
        """One more node."""
        self.folder = self.folder / "node"
        return await super().serve("--cluster", self.url, *arguments)

    async def test_nodes(self) -> None:
        """What was used at one node is used at all, and after all of them were restarted."""
        link = f"/?token={self.link('--once')}"
        first = await self.serve("--workers", "2")
        port = self.port
        await self.serve()
        self.assertEqual(await self.explained(link), (101, ""))
        self.assertEqual((await self.upgrade(link))[0].status, 101)
        self.port = port
        self.assertEqual((await self.upgrade(link))[0].status, 403)
        self.assertEqual(await self.explained(link), (403, USED))
        await first.stop()
        await self.serve("--workers", "2")
        self.assertEqual((await self.upgrade(link))[0].status, 403)
        self.assertEqual((await self.upgrade(f"/?token={self.link('--once')}"))[0].status, 101)

    async def test_whatIsThere(self) -> None:
        """Nothing that stands in Redis is of use to who reads it, and all of it ends with the link."""
        await self.serve()
        token = self.link("--once", "--identity", "alice")
        self.assertEqual((await self.upgrade(f"/?token={token}"))[0].status, 101)
        [key] = [key for key in self.redis.cli("keys", "*").split() if ":once:" in key]
        self.assertRegex(key, r"^wsproxy:main:once:[0-9a-f]{64}$")
        self.assertEqual(self.redis.cli("get", key), "1")
        self.assertTrue(600 < int(self.redis.cli("ttl", key)) <= 662)

    async def test_away(self) -> None:
        """While Redis is away what is good once is answered 503, and the rest let in; afterwards all is as before."""
        await self.serve()
        used, unused, often = self.link("--once"), self.link("--once"), self.link()
        self.assertEqual((await self.upgrade(f"/?token={used}"))[0].status, 101)
        self.redis.stop()
        for token, status in ((used, 503), (unused, 503), (often, 101)):
            self.assertEqual((await self.upgrade(f"/?token={token}"))[0].status, status)
        self.redis.start()
        await self.proxy.said("is back")
        for token, status in ((used, 403), (unused, 101), (unused, 403), (often, 101)):
            self.assertEqual((await self.upgrade(f"/?token={token}"))[0].status, status)

    async def test_frozen(self) -> None:
        """One that does not answer is waited for 2 seconds."""
        await self.serve()
        self.assertEqual((await self.upgrade(f"/?token={self.link('--once')}"))[0].status, 101)
        link = self.link("--once")
        self.redis.freeze()
        began = reactor.seconds()
        self.assertEqual((await self.upgrade(f"/?token={link}"))[0].status, 503)
        self.assertLess(reactor.seconds() - began, WITHIN + 2)
        self.redis.thaw()


class SignedTokensTests(LinksTestCase):
    """C{--token-plugin JWTTokenApi}."""

    async def test_way(self) -> None:
        """A token leads where it says, as long as it says; a path may have it, and no log."""
        (self.folder / "issuer.pem").write_bytes(public(ecKey))
        echo = await listen(self)
        plugin = ("--token-plugin", "JWTTokenApi", "--token-source", "issuer.pem", "--token-path", "/vnc/{token}")
        self.proxy = Proxy(self.folder, *plugin)
        self.addCleanup(self.proxy.stop)
        self.port = await self.proxy.port()
        claims = {"host": "127.0.0.1", "port": echo, "exp": int(time.time()) + 600}
        token = signed(claims, private(ecKey), "ES256")
        for path in (f"/?token={token}", f"/vnc/{token}"):
            response, client = await self.upgrade(path)
            self.assertEqual(response.status, 101)
            client.send(b"hello")
            self.assertEqual(await client.exactly(5), b"hello")
            await client.leave()
        for wrong in (signed({**claims, "exp": 1}, private(ecKey), "ES256"), token[:-4], unsigned(claims)):
            self.assertEqual((await self.upgrade(f"/?token={wrong}"))[0].status, 403)
        await self.proxy.said("Token not accepted", 3)
        said = "\n".join(self.proxy.lines)
        for part in token.split("."):
            self.assertNotIn(part[:20], said)


class PageTests(LinksTestCase):
    async def test_pages(self) -> None:
        """
        A link opens a page, which loses it and keeps a cookie; that opens the page's files and its WebSocket. What is
        good once is spent by that alone, and the page can tell so when it connects again.
        """
        web = self.folder / "web"
        web.mkdir()
        (web / "vnc.html").write_text("the page")
        await self.serve("--web-auth", "--web", str(web))
        link = self.link("--once", "--url", "/vnc.html?scale=1")
        for _ in range(3):
            response, _ = await self.get(link)
            self.assertEqual((response.status, response.headers["location"]), (302, "/vnc.html?scale=1"))
        self.assertEqual(response.headers["referrer-policy"], "no-referrer")
        cookie = response.headers["set-cookie"].partition(";")[0]
        for _ in range(2):
            response, body = await self.get("/vnc.html?scale=1", f"Cookie: {cookie}")
            self.assertEqual((response.status, body), (200, b"the page"))
        self.assertEqual(response.headers["referrer-policy"], "no-referrer")
        response, client = await self.upgrade(cookie=cookie)
        self.assertEqual(response.status, 101)
        self.assertEqual(await client.exactly(len(GREETING)), GREETING)
        await client.leave()
        self.assertEqual((await self.upgrade(cookie=cookie))[0].status, 403)
        self.assertEqual(await self.explained("/", f"Cookie: {cookie}"), (403, USED))
        self.assertEqual((await self.get("/vnc.html", f"Cookie: {cookie}"))[0].status, 200)

    async def test_without(self) -> None:
        """Without a link there is no page, whether there is such a page or not."""
        await self.serve("--web-auth")
        answers = [await self.get(path) for path in ("/", "/nowhere")]
        for response, _ in answers:
            self.assertEqual((response.status, response.headers["www-authenticate"]), (401, 'Bearer realm="wsproxy"'))
        self.assertEqual(answers[0][1], answers[1][1])
        self.assertEqual((await self.get("/?token=nonsense"))[0].status, 403)

    async def test_publicPages(self) -> None:
        """Without --web-auth pages are for everybody, and get no cookie."""
        await self.serve()
        response, _ = await self.get(f"/?token={self.link()}")
        self.assertEqual(response.status, 200)
        self.assertNotIn("set-cookie", response.headers)


class StartTests(LinksTestCase):
    def outcome(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [TWISTD, "-n", "--pidfile=", "websockify", *arguments]
        everywhere = {**os.environ, **environment}
        return subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=60, cwd=self.folder, env=everywhere
        )

    def complaint(self, *arguments: str, **environment: str) -> str:
        """The one line of a proxy that does not start."""
        done = self.outcome(*arguments, **environment)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done.stderr

    def said(self, *arguments: str) -> str:
        """What is said by one that ends well."""
        done = self.outcome(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_complaints(self) -> None:
        """What cannot be is said in one line, without the secret."""
        key = ("--link-key", f"@{self.key}")
        self.assertIn("--target", self.complaint(*key, "--target", "h:1"))
        self.assertIn("a program", self.complaint(*key, "--", "true"))
        demanding = ("--target", "h:1", "--token-audience", "a")
        self.assertIn("--token-audience a: needs --link-key", self.complaint(*demanding))
        self.assertIn("--link-key", self.complaint(*key, "--auth-plugin", "BasicHTTPAuth", "--auth-source", "a:b"))
        self.key.write_text("too short a secret")
        said = self.complaint(*key)
        self.assertIn("--link-key: a symmetric key of 18 bytes; 32 are needed", said)
        self.assertNotIn("secret", said)
        self.assertIn("--link-key: a public key", self.complaint("--link-key", self.publicKey()))
        tokens = ("--token-plugin", "JWTTokenApi", "--token-source", str(self.key))
        self.assertIn(f"--token-source {self.key}: a symmetric key of 18 bytes", self.complaint(*tokens))

    def test_sourceIsAPath(self) -> None:
        """A source that is said as @FILE is that file; what it or a variable holds is in no complaint."""
        (self.folder / "own.pem").write_bytes(private(ecKey))
        tokens = ("--token-plugin", "JWTTokenApi", "--token-source")
        self.assertIn("--check: nothing is wrong", self.said(*tokens, "@own.pem", "--check"))
        self.assertIn("own.pem2: No such file", self.complaint(*tokens, "@own.pem2"))
        said = self.complaint(*tokens, "env:TOKENS", TOKENS="the key itself")
        self.assertIn("--token-source env:TOKENS: there is no such file", said)

    def publicKey(self) -> str:
        (self.folder / "public.pem").write_bytes(public(ecKey))
        return f"@{self.folder}/public.pem"

    def test_withoutJoserfc(self) -> None:
        """Where joserfc is not installed, one line says what is to be."""
        missing = self.folder / "without" / "joserfc"
        missing.mkdir(parents=True)
        (missing / "__init__.py").write_text("raise ModuleNotFoundError('joserfc', name='joserfc')")
        path = {"PYTHONPATH": f"{missing.parent}:{ROOT}"}
        needs = r"needs joserfc: pip install 'wsproxy\[jwt\]'"
        self.assertRegex(self.complaint("--link-key", f"@{self.key}", **path), f"--link-key: {needs}")
        tokens = ("--token-plugin", "JWTTokenApi", "--token-source", str(self.key))
        self.assertRegex(self.complaint(*tokens, **path), f"--token-plugin JWTTokenApi: {needs}")


class DocumentTests(LinksTestCase):
    """What docs/access.rst tells people to write in their own language, and to type."""

    document = ROOT / "docs/access.rst"

    async def test_languages(self) -> None:
        """A link that is made as the document says is good, in each of its languages."""
        requireComponent("node")
        requireComponent("openssl")
        python, node, shell = [
            recipe.text.replace("10.0.0.7:5900", "demo:")
            for recipe in recipesOf(self.document)
            if recipe.title == "In any language"
        ]
        await self.serve()
        for command in ([sys.executable, "-c", python], ["node", "-e", node], ["sh", "-c", shell]):
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, cwd=self.folder)
            link = f"/?token={done.stdout.strip()}"
            self.assertEqual((await self.upgrade(link))[0].status, 101, command[0])
            again, _ = await self.upgrade(link)
            self.assertEqual(again.status, 403 if command[0] == sys.executable else 101)

    async def test_commands(self) -> None:
        """The way from no key to a page, as the document has it."""
        [recipe] = [each.text for each in recipesOf(self.document) if each.title == "Links"]
        key, proxy, token = re.sub(r"\s*\\\n\s*", " ", recipe).splitlines()
        subprocess.run(["sh", "-c", key], check=True, timeout=60, cwd=self.folder)
        options = proxy.removeprefix("twistd -n websockify ").replace("/usr/share/novnc", ".").split()
        (self.folder / "vnc.html").write_text("noVNC")
        self.proxy = Proxy(self.folder, *options)
        self.addCleanup(self.proxy.stop)
        self.port = await self.proxy.port()
        done = subprocess.run(
            [WSPROXY, *token.split()[1:]], check=True, capture_output=True, text=True, timeout=60, cwd=self.folder
        )
        response, _ = await self.get(done.stdout.strip().removeprefix("https://console.example"))
        cookie = response.headers["set-cookie"].partition(";")[0]
        response, body = await self.get(response.headers["location"], f"Cookie: {cookie}")
        self.assertEqual((response.status, body), (200, b"noVNC"))

    def test_path(self) -> None:
        """The address for pages that everybody may see has the token where a page's path leads."""
        [recipe] = [each.text for each in recipesOf(self.document) if each.title == "In a page"]
        words = shlex.split(re.sub(r"\\\n", "", recipe))
        done = subprocess.run(
            [WSPROXY, *words[1:]], check=True, capture_output=True, text=True, timeout=60, cwd=self.folder
        )
        self.assertRegex(
            done.stdout, r"^https://console\.example/vnc\.html\?path=websockify%3Ftoken%3D[-\w]+\.[-\w]+\."
        )
