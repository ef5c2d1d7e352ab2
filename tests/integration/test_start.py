"""Starting and stopping a real C{twistd websockify}: what the operator, the shell and the init system see."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.components import require, requireComponent
from tests.integration.twistd import TWISTD, Outcome, Running, daemonTwistd, start, startTwistd
from wsproxy import __version__

LISTEN = ("--listen", "127.0.0.1:0")
TARGET = ("--target", "demo:")
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

# The words of the command line, beyond a --target, and what the one line must name.
WRONG = [
    (["--bogus"], "--bogus"),
    (["--listen"], "--listen"),
    (["--ssl-only=yes"], "--ssl-only"),
    (["6080", "localhost:5900"], "--listen 6080 --target localhost:5900"),
    (["--listen", "bogus:6080:x=1"], "--listen bogus:6080:x=1"),
    (["--timeout", "soon"], "--timeout soon"),
    (["--handshake-timeout", "0"], "--handshake-timeout 0"),
    (["--cert", "/no/cert.pem"], "--cert /no/cert.pem"),
    (["--web", "/no/web"], "--web /no/web"),
    (["--web-listing"], "--web-listing"),
    (["--ssl-only"], "--ssl-only"),
    (["--key-password", "hush"], "--key-password"),
    (["--target-insecure"], "--target-insecure"),
    (["--origin", "example.com"], "--origin example.com"),
    (["--subprotocol", "a b"], "--subprotocol a b"),
    (["--record", "/no/such/file"], "--record /no/such/file"),
    (["--record-keep", "3"], "--record-keep 3"),
    (["--workers", "0"], "--workers 0"),
    (["--workers", "x"], "--workers x"),
    (["--workers", "2", "--run-once"], "--run-once: clashes with --workers 2"),
]


class ComplaintTests(TestCase):
    """With C{-n}, what stops a start is one line on stderr and a status other than 0."""

    def assertComplaint(self, outcome: Outcome, words: str) -> None:
        self.assertEqual(outcome.err.count("\n"), 1, outcome)
        self.assertIn(words, outcome.err)
        self.assertEqual(outcome.status, 1)
        self.assertNotIn("Traceback", outcome.err)
        self.assertNotIn("Options:", outcome.out + outcome.err)

    async def test_wrongOptions(self) -> None:
        """A wrong option, a clash of options, an unreadable file: the line names the option and the value."""
        for half in (WRONG[::2], WRONG[1::2]):
            processes = [startTwistd(self, *LISTEN, *TARGET, *words) for words, _ in half]
            outcomes = await gatherResults([process.end() for process in processes])
            for outcome, (_, words) in zip(outcomes, half, strict=True):
                self.assertComplaint(outcome, words)

    async def test_noTarget(self) -> None:
        """Without a target there is nothing to do."""
        self.assertComplaint(await startTwistd(self).end(), "--target")

    async def test_takenPort(self) -> None:
        """A port that somebody has is named, and no pidfile stays behind."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
            twistd = startTwistd(self, "--listen", endpoint, *TARGET)
            self.assertComplaint(await twistd.end(), f"--listen {endpoint}")
        self.assertFalse((twistd.directory / "twistd.pid").exists())

    async def test_twistdsOwnPaths(self) -> None:
        """A log file or directory of twistd's that cannot be used is one line too."""
        paths = [["--logfile", "/no/log"], ["--rundir", "/no/where"]]
        processes = [startTwistd(self, *LISTEN, *TARGET, options=words) for words in paths]
        outcomes = await gatherResults([process.end() for process in processes])
        for outcome, (_, path) in zip(outcomes, paths, strict=True):
            self.assertComplaint(outcome, path)


class HelpTests(TestCase):
    """What the command line says about itself."""

    async def test_help(self) -> None:
        """C{--help} names every option, in lines that fit a terminal, and says how to begin."""
        outcome = await startTwistd(self, "--help").end()
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        for name in ("--listen=", "-l,", "--target=", "-t,", "--cert=", "--web=", "--drain=", "--version"):
            self.assertIn(name, outcome.out)
        self.assertIn("twistd -n websockify --target demo:", " ".join(outcome.out.split()))
        self.assertLessEqual(max(map(len, outcome.out.splitlines())), 80)

    async def test_version(self) -> None:
        """C{--version} is ours, not Twisted's."""
        outcome = await startTwistd(self, "--version").end()
        self.assertEqual(outcome, Outcome(0, f"wsproxy {__version__}\n", ""))


