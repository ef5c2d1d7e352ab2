"""Restarts that nobody notices: new code in the place of the old, with real processes and clients that look closely.

The small form runs with all tests, the large one in C{make soak}: WSPROXY_SOAK=long.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import stat
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
from twisted.internet.threads import deferToThread

from tests.certificates import LOCAL, pem
from tests.components import require
from tests.integration.bridge import authority, connect, trusting
from tests.integration.client import Client
from tests.integration.interpreter import PATHS, pythonForEverybody
from tests.integration.proxy import Proxy
from tests.integration.test_life import GREETING, LifeTestCase
from tests.integration.test_wrap import ONE, greeting, python
from tests.integration.twistd import Running, daemonTwistd, start
from tests.integration.versions import NEW, Installed, first, instead
from tests.integration.wrapped import Client as WrapClient
from tests.integration.wrapped import WrapTestCase
from tests.process.programs import running, until
from wsproxy.admin.client import AdminClient
from wsproxy.errors import ConfigError
from wsproxy.replay.file import readEntries, summarise

reactor: Any = _reactor

LONG = os.environ.get("WSPROXY_SOAK") == "long"
SESSIONS, UPGRADES, RELOADS, VISITS = (1000, 10, 20, 200) if LONG else (100, 3, 6, 40)
"""Sessions, and clients a second that come and go meanwhile."""

BLOCK = 4096
"""Bytes of the largest block that goes there and back."""

AT_ONCE = 50
"""Sessions that begin at a time."""

VISITOR = str(Path(__file__).with_name("visitor.py"))

REST = 4.0 if LONG else 0.25
"""Seconds, on average, between two blocks of a session."""


WSPROXY = str(Path(sys.executable).with_name("wsproxy"))


def privilegedPort() -> int:
    """A free one, for root."""
    for port in range(1023, 512, -1):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("there is none")


def children(pid: int) -> set[str]:
    return {*Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


async def wait(seconds: float) -> None:
    await deferLater(reactor, seconds, lambda: None)


class UpgradeTestCase(LifeTestCase):
    """Proxies with workers, that are upgraded."""

    timeout = 1200 if LONG else 180

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

    async def test_places(self) -> None:
        """So is each place where nobody can listen, for clients, for operators, or for those who ask for health."""
        folder = self.folder()
        busy = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(busy.close)
        taken, file = f"127.0.0.1:{busy.getsockname()[1]}", folder / "config.toml"
        (folder / "token").write_text(secrets.token_hex(32))
        text = "workers = 1\ntarget = 'demo:'\nlisten = ['127.0.0.1:0'{}]\nadmin = '{}'\n{}"
        place = f"unix:{folder}/admin"
        file.write_text(text.format("", place, ""))
        self.proxy = Proxy(Path(tempfile.mkdtemp(dir=".")).absolute(), "--config", str(file), listen=())
        self.addCleanup(self.proxy.stop)
        await self.proxy.said("worker 1 is up")
        self.port = int((await self.proxy.said(r"Listening on 127\.0\.0\.1:(\d+)"))[0][1])
        client = await self.session()
        changes = (
            ("--health", taken, ("", place, f"health = '{taken}'")),
            ("--admin", taken, ("", taken, "admin-token = '@token'")),
            ("--admin", f"unix:{folder}/none/admin", ("", f"unix:{folder}/none/admin", "")),
            ("--listen", taken, (f", '{taken}'", place, "")),
            ("--listen", "192.0.2.1:0", (", '192.0.2.1:0'", place, "")),
            ("--listen", f"unix:{folder}/none/x", (f", 'unix:{folder}/none/x'", place, "")),
        )
        for option, where, change in changes if LONG else changes[:3]:
            file.write_text(text.format(*change))
            self.assertIn(f": {option} {where}", await self.fails())
            await self.assertAlive(client, b"still here")
            self.assertEqual(AdminClient(place).ask("GET", "/status")["sessions"], 1)
        file.write_text(text.format("", place, "health = '127.0.0.1:0'"))
        await self.upgrade(1)
        await self.assertAlive(client, b"still here")

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
            ("import os\nprint('x')\nos._exit(0)", "it ended with status 0, and has not said that it could start"),
            ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "it ended by signal 9"),
        ):
            code.write_text(text)
            self.assertEqual(await self.fails(), told)
            await self.assertAlive(client, b"still here")
        code.unlink()
        await self.upgrade(1)
        await self.assertAlive(client, b"still here")
        self.assertFalse([line for line in proxy.lines if "Traceback" in line])


FAULTS = (
    ("wiring.py", first("raise ImportError('no such part')"), "ImportError: no such part"),
    ("process/adopted.py", instead("os.pidfd_open(pid)", "pid.fileno()"), "AttributeError:"),
    ("workers/held.py", instead("self._socket = ", "raise OSError(5, 'x')  #"), "OSError: .Errno 5. x"),
    ("limits/leases.py", instead("for pid, leases in", "raise SystemExit(7)\n        for pid, leases in"), "status 7"),
)
"""Where the parent's new code fails: as it is imported, adopts workers, listens, knows again what it has counted."""


