"""Restarts that nobody notices: new code in the place of the old, with real processes and clients that look closely.

The small form runs with all tests, the large one in C{make soak}: WSPROXY_SOAK=long.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from tests.certificates import LOCAL
from tests.components import require
from tests.integration.bridge import authority, connect, trusting
from tests.integration.client import Client, Closed
from tests.integration.interpreter import PATHS, pythonForEverybody
from tests.integration.proxy import Proxy
from tests.integration.test_life import GREETING, LifeTestCase
from tests.integration.test_wrap import ONE, greeting, python
from tests.integration.twistd import Running, daemonTwistd
from tests.integration.wrapped import Client as WrapClient
from tests.integration.wrapped import WrapTestCase
from tests.process.programs import running, until

reactor: Any = _reactor

LONG = os.environ.get("WSPROXY_SOAK") == "long"
SESSIONS, UPGRADES, RELOADS, VISITS = (1000, 10, 20, 200) if LONG else (100, 3, 6, 40)
"""Sessions, and clients a second that come and go meanwhile."""

BLOCK = 4096
"""Bytes of the largest block that goes there and back."""

REST = 2.0 if LONG else 0.25
"""Seconds, on average, between two blocks of a session."""


WSPROXY = str(Path(sys.executable).with_name("wsproxy"))


async def wait(seconds: float) -> None:
    await deferLater(reactor, seconds, lambda: None)


class UpgradeTestCase(LifeTestCase):
    """Proxies with workers, that are upgraded."""

    timeout = 1200 if LONG else 60

    def folder(self) -> Path:
        folder = Path(tempfile.mkdtemp()).absolute()
        folder.chmod(0o755)
        return folder

    async def startWorkers(self, *arguments: str, workers: str = "2", target: str = "demo:") -> Proxy:
        self.proxy = await self.start("--workers", workers, *arguments, target=target)
        await self.proxy.said(r"worker \d+ is up", int(workers))
        return self.proxy

    async def startWith(self, environment: dict[str, str], *arguments: str) -> Proxy:
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        self.proxy = Proxy(folder, *arguments, environment=environment)
        self.addCleanup(self.proxy.stop)
        self.port = await self.proxy.port()
        await self.proxy.said("worker 1 is up")
        return self.proxy

    async def upgrade(self, workers: int = 2) -> None:
        """Have it done, until the old workers leave new clients to new ones."""
        since = len(self.proxy.lines)
        self.proxy.signal(signal.SIGUSR2)
        await self.proxy.said("This is the new version", 1, since)
        await self.proxy.said(r"worker \d+ is up", workers, since)
        await self.proxy.said(r"worker \d+: makes room for another version", workers, since)

    async def fails(self) -> str:
        """@return: why it is not done."""
        since = len(self.proxy.lines)
        self.proxy.signal(signal.SIGUSR2)
        pattern = "The new version cannot start, and this one goes on: (.*)"
        return (await self.proxy.said(pattern, 1, since))[0][1]


class SessionTests(UpgradeTestCase):
    """What becomes of sessions."""

    async def test_kept(self) -> None:
        """
        One session from before two upgrades goes on through both, those who come meanwhile are served, and the process
        is the same. Old workers end with the last of their sessions, and are not replaced.
        """
        proxy = await self.startWorkers(workers="1")
        [first] = await proxy.said(r"worker 1 started as process (\d+)")
        old = await self.session()
        await self.upgrade(1)
        middle = await self.session()
        await self.upgrade(1)
        new = await self.session()
        for client in (old, middle, new):
            await self.assertAlive(client, b"still here")
        self.assertTrue(running(int(first[1])))
        await old.leave()
        await until(lambda: not running(int(first[1])))
        await proxy.said("worker 1, of the version before, has ended$")
        for client in (middle, new):
            await self.assertAlive(client, b"still here")
            await client.leave()
        self.assertEqual(await proxy.stop(), 0)
        self.assertNotIn("with status", "".join(line for line in proxy.lines if "of the version before" in line))

    async def test_ended(self) -> None:
        """SIGTERM ends old workers with the new ones: their clients are told 1001."""
        proxy = await self.startWorkers(workers="1")
        old = await self.session()
        await self.upgrade(1)
        new = await self.session()
        stopped = proxy.stop()
        for client in (old, new):
            self.assertEqual((await client.rest())[1], (1001, "Server going down"))
            client.close()
        self.assertEqual(await stopped, 0)

    async def test_killed(self) -> None:
        """An old worker that is killed takes its own sessions along; that is told, and no other takes its place."""
        proxy = await self.startWorkers(workers="1")
        [first] = await proxy.said(r"worker 1 started as process (\d+)")
        old = await self.session()
        await self.upgrade(1)
        new = await self.session()
        os.kill(int(first[1]), signal.SIGKILL)
        await proxy.said("worker 1, of the version before, has ended with status 137")
        await old.stream.gone()
        await self.assertAlive(new, b"still here")
        self.assertFalse([line for line in proxy.lines if "another starts" in line])

    async def test_limit(self) -> None:
        """C{--upgrade-limit}: then sessions of the old version are closed with 1001, those of the new one go on."""
        await self.startWorkers("--upgrade-limit", "0.5", workers="1")
        old = await self.session()
        await self.upgrade(1)
        new = await self.session()
        self.assertEqual((await old.rest())[1], (1001, "Server going down"))
        old.close()
        await self.proxy.said("worker 1, of the version before, has ended$")
        await self.assertAlive(new, b"still here")

    async def test_handshake(self) -> None:
        """Who had connected before, and asks for a session after the upgrade, is let in by the old worker."""
        await self.startWorkers(workers="1")
        client = Client(self.connect())
        client.stream.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        response = await client.response()
        await client.stream.exactly(int(response.headers["content-length"]))
        await self.upgrade(1)
        self.assertEqual((await client.upgrade()).status, 101)
        self.assertEqual((await client.exactly(len(GREETING))), GREETING)
        await client.leave()

    async def test_alone(self) -> None:
        """Without a parent SIGUSR2 is answered by one line, and the session notices nothing."""
        proxy = await self.start()
        client = await self.session()
        proxy.signal(signal.SIGUSR2)
        await proxy.said("No upgrade: it takes a process that stays, --workers 1 or more")
        await self.assertAlive(client, b"still here")


class FailureTests(UpgradeTestCase):
    """A new version that cannot start."""

    async def test_missing(self) -> None:
        """What the new code cannot find is one line; the old code goes on, and is upgraded when that is back."""
        certificate = self.folder() / "cert.pem"
        certificate.write_bytes(authority().issue(*LOCAL).both)
        proxy = await self.startWorkers("--cert", str(certificate), workers="1")
        client = await self.session(trusting())
        away = certificate.rename(certificate.with_name("away"))
        self.assertIn(f"--cert {certificate}: ", await self.fails())
        await self.assertAlive(client, b"still here")
        await self.assertAlive(await self.session(trusting()), b"welcome")
        away.rename(certificate)
        await self.upgrade(1)
        await self.assertAlive(client, b"still here")
        self.assertFalse([line for line in proxy.lines if "Traceback" in line])

    async def test_broken(self) -> None:
        """So is code that is broken, whatever becomes of it: a complaint, a status, a signal. Mended, it takes over."""
        folder = self.folder()
        path = os.pathsep.join([str(folder), *sys.path])
        proxy = await self.startWith({"PYTHONPATH": path}, "--target", "demo:", "--workers", "1")
        client = await self.session()
        code = folder / "sitecustomize.py"
        for text, told in (
            ("raise SystemExit('not today')", "SystemExit: not today"),
            ("import os\nos._exit(3)", "status 3"),
            ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "it ended by signal 9"),
        ):
            code.write_text(text)
            self.assertEqual(await self.fails(), told)
            await self.assertAlive(client, b"still here")
        code.unlink()
        await self.upgrade(1)
        await self.assertAlive(client, b"still here")
        self.assertFalse([line for line in proxy.lines if "Traceback" in line])


class StateTests(UpgradeTestCase):
    """What the new code knows of the time before."""

    async def test_known(self) -> None:
        """
        A secret that came from the environment, and is not there any more; which links were used, and that others were
        not; how many sessions there are.
        """
        folder = self.folder()
        (folder / "key").write_text(secret := secrets.token_hex(32))
        words = ("--link-key", "env:KEY", "--max-sessions", "2", "--workers", "1")
        proxy = await self.startWith({"KEY": secret}, *words)
        used, unused, more = (self.link(folder / "key") for _ in range(3))
        first = await self.linked(used)
        for _ in range(2):
            await self.upgrade(1)
        self.assertEqual(await self.status(used), 403)
        second = await self.linked(unused)
        self.assertEqual(await self.status(more), 503)
        await first.leave()
        await proxy.said("worker 1, of the version before, has ended")
        third = await self.linked(more)
        for client in (second, third):
            await self.assertAlive(client, b"still here")
        for pid in [proxy.pid, *(int(found[1]) for found in await proxy.said(r"started as process (\d+)"))]:
            if running(pid):
                self.assertNotIn(secret.encode(), Path(f"/proc/{pid}/environ").read_bytes().partition(b"KEY=")[0])
        self.assertFalse([line for line in proxy.lines if secret in line])

    def link(self, key: Path) -> str:
        words = [WSPROXY, "token", "--key", f"@{key}", "--target", "demo:", "--once"]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=20).stdout.strip()

    async def linked(self, link: str) -> Client:
        client = Client(self.connect())
        self.assertEqual((await client.upgrade(f"/?token={link}")).status, 101)
        self.assertEqual((await client.exactly(len(GREETING))), GREETING)
        return client

    async def status(self, link: str) -> int:
        return (await Client(self.connect()).upgrade(f"/?token={link}")).status

    async def test_daemon(self) -> None:
        """A daemon that has given up root stays both: same process, same user, same pidfile, which goes in the end."""
        require("root", lambda: os.geteuid() == 0)
        everybodys = pythonForEverybody()
        require("a Python that every user can run", lambda: everybodys)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        listener.close()
        words = ("--listen", f"127.0.0.1:{self.port}", "--target", "demo:", "--workers", "1")
        os.chmod(".", 0o755)
        program = (str(everybodys), "-c", "from twisted.scripts.twistd import run; run()")
        options = ("--uid", "65534", "--gid", "65534")
        running_ = daemonTwistd(self, options, *words, program=program, PYTHONPATH=PATHS)
        await running_.line("launcher left with 0")
        pidfile, log = running_.directory / "twistd.pid", running_.directory / "log"
        pid = int(pidfile.read_text())
        os.chown(log, 65534, 65534)
        running_.directory.parent.chmod(0o755)
        await until(lambda: "worker 1 is up" in log.read_text())
        client = await self.session()
        os.kill(pid, signal.SIGUSR2)
        await until(lambda: "worker 2 is up" in log.read_text())
        await self.assertAlive(client, b"still here")
        self.assertEqual(int(pidfile.read_text()), pid)
        status = Path(f"/proc/{pid}/status").read_text()
        self.assertIn("Uid:" + 4 * "\t65534", status)
        os.kill(pid, signal.SIGTERM)
        self.assertEqual((await client.rest())[1], (1001, "Server going down"))
        client.close()
        await running_.line(f"{pid} left with 0")


class Echo(Protocol):
    """A target that says what it hears."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class StreamTests(UpgradeTestCase):
    """Many, who look closely."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        self.pauses: list[float] = []
        self.visits = self.refused = self.blocks = 0
        self.over = False
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        listener.setblocking(False)
        self.addCleanup(listener.close)
        target = reactor.adoptStreamPort(listener.fileno(), listener.family, Factory.forProtocol(Echo))
        self.addCleanup(target.stopListening)
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"

    async def talk(self, number: int, client: Client) -> None:
        """
        Blocks there and back until it is over.

        @raise AssertionError: not the same came back.
        """
        random = Random(number)
        while not self.over:
            block = random.randbytes(random.randint(1, BLOCK))
            began = time.monotonic()
            client.send(block)
            heard = await client.exactly(len(block))
            self.pauses.append(time.monotonic() - began)
            assert sha256(heard).digest() == sha256(block).digest(), number
            self.blocks += len(block)
            await wait(random.uniform(0, 2 * REST))
        assert await client.leave() == (1000, "")

    async def visit(self) -> None:
        """One that comes, says something and leaves."""
        self.visits += 1
        try:
            client = Client(connect(self.port, trusting() if self.visits % 2 else None))
            response = await client.upgrade()
            client.send(b"hello")
            if response.status != 101 or await client.exactly(5) != b"hello" or await client.leave() != (1000, ""):
                self.refused += 1
        except (OSError, EOFError, Closed) as error:
            print(f"refused: {error!r}")
            self.refused += 1

    async def visitors(self) -> None:
        began, visiting = time.monotonic(), []
        while not self.over:
            while len(visiting) < (time.monotonic() - began) * VISITS:
                visiting.append(Deferred.fromCoroutine(self.visit()))
            await wait(0.02)
        await gatherResults(visiting)

    async def test_all(self) -> None:
        """
        Sessions, half of them wss, that stream checksummed data through upgrades and reloads, behind a client that
        connects again and again: none is closed, none refused, no byte is wrong. The longest pause is told.
        """
        certificate = self.folder() / "cert.pem"
        certificate.write_bytes(authority().issue(*LOCAL).both)
        proxy = await self.startWorkers("--cert", str(certificate), target=self.address)
        clients = [Client(connect(self.port, trusting() if number % 2 else None)) for number in range(SESSIONS)]
        for client in clients:
            self.addCleanup(client.stream.reset)
            self.assertEqual((await client.upgrade()).status, 101)
        talking = [Deferred.fromCoroutine(self.talk(*each)) for each in enumerate(clients)]
        talking.append(Deferred.fromCoroutine(self.visitors()))
        everybody = gatherResults(talking)
        for _ in range(UPGRADES):
            for _ in range(RELOADS // UPGRADES):
                certificate.write_bytes(authority().issue(*LOCAL).both)
                proxy.signal(signal.SIGHUP)
                await wait(0.3)
            await self.upgrade()
            self.assertFalse(everybody.called, everybody)
        self.over = True
        await everybody
        print(
            f"\n{SESSIONS} sessions, {UPGRADES} upgrades, {RELOADS} reloads: {self.blocks} bytes there and back, "
            f"{self.visits} visits, {self.refused} refused; the longest pause was {max(self.pauses):.3f} s"
        )
        self.assertEqual(self.refused, 0)
        self.assertGreater(self.visits, UPGRADES)
        self.assertEqual(await proxy.stop(), 0)


class WrappedTests(WrapTestCase):
    """A program, which goes on."""

    workers = ("--workers", "1")

    async def replace(self, twistd: Running, number: int) -> None:
        os.kill(twistd.pid, signal.SIGUSR2)
        await twistd.line(f"worker {number} is up")

    async def test_moved(self) -> None:
        """
        A program whose port is moved is the same after two upgrades; clients of before and after talk to it. When it
        ends so does the proxy, with its status.
        """
        twistd = self.wrap("exit", *python(ONE, self.port), options=self.workers)
        await self.address(twistd)
        pid = await self.pid(twistd)
        await twistd.line("worker 1 is up")
        goOn = Event()

        def stay(client: WrapClient) -> bytes:
            client.until(b"hello\n")
            goOn.wait(60)
            client.send(b"still here\n")
            return client.until(b"still here\n")

        staying = self.converse(stay)
        await twistd.line("worker 1: .* → ")
        await self.replace(twistd, 2)
        self.assertEqual(await self.converse(greeting), b"hello\n")
        await self.replace(twistd, 3)
        goOn.set()
        self.assertEqual(await staying, b"hello\nstill here\n")
        self.assertTrue(running(pid))

        def finish(client: WrapClient) -> None:
            client.until(b"hello\n")
            client.send(b"exit 7\n")
            client.until(b"bye\n")

        await self.converse(finish)
        self.assertEqual((await twistd.end()).status, 7)

    async def test_respawn(self) -> None:
        """One that is killed after an upgrade is noticed, and started again; it ends with the proxy."""
        twistd = self.wrap("respawn", *python(ONE, self.port), options=self.workers)
        await self.address(twistd)
        await twistd.line("worker 1 is up")
        await self.replace(twistd, 2)
        self.assertEqual(await self.converse(greeting), b"hello\n")
        os.kill(await self.pid(twistd), signal.SIGKILL)
        await twistd.line("starts again in 1 s")
        self.assertEqual(await self.converse(greeting), b"hello\n")
        self.assertEqual((await twistd.stop()).status, 0)
