"""Several processes behind one port: who serves whom, and what becomes of them when one of them ends, or all."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.certificates import LOCAL
from tests.components import require
from tests.integration.bridge import authority, trusting
from tests.integration.client import Client
from tests.integration.interpreter import PATHS, pythonForEverybody
from tests.integration.proxy import Proxy
from tests.integration.stream import Stream
from tests.integration.test_life import LifeTestCase
from tests.integration.test_wrap import DAEMON, ECHO, ONE, greeting, python
from tests.integration.twistd import daemonTwistd, start, startTwistd
from tests.integration.wrapped import Client as WrapClient
from tests.integration.wrapped import WrapTestCase
from tests.process.programs import running, until
from wsproxy.replay.file import readEntries, summarise

GOING_DOWN = (1001, "Server going down")
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class WorkersTestCase(LifeTestCase):
    """Two workers, whose target is the built-in one."""

    async def startWorkers(self, *arguments: str) -> Proxy:
        self.proxy = await self.start("--workers", "2", *arguments)
        await self.proxy.said(r"worker \d+ is up", 2)
        return self.proxy

    async def pids(self, starts: int = 2) -> list[int]:
        """The process ids of the workers, in the order in which they were started."""
        return [int(found[1]) for found in await self.proxy.said(r"worker \d+ started as process (\d+)", starts)]

    async def server(self, client: Client) -> int:
        """The number of the worker that serves this session."""
        found = await self.proxy.said(rf"worker (\d+): [0-9a-f]{{8}} 127\.0\.0\.1:{client.stream.port} → demo:")
        return int(found[0][1])

    async def sessions(self, count: int, tls: Any = None) -> list[tuple[int, Client]]:
        """So many, or more, until both workers have one. @return: also who serves each."""
        served: list[tuple[int, Client]] = []
        while len(served) < count or {worker for worker, _ in served} != {1, 2}:
            client = await self.session(tls)
            served.append((await self.server(client), client))
        return served

    async def assertGone(self, pids: list[int]) -> None:
        """None of these processes is left."""
        await until(lambda: not any(map(running, pids)))


class SharingTests(WorkersTestCase):
    """Many sessions."""

    async def test_inARow(self) -> None:
        """Sessions that come one after the other are spread evenly, and the log says who serves each."""
        await self.startWorkers()
        served = await self.sessions(8)
        shares = Counter(worker for worker, _ in served)
        self.assertGreaterEqual(min(shares[1], shares[2]), 3, shares)
        for number, (worker, client) in enumerate(served):
            await self.assertAlive(client, b"number %d" % number)
            await client.leave()
            [closed] = await self.proxy.said(rf"worker {worker}: [0-9a-f]{{8}} closed by .*", 1, self.lines())
            self.assertIn("1000", closed[0])

    def lines(self) -> int:
        return max(0, len(self.proxy.lines) - 1)

    async def test_atOnce(self) -> None:
        """So are 50 that come all at once."""
        await self.startWorkers()
        streams = [self.connect() for _ in range(50)]
        clients = [Client(stream) for stream in streams]
        await gatherResults([Deferred.fromCoroutine(client.upgrade()) for client in clients])
        shares = Counter([await self.server(client) for client in clients])
        self.assertGreaterEqual(min(shares[1], shares[2]), 15, shares)

    async def test_log(self) -> None:
        """What workers log looks like everything else in the log, and says which of them it was."""
        await self.startWorkers()
        client = await self.session()
        number = await self.server(client)
        client.close(1000)
        await self.proxy.said(f"worker {number}: .* closed by client: 1000")
        lines = [line for line in self.proxy.lines if f"worker {number}: " in line]
        for line in lines:
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[wsproxy[.\w]+#info\] worker \d: ")

    async def test_recordings(self) -> None:
        """Recordings of two workers do not get into each other's way: each session has a file, whole and its own."""
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        await self.startWorkers("--record", str(folder / "session"))
        served = await self.sessions(8)
        count = len(served)
        for number, (_, client) in enumerate(served):
            await self.assertAlive(client, b"this is %d" % number)
        for _, client in served:
            await client.leave()
        await self.proxy.said(" closed by ", count)
        self.assertEqual(await self.proxy.stop(), 0)
        files = list(folder.iterdir())
        self.assertEqual({file.name for file in files}, {f"session.{number}" for number in range(1, count + 1)})
        self.assertTrue(all(summarise(str(file)).complete for file in files))
        said = [[entry.data for entry in readEntries(str(file)) if entry.fromClient] for file in files]
        self.assertEqual(sorted(said), sorted([b"this is %d\n" % number] for number in range(count)))

    async def test_unixSocket(self) -> None:
        """A socket file keeps its mode, serves, and is gone in the end."""
        folder = Path(tempfile.mkdtemp()).absolute()
        self.addCleanup(folder.rmdir)
        path = folder / "socket"
        proxy = await self.startWorkers("--listen", f"unix:{path}:mode=600")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
            client.settimeout(10)
            self.assertTrue(client.recv(100).startswith(b"HTTP/1.1 404"))
        pids = await self.pids()
        os.kill(pids[0], signal.SIGKILL)
        await proxy.said("worker 1 is up", 2)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(await proxy.stop(), 0)
        self.assertFalse(path.exists())