class TooLateTests(UpgradeTestCase):
    """A new version that could start, it seemed, and cannot: found out when the code before it is no more."""

    async def installed(self, *arguments: str) -> Installed:
        """A proxy whose version can be another one."""
        folder = self.folder()
        installed = Installed(folder)
        path = os.pathsep.join([str(folder), *sys.path])
        await self.startWith({"PYTHONPATH": path}, "--target", "demo:", "--workers", "1", *arguments)
        return installed

    async def assertServes(self, client: Client) -> None:
        """Old sessions go on, and new ones are let in."""
        await self.assertAlive(client, b"still here")
        another = await self.session()
        await self.assertAlive(another, b"welcome")
        await another.leave()

    async def failsLate(self) -> str:
        """@return: why it cannot start, in the one line that tells."""
        since = len(self.proxy.lines)
        self.proxy.signal(signal.SIGUSR2)
        told = "The new version cannot start, and the old workers serve on without a parent: (.*); another try in 1 s"
        [found] = await self.proxy.said(told, 1, since)
        self.assertFalse([line for line in self.proxy.lines[since:] if "Traceback" in line])
        return found[1]

    async def test_parent(self) -> None:
        """
        Wherever the new code of the parent fails, there is one line; workers serve on and let clients in, the process
        is the same, and the mended version takes over as if nothing had been.
        """
        installed = await self.installed("--max-sessions", "5")
        pid = self.proxy.pid
        client = await self.session()
        for name, change, told in FAULTS if LONG else FAULTS[1:2]:
            installed.replace(name, change)
            self.assertRegex(await self.failsLate(), told)
            self.assertTrue(running(pid))
            await self.assertAlive(client, b"still here")
            installed.mend()
            await self.upgrade(1)
            await self.assertServes(client)
        await client.leave()
        self.assertEqual(await self.proxy.stop(), 0)

    async def test_serves(self) -> None:
        """Without a parent old workers let clients in, and the clock finds out that the version has been mended."""
        installed = await self.installed()
        client = await self.session()
        installed.replace("wiring.py", first("raise ImportError('no such part')"))
        await self.failsLate()
        for _ in range(3):
            await self.assertServes(client)
        since = len(self.proxy.lines)
        self.proxy.signal(signal.SIGUSR2)
        await self.proxy.said("The new version still cannot start: ImportError: no such part", 1, since)
        installed.mend()
        await self.proxy.said("This is the new version; old workers: 1", 1, since)
        await self.proxy.said("worker 1: makes room", 1, since)
        await self.assertServes(client)
        since = len(self.proxy.lines)
        self.proxy.signal(signal.SIGUSR2)
        await self.proxy.said("This is the new version; old workers: 2", 1, since)

    async def test_ended(self) -> None:
        """SIGTERM without a parent: clients are told 1001, nothing stays behind, and the status is 0."""
        installed = await self.installed()
        [worker] = await self.proxy.said(r"worker 1 started as process (\d+)")
        client = await self.session()
        installed.replace("wiring.py", first("raise ImportError('no such part')"))
        await self.failsLate()
        stopped = self.proxy.stop()
        self.assertEqual((await client.rest())[1], (1001, "Server going down"))
        client.close()
        self.assertEqual(await stopped, 0)
        self.assertFalse(running(int(worker[1])))
        await self.assertRefused()

    async def test_alone(self) -> None:
        """A worker that dies then is not replaced: with the last of them all ends, with a status that says so."""
        installed = await self.installed()
        [worker] = await self.proxy.said(r"worker 1 started as process (\d+)")
        installed.replace("wiring.py", first("raise ImportError('no such part')"))
        await self.failsLate()
        os.kill(int(worker[1]), signal.SIGKILL)
        await self.proxy.said("No worker is left, and no new version to start one")
        self.assertEqual(await self.proxy.end(), 1)

    async def test_killed(self) -> None:
        """
        New code that is killed in its first moments takes the process along, as SIGKILL always does: clients are told
        1001, nothing stays behind, and the port is free for the next start.
        """
        installed = await self.installed()
        [worker] = await self.proxy.said(r"worker 1 started as process (\d+)")
        client = await self.session()
        installed.replace("wiring.py", first("os.kill(os.getpid(), signal.SIGKILL)"))
        self.proxy.signal(signal.SIGUSR2)
        self.assertEqual((await client.rest())[1], (1001, "Server going down"))
        client.close()
        self.assertEqual(await self.proxy.end(), -signal.SIGKILL)
        await until(lambda: not running(int(worker[1])))
        await self.assertRefused()

    async def test_workers(self) -> None:
        """
        New workers that die at once, or never come up: old ones serve, and the mended version takes over. Where they do
        so when that is tried out, nothing happens but one line.
        """
        installed = await self.installed()
        client = await self.session()
        installed.replace("workers/child.py", lambda text: "raise SystemExit('not today')")
        self.assertEqual(await self.fails(), "twistd websockify: a worker ended with status 1: not today")
        faults = (
            ("time.sleep(3600)", r"worker \d+ started as process"),
            ("raise SystemExit('not today')", r"worker \d+ ended with status 1; another starts in 1 s"),
        )
        for fault, told in faults if LONG else faults[:1]:
            since = len(self.proxy.lines)
            installed.replace("workers/child.py", first(fault, NEW))
            self.proxy.signal(signal.SIGUSR2)
            await self.proxy.said("This is the new version", 1, since)
            await self.proxy.said(told, 1, since)
            await self.assertServes(client)
            installed.mend()
            await self.upgrade(1)
            await self.assertServes(client)
        await client.leave()
        self.assertEqual(await self.proxy.stop(), 0)


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


