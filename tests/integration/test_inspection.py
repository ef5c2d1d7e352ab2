"""C{--explain} and C{--check}, as an operator and a script see them: lines, a status, and nothing else happens."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from tests.certificates import LOCAL
from tests.integration.bridge import authority
from tests.integration.twistd import ROOT, TWISTD, Outcome, startTwistd

HANGS = """
import time
class Hangs:
    def __init__(self, source):
        self.source = source
    def lookup(self, token):
        time.sleep(600)
"""


class InspectionTestCase(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.addCleanup(self.listener.close)
        self.port = self.listener.getsockname()[1]
        (self.folder / "tokens").write_text(f"red: 127.0.0.1:{self.port}\nmeta: 169.254.169.254:80\n")
        self.tokens = ("--token-plugin", "TokenFile", "--token-source", str(self.folder / "tokens"))

    async def run_(self, *words: str) -> Outcome:
        running = startTwistd(self, *words)
        return await running.end()

    def assertUntouched(self) -> None:
        """Nobody has dialled the target."""
        self.assertRaises(BlockingIOError, self.listener.accept)


class BesideTests(InspectionTestCase):
    async def test_pidfile(self) -> None:
        """It needs no pidfile of its own: that of the proxy which serves from the same folder is not in its way."""
        pidfile = self.folder / "twistd.pid"
        pidfile.write_text(f"{os.getpid()}")
        for words in (("--check",), ("--explain", "ws://h/?token=red"), ("--print-config",)):
            running = startTwistd(self, *self.tokens, *words, options=("--pidfile", str(pidfile)))
            outcome = await running.end()
            self.assertEqual((outcome.status, outcome.err.count("Another")), (0, 0), outcome.err)
        self.assertEqual(pidfile.read_text(), f"{os.getpid()}")


    def test_reader(self) -> None:
        """Whoever reads what it prints may have seen enough: no traceback."""
        reading, writing = os.pipe()
        os.close(reading)
        command = [TWISTD, "websockify", "--target", "demo:", "--print-config"]
        pipe = subprocess.PIPE
        outcome = subprocess.run(command, stdout=writing, stderr=pipe, text=True, check=False, cwd=self.folder)
        os.close(writing)
        self.assertEqual((outcome.returncode, outcome.stderr), (1, ""))


class ExplainTests(InspectionTestCase):
    async def test_statuses(self) -> None:
        """0 for who would be let in and 1 for who would not, with the step that says so; the target hears nothing."""
        cases = [
            ("/?token=red", (), 0, "let in: 101"),
            ("/?token=blue", (), 1, "refused: 403 Token not accepted"),
            ("/", (), 1, "refused: 403 Token not accepted"),
            ("/?token=meta", (), 1, "refused: 403 Target not allowed"),
            ("/?token=red", ("--explain-header", "Origin: https://evil.example"), 1, "refused: 403 Origin not allowed"),
            ("/?token=red", ("--allow", "192.0.2.0/24"), 1, "refused: 403"),
            ("/?token=red", ("--allow", "192.0.2.0/24", "--explain-client", "192.0.2.1"), 0, "let in: 101"),
            ("/?token=red", ("--auth-plugin", "BasicHTTPAuth", "--auth-source", "me:hunter2"), 1, "refused: 401"),
        ]
        ran = [self.run_(*self.tokens, "--explain", url, *more) for url, more, _, _ in cases]
        outcomes = await gatherResults([Deferred.fromCoroutine(each) for each in ran])
        for (url, more, status, last), outcome in zip(cases, outcomes, strict=True):
            self.assertEqual(outcome.status, status, (url, more, outcome))
            self.assertIn(last, outcome.out.splitlines()[-1])
            for secret in ("token=red", "token=blue", "hunter2", "Traceback"):
                self.assertNotIn(secret, outcome.out + outcome.err)
        self.assertUntouched()

    async def test_beside(self) -> None:
        """It binds nothing: a port that somebody listens at is no problem, and no pidfile is looked at or made."""
        outcome = await self.run_("--listen", f"127.0.0.1:{self.port}", "--target", "demo:", "--explain", "ws://a/")
        self.assertEqual(outcome.status, 0, outcome)
        self.assertUntouched()

    async def test_hangs(self) -> None:
        """Somebody who does not answer is told from one who refuses, within the time that a client would wait."""
        (self.folder / "hanging.py").write_text(HANGS)
        path = os.pathsep.join([str(ROOT), str(self.folder)])
        began = time.monotonic()
        words = ("--token-plugin", "hanging.Hangs", "--token-source", "x", "--handshake-timeout", "1")
        outcome = await startTwistd(self, *words, "--explain", "/?token=red", PYTHONPATH=path).end()
        self.assertEqual(outcome.status, 1, outcome)
        self.assertIn("refused: 503", outcome.out.splitlines()[-1])
        self.assertIn("refused  resolve", outcome.out)
        self.assertLess(time.monotonic() - began, 9)


class CheckTests(InspectionTestCase):
    async def test_good(self) -> None:
        """Nothing is wrong: status 0, though somebody else listens there."""
        certificate = self.folder / "cert.pem"
        certificate.write_bytes(authority().issue(*LOCAL).both)
        listen = ("--listen", f"127.0.0.1:{self.port}", "--cert", str(certificate))
        outcome = await self.run_(*listen, *self.tokens, "--check")
        self.assertEqual((outcome.status, outcome.err), (0, ""), outcome)
        self.assertUntouched()

    async def test_bad(self) -> None:
        """A line for each problem, on stderr, and status 1: keys that do not fit, plugins, endpoints, lines."""
        first, second = authority().issue(*LOCAL), authority().issue(*LOCAL)
        (self.folder / "cert.pem").write_bytes(first.both)
        (self.folder / "key.pem").write_bytes(second.both[second.both.index(b"-----BEGIN PRIVATE") :]
                                              if b"-----BEGIN PRIVATE" in second.both else second.both)  # fmt: skip
        (self.folder / "tokens").write_text("red: localhost:1\nnonsense\n\nblue: localhost:1\n- - -\n")
        outcome = await self.run_(
            "--listen", "bogus:1:2:3", "--listen", "127.0.0.1:99999", "--listen", "127.0.0.1:0",
            "--cert", str(self.folder / "cert.pem"), "--key", str(self.folder / "key.pem"),
            "--auth-plugin", "no.such.Class", *self.tokens, "--check",
        )  # fmt: skip
        lines = outcome.err.splitlines()
        self.assertEqual(outcome.status, 1)
        for words in ("--listen bogus:1:2:3", "--listen 127.0.0.1:99999", "--key", "no.such.Class", "tokens, line 2",
                      "tokens, line 5"):  # fmt: skip
            self.assertEqual(sum(words in line for line in lines), 1, (words, lines))
        self.assertEqual(len(lines), 6, lines)
        self.assertNotIn("Traceback", outcome.err)

    async def test_places(self) -> None:
        """Places where nobody could listen are told of, as a start would; those that could be are not."""
        token = ("--admin-token", "sixteen characters".replace(" ", "-"))
        start = ("--listen", "127.0.0.1:0", "--target", "demo:", "--check")
        for words, told in (
            (("--admin", "0.0.0.0:0", *token), "--admin 0.0.0.0:0: beyond loopback it needs TLS"),
            (("--admin", "9", *token), "--admin 9: beyond loopback it needs TLS"),
            (("--admin", f"unix:/{'x' * 200}"), "name too long"),
            (("--admin", "unix:/nowhere/x"), "--admin unix:/nowhere/x: no such file or directory"),
            (("--health", "unix:/nowhere/x"), "--health unix:/nowhere/x: no such file or directory"),
            (("--listen", "unix:/nowhere/x"), "--listen unix:/nowhere/x: no such file or directory"),
        ):
            outcome = await self.run_(*start, *words)
            self.assertEqual((outcome.status, outcome.err.count("\n")), (1, 1), outcome.err)
            self.assertIn(told, outcome.err)
        for words in (("--admin", "127.0.0.1:0", *token), ("--admin", f"unix:{self.folder}/admin")):
            self.assertEqual((await self.run_(*start, *words)).out, "--check: nothing is wrong\n")

    async def test_options(self) -> None:
        """Options that cannot be meant are told together."""
        outcome = await self.run_("--target", "demo:", "--heartbeat", "soon", "--cert", "/no/cert.pem", "--check")
        self.assertEqual(outcome.status, 1)
        self.assertEqual(len(outcome.err.splitlines()), 2, outcome.err)
