"""C{--record}, from the command line to the file and what plays it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.internet import reactor as _reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.components import requireComponent
from tests.integration.twistd import TWISTD, Running, start, startTwistd
from wsproxy.replay.file import readEntries, repair, summarise

reactor: Any = _reactor

LINE = b"x" * 1000 + b"\n"


def converse(port: int, lines: int = 1, then: Callable[[Any], None] = lambda client: None) -> tuple[bytes, int | None]:
    """
    Say C{LINE} to the demo behind a proxy so often, each when the one before has come back, and then "bye".

    @param then: called with the client before that.
    @return: all that was heard, and the close code if it came before the end.
    """
    with connect(f"ws://127.0.0.1:{port}", compression=None) as client:
        heard = b""
        try:
            for number in range(lines + 1):
                while heard.count(b"\n") <= number:
                    heard += client.recv(10)
                if number < lines:
                    client.send(LINE)
            then(client)
            client.send(b"bye\n")
            while True:
                heard += client.recv(10)
        except ConnectionClosed:
            return heard, client.close_code


def played(path: Path, fromClient: bool = False) -> bytes:
    """What one side says in a recording."""
    return b"".join(entry.data for entry in readEntries(str(path)) if entry.fromClient == fromClient)


class RecordTests(TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.record = self.directory / "rec"
        self.words = ["--listen", "127.0.0.1:0", "--target", "demo:", "--record", str(self.record)]

    async def port(self, proxy: Running) -> int:
        return int((await proxy.line(r"Listening on 127\.0\.0\.1:(\d+)"))[1])

    async def converse(self, proxy: Running, **conversation: Any) -> tuple[bytes, int | None]:
        outcome: tuple[bytes, int | None] = await deferToThread(converse, await self.port(proxy), **conversation)
        return outcome

    async def test_recorded(self) -> None:
        """When a session has closed, its recording is complete and holds just what both sides said."""
        proxy = startTwistd(self, *self.words)
        heard, code = await self.converse(proxy, lines=3)
        self.assertEqual(code, 1000)
        await proxy.line("closed by target")
        path = self.directory / "rec.1"
        self.assertTrue(summarise(str(path)).complete)
        self.assertEqual(played(path), heard)
        self.assertEqual(played(path, fromClient=True), LINE * 3 + b"bye\n")

    async def test_restart(self) -> None:
        """A proxy that is started again continues the numbers."""
        for expected in (["rec.1"], ["rec.1", "rec.2"]):
            proxy = startTwistd(self, *self.words)
            await self.converse(proxy)
            await proxy.stop()
            self.assertEqual(sorted(path.name for path in self.directory.iterdir()), expected)

    async def test_stop(self) -> None:
        """A proxy that is asked to end gives the recordings of open sessions their end."""
        proxy = startTwistd(self, *self.words)

        def stop(client: Any) -> None:
            proxy.signal("TERM")
            while True:
                client.recv(10)

        heard, code = await self.converse(proxy, then=stop)
        self.assertEqual(code, 1001)
        await proxy.end()
        self.assertTrue(summarise(str(self.directory / "rec.1")).complete)
        self.assertEqual(played(self.directory / "rec.1"), heard)

    async def test_killed(self) -> None:
        """A proxy that is killed leaves a recording that can be read and repaired; while it lives, it cannot."""
        proxy = startTwistd(self, *self.words)
        path = self.directory / "rec.1"
        complaints = []

        def kill(client: Any) -> None:
            try:
                repair(str(path))
            except Exception as error:
                complaints.append(str(error))
            proxy.signal("KILL")
            while True:
                client.recv(10)

        heard, _ = await self.converse(proxy, lines=100, then=kill)
        await proxy.end()
        self.assertEqual(complaints, ["it is still being written"])
        self.assertFalse(summarise(str(path)).complete)
        self.assertTrue(heard.startswith(played(path)))
        self.assertTrue(repair(str(path)))
        self.assertTrue(summarise(str(path)).complete)

    async def test_fullDisk(self) -> None:
        """A file that can grow no more ends the recording with one line in the log, and not the session."""
        proxy = start(self, ["/bin/sh", "-c", 'ulimit -f 16; exec "$@"', "sh", TWISTD, "-n", "websockify", *self.words])
        heard, code = await self.converse(proxy, lines=100)
        self.assertEqual((heard.count(b"\n"), code), (102, 1000))
        outcome = await proxy.stop()
        self.assertEqual(outcome.out.count("is not recorded any further: File too large"), 1)
        self.assertNotIn("Traceback", outcome.out + outcome.err)
        self.assertTrue(summarise(str(self.directory / "rec.1")).complete)
        recorded = played(self.directory / "rec.1")
        self.assertTrue(heard.startswith(recorded) and recorded)

    async def test_fullDiskRequired(self) -> None:
        """With C{--record-required}, it ends the session with 1011."""
        words = [TWISTD, "-n", "websockify", *self.words, "--record-required"]
        proxy = start(self, ["/bin/sh", "-c", 'ulimit -f 16; exec "$@"', "sh", *words])
        heard, code = await self.converse(proxy, lines=10_000)
        self.assertEqual(code, 1011)
        self.assertLess(heard.count(b"\n"), 10_001)

    async def test_lostDirectory(self) -> None:
        """Without its directory, sessions are not recorded, or not served with C{--record-required}."""
        for words, expected in (([], 1000), (["--record-required"], 1011)):
            proxy = startTwistd(self, *self.words, *words)
            await self.port(proxy)
            shutil.rmtree(self.directory)
            _, code = await self.converse(proxy)
            self.assertEqual(code, expected)
            outcome = await proxy.stop()
            self.assertEqual(outcome.out.count("is not recorded any further: No such file or directory"), 1)
            self.directory.mkdir()

    async def test_traffic(self) -> None:
        """A session can be recorded and marked at once."""
        proxy = startTwistd(self, *self.words, "--traffic")
        heard, _ = await self.converse(proxy)
        outcome = await proxy.stop()
        self.assertIn("{<", outcome.out)
        self.assertEqual(played(self.directory / "rec.1"), heard)

    async def test_replay(self) -> None:
        """A recording played by C{wsproxy-replay} behind a proxy is heard as the original was."""
        proxy = startTwistd(self, *self.words)
        heard, _ = await self.converse(proxy, lines=2)
        await proxy.stop()
        words = ["serve", "--listen", "127.0.0.1:0", "--speed", "max", str(self.directory / "rec.1")]
        server = start(self, [sys.executable, "-m", "wsproxy.replay", *words])
        target = (await server.line(r"on (127\.0\.0\.1:\d+)"))[1]
        again = startTwistd(self, "--listen", "127.0.0.1:0", "--target", target)
        self.assertEqual(await deferToThread(_listen, await self.port(again)), (heard, 1000))


class SmallDiskTests(TestCase):
    """A disk of 8 MiB, which is a file system of its own: the one kind of full disk that takes room for the backlog."""

    size = 8 * 1024 * 1024

    async def test_full(self) -> None:
        """
        A session that fills it is recorded as far as there is room, also where it is too fast to be recorded at once:
        the newest of the backlog makes room for the oldest.
        """
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        said = b"".join(b"%014d\n" % number for number in range(4_000_000))
        port = reactor.listenTCP(0, _sayer(said), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        script = f'mount -t tmpfs -o size={self.size} tmpfs "$0" && exec "$@"'
        words = ["--listen", "127.0.0.1:0", "--target", f"127.0.0.1:{port.getHost().port}"]
        words += ["--record", str(directory / "rec")]
        command = [_unshare(), *_NAMESPACES, "sh", "-c", script, str(directory), TWISTD, "-n", "websockify", *words]
        proxy = start(self, command)
        listening = int((await proxy.line(r"Listening on 127\.0\.0\.1:(\d+)"))[1])
        heard, code = await deferToThread(_listen, listening)
        self.assertEqual((len(heard), code), (len(said), 1000))
        await proxy.line("is not recorded any further: No space left on device")
        seen = Path(f"/proc/{proxy.pid}/root{directory}/rec.1")
        while not summarise(str(seen)).complete:
            await deferLater(reactor, 0.05)
        recorded = played(seen)
        self.assertTrue(said.startswith(recorded))
        self.assertGreater(len(recorded), self.size // 3)
        self.assertEqual((await proxy.stop()).status, 0)


_NAMESPACES = ["--mount"] if os.getuid() == 0 else ["--user", "--map-root-user", "--mount"]


def _unshare() -> str:
    """The program. @raise SkipTest: it cannot mount anything here."""
    program = requireComponent("unshare")
    if subprocess.run(
        [program, *_NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], stderr=subprocess.DEVNULL, check=False
    ).returncode:
        raise SkipTest("nothing can be mounted here")
    return program


def _sayer(said: bytes) -> Factory[Protocol]:
    """Of targets that say this and close."""

    class Sayer(Protocol):
        def connectionMade(self) -> None:
            self.transport.write(said)  # type: ignore[union-attr]
            self.transport.loseConnection()  # type: ignore[union-attr]

    return Factory.forProtocol(Sayer)


def _listen(port: int) -> tuple[bytes, int | None]:
    heard = bytearray()
    with connect(f"ws://127.0.0.1:{port}", compression=None) as client:
        try:
            while True:
                heard += client.recv(10)
        except ConnectionClosed:
            return bytes(heard), client.close_code
