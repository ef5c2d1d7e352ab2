"""C{wsproxy-replay}, as one runs it."""

from __future__ import annotations

import socket
import sys
from itertools import starmap
from pathlib import Path

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.integration.twistd import Outcome, Running, start
from wsproxy.recording.format import END, HEAD, Entry, encodeEntry

ENTRIES = [Entry(False, 0, b"login: "), Entry(True, 900, b"me\r"), Entry(False, 1250, b"$ ")]
RECORDING = HEAD + b"".join(starmap(encodeEntry, ENTRIES)) + END


def _readAll(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as connection, connection.makefile("rb") as stream:
        return stream.read()


class CommandTests(TestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.path.write_bytes(RECORDING)

    def start(self, *words: str) -> Running:
        return start(self, [sys.executable, "-m", "wsproxy.replay", *words])

    async def run_(self, *words: str) -> Outcome:
        return await self.start(*words).end()

    async def complaint(self, status: int, *words: str) -> str:
        """The one line with which these words are refused."""
        outcome = await self.run_(*words)
        self.assertEqual((outcome.status, outcome.out), (status, ""))
        self.assertRegex(outcome.err, r"\Awsproxy-replay: .*\n\Z")
        return outcome.err.removeprefix("wsproxy-replay: ").rstrip()

    async def test_info(self) -> None:
        """C{info} tells how long it is, and how much was said each way."""
        outcome = await self.run_("info", str(self.path))
        self.assertEqual(outcome.status, 0)
        self.assertEqual(
            outcome.out.splitlines(),
            ["duration: 1.250 s", "target to client: 9 bytes in 2 messages", "client to target: 3 bytes in 1 messages"],
        )

    async def test_repair(self) -> None:
        """C{repair} ends a recording that was cut off, once."""
        self.path.write_bytes(RECORDING[: RECORDING.index(b" '")])
        self.assertIn("cut off", (await self.run_("info", str(self.path))).out)
        self.assertEqual((await self.run_("repair", str(self.path))).out, "repaired\n")
        self.assertEqual(self.path.read_bytes(), HEAD + b"'{0{login:',\n" + END)
        self.assertEqual(await self.run_("repair", str(self.path)), Outcome(0, "nothing to repair\n", ""))
        self.assertNotIn("cut off", (await self.run_("info", str(self.path))).out)

    async def test_export(self) -> None:
        """C{export} writes an asciicast."""
        outcome = await self.run_("export", "--format", "asciicast", str(self.path))
        self.assertEqual(
            (outcome.status, outcome.out.splitlines()[1:]), (0, ['[0.0, "o", "login: "]', '[1.25, "o", "$ "]'])
        )

    async def test_exportIntoNothing(self) -> None:
        """When nobody wants the rest of its output, it ends without a word."""
        self.path.write_bytes(HEAD + encodeEntry(False, 0, b"x" * 60000) * 50 + END)
        command = f"{sys.executable} -m wsproxy.replay export --format asciicast {self.path} | head -c 10"
        outcome = await start(self, ["/bin/sh", "-c", command]).end()
        self.assertEqual(outcome.err, "")
        self.assertEqual(len(outcome.out), 10)

    async def test_serve(self) -> None:
        """C{serve} plays to each client, until it is told to end."""
        server = self.start("serve", "--listen", "127.0.0.1:0", "--speed", "max", str(self.path))
        port = int((await server.line(r"on 127\.0\.0\.1:(\d+)"))[1])
        for _ in range(2):
            self.assertEqual(await deferToThread(_readAll, port), b"login: $ ")
        outcome = await server.stop()
        self.assertEqual((outcome.status, outcome.err), (0, ""))

    async def test_noRecording(self) -> None:
        """A file that is missing, or something else, is told in one line, with status 1."""
        missing = await self.complaint(1, "info", "nowhere")
        self.assertEqual(missing, "nowhere: No such file or directory")
        self.path.write_text("hello\n")
        for words in (["info"], ["repair"], ["export", "--format", "asciicast"], ["serve", "--listen", "127.0.0.1:0"]):
            self.assertIn(f"{self.path}: not a recording", await self.complaint(1, *words, str(self.path)))
        self.assertEqual(self.path.read_text(), "hello\n")

    async def test_noEndpoint(self) -> None:
        """An endpoint that is none, or is taken, is told in one line, with status 1."""
        self.assertIn("--listen 99999:", await self.complaint(1, "serve", "--listen", "99999", str(self.path)))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            complaint = await self.complaint(1, "serve", "--listen", listen, str(self.path))
        self.assertEqual(complaint, f"--listen {listen}: address already in use")

    async def test_wrongWords(self) -> None:
        """Words that make no sense are told in one line, with status 2."""
        file = str(self.path)
        self.assertIn("COMMAND", await self.complaint(2))
        self.assertIn("burn", await self.complaint(2, "burn", file))
        self.assertIn("--listen", await self.complaint(2, "serve", file))
        for speed in ("0", "-1", "nan", "fast"):
            complaint = await self.complaint(2, "serve", "--listen", "0", f"--speed={speed}", file)
            self.assertEqual(complaint, f"argument --speed: {speed} is not a speed")
