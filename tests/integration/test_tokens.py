"""Many targets behind one port: where each token leads, and that it leads nowhere else."""

from __future__ import annotations

import random
import resource
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.integration.bridge import connect
from tests.integration.client import Client, Response
from tests.integration.proxy import Proxy
from tests.tokens.service import Conversation, Service

reactor: Any = _reactor


class Named(Protocol):
    """A target that says its name, and then what it hears."""

    transport: Any
    factory: Targets

    def connectionMade(self) -> None:
        self.transport.write(b"%d\n" % self.factory.number)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Targets(Factory[Named]):
    """The target of one number."""

    protocol = Named
    noisy = False

    def __init__(self, number: int) -> None:
        self.number = number


class TokensTestCase(TestCase):
    """Targets, and a proxy that leads to them by tokens."""

    timeout = 120

    def target(self, number: int) -> int:
        """@return: the port of a target that says this number."""
        port: Any = reactor.listenTCP(0, Targets(number), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        found: int = port.getHost().port
        return found

    def folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=".")).absolute()

    async def start(self, *arguments: str) -> Proxy:
        self.proxy = Proxy(self.folder(), *arguments)
        self.addCleanup(self.proxy.stop)
        self.port = await self.proxy.port()
        return self.proxy

    async def ask(self, path: str, *headers: str) -> tuple[Client, Response]:
        client = Client(connect(self.port))
        self.addCleanup(client.stream.reset)
        return client, await client.upgrade(path, headers=headers)

    async def assertLeads(self, path: str, number: int, *headers: str) -> Client:
        """A request for this path has that target."""
        client, response = await self.ask(path, *headers)
        self.assertEqual(response.status, 101, self.proxy.lines)
        expected = b"%d\n" % number
        self.assertEqual(await client.exactly(len(expected)), expected)
        return client

    async def refused(self, path: str, *headers: str) -> bytes:
        """@return: all that a client is told, but for the time."""
        client, response = await self.ask(path, *headers)
        body = await client.stream.rest()
        return repr((response.status, sorted({**response.headers, "date": ""}.items()), body)).encode()


class TokenFileTests(TokensTestCase):
    """C{TokenFile}."""

    async def test_changes(self) -> None:
        """An application writes the file: what it adds counts at the next request, what it removes a second later."""
        file = self.folder() / "tokens"
        file.write_text(f"# consoles\nred: 127.0.0.1:{self.target(1)}\n")
        await self.start("--token-plugin", "TokenFile", "--token-source", str(file))
        first = await self.assertLeads("/websockify?token=red", 1)
        for number in range(2, 12):
            with file.open("a") as stream:
                stream.write(f"red{number}: 127.0.0.1:{self.target(number)}\n")
            await self.assertLeads(f"/?token=red{number}", number)
        file.write_text(f"blue: 127.0.0.1:{self.target(20)}\n")
        await self.assertLeads("/?token=blue", 20)
        await deferLater(reactor, 1.1)
        self.assertIn(b"403", await self.refused("/?token=red"))
        file.unlink()
        await self.assertLeads("/?token=blue", 20)
        first.send(b"still here")
        self.assertEqual(await first.exactly(10), b"still here")

    async def test_refusals(self) -> None:
        """
        Whatever is wrong with a token, the client is told the same, and the log has neither it nor one that is good:
        only a short name that says when it is the same again.
        """
        file = self.folder() / "tokens"
        file.write_text(f"sesame: 127.0.0.1:{self.target(1)}\n")
        proxy = await self.start("--target-config", str(file), "--verbose")
        told = {await self.refused(f"/?token={token}") for token in ("mellon", "mellon%00", "mel%0Alon", "m" * 9000)}
        self.assertEqual(len(told), 1)
        self.assertIn(b"403", told.pop())
        self.assertNotIn(b"mellon", await self.refused("/?token=mellon"))
        self.assertIn(b"Token not accepted", await self.refused("/?Token=mellon"))
        self.assertIn(b"4", await self.refused(f"/?token={'m' * 100_000}"))
        client = await self.assertLeads("/?token=sesame&token=mellon", 1)
        await client.leave()
        await proxy.said("closed by client")
        [_] = {found[1] for found in await proxy.said(r"Token not accepted: token ([0-9a-f]{8}) is unknown$", 2)}
        log = "\n".join(proxy.lines)
        self.assertNotIn("sesame", log)
        self.assertNotIn("mellon", log)
        self.assertNotIn("mmmm", log)

    async def test_places(self) -> None:
        """A token may be in the path, of which the log then has the template; in a header; in a cookie; in the Host."""
        file = self.folder() / "tokens"
        port = self.target(1)
        file.write_text("".join(f"{name}: 127.0.0.1:{port}\n" for name in ("sesame", "localhost")))
        arguments = ("--token-path", "/vnc/{token}", "--token-header", "X-Token", "--token-cookie", "seat")
        proxy = await self.start("--target-config", str(file), *arguments)
        for path, header in (
            ("/vnc/ses%61me", "X-A: b"),
            ("/", "X-Token: sesame"),
            ("/", "Cookie: a=b; seat=sesame"),
            ("/vnc/mellon?token=sesame", "X-A: b"),
        ):
            client = await self.assertLeads(path, 1, header)
            await client.leave()
        self.assertIn(b"403", await self.refused("/vnc/mellon"))
        await proxy.said("closed by client", 4)
        log = "\n".join(proxy.lines)
        self.assertIn("/vnc/{token}", log)
        self.assertNotIn("sesame", log)
        self.assertNotIn("mellon", log)
        await self.start("--target-config", str(file), "--host-token")
        await self.assertLeads("/?token=mellon", 1)
        (file.parent / "others").write_text(f"other.example: 127.0.0.1:{port}\n")
        await self.start("--target-config", str(file.parent / "others"), "--host-token")
        self.assertIn(b"Token not accepted", await self.refused("/?token=other.example"))

    async def test_badLine(self) -> None:
        """A bad line of a file names its number once, however many workers read it."""
        file = self.folder() / "tokens"
        file.write_text(f"red: 127.0.0.1:{self.target(1)}\nsesame\n")
        proxy = await self.start("--target-config", str(file), "--workers", "2")
        await proxy.said(r"worker \d+ is up", 2)
        for _ in range(4):
            await self.assertLeads("/?token=red", 1)
        self.assertEqual(len(await proxy.said("tokens, line 2: not TOKEN: TARGET")), 1)
        self.assertNotIn("sesame", "\n".join(proxy.lines))