class SignalTests(UpgradeTestCase):
    """What else comes meanwhile."""

    async def test_twice(self) -> None:
        """Two at once are one: the second is answered by one line."""
        await self.startWorkers(workers="1")
        client = await self.session()
        since = len(self.proxy.lines)
        self.proxy.signal(signal.SIGUSR2)
        await self.proxy.said("the new version is tried out", 1, since)
        self.proxy.signal(signal.SIGUSR2)
        await self.proxy.said("An upgrade is under way already", 1, since)
        await self.proxy.said("worker 1: makes room for another version", 1, since)
        await self.assertAlive(client, b"still here")
        self.assertEqual(len(await self.proxy.said("This is the new version", 1, since)), 1)
        self.assertEqual(await self.proxy.stop(), 0)

    async def test_reloads(self) -> None:
        """
        SIGHUP together with SIGUSR2, before it, and while new code is on its way in: what the file says in the end is
        in force, and sessions go on.
        """
        file = self.folder() / "config.toml"
        text = "workers = 1\nlisten = '127.0.0.1:0'\ntarget = 'demo:'\n"
        file.write_text(f"max-sessions = 9\n{text}")
        self.proxy = Proxy(Path(tempfile.mkdtemp(dir=".")).absolute(), "--config", str(file), listen=())
        self.addCleanup(self.proxy.stop)
        self.port = await self.proxy.port()
        await self.proxy.said("worker 1 is up")
        client = await self.session()
        for number, line in enumerate(("tried out", "takes over") if LONG else ("takes over",), 1):
            since = len(self.proxy.lines)
            file.write_text(f"max-sessions = {number + 1}\n{text}")
            self.proxy.signal(signal.SIGHUP)
            self.proxy.signal(signal.SIGUSR2)
            await self.proxy.said(line, 1, since)
            self.proxy.signal(signal.SIGHUP)
            await self.proxy.said("This is the new version", 1, since)
            await self.proxy.said("Reloaded: ", 1, since)
            await self.proxy.said(r"worker \d+: makes room", 1, since)
            others = [await self.session() for _ in range(number)]
            self.assertEqual((await Client(self.connect()).upgrade()).status, 503)
            for other in others:
                await other.leave()
            await self.assertAlive(client, b"still here")

    async def test_ended(self) -> None:
        """SIGTERM in the midst of it, wherever, is the end: clients are told 1001, and nothing stays behind."""
        for line in ("takes over", "tried out", "This is the new version") if LONG else ("takes over",):
            proxy = await self.startWorkers(workers="1")
            client = await self.session()
            proxy.signal(signal.SIGUSR2)
            await proxy.said(line)
            stopped = proxy.stop()
            self.assertEqual((await client.rest())[1], (1001, "Server going down"))
            client.close()
            self.assertEqual(await stopped, 0)
            pids = [int(found[1]) for found in await proxy.said(r"started as process (\d+)")]
            await until(lambda pids=pids: not any(map(running, pids)))

    async def test_inARow(self) -> None:
        """Again and again, while workers of all versions have sessions, which go on; each worker ends with its own."""
        await self.startWorkers(workers="1")
        clients = [await self.session()]
        for _ in range(10 if LONG else 2):
            await self.upgrade(1)
            clients.append(await self.session())
        for client in clients:
            await self.assertAlive(client, b"still here")
        for client in clients[:-1]:
            await client.leave()
        await self.proxy.said(r"worker \d+, of the version before, has ended$", len(clients) - 1)
        await self.assertAlive(clients[-1], b"still here")


