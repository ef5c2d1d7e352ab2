"""Under a service manager that is as systemd: with its sockets, and with somebody who listens on NOTIFY_SOCKET."""

from __future__ import annotations

import contextlib  # not its suppress: trial takes a module attribute of that name for its own
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.components import requireComponent
from tests.integration.client import Client
from tests.integration.stream import Stream, adopt
from tests.integration.twistd import REACTOR, ROOT, TWISTD, Running
from tests.integration.versions import Installed, first

reactor: Any = _reactor
ACTIVATE = str(Path(__file__).with_name("activate.py"))
TELL = (sys.executable, "-c", "import os; print(*sorted(os.environ), flush=True); import time; time.sleep(60)")
"""A program that says what it knows of its environment."""


@implementer(IReadDescriptor)
class Manager:
    """
    Who listens on NOTIFY_SOCKET.

    @ivar address: that.
    @ivar told: all it was told so far.
    """

    def __init__(self, abstract: bool) -> None:
        self._folder = tempfile.TemporaryDirectory()  # not trial's, whose path may be too long for a socket
        self.address = f"@wsproxy-tests-{os.getpid()}-{id(self)}" if abstract else f"{self._folder.name}/notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(f"\0{self.address[1:]}" if abstract else self.address)
        self._heard: DeferredQueue[str] = DeferredQueue()
        self.told: list[str] = []
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "Manager"

    def doRead(self) -> None:
        said = self._socket.recv(4096).decode()
        self.told.append(said)
        self._heard.put(said)

    async def hears(self, what: str) -> str:
        """The next that begins so; of the rest, none but signs of life."""
        while not (said := await self._heard.get()).startswith(what):
            assert said == "WATCHDOG=1", said
        return said

    def connectionLost(self, reason: Failure) -> None:
        """It is not one."""

    def close(self) -> None:
        reactor.removeReader(self)
        self._socket.close()
        self._folder.cleanup()


class ManagedTestCase(TestCase):
    timeout = 90

    def setUp(self) -> None:
        self.streams: list[Stream] = []

    def manager(self, *, abstract: bool = False) -> Manager:
        manager = Manager(abstract)
        self.addCleanup(manager.close)
        return manager

    def listening(self, family: int = socket.AF_INET, where: Any = ("127.0.0.1", 0)) -> socket.socket:
        listener = socket.socket(family, socket.SOCK_STREAM)
        self.addCleanup(listener.close)
        listener.bind(where)
        listener.listen(100)
        return listener

    def start(
        self, manager: Manager | None, sockets: list[socket.socket], *arguments: str, names: str = "", **more: str
    ) -> Running:
        """C{twistd websockify} with these arguments, started as systemd does, with these sockets."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        running = Running(folder)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
        if manager is not None:
            environment["NOTIFY_SOCKET"] = manager.address
        descriptors = {10 + number: each.fileno() for number, each in enumerate(sockets)}
        words = [sys.executable, ACTIVATE, names, *map(str, descriptors), "--"]
        words += [TWISTD, "-n", *REACTOR, "--pidfile=", "websockify", *arguments]
        fds: Any = {0: "w", 1: "r", 2: "r", **descriptors}
        reactor.spawnProcess(running, words[0], words, environment, str(folder), childFDs=fds)
        self.addCleanup(lambda: Deferred.fromCoroutine(running.cleanUp()))
        return running

    async def client(self, where: Any, family: int = socket.AF_INET) -> Client:
        connection = socket.socket(family)
        connection.connect(where)
        client = Client(adopt(connection))
        self.addCleanup(client.stream.gone)
        self.addCleanup(client.stream.reset)
        self.assertEqual((await client.upgrade()).status, 101)
        await client.some()  # what the demo says first
        return client


class SocketTests(ManagedTestCase):
    """C{--listen systemd:}"""

    async def test_only(self) -> None:
        """The one socket that was passed is listened on, whatever it is, by one process or by several."""
        with tempfile.TemporaryDirectory() as folder:
            for workers, family, where in (
                ("1", socket.AF_INET, ("127.0.0.1", 0)),
                ("2", socket.AF_INET6, ("::1", 0)),
                ("1", socket.AF_UNIX, f"{folder}/socket"),
                ("2", socket.AF_UNIX, f"{folder}/another"),
            ):
                listener = self.listening(family, where)
                if family == socket.AF_UNIX:
                    os.chmod(where, 0o600)
                running = self.start(
                    None, [listener], "--listen", "systemd:", "--target", "demo:", "--workers", workers
                )
                client = await self.client(listener.getsockname(), family)
                client.stream.reset()
                self.assertEqual((await running.stop()).status, 0)
                if family == socket.AF_UNIX:
                    self.assertEqual(stat.S_IMODE(os.stat(where).st_mode), 0o600)
                # and it is there for whoever is started next
                socket.socket(family).connect(listener.getsockname())
                listener.settimeout(1)
                listener.accept()[0].close()

    async def test_names(self) -> None:
        """Of several, by name or by index; Twisted's own words do as well."""
        listeners = [self.listening() for _ in range(3)]
        asked = ("--listen", "systemd:name=vnc", "--listen", "systemd:domain=INET:index=2")
        running = self.start(None, listeners, *asked, "--target", "demo:", names="web:vnc:third")
        for listener in listeners[1:]:
            (await self.client(listener.getsockname())).stream.reset()
        listeners[0].setblocking(False)
        with self.assertRaises(BlockingIOError):
            listeners[0].accept()
        self.assertEqual((await running.stop()).status, 0)

    async def test_wrong(self) -> None:
        """What was not passed is told in one line."""
        two = [self.listening(), self.listening()]
        pair = socket.socketpair()
        for each in pair:
            self.addCleanup(each.close)
        for sockets, word, told in (
            ([], "systemd:", "no socket was passed to this process: start it by a .socket unit"),
            (two, "systemd:", "2 sockets were passed: which? name=NAME or index=N"),
            (two, "systemd:name=web", "no sockets of that name were passed, but: vnc, (no name)"),
            (two, "systemd:index=2", "only 2 were passed"),
            (two, "systemd:domain=INET6:index=1", "that is of domain INET"),
            ([pair[0]], "systemd:", "that does not listen: Accept=no, and ListenStream=, in the .socket unit"),
            (two, "systemd:port=1", "expected systemd:, systemd:name=NAME or systemd:index=N"),
        ):
            running = self.start(None, sockets, "--listen", word, "--target", "demo:", names="vnc:")
            outcome = await running.end()
            self.assertEqual(
                (outcome.status, outcome.err), (1, f"twistd websockify: --listen {word}: {told}\n"), outcome
            )

    async def test_activated(self) -> None:
        """systemd's own tool starts it for its first client, whom it serves."""
        tool = requireComponent("systemd-socket-activate")
        with self.listening() as free:
            port = free.getsockname()[1]
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        running = Running(folder)
        self.addCleanup(lambda: Deferred.fromCoroutine(running.cleanUp()))
        words = [tool, "-l", f"127.0.0.1:{port}", "-E", f"PYTHONPATH={ROOT}", TWISTD, "-n", *REACTOR, "--pidfile="]
        words += ["websockify", "--listen", "systemd:", "--target", "demo:", "--idle-timeout", "0.5"]
        reactor.spawnProcess(running, words[0], words, os.environ, str(folder))
        await running.line(f"Listening on 127.0.0.1:{port}")
        client = await self.client(("127.0.0.1", port))
        client.stream.reset()
        self.assertEqual((await running.end()).status, 0)