class SocketTests(TokensTestCase):
    """C{UnixDomainSocketDirectory}."""

    async def test_holes(self) -> None:
        """A token leads to a socket in the directory, and by no spelling to one outside, or to what is none."""
        outside = Path(tempfile.mkdtemp())  # a short path, as sockets need
        self.addCleanup(outside.rmdir)
        folder = outside / "consoles"
        folder.mkdir()
        self.addCleanup(folder.rmdir)
        for number, path in enumerate((folder / "x.sock", outside / "x.sock"), 1):
            port: Any = reactor.listenUNIX(str(path), Targets(number))
            self.addCleanup(port.stopListening)
        (folder / "link.sock").symlink_to(outside / "x.sock")
        self.addCleanup((folder / "link.sock").unlink)
        await self.start("--token-plugin", "UnixDomainSocketDirectory", "--token-source", str(folder))
        told: set[bytes] = set()
        for token in (
            *(
                "../x.sock",
                "..%2Fx.sock",
                "%2e%2e/x.sock",
                f"{outside}/x.sock",
                f"{folder}/x.sock",
                "./x.sock",
                "link.sock",
            ),
            *(
                "x.sock%00",
                "%00",
                "x.sock%0A%0A.",
                "x.so%0Ack",
                "x.sock/",
                "x" * 300,
                "x" * 60_000,
                "y.sock",
                "..",
                ".",
            ),
        ):
            told.add(await self.refused(f"/?token={token}"))
        self.assertEqual(len(told), 1)
        self.assertIn(b"403", told.pop())
        await self.assertLeads("/?token=x.sock", 1)


