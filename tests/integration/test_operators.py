"""The commands of C{wsproxy} that ask a proxy that runs, and those who type them."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.integration.test_admin import AdminTestCase
from tests.integration.twistd import ROOT, Outcome, start

WSPROXY = str(Path(sys.executable).with_name("wsproxy"))


class OperatorTests(AdminTestCase):
    async def run_(self, *words: str, **environment: str) -> Outcome:
        environment["WSPROXY_ADMIN"] = f"unix:{os.path.abspath(self.where)}"
        return await start(self, [WSPROXY, *words], **environment).end()

    async def done(self, *words: str) -> str:
        outcome = await self.run_(*words)
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        return outcome.out

    async def test_sessions(self) -> None:
        """Sessions are listed as a table, as JSON, or by their ids; filters hold."""
        await self.administered()
        client = await self.session()
        head, row = (await self.done("sessions")).splitlines()
        self.assertTrue(head.startswith("ID        CLIENT"))
        self.assertIn(f"127.0.0.1:{client.stream.port}", row)
        [session] = json.loads(await self.done("sessions", "--json"))["sessions"]
        self.assertTrue(row.startswith(session["id"][:8]))
        self.assertEqual(await self.done("sessions", "--ids"), session["id"] + "\n")
        self.assertEqual(await self.done("sessions", "--ids", "--client", "192.0.2.0/24"), "\n")

    async def test_close(self) -> None:
        """A session is closed by the digits that the log has of it; several by what they have in common."""
        await self.administered()
        clients = [await self.session() for _ in range(3)]
        [id] = [each["id"] for each in await self.listed() if each["client"].endswith(f":{clients[0].stream.port}")]
        self.assertEqual(await self.done("close", id[:8], "--reason", "Go home"), "1 closed\n")
        self.assertEqual(await self.closed(clients[0]), (4001, "Go home"))
        answer = json.loads(await self.done("close", "--client", "127.0.0.1", "--json"))
        self.assertEqual(answer, {"closed": 2, "stale": [], "absent": []})
        for client in clients[1:]:
            self.assertEqual((await self.closed(client))[0], 4001)

    async def test_strange(self) -> None:
        """Somebody else who answers there, and a disk that is full, are told of in one line."""
        answers = [b"[]", b"3", b"{}", b'{"sessions": [1]}', b'{"sessions": [{"id": "x"}]}']
        answers += [b'{"error": "no"}', b"<html>"]

        class Stranger(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(answers[0])))
                self.end_headers()
                self.wfile.write(answers.pop(0))

            def log_message(self, *words: object) -> None: ...

        with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            while answers:
                outcome = await start(
                    self, [WSPROXY, "sessions", "--admin", f"127.0.0.1:{server.server_address[1]}"]
                ).end()
                self.assertEqual((outcome.status, outcome.out), (1, ""))
                self.assertRegex(outcome.err, r"\Awsproxy: --admin.*\n\Z")
            server.shutdown()
        await self.administered()
        environment = {**os.environ, "WSPROXY_ADMIN": f"unix:{os.path.abspath(self.where)}"}
        with open("/dev/full", "w") as full:
            command = [WSPROXY, "sessions"]
            done = await deferToThread(
                subprocess.run, command, stdout=full, stderr=subprocess.PIPE, env=environment, timeout=60
            )
        self.assertEqual((done.returncode, done.stderr), (1, b"wsproxy: stdout: No space left on device\n"))

    async def test_emptyPlace(self) -> None:
        """A variable that is empty is none."""
        outcome = await start(self, [WSPROXY, "sessions"], WSPROXY_ADMIN="", WSPROXY_ADMIN_TOKEN="").end()
        self.assertIn("--admin unix:/run/wsproxy/admin.sock: ", outcome.err)

    async def test_drain(self) -> None:
        """C{drain}, and C{drain --undo}; C{reload} says what it looked at."""
        await self.administered()
        self.assertEqual(await self.done("drain"), "draining\n")
        self.assertEqual((await self.ask("GET", "/readyz")).status, 503)
        self.assertEqual(await self.done("drain", "--undo"), "taking sessions\n")
        self.assertIn("certificates looked at", await self.done("reload"))

    async def test_upgrade(self) -> None:
        """C{upgrade} has the next version take over, where there is a parent; else it says what it takes."""
        proxy = await self.administered("--workers", "1")
        await proxy.said("worker 1 is up")
        since = len(proxy.lines)
        self.assertIn("Asked for", await self.done("upgrade"))
        await proxy.said("This is the new version", 1, since)
        await proxy.said(r"worker \d+ is up", 1, since)
        await self.administered()
        outcome = await self.run_("upgrade")
        self.assertEqual((outcome.status, outcome.out), (1, ""))
        self.assertIn("--workers 1 or more", outcome.err)

    async def test_complaints(self) -> None:
        """What cannot be done is one line, and status 1; wrong words are status 2."""
        await self.administered()
        for words, status, why in (
            (("close", "12ab"), 1, "wsproxy: No such session\n"),
            (("close",), 2, "wsproxy: close: an id, or filters such as --identity\n"),
            (("sessions", "--admin", "/nowhere"), 1, "wsproxy: --admin /nowhere: No such file or directory\n"),
            (("sessions", "--admin", "x:y"), 2, "wsproxy: --admin x:y: "),
            (("sessions", "--client", "x"), 1, "wsproxy: client x: expected an address, "),
            (("sessions", "--admin-token", "@/nowhere"), 1, "wsproxy: --admin-token @/nowhere: No such file"),
            (("top", "--every", "0"), 2, "wsproxy: argument --every: 0 is not a number above 0\n"),
            (("top", "--every", "nan"), 2, "wsproxy: argument --every: nan is not a number above 0\n"),
            (("top", "--every", "1e9"), 2, "wsproxy: argument --every: 1e9 is more than 100000\n"),
        ):
            outcome = await self.run_(*words)
            self.assertEqual(outcome.status, status, outcome)
            self.assertTrue(outcome.err.startswith(why), outcome.err)
            self.assertEqual(outcome.err.count("\n"), 1)

    async def test_token(self) -> None:
        """Where a token is wanted and none was given, the line says how to give one; the environment may have it."""
        await self.administered("--admin-token", "secret-of-operators")
        outcome = await self.run_("sessions")
        self.assertEqual((outcome.status, outcome.out), (1, ""))
        self.assertIn(": needs --admin-token @FILE, or WSPROXY_ADMIN_TOKEN\n", outcome.err)
        outcome = await self.run_("sessions", WSPROXY_ADMIN_TOKEN="secret-of-operators")
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        outcome = await self.run_("sessions", WSPROXY_ADMIN_TOKEN="other")
        self.assertEqual((outcome.status, outcome.err), (1, "wsproxy: Wrong token\n"))

    async def test_top(self) -> None:
        """In a terminal C{top} draws anew, and leaves it as it was; once, and as JSON, it is for scripts."""
        await self.administered()
        client = await self.session()
        whole = json.loads(await self.done("top", "--json"))
        self.assertEqual((whole["status"]["sessions"], len(whole["sessions"])), (1, 1))
        drawn = await deferToThread(self.drawn, f"unix:{os.path.abspath(self.where)}")
        self.assertTrue(drawn.startswith("\x1b[?1049h\x1b[?25l\x1b[H"))
        self.assertTrue(drawn.endswith("\x1b[?25h\x1b[?1049l"), drawn[-60:])
        self.assertGreater(drawn.count("\x1b[H"), 1)
        self.assertIn(f"127.0.0.1:{client.stream.port}", drawn)

    def drawn(self, where: str) -> str:
        """What a terminal sees until Ctrl+C, which comes after the second picture."""
        ours, theirs = pty.openpty()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "LINES": "20"}
        command = [WSPROXY, "top", "--admin", where, "--every", "0.1"]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        seen, told, until = b"", False, time.monotonic() + 60
        while time.monotonic() < until and select.select([ours], [], [], 20)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:
                break
            if len(re.findall(rb"\x1b\[J", seen)) >= 2 and not told:
                told = True
                process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(30), 0)
        os.close(ours)
        return seen.decode()
