"""When a proxy ends, how it goes, and what it outlives."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.certificates import LOCAL
from tests.components import require
from tests.integration.bridge import authority, connect, still, trusting
from tests.integration.client import Client
from tests.integration.proxy import Proxy, descriptors, ticks
from tests.integration.stream import Stream
from tests.integration.twistd import daemonTwistd

reactor: Any = _reactor

GREETING = b"Hello! This is the wsproxy demo. Say something, or 'help', or 'bye'.\n"


class LifeTestCase(TestCase):
    """Proxies of a test's own, whose target is the built-in one."""

    timeout = 60

    async def start(self, *arguments: str, target: str = "demo:", prefix: tuple[str, ...] = ()) -> Proxy:
        proxy = Proxy(Path(tempfile.mkdtemp(dir=".")).absolute(), "--target", target, *arguments, prefix=prefix)
        self.addCleanup(proxy.stop)
        self.port = await proxy.port()
        return proxy

    def connect(self, tls: Any = None) -> Stream:
        stream = connect(self.port, tls)
        self.addCleanup(stream.reset)
        return stream

    async def session(self, tls: Any = None) -> Client:
        """A client whose target has spoken."""
        client = Client(self.connect(tls))
        self.assertEqual((await client.upgrade()).status, 101)
        self.assertEqual((await client.exactly(len(GREETING))), GREETING)
        return client

    async def assertAlive(self, client: Client, words: bytes) -> None:
        """The session works: its target answers."""
        client.send(words + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            answer += await client.some()
        self.assertIn(words, answer)

    async def assertRefused(self) -> None:
        """Nobody listens any more."""
        with self.assertRaises(ConnectionRefusedError):
            connect(self.port)

    async def assertEnds(self, proxy: Proxy, status: int = 0) -> None:
        self.assertEqual(await proxy.end(), status, proxy.lines)


class RunOnceTests(LifeTestCase):
    """C{--run-once}."""

    async def test_one(self) -> None:
        """The first upgrade closes the listener, a later one on an open connection gets 503; then all is over."""
        proxy = await self.start("--run-once")
        other = Client(self.connect())
        other.stream.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        response = await other.response()
        self.assertEqual(response.status, 200)
        await other.stream.exactly(int(response.headers["content-length"]))
        client = await self.session()
        await proxy.said("no longer listening")
        await self.assertRefused()
        response = await other.upgrade()
        self.assertEqual((response.status, response.headers["connection"]), (503, "close"))
        await client.leave()
        await self.assertEnds(proxy)

    async def test_failedDial(self) -> None:
        """A session whose target cannot be reached is one."""
        proxy = await self.start("--run-once", target="unix:/no/such/socket")
        client = Client(self.connect())
        await client.upgrade()
        self.assertEqual((await client.rest())[1][0], 1011)
        client.close()
        await self.assertEnds(proxy)


class TimeTests(LifeTestCase):
    """Ends by the clock."""

    async def test_timeout(self) -> None:
        """C{--timeout}: then nobody listens; it ends with the last session."""
        proxy = await self.start("--timeout", "2")
        client = await self.session()
        await proxy.said("--timeout is over: no longer listening")
        await self.assertRefused()
        await self.assertAlive(client, b"still here")
        self.assertEqual(await client.leave(), (1000, ""))
        await self.assertEnds(proxy)

    async def test_timeoutWithoutSession(self) -> None:
        """C{--timeout} without a session ends it there and then, as does C{--idle-timeout}; a mere visitor is none."""
        proxies = [await self.start("--timeout", "0.5"), await self.start("--idle-timeout", "0.5")]
        self.connect()
        await gatherResults([proxy.end() for proxy in proxies])
        for proxy in proxies:
            await self.assertEnds(proxy)

    async def test_idleTimeout(self) -> None:
        """C{--idle-timeout}: a session holds it off, and it begins anew when that ends."""
        proxy = await self.start("--idle-timeout", "1.5")
        client = await self.session()
        await deferLater(reactor, 2, lambda: None)
        await self.assertAlive(client, b"still here")
        await client.leave()
        client = await self.session()
        await client.leave()
        await self.assertEnds(proxy)
        self.assertRegex("".join(proxy.lines), "--idle-timeout is over")

    async def test_heartbeat(self) -> None:
        """C{--heartbeat}: a client that gives no sign of life is closed with 4002, one that answers pings stays."""
        await self.start("--heartbeat", "0.3")
        healthy, silent = await self.session(), await self.session()
        silent.answering = False
        reading = Deferred.fromCoroutine(healthy.some())
        self.assertEqual(await silent.rest(), (b"", (4002, "Heartbeat lost")))
        silent.close()
        healthy.send(b"still here\n")
        self.assertIn(b"still here", await reading)
        self.assertGreaterEqual(healthy.pings, 2)


class TerminationTests(LifeTestCase):
    """SIGTERM."""

    async def test_atOnce(self) -> None:
        """Without C{--drain} all sessions are closed with 1001, mere visitors without ado, and the status is 0."""
        proxy = await self.start()
        visitor = self.connect()
        clients = [await self.session() for _ in range(3)]
        proxy.signal(signal.SIGTERM)
        for client in clients:
            self.assertEqual(await client.rest(), (b"", (1001, "Server going down")))
            client.close(1001)
        await visitor.gone()
        await self.assertEnds(proxy)
        self.assertEqual(sum("closed by proxy: 1001 Server going down;" in line for line in proxy.lines), 3)

    async def test_drained(self) -> None:
        """C{--drain}: nobody listens, sessions go on, and with the last of them all is over."""
        proxy = await self.start("--drain", "600")
        clients = [await self.session() for _ in range(2)]
        proxy.signal(signal.SIGTERM)
        await proxy.said("Received SIGTERM")
        await clients[0].leave()
        await self.assertAlive(clients[1], b"still here")
        await self.assertRefused()
        await clients[1].leave()
        await self.assertEnds(proxy)

    async def test_drainOver(self) -> None:
        """After C{--drain} seconds the sessions that are left are closed with 1001."""
        proxy = await self.start("--drain", "0.5")
        client = await self.session()
        proxy.signal(signal.SIGTERM)
        self.assertEqual(await client.rest(), (b"", (1001, "Server going down")))
        client.close(1001)
        await self.assertEnds(proxy)


class ScarcityTests(LifeTestCase):
    """What it does without."""

    async def test_descriptors(self) -> None:
        """More clients than descriptors: it waits rather than spins, and serves again when there are fewer."""
        require("prlimit", lambda: shutil.which("prlimit"))
        proxy = await self.start("--handshake-timeout", "600", prefix=("prlimit", "--nofile=64:64"))
        session = await self.session()
        crowd = [self.connect() for _ in range(100)]
        await still(lambda: descriptors(proxy.pid))
        self.assertGreater(descriptors(proxy.pid), 55)
        before = ticks(proxy.pid)
        await deferLater(reactor, 1, lambda: None)
        self.assertLess(ticks(proxy.pid) - before, 20)
        await self.assertAlive(session, b"still here")
        for stream in crowd:
            stream.reset()
        await gatherResults([Deferred.fromCoroutine(stream.gone()) for stream in crowd])
        await still(lambda: descriptors(proxy.pid))
        another = await self.session()
        await self.assertAlive(another, b"me too")
        self.assertNotIn("Traceback", "".join(proxy.lines))

    async def test_unreadableKey(self) -> None:
        """A key that the user it became must not read serves on: it was read before, and stays in use."""
        require("root", lambda: os.geteuid() == 0)
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        issued = authority().issue(*LOCAL)
        (folder / "cert.pem").write_bytes(issued.chain)
        (folder / "key.pem").write_bytes(issued.keyPEM())
        (folder / "key.pem").chmod(0o600)
        files = ("--cert", str(folder / "cert.pem"), "--key", str(folder / "key.pem"))
        options = ["--uid", "65534", "--gid", "65534"]
        twistd = daemonTwistd(self, options, "--listen", "127.0.0.1:0", "--target", "demo:", *files)
        await twistd.line("^launcher left with 0$")
        log = twistd.directory / "log"
        found = re.search(r" starting on (\d+)", log.read_text())
        assert found is not None
        self.port = int(found[1])
        pid = int((twistd.directory / "twistd.pid").read_text())
        os.utime(folder / "cert.pem", (1, 1))  # the next handshake looks again
        await deferLater(reactor, 1.1, lambda: None)
        client = await self.session(trusting())
        await self.assertAlive(client, b"under another name")
        self.assertIn("TLS keeps the certificate in use: ", log.read_text())
        self.assertEqual(await client.leave(), (1000, ""))
        os.kill(pid, signal.SIGTERM)
        await twistd.line(f"^{pid} left with 0$")
