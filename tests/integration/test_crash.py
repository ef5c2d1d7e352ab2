"""What is killed, and what is used up: whoever is not concerned goes on, and all is well again when there is enough."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.certificates import LOCAL
from tests.components import require, requireComponent
from tests.integration.bridge import authority, connect, trusting
from tests.integration.client import Client
from tests.integration.proxy import Proxy, descriptors, ticks
from tests.integration.talkers import GONE, Echoing, Talker, Tally, pause
from tests.integration.test_admin import AdminTestCase
from tests.integration.test_wrap import ONE, greeting, python
from tests.integration.twistd import TWISTD, start
from tests.integration.wrapped import WrapTestCase
from tests.process.programs import running, until

reactor: Any = _reactor

LONG = os.environ.get("WSPROXY_SOAK") == "long"
SESSIONS = 100 if LONG else 24
RETURNING = 1000 if LONG else 80
RENEWED = 5 if LONG else 1
"""Workers that are killed, one after the other."""

GOING_DOWN = (1001, "Server going down")
RESTART = 8.0
"""Seconds within which nobody is left of a proxy whose parent was killed."""

WORKERS = ("--workers", "2")


def diskPrefix(size: int, then: str = "true") -> tuple[str, ...]:
    """
    The prefix of a command that has, in its current folder, a disk of its own called C{disk}.

    @param size: of the disk, in bytes.
    @param then: a command of the shell's before that.
    """
    requireComponent("unshare")
    make = f"mkdir disk && mount -t tmpfs -o size={size} disk disk && {then}"
    with tempfile.TemporaryDirectory() as folder:
        words = ["unshare", "--mount", "sh", "-c", make]
        require("the right to mount", lambda: subprocess.run(words, cwd=folder, check=False).returncode == 0)
    return ("unshare", "--mount", "sh", "-c", f'{make} && exec "$0" "$@"')


class CrashTestCase(AdminTestCase):
    """Proxies before an echo, with an admin side."""

    timeout = 900 if LONG else 120
    over = False

    def setUp(self) -> None:
        self.echoing = Echoing()
        self.addCleanup(self.echoing.stop)
        self.tally = Tally()
        self.talking: list[Deferred[None]] = []

    def folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=".")).absolute()

    def certified(self) -> tuple[str, ...]:
        certificate = self.folder() / "cert.pem"
        certificate.write_bytes(authority().issue(*LOCAL).both)
        return ("--cert", str(certificate))

    async def echo(self, *arguments: str, prefix: tuple[str, ...] = ()) -> Proxy:
        """A proxy, once it serves."""
        folder = self.folder()
        self.where = os.path.relpath(folder / "admin")  # a socket's path has 107 bytes
        words = ("--target", self.echoing.target, "--admin", "unix:admin", *arguments)
        proxy = Proxy(folder, *words, prefix=prefix)
        self.addCleanup(proxy.kill)
        self.port = int((await proxy.said(r"Listening on 127\.0\.0\.1:(\d+)"))[0][1])
        if "--workers" in arguments:
            await proxy.said(r"worker \d+ is up", 2)
        return proxy

    async def client(self, tls: Any = None) -> Client:
        """One with a session, which has been used."""
        client = Client(self.connect(tls))
        self.assertEqual((await client.upgrade()).status, 101)
        await self.assertEchoes(client)
        return client

    async def asked(self, client: Client) -> None:
        """Whatever becomes of it."""
        try:
            if (await client.upgrade()).status == 101:
                await client.rest()
        except GONE:
            pass

    async def assertEchoes(self, client: Client) -> None:
        client.send(b"still here")
        self.assertEqual(await client.exactly(10), b"still here")

    async def talk(self, count: int, tls: Any = None) -> None:
        """From now on so many talk, every other one over TLS where there is that; once all of them have sessions."""
        talkers = [Talker(self.tally, n, self.port, tls if n % 2 else None) for n in range(count)]
        self.talking += [Deferred.fromCoroutine(each.talk(lambda: self.over)) for each in talkers]
        await until(lambda: all(each.served for each in talkers) or self.tally.losses)
        self.assertEqual(self.tally.losses, [])

    async def silence(self) -> None:
        """Nobody talks any more."""
        self.over = True
        await gatherResults(self.talking)

    async def statuses(self, count: int) -> list[int]:
        """What so many clients are answered, who stay."""
        return [(await Client(self.connect()).upgrade()).status for _ in range(count)]


class WorkerKilledTests(CrashTestCase):
    """SIGKILL of a worker, as the kernel does it where memory is used up."""

    async def test_underLoad(self) -> None:
        """
        Sessions of the others go on, and no byte of theirs is wrong. The worker is replaced; what it has counted is
        kept, and the room of its sessions is free for others, no more and no less.
        """
        proxy = await self.echo(*WORKERS, *self.certified(), "--max-sessions", str(SESSIONS))
        await self.talk(SESSIONS, trusting())
        for killed in range(1, RENEWED + 1):
            [pid] = [int(found[1]) for found in await proxy.said(r"worker 1 started as process (\d+)", killed)][-1:]
            shares = [session["worker"] for session in await self.listed()]
            self.assertEqual(len(shares), SESSIONS)
            opened = await self.metric("wsproxy_opened_sessions_total")
            os.kill(pid, signal.SIGKILL)
            await proxy.said("worker 1 ended with status 137", killed)
            lost = shares.count(1)
            await until(lambda lost=lost: len(self.tally.losses) >= lost)
            self.assertEqual(len(self.tally.losses), lost)
            self.assertEqual(await self.metric("wsproxy_sessions"), SESSIONS - lost)
            self.assertGreaterEqual(await self.metric("wsproxy_opened_sessions_total"), opened)
            await proxy.said("worker 1 is up", killed + 1)
            self.tally.losses.clear()
            await self.talk(lost, trusting())
        self.assertEqual(await self.statuses(3), [503] * 3)
        await self.silence()
        self.assertEqual((self.tally.losses, self.tally.wrong), ([], 0))
        self.assertEqual(self.tally.finished, SESSIONS)


class ParentKilledTests(CrashTestCase):
    """SIGKILL of the process that was started."""

    def command(self, folder: Path, *words: str) -> list[str]:
        listen = ("--listen", f"127.0.0.1:{self.port}", "--listen", "unix:socket", "--admin", "unix:admin")
        return [TWISTD, "-n", "--pidfile", str(folder / "pid"), "--rundir", str(folder), "websockify", *listen, *words]

    async def assertRestarts(self, *words: str, workers: int = 0) -> None:
        """Killed, it leaves nobody, its clients are told or cut off, and the same command serves at once."""
        words = (*words, *(("--workers", str(workers)) if workers else ()))
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        folder = self.folder()
        os.chmod(folder, 0o755)
        twistd = start(self, self.command(folder, *words))
        pids = [int((await twistd.line(rf"worker {n} started as process (\d+)"))[1]) for n in range(1, workers + 1)]
        await twistd.line("worker 1 is up" if workers else "Room for")
        client = await self.client()
        twistd.signal("KILL")
        await twistd.end()
        again = start(self, self.command(folder, *words))
        await again.line("worker 1 is up" if workers else "Room for")
        await self.assertEchoes(await self.client())
        if workers:
            self.assertEqual((await client.rest())[1], GOING_DOWN)
            client.close(1001)
        else:
            await client.stream.gone()
        await until(lambda: not any(map(running, pids)))
        self.assertEqual((await again.stop()).status, 0)

    async def test_workers(self) -> None:
        """Workers tell their clients 1001; port, socket files and pidfile are free for the same command at once."""
        await self.assertRestarts("--target", self.echoing.target, workers=2)

    async def test_alone(self) -> None:
        """A single process is as easily started again."""
        await self.assertRestarts("--target", self.echoing.target)


class WrappedTests(WrapTestCase):
    """SIGKILL of what wraps a program."""

    async def test_killed(self) -> None:
        """The program ends with it, and the same command serves at once, workers or not."""
        for words in ((), WORKERS):
            twistd = self.wrap("exit", *python(ONE, self.port), options=words)
            await self.address(twistd)
            self.assertEqual(await self.converse(greeting), b"hello\n")
            pid = await self.pid(twistd)
            twistd.signal("KILL")
            await twistd.end()
            again = self.wrap("exit", *python(ONE, self.port), options=words)
            await self.address(again)
            self.assertEqual(await self.converse(greeting), b"hello\n")
            await until(lambda pid=pid: not running(pid))
            await self.end(again)


class DescriptorTests(CrashTestCase):
    """Descriptors are used up: two for each session."""

    async def used(self, *arguments: str) -> None:
        limit = ("prlimit", "--nofile=80:80")
        requireComponent("prlimit")
        proxy = await self.echo(*arguments, prefix=limit)
        first = [await self.client() for _ in range(4)]
        pids = [proxy.pid, *(int(found[1]) for found in await self.started(proxy))]
        count = 140 if len(pids) > 1 else 70
        more = [Client(connect(self.port)) for _ in range(count)]
        for client in more:
            self.addCleanup(client.stream.reset)
        asking = [Deferred.fromCoroutine(self.asked(client)) for client in more]
        await until(lambda: any(descriptors(pid) > 75 for pid in pids))
        for _ in range(5):
            for client in first:
                await self.assertEchoes(client)
            await pause(0.1)
        spent = sum(map(ticks, pids))
        await pause(1)
        self.assertLess(sum(map(ticks, pids)) - spent, 40)  # hundredths of a second
        for client in more:
            client.stream.reset()
        await gatherResults(asking)
        for client in first:
            await self.assertEchoes(client)
        await until(lambda: all(descriptors(pid) < 60 for pid in pids))
        await self.assertComesIn()
        self.assertEqual((await self.ask("GET", "/healthz")).status, 200)
        self.assertLess(len(proxy.lines), 10 * count)
        self.assertEqual([line for line in proxy.lines if "Traceback" in line], [])

    async def started(self, proxy: Proxy) -> list[re.Match[str]]:
        return [found for line in proxy.lines if (found := re.search(r"worker \d started as process (\d+)", line))]

    async def assertComesIn(self) -> None:
        """Somebody does, within a few seconds."""
        while True:
            client = Client(self.connect())
            try:
                if (await client.upgrade()).status == 101:
                    await self.assertEchoes(client)
                    return
            except GONE:
                await pause(0.1)

    async def test_alone(self) -> None:
        """
        Sessions go on, others wait or are sent away, and nobody spins. When there are descriptors again everything is
        as it was.
        """
        await self.used()

    async def test_workers(self) -> None:
        """So it is where workers share the port."""
        await self.used(*WORKERS)


class DiskTests(CrashTestCase):
    """The disk is full."""

    async def test_recording(self) -> None:
        """A session goes on that cannot be recorded any further, which is one line; recordings end well."""
        proxy = await self.echo("--record", "disk/it", prefix=diskPrefix(64 << 10))
        await self.talk(8)
        await proxy.said("is not recorded any further: No space left on device", 8)
        size = self.tally.size
        await until(lambda: self.tally.size > size + 200_000)
        await self.silence()
        self.assertEqual((self.tally.losses, self.tally.wrong), ([], 0))
        late = await self.client()
        await late.leave()
        self.assertEqual([line for line in proxy.lines if "Traceback" in line], [])

    async def test_required(self) -> None:
        """With C{--record-required} it is closed, with 1011, and nobody comes in until there is room."""
        proxy = await self.echo("--record", "disk/it", "--record-required", prefix=diskPrefix(64 << 10))
        disk = Path(f"/proc/{proxy.pid}/root{proxy.folder}/disk")
        client = await self.client()
        (disk / "ballast").write_bytes(bytes(56 << 10))
        client.send(bytes(32 << 10))
        self.assertEqual((await client.rest())[1], (1011, "Recording failed"))
        client.close(1011)
        (disk / "ballast").unlink()
        await self.assertEchoes(await self.client())

    async def test_log(self) -> None:
        """A log that nobody can write stops no session and costs no processor, be it a file or stdout."""
        for words in ((), WORKERS):
            await self.unwritten(("--logfile", "/dev/full"), (), words)
            await self.unwritten((), ("sh", "-c", 'exec "$0" "$@" >/dev/full 2>&1'), words)

    async def unwritten(self, options: tuple[str, ...], prefix: tuple[str, ...], words: tuple[str, ...]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        listen = ("--listen", f"127.0.0.1:{self.port}", "--target", self.echoing.target, "--admin", "unix:admin")
        command = [*prefix, TWISTD, "-n", "--pidfile=", *options, "websockify", *listen, *words]
        twistd = start(self, command)
        self.where = os.path.relpath(twistd.directory / "admin")
        await until((twistd.directory / "admin").exists)
        while (await self.ask("GET", "/readyz")).status != 200:
            await pause(0.05)
        self.over = False
        await self.talk(4)
        spent = ticks(twistd.pid)
        await pause(0.5)
        self.assertLess(ticks(twistd.pid) - spent, 40)  # hundredths of a second
        await self.silence()
        self.assertEqual(self.tally.losses, [])
        self.assertEqual((await twistd.stop()).status, 0)

    async def test_pidfile(self) -> None:
        """A pidfile that cannot be written is one line, and no start."""
        prefix = diskPrefix(64 << 10, "head -c 65536 /dev/zero >disk/ballast")
        words = ("-n", "--pidfile", "disk/pid", "websockify", "--listen", "127.0.0.1:0", "--target", "demo:")
        outcome = await start(self, [*prefix, TWISTD, *words]).end()
        self.assertEqual(outcome.status, 1, outcome)
        self.assertRegex(outcome.err, r"^twistd websockify: .*No space left on device\n$")


class MemoryTests(CrashTestCase):
    """Memory is used up."""

    async def test_worker(self) -> None:
        """
        A worker that gets no memory any more loses no more than its own sessions: those of the other go on. Whether it
        goes on as well or is replaced, all who come later are let in.
        """
        proxy = await self.echo(*WORKERS, *self.certified())
        await self.talk(SESSIONS, trusting())
        [pid] = [int(found[1]) for found in await proxy.said(r"worker 1 started as process (\d+)")]
        others = [session["worker"] for session in await self.listed()].count(2)
        self.limit(pid)
        more = [Client(connect(self.port, trusting() if n % 2 else None)) for n in range(200)]
        for client in more:
            self.addCleanup(client.stream.reset)
        asking = [Deferred.fromCoroutine(self.asked(client)) for client in more]
        size = self.tally.size
        await until(lambda: self.tally.size > size + 400_000)
        if running(pid):
            os.kill(pid, signal.SIGKILL)  # as the kernel does, sooner or later
        await proxy.said("worker 1 is up", 2)
        for client in more:
            client.stream.reset()
        await gatherResults(asking)
        self.assertGreaterEqual(SESSIONS - len(self.tally.losses), others)
        self.tally.losses.clear()
        await self.talk(SESSIONS, trusting())
        await self.silence()
        self.assertEqual((self.tally.losses, self.tally.wrong), ([], 0))
        self.assertEqual(await proxy.stop(), 0)

    def limit(self, pid: int) -> None:
        """From now on it gets no more."""
        found = re.search(r"^VmSize:\s*(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        resource.prlimit(pid, resource.RLIMIT_AS, (int(found[1]) * 1024, resource.RLIM_INFINITY))


class ReturnTests(CrashTestCase):
    """Many who come at once."""

    async def test_return(self) -> None:
        """All get in, over TLS, whoever else comes and says nothing; sessions that are there go on meanwhile."""
        for words in ((), WORKERS):
            self.over = False
            await self.echo(*self.certified(), *words)
            await self.talk(10)
            for _ in range(RETURNING):
                self.connect()  # says nothing
            await self.talk(2 * RETURNING, trusting())
            await self.silence()
            self.assertEqual((self.tally.losses, self.tally.wrong), ([], 0))