class ServiceTests(TokensTestCase):
    """C{JSONTokenApi}, whose service takes its time."""

    def serve(self, answer: Any) -> str:
        """@return: the URL."""
        self.service = Service(answer)
        port = self.service.listen()
        self.addCleanup(self.service.stop)
        return f"http://127.0.0.1:{port}/tokens/%s"

    async def test_notCrossed(self) -> None:
        """
        500 clients with 500 tokens, before two workers and a service that answers whenever it likes, and others who
        are gone before it does: each has its own target, and no other.
        """
        self.allow(3000)
        count, chance = 500, random.Random(1)
        ports = {number: self.target(number) for number in range(count)}
        delays = {number: chance.random() / 2 for number in range(count)}

        def answer(conversation: Conversation, token: str) -> None:
            number = int(token.removeprefix("token"))
            body = b'{"host": "127.0.0.1", "port": %d}' % ports[number]
            reactor.callLater(delays[number], self.tell, conversation, body)

        url = self.serve(answer)
        arguments = ("--workers", "2", "--handshake-timeout", "60")
        await self.start("--token-plugin", "JSONTokenApi", "--token-source", url, *arguments)
        await self.proxy.said(r"worker \d+ is up", 2)

        async def begin(number: int, pause: float) -> tuple[int, Client]:
            await deferLater(reactor, pause)
            return number, await self.assertLeads(f"/?token=token{number}", number)

        async def leave(number: int, pause: float) -> None:
            await deferLater(reactor, pause)
            client = Client(connect(self.port))
            asking = Deferred.fromCoroutine(client.upgrade(f"/?token=token{number}"))
            asking.addErrback(lambda _: None)
            await deferLater(reactor, delays[number] / 2)
            client.stream.reset()

        async def talk(number: int, client: Client) -> None:
            words = b"this is %d" % number
            client.send(words)
            self.assertEqual(await client.exactly(len(words)), words)
            await client.leave()

        every = 0.004  # seconds; a backlog has room for so many
        pauses = {number: place * every for place, number in enumerate(chance.sample(range(count), count))}
        leaving = [Deferred.fromCoroutine(leave(number, pauses[number])) for number in range(0, count, 5)]
        coming = [Deferred.fromCoroutine(begin(number, pauses[number])) for number in range(count)]
        sessions: list[tuple[int, Client]] = await gatherResults(coming, consumeErrors=False)
        await gatherResults(leaving)
        self.assertEqual(len(sessions), count)
        await gatherResults([Deferred.fromCoroutine(talk(*session)) for session in sessions])

    def tell(self, conversation: Conversation, body: bytes) -> None:
        if conversation in self.service.connections:
            conversation.say(200, body)

    def allow(self, descriptors: int) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    async def test_misbehaves(self) -> None:
        """Where the service hangs, lies, breaks off or is gone the client is told 503, and the log why."""
        ways = {
            "hang": lambda conversation: None,
            "lie": lambda conversation: conversation.say(200, b"<html>"),
            "break": lambda conversation: conversation.transport.loseConnection(),
            "fail": lambda conversation: conversation.say(500, b""),
        }
        url = self.serve(lambda conversation, token: ways[token.removeprefix("sesame")](conversation))
        proxy = await self.start("--token-plugin", "JSONTokenApi", "--token-source", url, "--handshake-timeout", "2")
        started = reactor.seconds()
        for way, cause in (
            ("hang", "no decision in time"),
            ("lie", "the token service answers for [0-9a-f]{8} what is no target"),
            ("break", "the token service: it breaks off"),
            ("fail", "the token service answers 500"),
        ):
            self.assertIn(b"503", await self.refused(f"/?token=sesame{way}"))
            await proxy.said(f"refused: 503 Service unavailable: {cause}")
        self.assertLess(reactor.seconds() - started, 10)
        await self.service.stop()
        self.assertIn(b"503", await self.refused("/?token=sesamegone"))
        await proxy.said("it refuses connections")
        log = "\n".join(proxy.lines)
        self.assertNotIn("sesame", log)
        self.assertNotIn("factory", log.partition("Room for")[2])
        self.assertNotIn("Traceback", log)

    async def test_quoted(self) -> None:
        """A token is no part of the service's URL but its own."""
        url = self.serve(lambda conversation, token: conversation.say(404, b""))
        await self.start("--token-plugin", "BaseTokenAPI", "--token-source", url)
        for token in ("..%2F..%2Fadmin", "a%3Fb%3Dc", "a%23b", "http:%2F%2Fevil.example", "a%20HTTP%2F1.1"):
            self.assertIn(b"403", await self.refused(f"/?token={token}"))
        self.assertIn(b"403", await self.refused("/?token=.."))
        self.assertEqual(len(self.service.heads), 5)
        for head in self.service.heads:
            self.assertRegex(head.split("\r\n")[0], r"^GET /tokens/[A-Za-z0-9_.~%-]+ HTTP/1\.1$")


class StartTests(TokensTestCase):
    """What cannot be."""

    async def test_complaints(self) -> None:
        """A plugin that cannot be is told in one line, with the status 1."""
        for arguments, line in (
            (("--token-plugin", "TokenFile", "--token-source", "nothing"), r"--token-source /.*/nothing: No such file"),
            (("--token-plugin", "TokenFail"), "--token-plugin TokenFail: not one of TokenFile, "),
            (("--token-plugin", "JSONTokenApi", "--token-source", "http://h/"), "--token-source: expected http://"),
        ):
            proxy = Proxy(self.folder(), *arguments)
            self.addCleanup(proxy.stop)
            self.assertEqual(await proxy.end(), 1)
            self.assertRegex(proxy.lines[-1], line)
            self.assertEqual(len(proxy.lines), 1, proxy.lines)
