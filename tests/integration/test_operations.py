"""What an operator has around a proxy: log files and their rotation, syslog, pidfiles, and other ways to start it."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import signal
import socket
import sys
import tempfile
from pathlib import Path

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.components import require, requireComponent
from tests.integration.twistd import ROOT, TWISTD, Running, daemonTwistd, start, startTwistd
from tests.integration.wrapped import WrapTestCase
from tests.process.programs import until

LISTEN = ("--listen", "127.0.0.1:0", "--target", "demo:")
SNIPPETS = re.findall(
    r"^    /var/log/wsproxy\.log \{\n.*?^    \}\n", (ROOT / "docs/operations.rst").read_text(), re.MULTILINE | re.DOTALL
)


class RotationTests(TestCase):
    """The snippets of docs/operations.rst, and logrotate."""

    timeout = 60
    arguments: tuple[str, ...] = LISTEN
    arrow = " → "

    async def launched(self, folder: Path, *options: str) -> Running:
        twistd = daemonTwistd(self, ["--logfile", str(folder / "log"), *options], *self.arguments)
        await twistd.line("^launcher left with 0$")
        self.pid = int((twistd.directory / "twistd.pid").read_text())
        self.port = int(self.found(folder / "log", r" starting on (\d+)"))
        return twistd

    def found(self, path: Path, pattern: str) -> str:
        match = re.search(pattern, path.read_text())
        assert match is not None, path.read_text()
        return match[1]

    async def rotate(self, snippet: str, twistd: Running, folder: Path, user: str) -> None:
        logrotate = requireComponent("logrotate")
        config = snippet.replace("/var/log/wsproxy.log", str(folder / "log"))
        config = config.replace("/run/wsproxy.pid", str(twistd.directory / "twistd.pid"))
        config = config.replace("www-data adm", user)
        self.assertNotIn("wsproxy", config.replace(str(folder), "").replace(str(twistd.directory), ""))
        (folder / "config").write_text(config)
        (folder / "config").chmod(0o644)
        rotated = start(self, [logrotate, "-f", "-s", str(folder / "state"), str(folder / "config")])
        outcome = await rotated.end()
        self.assertEqual((outcome.status, outcome.err), (0, ""))

    def visit(self) -> int:
        """A session. @return: the client's port."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as client:
            client.sendall(
                b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            client.recv(12)
            return int(client.getsockname()[1])

    def folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        folder.chmod(0o755)
        return folder

    async def assertFollows(self, snippet: str, user: str, *options: str) -> None:
        """What comes after the rotation is in the new file, and what came before in the old one, whole."""
        folder = self.folder()
        twistd = await self.launched(folder, *options)
        log = folder / "log"
        before = await deferToThread(self.visit)
        await until(lambda: f":{before}{self.arrow}" in log.read_text())
        size = log.stat().st_size
        await self.rotate(snippet, twistd, folder, user)
        after = await deferToThread(self.visit)
        await until(lambda: f":{after}{self.arrow}" in log.read_text())
        self.assertLess(log.stat().st_size, size + 1)
        self.assertNotIn(b"\0", log.read_bytes())
        self.assertNotIn(f":{before}{self.arrow}", log.read_text())
        old = next(path for path in folder.glob("log.1*"))
        if old.suffix != ".gz":
            self.assertIn(f":{before}{self.arrow}", old.read_text())
        os.kill(self.pid, signal.SIGTERM)
        await twistd.line(f"^{self.pid} left with 0$")

    async def test_renamed(self) -> None:
        """C{create} and SIGUSR1."""
        create, _ = SNIPPETS
        await self.assertFollows(create, "root root")

    async def test_lesserUser(self) -> None:
        """So does a process that has become another user, who may not make files there."""
        require("root", lambda: os.geteuid() == 0)
        os.chmod(".", 0o755)
        create, _ = SNIPPETS
        await self.assertFollows(create, "nobody nogroup", "--uid", "65534", "--gid", "65534")

    async def test_truncated(self) -> None:
        """C{copytruncate}: the log goes on at the beginning of the file, without a hole."""
        _, copy = SNIPPETS
        await self.assertFollows(copy, "")

    async def test_size(self) -> None:
        """The log is one file, however long it gets."""
        folder = self.folder()
        (folder / "log").write_bytes(b"x" * 1_000_100 + b"\n")
        twistd = await self.launched(folder)
        self.assertEqual([path.name for path in folder.iterdir()], ["log"])
        os.kill(self.pid, signal.SIGTERM)
        await twistd.line(f"^{self.pid} left with 0$")


class JSONRotationTests(RotationTests):
    """The same with a log in JSON, each line of which is whole in one of the files."""

    arguments = (*LISTEN, "--log-format", "json")
    arrow = " \\u2192 "

    async def assertFollows(self, snippet: str, user: str, *options: str) -> None:
        await super().assertFollows(snippet, user, *options)
        lines = [line for path in self._folder.glob("log*") for line in self._text(path).splitlines()]
        self.assertGreater(len(lines), 10)
        for line in lines:
            self.assertIn("message", json.loads(line))

    def folder(self) -> Path:
        folder = super().folder()
        self._folder = folder
        return folder

    def _text(self, path: Path) -> str:
        return gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()


class SyslogTests(TestCase):
    timeout = 30

    async def test_levels(self) -> None:
        """C{--syslog}: each line has the priority of its level."""
        require("root, and no syslog", lambda: os.geteuid() == 0 and not os.path.exists("/dev/log"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
            daemon.bind("/dev/log")
            self.addCleanup(os.unlink, "/dev/log")
            daemon.settimeout(20)
            twistd = startTwistd(self, *LISTEN, options=["--syslog", "--prefix", "proxy"])
            said = ""
            while "Room for" not in said:
                said += (await deferToThread(daemon.recv, 4096)).decode() + "\n"
            twistd.signal("TERM")
            while "Server Shut Down" not in said:
                said += (await deferToThread(daemon.recv, 4096)).decode() + "\n"
            self.assertEqual((await twistd.end()).status, 0)
        self.assertRegex(said, r"<14>proxy\[\d+\]: \[wsproxy\.service\.proxy\.Proxy#info\] Listening on ")


class PidfileTests(TestCase):
    timeout = 30

    async def test_second(self) -> None:
        """A second proxy in one folder is told what to do, in one line; a file that was left behind is no obstacle."""
        first = startTwistd(self, *LISTEN)
        await first.line("Room for")
        pidfile = first.directory / "twistd.pid"
        command = [TWISTD, "-n", "--pidfile", str(pidfile), "websockify", *LISTEN]
        outcome = await start(self, command).end()
        self.assertEqual(outcome.status, 1)
        self.assertEqual((outcome.out, outcome.err.count("\n")), ("", 1))
        self.assertIn(f"twistd --pidfile {pidfile}: process {first.pid} runs already; ", outcome.err)
        pid = first.pid
        await first.stop()
        pidfile.write_text(f"{pid}")
        second = start(self, command)
        await second.line("Room for")
        self.assertEqual(int(pidfile.read_text()), second.pid)
        self.assertEqual((await second.stop()).status, 0)


class CommandTests(TestCase):
    timeout = 30

    async def test_twist(self) -> None:
        """C{twist websockify} listens, and ends like any other."""
        twist = start(self, [str(Path(TWISTD).with_name("twist")), "websockify", *LISTEN])
        port = int((await twist.line(r" starting on (\d+)"))[1])
        await deferToThread(lambda: socket.create_connection(("127.0.0.1", port)).close())
        self.assertEqual((await twist.stop()).status, 0)

    async def test_takenPort(self) -> None:
        """A taken port is told once, by all that is printed."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
            for command in (["twistd", "-n"], ["twist"]):
                words = [str(Path(TWISTD).with_name(command[0])), *command[1:], "websockify"]
                outcome = await start(self, [*words, "--listen", endpoint, "--target", "demo:"]).end()
                self.assertEqual((outcome.out + outcome.err).count(endpoint), 1, outcome)
                self.assertEqual(outcome.status, 1)

    async def test_clock(self) -> None:
        """The process, and each worker, counts time on a clock that nobody sets."""
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        (folder / "sitecustomize.py").write_text(
            "import atexit, os, sys, time\n"
            "def tell():\n"
            "    reactor = sys.modules.get('twisted.internet.reactor')\n"
            "    if reactor is not None:\n"
            "        open(f'clock.{os.getpid()}', 'w').write(str(reactor.seconds is time.monotonic))\n"
            "atexit.register(tell)\n"
        )
        path = os.pathsep.join([str(ROOT), str(folder)])
        twistd = startTwistd(self, *LISTEN, "--workers", "2", PYTHONPATH=path)
        await twistd.line("worker 1 is up")
        await twistd.line("worker 2 is up")
        self.assertEqual((await twistd.stop()).status, 0)
        found = [path.read_text() for path in twistd.directory.glob("clock.*")]
        self.assertEqual(found, ["True"] * 3)


class SecretTests(WrapTestCase):
    async def test_environment(self) -> None:
        """A secret that came by the environment is in that of neither the wrapped program nor a worker."""
        openssl = requireComponent("openssl")
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        command = (
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=me -days 1 -passout pass:sesame"
            f" -keyout {folder}/key.pem -out {folder}/cert.pem"
        )
        self.assertEqual((await start(self, [openssl, *command.split()]).end()).status, 0)
        tls = ("--cert", f"{folder}/cert.pem", "--key", f"{folder}/key.pem", "--key-password", "env:KEY_SECRET")
        script = "import os, time; print('secret', os.environ.get('KEY_SECRET'), flush=True); time.sleep(600)"
        program = (sys.executable, "-c", script, "{port}")
        twistd = self.wrap("exit", *program, options=("--workers", "2", *tls), KEY_SECRET="sesame")
        self.assertEqual((await twistd.line(r"secret (\w+)$"))[1], "None")
        for worker in (1, 2):
            pid = (await twistd.line(rf"worker {worker} started as process (\d+)"))[1]
            await twistd.line(f"worker {worker} is up")
            with contextlib.suppress(PermissionError):
                self.assertNotIn(b"sesame", Path(f"/proc/{pid}/environ").read_bytes())
        self.assertEqual((await twistd.stop()).status, 0)