class DeathTests(WorkersTestCase):
    """A worker that dies, and a parent that does."""

    async def test_replaced(self) -> None:
        """A worker that is killed is replaced; the sessions of the other live on, and new ones have both."""
        proxy = await self.startWorkers()
        served = await self.sessions(2)
        pids = await self.pids()
        os.kill(pids[0], signal.SIGKILL)
        await proxy.said("worker 1 ended with status 137; another starts in 1 s")
        for worker, client in served:
            if worker == 2:
                await self.assertAlive(client, b"still here")
        another = await self.session()  # while there is one worker
        self.assertEqual(await self.server(another), 2)
        await proxy.said("worker 1 is up", 2)
        self.assertNotEqual((await self.pids(3))[2], pids[0])
        more = await self.sessions(2)
        for client in [another, *(client for _, client in served + more)]:
            client.stream.reset()
        self.assertEqual(await proxy.stop(), 0)

    async def test_parentKilled(self) -> None:
        """Workers whose parent is killed close their sessions and end."""
        proxy = await self.startWorkers("--drain", "600")
        served = await self.sessions(2)
        pids = await self.pids()
        proxy.signal(signal.SIGKILL)
        for _, client in served:
            self.assertEqual(await client.rest(), (b"", GOING_DOWN))
            client.close(1001)
        await self.assertGone(pids)
        await self.assertRefused()


class TerminationTests(WorkersTestCase):
    """Signals."""

    timeout = 90

    async def test_atOnce(self) -> None:
        """SIGTERM closes the sessions of all workers with 1001; the status is 0, and no process is left."""
        proxy = await self.startWorkers()
        served = await self.sessions(4)
        proxy.signal(signal.SIGTERM)
        for _, client in served:
            self.assertEqual(await client.rest(), (b"", GOING_DOWN))
            client.close(1001)
        await self.assertEnds(proxy)
        self.assertFalse(any(map(running, await self.pids())))
        closed = sum("closed by proxy: 1001 Server going down;" in line for line in proxy.lines)
        self.assertEqual(closed, len(served))

    async def test_drained(self) -> None:
        """C{--drain}: nobody listens, the sessions of all workers go on, and with the last of them all is over."""
        proxy = await self.startWorkers("--drain", "600")
        served = await self.sessions(2)
        proxy.signal(signal.SIGTERM)
        await proxy.said("Received SIGTERM")
        await proxy.said(r"Port \d+ Closed")
        await self.assertRefused()
        for _, client in served:
            await self.assertAlive(client, b"still here")
            await client.leave()
        await self.assertEnds(proxy)

    async def test_drainedSessions(self) -> None:
        """The log says how many sessions each has to drain; one that is stopped cannot say, and delays no other."""
        proxy = await self.startWorkers("--drain", "600")
        served = await self.sessions(2)
        shares = Counter(worker for worker, _ in served)
        os.kill((await self.pids())[1], signal.SIGSTOP)
        proxy.signal(signal.SIGTERM)
        await proxy.said(f"worker 1 drains its sessions: {shares[1]}$")
        await proxy.said("worker 2 has not answered for 5 s")
        os.kill((await self.pids())[1], signal.SIGCONT)
        for _, client in served:
            await self.assertAlive(client, b"still here")
            await client.leave()
        await self.assertEnds(proxy)

    async def test_everybody(self) -> None:
        """A signal that an init system or a terminal sends to every process is the parent's alone."""
        for number in (signal.SIGTERM, signal.SIGINT):
            proxy = await self.startWorkers("--drain", "600")
            served = await self.sessions(2)
            for pid in [*await self.pids(), proxy.pid]:
                os.kill(pid, number)
            await proxy.said(f"Received {number.name}")
            for _, client in served:
                await self.assertAlive(client, b"still here")
                await client.leave()
            await self.assertEnds(proxy)
            self.assertNotIn("ended with status", "".join(proxy.lines))

    async def test_second(self) -> None:
        """A second SIGTERM ends all of them at once, with status 143."""
        proxy = await self.startWorkers("--drain", "600")
        await self.sessions(2)
        proxy.signal(signal.SIGTERM)
        await proxy.said("Received SIGTERM")
        proxy.signal(signal.SIGTERM)
        await self.assertEnds(proxy, 143)
        await self.assertGone(await self.pids())

    async def test_hangUp(self) -> None:
        """SIGHUP renews the certificate in all of them."""
        certificate = Path(tempfile.mkdtemp(dir=".")).absolute() / "cert.pem"
        certificate.write_bytes(authority().issue(*LOCAL).both)
        proxy = await self.startWorkers("--cert", str(certificate))
        old = {self.serial(client.stream) for _, client in await self.sessions(2, trusting())}
        renewed = authority().issue(*LOCAL)
        certificate.write_bytes(renewed.both)
        proxy.signal(signal.SIGHUP)
        for worker in (1, 2):
            await proxy.said(f"worker {worker}: TLS certificate {certificate} reloaded")
        served = await self.sessions(2, trusting())
        new = {self.serial(client.stream) for _, client in served}
        self.assertEqual((len(old), len(new), len(old & new)), (1, 1, 0))

    def serial(self, stream: Stream) -> int:
        """Of the certificate that a server showed."""
        number: int = stream.transport.getPeerCertificate().get_serial_number()
        return number


