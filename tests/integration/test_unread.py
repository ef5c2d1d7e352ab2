"""A log that nobody reads: lines are lost before sessions are."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.integration.twistd import ROOT, TWISTD, daemonTwistd
from tests.process.programs import until

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def sessions(port: int, count: int, until: bytes = b"101") -> None:
    """So many, one after the other, each of which sees this much of the answer."""
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(UPGRADE)
            answer = b""
            while until not in answer:
                more = client.recv(1000)
                assert more
                answer += more


class UnreadTests(TestCase):
    timeout = 60

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """A proxy whose stdout and stderr are a small pipe."""
        process = subprocess.Popen(
            [TWISTD, "-n", "--pidfile=", "websockify", "--listen", f"127.0.0.1:{self.port}", "-t", "demo:", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        return process

    def setUp(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]

    def answers(self) -> bool:
        try:
            sessions(self.port, 1)
        except ConnectionRefusedError:
            return False
        return True

    async def test_stdout(self) -> None:
        """Sessions come and go though nobody reads stdout; whoever reads it later is told how many lines were lost."""
        process = self.start()
        await until(self.answers)
        await deferToThread(sessions, self.port, 1400)
        process.terminate()
        assert process.stdout is not None
        log = (await deferToThread(process.stdout.read)).decode()
        self.assertEqual(process.wait(), 0)
        self.assertIn(" closed by client", log)
        [lost] = re.findall(r"#warn\] (\d+) lines of the log were lost: nobody took them\n", log)
        others = int(lost) + log.count(" → demo:") + log.count(" closed by ") - 2 * 1401
        self.assertTrue(0 <= others <= 10, log[-2000:])

    async def test_workers(self) -> None:
        """The same with several processes, which all write there."""
        process = self.start("--workers", "2")
        await until(self.answers)
        await deferToThread(sessions, self.port, 400)
        process.terminate()
        self.assertEqual(await deferToThread(process.wait, 20), 0)

    async def test_neverRead(self) -> None:
        """It ends in good order, though nobody reads what it says about that."""
        process = self.start()
        await until(self.answers)
        await deferToThread(sessions, self.port, 100)
        process.terminate()
        self.assertEqual(await deferToThread(process.wait, 20), 0)

    async def test_traffic(self) -> None:
        """Neither do marks of C{--traffic} that nobody sees keep anybody."""
        self.start("--traffic")
        await until(self.answers)
        await deferToThread(sessions, self.port, 300, b"demo")

    async def test_stoppedParent(self) -> None:
        """Sessions of workers go on while their parent, which writes the log for them, is stopped."""
        twistd = daemonTwistd(self, [], "--workers", "2", "--listen", f"127.0.0.1:{self.port}", "--target", "demo:")
        await twistd.line("^launcher left with 0$")
        log = twistd.directory / "log"
        await until(lambda: len(re.findall(r"worker \d is up", log.read_text())) == 2)
        parent = int((twistd.directory / "twistd.pid").read_text())
        os.kill(parent, signal.SIGSTOP)
        await deferToThread(sessions, self.port, 1000)
        os.kill(parent, signal.SIGCONT)
        await until(lambda: log.read_text().count(" closed by ") >= 1000)
        os.kill(parent, signal.SIGTERM)
        await twistd.line(f"^{parent} left with 0$")
