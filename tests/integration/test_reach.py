"""Never an open proxy, and access that is taken back: real processes, and files that are written while they run."""

from __future__ import annotations

import socket
import tempfile
import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.integration.bridge import connect
from tests.integration.client import Client, Closed
from tests.integration.proxy import Proxy
from tests.integration.stream import Stream, Target
from wsproxy.links.mint import mint


class ReachTestCase(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.listener.setblocking(False)
        self.target = Target(self.listener)
        self.addCleanup(self.listener.close)
        self.addCleanup(self.target.stop)
        self.targetPort: int = self.listener.getsockname()[1]
        self._streams: list[Stream] = []

    async def tearDown(self) -> None:  # type: ignore[override]  # trial awaits it
        streams = self._streams + self.target.streams
        for stream in streams:
            stream.reset()
        await gatherResults([Deferred.fromCoroutine(stream.gone()) for stream in streams])

    def proxy(self, *words: str, tokens: str = "") -> Proxy:
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        (folder / "tokens").write_text(tokens)
        proxy = Proxy(folder, "--token-plugin", "TokenFile", "--token-source", "tokens", *words)
        self.addCleanup(proxy.kill)
        return proxy

    async def ask(self, proxy: Proxy, token: str) -> tuple[int, Client]:
        stream = connect(await proxy.port())
        self._streams.append(stream)
        client = Client(stream)
        return (await client.upgrade(f"/?token={token}")).status, client

    async def closing(self, client: Client) -> tuple[int | None, str]:
        told = await self.assertFailure(Deferred.fromCoroutine(client.some()), Closed)
        code, reason = told.told
        return code, reason


class OpenProxyTests(ReachTestCase):
    async def test_reserved(self) -> None:
        """
        Without an option a token leads to no metadata and not back to the proxy, by an address or by an endpoint
        string; where that is known before it is dialled with 403, else with 1011. The log has the cure.
        """
        for words in (("--ssl-target", "--target-insecure"), ("--workers", "2")):
            proxy = self.proxy(*words)
            port = await proxy.port()
            (proxy.folder / "tokens").write_text(
                "meta: 169.254.169.254:80\nsix: [::ffff:169.254.169.254]:80\nstring: tcp:169.254.169.254:80\n"
                f"own: 127.0.0.1:{port}\nzero: 0.0.0.0:{port}\nname: localhost:{port}\nowned: tcp:127.0.0.1:{port}\n"
                f"number: tcp:2130706433:{port}\nhex: 0x7f.1:{port}\nnamed: tcp:localhost:{port}\n"
            )
            for token in ("meta", "six", "own", "zero", "string", "owned", "number", "hex"):
                self.assertEqual((await self.ask(proxy, token))[0], 403, (words, token))
            for token in ("name", "named"):
                status, client = await self.ask(proxy, token)
                self.assertEqual(status, 101, (words, token))
                self.assertEqual(await self.closing(client), (1011, "Target not allowed"), (words, token))
            await proxy.said(r"refused: 403 Target not allowed: 169\.254\.169\.254:80 .*--allow-target")
            await proxy.said(rf"1011 Target not allowed; .*127\.0\.0\.1:{port} \(localhost\) is this proxy itself")

    async def test_patterns(self) -> None:
        """Of a name the addresses that are allowed are dialled; the deny list wins, and a socket needs a pattern."""
        port, there = self.targetPort, Path(tempfile.mkdtemp(dir="/tmp"))
        words = ("--allow-target", f"127.0.0.0/8:{port}", "--deny-target", "127.0.0.9", "--deny-target", "::1")
        lines = f"good: localhost:{port}\nodd: 127.0.0.9:{port}\nport: localhost:1\nfile: unix:{there}/s\n"
        lines += f"unseen: autobahn:tcp\\:127.0.0.1\\:{port}:url=ws\\://x\n"
        proxy = self.proxy(*words, tokens=lines)
        status, _ = await self.ask(proxy, "good")
        self.assertEqual(status, 101)
        await self.target.accept()
        for token in ("odd", "port", "file", "unseen"):
            self.assertEqual((await self.ask(proxy, token))[0], 403, token)

    async def test_fixed(self) -> None:
        """The operator's own target is exempt."""
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        text = f"127.0.0.1:{self.targetPort}"
        proxy = Proxy(folder, "--target", text, "--deny-target", "127.0.0.0/8")
        self.addCleanup(proxy.kill)
        self.assertEqual((await self.ask(proxy, "x"))[0], 101)
        await self.target.accept()


class ExpiryTests(ReachTestCase):
    async def test_link(self) -> None:
        """
        A session ends when the link does that it came by, in one process or several. A client that does not answer the
        Close, and goes on to speak, is not heard.
        """
        key = "k" * 32
        for words in ((), ("--workers", "2")):
            folder = Path(tempfile.mkdtemp(dir=".")).absolute()
            proxy = Proxy(folder, "--link-key", "env:KEY", *words, environment={"KEY": key})
            self.addCleanup(proxy.kill)
            await proxy.port()
            expires = int(time.time()) + 3
            token = mint(key.encode(), {"target": f"127.0.0.1:{self.targetPort}", "sub": "alice", "exp": expires})
            status, client = await self.ask(proxy, token)
            self.assertEqual(status, 101)
            peer = await self.target.accept()
            client.send(b"before")
            self.assertEqual(await peer.until(b"before"), b"before")
            self.assertEqual(await self.closing(client), (4001, "Token expired"))
            self.assertGreaterEqual(time.time(), expires)
            self.assertLess(time.time(), expires + 1.5)
            client.send(b"after")
            self.assertEqual(await peer.rest(), b"")


class RevocationTests(ReachTestCase):
    async def test_revoked(self) -> None:
        """A line that is removed ends the sessions of its token and no others, in one process or several."""
        for words in ((), ("--workers", "2")):
            tokens = f"red: 127.0.0.1:{self.targetPort}\nblue: 127.0.0.1:{self.targetPort}\n"
            proxy = self.proxy("--token-revokes", *words, tokens=tokens)
            (_, red), (_, blue) = await self.ask(proxy, "red"), await self.ask(proxy, "blue")
            (proxy.folder / "tokens").write_text(tokens.splitlines(keepends=True)[1])
            self.assertEqual(await self.closing(red), (4001, "Access revoked"))
            blue.send(b"still here")
            await proxy.said("closed by proxy: 4001 Access revoked", 1)
            self.assertEqual(sum("closed by" in line for line in proxy.lines), 1)

    async def test_single(self) -> None:
        """Without the option a session outlives its line: applications remove it to make a token good for one time."""
        tokens = f"red: 127.0.0.1:{self.targetPort}\n"
        proxy = self.proxy(tokens=tokens)
        _, client = await self.ask(proxy, "red")
        peer = await self.target.accept()
        (proxy.folder / "tokens").write_text("")
        while (await self.ask(proxy, "red"))[0] != 403:  # once the file has been still
            await deferLater(reactor, 0.2, lambda: None)
        client.send(b"still here")
        self.assertEqual(await peer.until(b"here"), b"still here")