class StartTests(WorkersTestCase):
    """What stops a start, and what users there are."""

    async def test_takenPort(self) -> None:
        """A port that somebody has is one line, and no worker is started."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            outcome = await startTwistd(self, "--workers", "2", "--listen", listen, "--target", "demo:").end()
        self.assertEqual(outcome.status, 1)
        self.assertEqual(outcome.err, f"twistd websockify: --listen {listen}: address already in use\n")
        self.assertNotIn("started as process", outcome.out)

    async def test_wrappingEndpoint(self) -> None:
        """An endpoint that does more than to listen cannot be shared."""
        listen = "haproxy:tcp:0:interface=127.0.0.1"
        outcome = await startTwistd(self, "--workers", "2", "--listen", listen, "--target", "demo:").end()
        self.assertEqual(outcome.status, 1)
        self.assertRegex(outcome.err, rf"^twistd websockify: --listen {listen}: no socket for --workers .*\n$")

    async def test_otherUser(self) -> None:
        """Workers are of the user that twistd became; one that cannot read its key ends it all, with one line."""
        require("root", lambda: os.geteuid() == 0)
        python = pythonForEverybody()
        require("a Python that every user can run", lambda: python)
        os.chmod(".", 0o755)
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        folder.chmod(0o755)
        certificate = folder / "cert.pem"
        certificate.write_bytes(authority().issue(*LOCAL).both)
        words = ("--workers", "2", "--listen", "127.0.0.1:0", "--target", "demo:", "--cert", str(certificate))
        run = (str(python), "-c", "from twisted.scripts.twistd import run; run()")
        command = (*run, "-n", "--uid", "65534", "--gid", "65534", "websockify", *words)
        twistd = start(self, command, PYTHONPATH=PATHS)
        pid = int((await twistd.line(r"worker 1 started as process (\d+)"))[1])
        await twistd.line("worker 1 is up")
        self.assertRegex(Path(f"/proc/{pid}/status").read_text(), r"(?m)^Uid:(\t65534){4}$")
        self.assertEqual((await twistd.stop()).status, 0)
        certificate.chmod(0o600)
        outcome = await start(self, command, PYTHONPATH=PATHS).end()
        self.assertEqual(outcome.status, 1)
        self.assertEqual(outcome.err, f"twistd websockify: --cert {certificate}: Permission denied\n")

    async def test_daemon(self) -> None:
        """A daemon has workers, wherever it was started from and whatever directory it changes to."""
        twistd = daemonTwistd(self, ["--rundir", "/"], "--workers", "2", "--listen", "unix:socket", "--target", "demo:")
        await twistd.line("^launcher left with 0$")
        log = twistd.directory / "log"
        await until(lambda: len(re.findall(r"worker \d is up", log.read_text())) == 2)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(twistd.directory / "socket"))
            client.sendall(UPGRADE)
            await until(lambda: re.search(r"#info\] worker \d: [0-9a-f]{8} .* → demo:", log.read_text()))
        pids = [int(found) for found in re.findall(r"started as process (\d+)", log.read_text())]
        daemon = int((twistd.directory / "twistd.pid").read_text())
        os.kill(daemon, signal.SIGTERM)
        await twistd.line(f"^{daemon} left with 0$")
        await self.assertGone(pids)

    async def test_unusablePython(self) -> None:
        """A user who cannot run Python is one line, too."""
        require("root", lambda: os.geteuid() == 0)
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()  # for its owner alone
        (folder / "python").symlink_to(sys.executable)
        script = (
            f"import sys; sys.executable = {str(folder / 'python')!r}; from twisted.scripts.twistd import run; run()"
        )
        options = ("--uid", "65534", "--gid", "65534")
        words = ("--workers", "2", "--listen", "127.0.0.1:0", "--target", "demo:")
        command = (sys.executable, "-c", script, "-n", *options, "websockify", *words)
        outcome = await start(self, command).end()
        self.assertEqual(outcome.status, 1)
        self.assertEqual(outcome.err, f"twistd websockify: --workers 2: {folder}/python: permission denied\n")


class WrappedTests(WrapTestCase):
    """A program behind two workers."""

    workers = ("--workers", "2")

    async def test_exit(self) -> None:
        """Clients of both workers get what the program wrote last, and its status is the proxy's."""
        twistd = self.wrap("exit", *python(LAST_WORDS, self.port), options=self.workers)
        await self.address(twistd)
        pids = [int((await twistd.line(rf"worker {each} started as process (\d+)"))[1]) for each in (1, 2)]

        def stay(client: WrapClient) -> tuple[int, bytes]:
            return client.closed()[0], client.received

        for each in (1, 2):
            await twistd.line(f"worker {each} is up")
        conversations = [self.converse(stay) for _ in range(3)]
        for each in (1, 2):
            await twistd.line(rf"worker {each}: .* → ")
        conversations.append(self.converse(stay))
        self.assertEqual(await gatherResults(conversations), [(1000, b"hello\nbye\n")] * 4)
        outcome = await twistd.end()
        self.assertEqual(outcome.status, 7)
        self.assertFalse(any(map(running, pids)))
        self.assertFalse(running(await self.pid(twistd)))

    async def test_respawn(self) -> None:
        """A program that is killed comes back; clients that arrive meanwhile wait for it, whoever serves them."""
        twistd = self.wrap("respawn", *python(ONE, self.port), options=self.workers)
        await self.address(twistd)
        self.assertEqual(await gatherResults([self.converse(greeting) for _ in range(4)]), [b"hello\n"] * 4)
        os.kill(await self.pid(twistd), signal.SIGKILL)
        await twistd.line("starts again in 1 s")
        self.assertEqual(await gatherResults([self.converse(greeting) for _ in range(4)]), [b"hello\n"] * 4)
        await self.end(twistd)

    async def test_ignore(self) -> None:
        """A program that puts itself in the background is reached there."""
        twistd = self.wrap("ignore", *python(DAEMON, self.port), options=self.workers)
        daemon = int((await twistd.line(r"daemon (\d+)"))[1])
        self.addCleanup(os.kill, daemon, signal.SIGKILL)
        await twistd.line("ended with status 0")
        await self.address(twistd)
        self.assertEqual(await gatherResults([self.converse(greeting) for _ in range(4)]), [b"hello\n"] * 4)
        await self.end(twistd)
        self.assertTrue(running(daemon))

    async def test_down(self) -> None:
        """A client that waits in vain is told so."""
        options = ("--connect-timeout", "0.5", *self.workers)
        twistd = self.wrap("respawn", "sh", "-c", "exit 3", options=options)
        await twistd.line("ended with status 3")
        self.assertEqual(await self.converse(WrapClient.closed), (1011, "Program is not running"))
        await self.end(twistd)

    async def test_told(self) -> None:
        """A program that is told its port is reached, and stopped before the proxy is; clients are closed with 1001."""
        twistd = self.wrap("exit", *python(ONE, "{port}"), options=self.workers)
        pid = await self.pid(twistd)

        def stay(client: WrapClient) -> tuple[int, str]:
            client.until(b"hello\n")
            os.kill(twistd.pid, signal.SIGTERM)
            return client.closed()

        self.assertEqual(await self.converse(stay), GOING_DOWN)
        self.assertEqual((await twistd.end()).status, 0)
        self.assertFalse(running(pid))


# ends with status 7 when it has four clients
LAST_WORDS = (
    ECHO
    + """
listener = listen('', int(port))
clients = [listener.accept()[0] for _ in range(4)]
for client in clients:
    client.sendall(b"hello\\n")
for client in clients:
    client.sendall(b"bye\\n")
os._exit(7)
"""
)