class OperatorTests(UpgradeTestCase):
    """Those who look on from the admin side."""

    async def test_asking(self) -> None:
        """
        Who asks without pause, each time anew or on one connection, over TCP or at the socket file, is answered each
        time: nobody is refused, and no answer is lost.
        """
        folder = self.folder()
        self.addCleanup(shutil.rmtree, folder)
        place = f"unix:{folder}/admin"
        proxy = await self.startWorkers("--admin", place, "--health", "127.0.0.1:0", workers="1")
        self.port = int((await proxy.said(r"Listening on 127\.0\.0\.1:(\d+)"))[0][1])
        health = (await proxy.said(r"Health at (127.0.0.1:\d+)"))[0][1]
        over = Event()

        def ask(where: str, path: str, kept: bool) -> int:
            """@return: how often it was answered."""
            client, count = AdminClient(where), 0
            while not over.is_set():
                client = client if kept else AdminClient(where)
                try:
                    client.ask("GET", path)
                except ConfigError as error:
                    if str(error) != "No worker answers":  # which is an answer, where the machine is too busy for one
                        raise
                count += 1
            return count

        places = [(health, "/healthz"), (place, "/sessions"), (place, "/readyz")]
        asking = gatherResults(
            [deferToThread(ask, *each, kept) for each in places for kept in (False, True)], consumeErrors=True
        )
        session = await self.session()
        for _ in range(UPGRADES if LONG else 1):
            await self.upgrade(1)
            self.assertFalse(asking.called, asking)
        over.set()
        self.assertGreater(min(await asking), 10)
        await self.assertAlive(session, b"still here")
        self.assertEqual(stat.S_IMODE(os.stat(f"{folder}/admin").st_mode), 0o600)
        self.assertEqual(await proxy.stop(), 0)
        self.assertFalse(os.path.exists(f"{folder}/admin"))

    async def test_user(self) -> None:
        """
        Where only root may bind, a port below 1024 and a folder of root's, the process is still there when it is
        root's no more and has been upgraded: sessions go on, the admin side answers.
        """
        require("root", lambda: os.geteuid() == 0)
        everybodys = pythonForEverybody()
        require("a Python that every user can run", lambda: everybodys)
        folder = self.folder()
        self.addCleanup(shutil.rmtree, folder)
        place, health = f"unix:{folder}/admin", f"127.0.0.1:{privilegedPort()}"
        program = (str(everybodys), "-c", "from twisted.scripts.twistd import run; run()")
        options = ("-n", "--pidfile=", "--uid", "65534", "--gid", "65534")
        words = ("--listen", "127.0.0.1:0", "--target", "demo:", "--workers", "1", "--admin", place, "--health", health)
        os.chmod(".", 0o755)
        twistd = start(self, [*program, *options, "websockify", *words], PYTHONPATH=PATHS)
        twistd.directory.parent.chmod(0o755)
        self.port = int((await twistd.line(r"Listening on 127\.0\.0\.1:(\d+)"))[1])
        await twistd.line("worker 1 is up")
        client = await self.session()
        os.kill(twistd.pid, signal.SIGUSR2)
        await twistd.line("worker 1: makes room")
        await self.assertAlive(client, b"still here")
        self.assertIn("Uid:" + 4 * "\t65534", Path(f"/proc/{twistd.pid}/status").read_text())
        status = await deferToThread(AdminClient(place).ask, "GET", "/status")
        self.assertEqual(status["sessions"], 1)
        self.assertEqual(await deferToThread(AdminClient(health).ask, "GET", "/readyz"), {"status": "ready"})
        self.assertEqual((await twistd.stop()).status, 0)

    async def test_level(self) -> None:
        """How much is logged stays as it was set, in the parent and for workers, until it is set again."""
        folder = self.folder()
        self.addCleanup(shutil.rmtree, folder)
        place = f"unix:{folder}/admin"
        proxy = await self.startWorkers("--admin", place, workers="1")
        admin = AdminClient(place)
        for _ in range(2):
            await deferToThread(admin.ask, "POST", "/log-level?level=error")
            since, pids = len(proxy.lines), children(proxy.pid)
            proxy.signal(signal.SIGUSR2)
            await until(lambda pids=pids: bool(children(proxy.pid)) and not children(proxy.pid) & pids)
            await until(lambda: AdminClient(place).ask("GET", "/status")["workers"] != [])
            self.assertEqual(admin.ask("GET", "/log-level"), {"level": "error"})
            self.assertEqual(proxy.lines[since:], [])
        admin.ask("POST", "/log-level?level=info")
        await self.session()
        await proxy.said(r"worker \d+: .* → ", 1, since)

    async def test_command(self) -> None:
        """C{wsproxy upgrade} is answered, whatever becomes of the process that was asked."""
        folder = self.folder()
        self.addCleanup(shutil.rmtree, folder)
        proxy = await self.startWorkers("--admin", f"unix:{folder}/admin", workers="1")
        for number in (1, 2):
            since = len(proxy.lines)
            command = start(self, [WSPROXY, "upgrade", "--admin", f"unix:{folder}/admin"])
            self.assertEqual((await command.end()).status, 0)
            await proxy.said("This is the new version", 1, since)
            await proxy.said(f"worker {number}: makes room", 1, since)