class SignalTests(TestCase):
    """A proxy in the foreground, and the signals that reach it."""

    async def running(self, *words: str) -> Running:
        twistd = startTwistd(self, *LISTEN, *TARGET, *words)
        self.port = int((await twistd.line(r" starting on (\d+)"))[1])
        return twistd

    async def test_terminate(self) -> None:
        """SIGTERM, like SIGINT, ends it with status 0; the pidfile goes, and the log is complete."""
        both = [await self.running(), await self.running()]
        pidfiles = [twistd.directory / "twistd.pid" for twistd in both]
        self.assertEqual([int(pidfile.read_text()) for pidfile in pidfiles], [twistd.pid for twistd in both])
        for twistd, name in zip(both, ("TERM", "INT"), strict=True):
            twistd.signal(name)
        for twistd, pidfile in zip(both, pidfiles, strict=True):
            outcome = await twistd.end()
            self.assertEqual((outcome.status, outcome.err), (0, ""))
            self.assertIn("Server Shut Down.", outcome.out)
            self.assertFalse(pidfile.exists())

    async def test_secondTerminate(self) -> None:
        """A second SIGTERM ends a drain at once, with status 143; the pidfile goes all the same."""
        twistd = await self.running("--drain", "600")
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            client.sendall(HANDSHAKE)
            await deferToThread(client.recv, 1)
            twistd.signal("TERM")
            await twistd.line("Received SIGTERM")
            twistd.signal("TERM")
            outcome = await twistd.end()
        self.assertEqual(outcome.status, 128 + signal.SIGTERM)
        self.assertFalse((twistd.directory / "twistd.pid").exists())

    async def test_hangUp(self) -> None:
        """SIGHUP does not end it."""
        twistd = await self.running()
        twistd.signal("HUP")
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            client.sendall(HANDSHAKE)
            answer = await deferToThread(client.recv, 12)
        self.assertEqual(answer, b"HTTP/1.1 101")
        self.assertEqual((await twistd.stop()).status, 0)

    async def test_descriptors(self) -> None:
        """It may open as many files as the hard limit allows."""
        limited = ["/bin/sh", "-c", 'ulimit -S -n 256; exec "$0" "$@"']
        twistd = start(self, [*limited, TWISTD, "-n", "websockify", *LISTEN, *TARGET])
        await twistd.line(" starting on ")
        limits = Path(f"/proc/{twistd.pid}/limits").read_text()
        found = re.search(r"^Max open files +(\d+) +(\d+) ", limits, re.MULTILINE)
        assert found is not None
        self.assertEqual(found[1], found[2])
        self.assertNotEqual(found[1], "256")

    async def test_literalSecret(self) -> None:
        """A password on the command line is warned about at the start, and does not appear in the log."""
        openssl = requireComponent("openssl")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        certificate, key = str(folder / "cert.pem"), str(folder / "key.pem")
        request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=me -days 1 -passout pass:sesame"
        command = [openssl, *request.split(), "-keyout", key, "-out", certificate]
        self.assertEqual((await start(self, command).end()).status, 0)
        twistd = await self.running("--cert", certificate, "--key", key, "--key-password", "sesame")
        outcome = await twistd.stop()
        self.assertIn("--key-password: all users of this machine can read it", outcome.out)
        self.assertNotIn("sesame", outcome.out)


class DaemonTests(TestCase):
    """A proxy in the background, as an init script starts it."""

    async def launched(self, *words: str, options: Sequence[str] = ()) -> tuple[Running, int]:
        twistd = daemonTwistd(self, options, *words, *TARGET)
        await twistd.line("^launcher left with 0$")
        return twistd, int((twistd.directory / "twistd.pid").read_text())

    async def terminate(self, twistd: Running, pid: int) -> None:
        os.kill(pid, signal.SIGTERM)
        await twistd.line(f"^{pid} left with 0$")

    async def test_daemon(self) -> None:
        """The launcher succeeds once the port is open; SIGTERM ends the daemon with status 0."""
        twistd, pid = await self.launched(*LISTEN)
        self.assertIn(" starting on ", (twistd.directory / "log").read_text())
        await self.terminate(twistd, pid)
        self.assertFalse((twistd.directory / "twistd.pid").exists())
        self.assertIn("Server Shut Down.", (twistd.directory / "log").read_text())

    async def test_takenPort(self) -> None:
        """The shell gets twistd's two lines and status 1; the log has our line; no pidfile stays behind."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
            twistd = daemonTwistd(self, [], "--listen", endpoint, *TARGET)
            outcome = await twistd.end()
        self.assertIn("launcher left with 1\n", outcome.out)
        self.assertEqual(outcome.err.count("\n"), 2, outcome)
        for report in (outcome.err, (twistd.directory / "log").read_text()):
            self.assertIn(f"--listen {endpoint}", report)
        self.assertFalse((twistd.directory / "twistd.pid").exists())

    async def test_relativePaths(self) -> None:
        """Paths are those of the directory the command was given in, whatever C{--rundir} says."""
        twistd, pid = await self.launched("--listen", "unix:socket", options=["--rundir", "/"])
        self.assertTrue((twistd.directory / "socket").is_socket())
        await self.terminate(twistd, pid)

    async def test_privileges(self) -> None:
        """C{--uid} and C{--gid} are in force once it listens; listening itself was done before."""
        require("root", lambda: os.geteuid() == 0)
        twistd, pid = await self.launched("--listen", "unix:socket", options=["--uid", "65534", "--gid", "65534"])
        status = Path(f"/proc/{pid}/status").read_text()
        self.assertRegex(status, r"(?m)^Uid:(\t65534){4}$")
        self.assertRegex(status, r"(?m)^Gid:(\t65534){4}$")
        self.assertEqual((twistd.directory / "socket").stat().st_uid, 0)
        await self.terminate(twistd, pid)


class StatusTests(TestCase):
    """The status a service asks for."""

    async def test_status(self) -> None:
        """The first status is what the process leaves with, after what the log still had to say."""
        script = (
            "from twisted.internet import reactor; from wsproxy.daemon.exit import Exit; stopper = Exit(reactor);"
            "reactor.callLater(0, stopper.stop, 3); reactor.callLater(0, stopper.stop, 4); reactor.run();"
            "print('the end')"
        )
        outcome = await start(self, [sys.executable, "-c", script]).end()
        self.assertEqual(outcome, Outcome(3, "the end\n", ""))