class NotifyTests(ManagedTestCase):
    """NOTIFY_SOCKET"""

    async def test_life(self) -> None:
        """Ready when it serves, reloading and ready again on SIGHUP, stopping at the end; each once."""
        for workers, abstract in (("1", False), ("2", True)):
            manager = self.manager(abstract=abstract)
            listener = self.listening()
            running = self.start(manager, [listener], "--listen", "systemd:", "--target", "demo:", "--workers", workers)
            self.assertEqual(await manager.hears("READY"), "READY=1")
            (await self.client(listener.getsockname())).stream.reset()
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            running.signal("HUP")
            reloading, when = (await manager.hears("RELOADING")).split("\nMONOTONIC_USEC=")
            self.assertEqual(reloading, "RELOADING=1")
            self.assertLessEqual(before, int(when))
            self.assertLessEqual(int(when), time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)
            await manager.hears("READY=1")
            running.signal("TERM")
            await manager.hears("STOPPING=1")
            self.assertEqual((await running.end()).status, 0)
            self.assertEqual(len(manager.told), 4, manager.told)

    async def test_upgraded(self) -> None:
        """
        With SIGUSR2 it reloads, and is ready again when the new version is there: the same process, of which nothing
        else is told, on the same socket, and with signs of life. So it is where the new version cannot start, found out
        before or after the old one was replaced.
        """
        folder = Path(tempfile.mkdtemp()).absolute()
        self.addCleanup(shutil.rmtree, folder)
        installed, manager, listener = Installed(folder), self.manager(), self.listening()
        running = self.start(
            manager, [listener], "--listen", "systemd:", "--target", "demo:", "--workers", "1",
            WATCHDOG_USEC="60000000", PYTHONPATH=f"{folder}:{ROOT}",
        )  # fmt: skip
        await manager.hears("READY=1")
        for fault, told in (
            (None, "This is the new version"),
            (first("raise ImportError('x')", "True"), "and this one goes on: ImportError: x"),
            (first("raise ImportError('x')"), "serve on without a parent: ImportError: x"),
        ):
            if fault is not None:
                installed.replace("wiring.py", fault)
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            os.kill(running.pid, signal.SIGUSR2)
            reloading, when = (await manager.hears("RELOADING")).split("\nMONOTONIC_USEC=")
            self.assertEqual(reloading, "RELOADING=1")
            self.assertLessEqual(before, int(when))
            await manager.hears("READY=1")
            await running.line(told)
            (await self.client(listener.getsockname())).stream.reset()
        for _ in range(3):
            await manager.hears("WATCHDOG=1")
        running.signal("TERM")
        await manager.hears("STOPPING=1")
        self.assertEqual((await running.end()).status, 0)
        told_ = [said for said in manager.told if not said.startswith(("RELOADING", "READY", "WATCHDOG", "STOPPING"))]
        self.assertEqual(told_, [])

    async def test_byItself(self) -> None:
        """That it stops is told also where nobody has asked for it, before its sessions are closed."""
        manager = self.manager()
        running = self.start(
            manager, [self.listening()], "--listen", "systemd:", "--target", "demo:", "--timeout", "0.1"
        )
        await manager.hears("READY")
        await manager.hears("STOPPING")
        self.assertEqual((await running.end()).status, 0)

    async def test_fails(self) -> None:
        """What cannot start is never ready."""
        manager = self.manager()
        taken = self.listening()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        running = self.start(manager, [], "--listen", where, "--target", "demo:")
        self.assertEqual((await running.end()).status, 1)
        self.assertEqual([each for each in manager.told if "READY" in each], [])

    async def test_watchdog(self) -> None:
        """A single process gives signs of life as long as its reactor turns: stopped, it gives none."""
        manager = self.manager()
        running = self.start(
            manager, [self.listening()], "--listen", "systemd:", "--target", "demo:", WATCHDOG_USEC="400000"
        )
        await manager.hears("READY")
        for _ in range(3):
            await manager.hears("WATCHDOG")
        os.kill(running.pid, signal.SIGSTOP)
        self.addCleanup(_resume, running.pid)
        await self.silence(manager, 0.4)
        os.kill(running.pid, signal.SIGCONT)
        await manager.hears("WATCHDOG")

    async def test_watchdogOfWorkers(self) -> None:
        """A parent does only as long as its workers answer: one that is stopped is enough."""
        manager = self.manager()
        running = self.start(
            manager, [self.listening()], "--listen", "systemd:", "--target", "demo:", "--workers", "2",
            WATCHDOG_USEC="1200000",
        )  # fmt: skip
        pid = int((await running.line(r"worker 2 started as process (\d+)"))[1])
        for number in (1, 2):
            await running.line(f"worker {number} is up")
        await manager.hears("READY")
        for _ in range(3):
            await manager.hears("WATCHDOG")
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(_resume, pid)
        await self.silence(manager, 1.2)
        os.kill(pid, signal.SIGCONT)
        await manager.hears("WATCHDOG")

    async def silence(self, manager: Manager, seconds: float) -> None:
        """All that was under way has come; then nothing does for so long."""
        await deferLater(reactor, 0.35, lambda: None)
        count = len(manager.told)
        await deferLater(reactor, seconds, lambda: None)
        self.assertEqual(len(manager.told), count)

    async def test_others(self) -> None:
        """A watchdog that is another process's is not petted."""
        manager = self.manager()
        self.start(
            manager, [self.listening()], "--listen", "systemd:", "--target", "demo:",
            WATCHDOG_USEC="100000", WATCHDOG_PID="1",
        )  # fmt: skip
        await manager.hears("READY")
        await deferLater(reactor, 0.3, lambda: None)
        self.assertEqual(manager.told, ["READY=1"])

    async def test_nobody(self) -> None:
        """Where nobody listens any more, the log says so, and the proxy serves."""
        listener = self.listening()
        running = self.start(
            None, [listener], "--listen", "systemd:", "--target", "demo:", NOTIFY_SOCKET="/nowhere/notify"
        )
        await running.line("NOTIFY_SOCKET: No such file or directory; READY is not told")
        (await self.client(listener.getsockname())).stream.reset()

    async def test_inherited(self) -> None:
        """Neither workers nor a wrapped program know of the manager or its sockets."""
        manager = self.manager()
        running = self.start(
            manager, [self.listening()], "--listen", "127.0.0.1:0", "--workers", "2", "--wrap-mode", "ignore", "--",
            *TELL, "{port}", names="x", WATCHDOG_USEC="60000000",
        )  # fmt: skip
        program = (await running.line(r"\bPATH\b.*"))[0].split()
        self.assertEqual([name for name in program if name.startswith(("LISTEN", "NOTIFY", "WATCHDOG"))], [])
        pid = int((await running.line(r"worker 1 started as process (\d+)"))[1])
        names = {entry.split(b"=")[0] for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")}
        self.assertEqual([name for name in names if name.startswith((b"LISTEN", b"NOTIFY", b"WATCHDOG"))], [])


def _resume(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


class UnitTests(TestCase):
    def test_valid(self) -> None:
        """The unit files in C{docs/systemd} are what systemd takes, without a remark."""
        tool = requireComponent("systemd-analyze")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        for name in ("wsproxy.service", "wsproxy.socket"):
            text = (ROOT / "docs/systemd" / name).read_text()
            (folder / name).write_text(text.replace("/opt/wsproxy/bin/twistd", TWISTD))
        done = subprocess.run(
            [
                tool,
                "verify",
                "--man=no",
                "--recursive-errors=no",
                folder / "wsproxy.service",
                folder / "wsproxy.socket",
            ],
            check=False,
            text=True,
            capture_output=True,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