class RecordingTests(UpgradeTestCase):
    """C{--record}"""

    async def test_goesOn(self) -> None:
        """What is recorded of a session is whole, though the code has been replaced meanwhile; so are later ones."""
        record = self.folder() / "record"
        proxy = await self.startWorkers("--record", str(record), workers="1")
        clients = [await self.session()]
        await self.upgrade(1)
        clients.append(await self.session())
        for number, client in enumerate(clients, 1):
            await self.assertAlive(client, b"said after it")
            await client.leave()
            path = record.with_name(f"record.{number}")
            await until(lambda path=path: summarise(str(path)).complete)
            said = b"".join(entry.data for entry in readEntries(str(path)) if entry.fromClient)
            self.assertEqual(said, b"said after it\n")
        self.assertEqual(await proxy.stop(), 0)


class Echo(Protocol):
    """A target that says what it hears."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class StreamTests(UpgradeTestCase):
    """Many, who look closely."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        self.pauses: list[float] = []
        self.blocks = 0
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
            await wait(random.uniform(0, 2 * REST))
            block = random.randbytes(random.randint(1, BLOCK))
            began = time.monotonic()
            client.send(block)
            heard = await client.exactly(len(block))
            self.pauses.append(time.monotonic() - began)
            assert sha256(heard).digest() == sha256(block).digest(), number
            self.blocks += len(block)
        assert await client.leave() == (1000, "")

    async def talker(self, number: int) -> Client:
        client = Client(connect(self.port, trusting() if number % 2 else None))
        self.addCleanup(client.stream.reset)
        self.assertEqual((await client.upgrade()).status, 101)
        return client

    async def talkers(self) -> list[Client]:
        """All of them, some at a time: each has only so long for its handshakes."""
        clients: list[Client] = []
        for some in range(0, SESSIONS, AT_ONCE):
            numbers = range(some, min(some + AT_ONCE, SESSIONS))
            clients += await gatherResults([Deferred.fromCoroutine(self.talker(number)) for number in numbers])
        return clients

    async def test_all(self) -> None:
        """
        Sessions, half of them wss, that stream checksummed data through upgrades and reloads, behind clients that
        come and go all the time: none is closed, none refused, no byte is wrong. The longest pause is told.
        """
        folder = self.folder()
        certificate, trusted = folder / "cert.pem", folder / "ca.pem"
        certificate.write_bytes(authority().issue(*LOCAL).both)
        trusted.write_bytes(pem(authority().certificate))
        proxy = await self.startWorkers("--cert", str(certificate), target=self.address)
        clients = await self.talkers()
        everybody = gatherResults([Deferred.fromCoroutine(self.talk(*each)) for each in enumerate(clients)])
        visitors = start(self, [sys.executable, "-P", VISITOR, str(self.port), str(VISITS), str(trusted)])
        for _ in range(UPGRADES):
            for _ in range(RELOADS // UPGRADES):
                certificate.write_bytes(authority().issue(*LOCAL).both)
                proxy.signal(signal.SIGHUP)
                await wait(0.3)
            await self.upgrade()
            self.assertFalse(everybody.called, everybody)
        visitors.transport.closeStdin()  # type: ignore[union-attr]  # it is connected
        outcome = await visitors.end()
        self.over = True
        await everybody
        told = json.loads(outcome.out)
        print(
            f"\n{SESSIONS} sessions, {UPGRADES} upgrades, {RELOADS} reloads: {self.blocks} bytes there and back; "
            f"the longest pause of {len(self.pauses)} was {max(self.pauses):.3f} s, "
            f"half were below {sorted(self.pauses)[len(self.pauses) // 2]:.3f} s; "
            f"{told['visits']} visits, {told['rate']:.0f} a second, the longest {told['longest']:.3f} s"
        )
        self.assertEqual(told["problems"], {})
        self.assertGreater(told["visits"], UPGRADES)
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
