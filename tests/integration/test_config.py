"""C{--config}: routes of all kinds, and a file that changes while sessions stream."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import signal
import socket
import socketserver
import ssl
import tempfile
import threading
from base64 import b64encode
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.certificates import LOCAL, Authority
from tests.integration.client import header
from tests.integration.proxy import Proxy
from tests.integration.twistd import startTwistd

reactor: Any = _reactor

WITHIN = 30.0


class _Echo(socketserver.ThreadingTCPServer):
    """A target that says what it is called, where it is called something, and everything that it hears."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, name: bytes = b"") -> None:
        super().__init__(("127.0.0.1", 0), _Echoing)
        self.name = name
        self.text = "127.0.0.1:{1}".format(*self.server_address)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class _Echoing(socketserver.BaseRequestHandler):
    server: _Echo

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self.request.sendall(self.server.name)
            while data := self.request.recv(1 << 16):
                self.request.sendall(data)


class Visitor:
    """
    A client that blocks.

    @ivar status: what its request was answered.
    """

    def __init__(self, port: int | str) -> None:
        if isinstance(port, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(WITHIN)
            self.socket.connect(port)
        else:
            self.socket = socket.create_connection(("127.0.0.1", port), WITHIN)
        self._early = b""
        self.status = 0
        self.told = ""

    def get(self, path: str = "/", host: str = "localhost", *headers: str, upgrade: bool = True) -> int:
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *headers]
        if upgrade:
            lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
            lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self._early:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError(self._early)
            self._early += data
        head, _, self._early = self._early.partition(b"\r\n\r\n")
        self.told = head.decode()
        self.status = int(head.split()[1])
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if self.status != 101 and length:
            self.exactly(int(length[1]))
        return self.status

    def exactly(self, size: int) -> bytes:
        while len(self._early) < size:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError(self._early)
            self._early += data
        data, self._early = self._early[:size], self._early[size:]
        return data

    def message(self) -> bytes:
        """The payload of the next one."""
        while True:
            first, size = self.exactly(2)
            if size == 126:
                size = int.from_bytes(self.exactly(2), "big")
            elif size == 127:
                size = int.from_bytes(self.exactly(8), "big")
            payload = self.exactly(size)
            if first & 15 == 9:
                self.socket.sendall(header(len(payload), 10) + payload)
            elif first & 15 == 8:
                raise EOFError(payload)
            else:
                return payload

    def say(self, payload: bytes) -> None:
        self.socket.sendall(header(len(payload)) + payload)  # masked by zeros

    def close(self) -> None:
        self.socket.close()


class Flow(threading.Thread):
    """
    A session that streams what is checked when it has come back.

    @ivar problem: what was wrong with it; empty for nothing.
    @ivar rounds: how often it was there and back.
    """

    def __init__(self, port: int | str, seed: int, over: threading.Event, path: str = "/") -> None:
        super().__init__(daemon=True)
        self._visitor = Visitor(port)
        assert self._visitor.get(path) == 101, self._visitor.told
        self._random = random.Random(seed)
        self._over = over
        self.problem = ""
        self.rounds = 0
        self.start()

    def run(self) -> None:
        sent, received = hashlib.sha256(), hashlib.sha256()
        try:
            while not self._over.is_set():
                data = self._random.randbytes(self._random.randrange(1, 20_000))
                self._visitor.say(data)
                sent.update(data)
                left = len(data)
                while left > 0:
                    part = self._visitor.message()
                    received.update(part)
                    left -= len(part)
                self.rounds += 1
            if sent.digest() != received.digest():
                self.problem = "bytes are wrong"
        except Exception as error:
            self.problem = repr(error)
        finally:
            self._visitor.close()


class Comers(threading.Thread):
    """
    Clients that come one after the other.

    @ivar refused: what was told those who did not get in, and to what.
    @ivar count: of those who did.
    """

    def __init__(self, port: int, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._over = over
        self.refused: list[str] = []
        self.count = 0
        self.start()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                visitor = Visitor(self._port)
                if visitor.get() != 101:
                    self.refused.append(visitor.told)
                visitor.say(b"?")
                assert visitor.message() == b"?"
                visitor.close()
            except Exception as error:
                self.refused.append(repr(error))
            self.count += 1


class ConfigCase(TestCase):
    """A proxy, and a file of its settings."""

    timeout = 300
    arguments: tuple[str, ...] = ()
    proxy: Proxy

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=".")).absolute()  # a socket's path in there has 107 bytes
        self.folder.chmod(0o755)
        self.file = self.folder / "wsproxy.toml"
        self.reloads = 0

    def echo(self, name: bytes = b"") -> str:
        """@return: where there is such a target."""
        server = _Echo(name)
        self.addCleanup(server.server_close)
        self.addCleanup(deferToThread, server.shutdown)
        return server.text

    async def launch(self, text: str, *arguments: str, **environment: str) -> int:
        """@return: the first port."""
        self.file.write_text(text)
        words = ("--config", str(self.file), *self.arguments, *arguments)
        self.proxy = Proxy(self.folder, *words, listen=(), environment=environment)
        self.addCleanup(self.proxy.kill)
        port = await self.proxy.port()
        await self.proxy.said("Room for ")
        if self.arguments:
            await self.proxy.said(r"worker \d+ is up", 2)
        return port

    async def reload(self, text: str | None = None) -> str:
        """@return: the line that says what became of it."""
        if text is not None:
            self.file.write_text(text)
        self.reloads += 1
        self.proxy.signal(signal.SIGHUP)
        return (await self.proxy.said(r"(?:Reloaded: |Not reloaded).*", self.reloads))[-1][0]

    async def visit(self, port: int | str, *request: str, upgrade: bool = True) -> Visitor:
        """Somebody who has asked for this."""

        def visit() -> Visitor:
            visitor = Visitor(port)
            visitor.get(*request, upgrade=upgrade)
            return visitor

        visitor = await deferToThread(visit)
        self.addCleanup(visitor.close)
        return visitor

    async def status(self, port: int | str, *request: str, upgrade: bool = True) -> int:
        return (await self.visit(port, *request, upgrade=upgrade)).status


class _AlsoWithWorkers(ConfigCase):
    """The file changes; with workers all of them change."""

    async def test_underLoad(self) -> None:
        """
        Sessions that stream go on through ten reloads, with every byte right, those of routes and of listeners that are
        there no longer as well; and nobody who comes meanwhile is turned away.
        """
        target = self.echo()
        plain = f"target = '{target}'\n"
        route = f"[[route]]\npath = '/there'\ntarget = '{target}'\n[[route]]\ntarget = '{target}'\n"
        port = await self.launch(f"listen = ['127.0.0.1:0', 'unix:other']\n{route}")
        over, other = threading.Event(), str(self.folder / "other")
        self.addCleanup(over.set)
        places = (port, "/"), (port, "/there"), (other, "/"), (other, "/there")
        flows = [await deferToThread(Flow, at, seed, over, path) for seed in range(2) for at, path in places]
        comers = Comers(port, over)
        texts = [
            f"listen = ['127.0.0.1:0']\nheartbeat = {number}\n{plain if number % 2 else route}"
            for number in range(20, 30)
        ]
        for text in texts:
            rounds = [flow.rounds for flow in flows]
            self.assertIn("Reloaded: ", await self.reload(text))
            while any(flow.rounds == before and not flow.problem for flow, before in zip(flows, rounds, strict=True)):
                await deferLater(reactor, 0.01)
        over.set()
        for thread in (*flows, comers):
            await deferToThread(thread.join, 20)
        self.assertEqual([flow.problem for flow in flows], [""] * len(flows))
        self.assertEqual(comers.refused, [])
        self.assertGreater(comers.count, 0)

    async def test_listeners(self) -> None:
        """Listeners come and go, each by itself, and their sessions stay."""
        target = self.echo()
        port = await self.launch(f"listen = ['127.0.0.1:0', 'unix:one']\ntarget = '{target}'\n")
        visitor = await self.visit(str(self.folder / "one"))
        line = await self.reload(f"listen = ['127.0.0.1:0', 'unix:two']\ntarget = '{target}'\n")
        self.assertIn(f"listen +unix:{self.folder}/two -unix:{self.folder}/one", line)
        self.assertEqual(await self.status(str(self.folder / "two")), 101)
        self.assertEqual(await self.status(port), 101)
        self.assertFalse((self.folder / "one").exists())
        visitor.say(b"still here")
        self.assertEqual(await deferToThread(visitor.message), b"still here")

    async def test_sections(self) -> None:
        """A listener of a section has a TLS side of its own, which changes by itself."""
        path = self.folder / "pair.pem"
        path.write_bytes(Authority().issue(*LOCAL).both)
        text = f"target = '{self.echo()}'\nlisten = '127.0.0.1:0'\n"
        section = f"[[listener]]\nlisten = 'unix:{{}}'\ncert = '{path.name}'\n"
        port = await self.launch(text + section.format("one"))
        one, two = str(self.folder / "one"), str(self.folder / "two")
        await self.proxy.said(r"Listening on unix:\S*one \(http and https\)")
        self.assertEqual(await self.status(port), 101)
        self.assertEqual(await self.status(one), 101)
        line = await self.reload(f"{text}{section.format('one')}ssl-only = true\n{section.format('two')}")
        self.assertIn(f"listen +unix:{two}", line)
        self.assertIn(f"listener unix:{one}: TLS", line)
        self.assertEqual([await self.status(at) for at in (port, one, two)], [101, 400, 101])
        self.assertTrue(await deferToThread(_speaksTLS, one))
        line = await self.reload(f"{text}{section.format('one')}cert = false\n")
        self.assertIn("Not reloaded", line)
        await self.reload(f"{text}{section.format('two')}")
        self.assertEqual([await self.status(at) for at in (port, two)], [101, 101])

    async def test_wrong(self) -> None:
        """A wrong file leaves everything as it was; one line says what is wrong, and in which line."""
        right = f"listen = '127.0.0.1:0'\ntarget = '{self.echo(b'right')}'\n"
        port = await self.launch(right)
        wrong = f"listen = '127.0.0.1:0'\ntarget = '{self.echo(b'wrong')}'\n"
        for more, told in (
            ("heartbeat = \n", ":3: Invalid value"),
            ("heartbeat = 5\nheartbeat = 6\n", ":4: "),
            ("heartbeet = 5\n", ":3: heartbeet: unknown"),
            ("# so\nheartbeat = 'soon'\n", ":4: --heartbeat soon: not a number of seconds"),
            ("heartbeat = true\n", ":3: heartbeat: expected a string or a number"),
            ("raw = 1\n", ":3: raw: expected true or false"),
            ("heartbeat = [\n5]\n", ":3: heartbeat: expected a string or a number"),
            ("[tls]\ncert = 'x'\n", ":3: [tls]: unknown"),
            ("cert = 'none.pem'\n", ":3: --cert none.pem: No such file or directory"),
            ("cert = 'wsproxy.toml'\n", ":3: --cert "),
            ("auth-plugin = 'BasicHTTPAuth'\nauth-source = '@gone'\n", ":4: --auth-source gone: No such file"),
            ("target-config = 'tokens'\n", ":2: --target "),
            ("raw-after = 5\n", ":3: --raw-after 5: needs --raw"),
            ("drain = 3\n", ":3: --drain: is fixed at the start"),
            ("run-once = true\n", ":3: --run-once: "),
            ("check = true\n", ":3: check: not for a file"),
            ("[[route]]\nlisten = '1'\n", ":4: listen: not for a route"),
            ("[[route]]\npath = '/a/../b'\n", ":4: path /a/../b: "),
            ("[[route]]\nhost = 'A:1'\n", ":4: host A:1: "),
            ("[[route]]\npath = '/a'\n[[route]]\npath = '/a/'\n", ":5: a second route"),
            ("[[route]]\ntarget = 'nonsense'\n", ":4: route */: --target nonsense"),
        ):
            line = await self.reload(wrong + more)
            self.assertIn("Not reloaded, everything is as it was: ", line)
            self.assertIn(f"{self.file}{told}", line)
        self.file.write_bytes(b"# \xff\n")
        self.assertIn(f"{self.file}:1: not UTF-8", await self.reload())
        line = await self.reload(wrong.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        self.assertIn(f"{self.file}:1: --listen 127.0.0.1:{port}: address already in use", line)
        self.file.unlink()
        self.assertIn(f"--config {self.file}: No such file or directory", await self.reload())
        self.file.mkdir()
        self.assertIn("Is a directory", await self.reload())
        self.file.rmdir()
        visitor = await self.visit(port)
        self.assertEqual(await deferToThread(visitor.message), b"right")
        self.assertIn("Reloaded: nothing has changed", await self.reload(right))

    async def test_limits(self) -> None:
        """Sessions that were there before count."""
        text = f"listen = '127.0.0.1:0'\ntarget = '{self.echo()}'\n"
        port = await self.launch(f"{text}max-sessions = 2\n")
        visitor = await self.visit(port)
        self.assertIn("max-sessions 2 → 1", await self.reload(f"{text}max-sessions = 1\n"))
        self.assertEqual(await self.status(port), 503)
        visitor.close()
        await self.proxy.said("closed by client|client left|1006")
        self.assertEqual(await self.status(port), 101)


class ReloadTests(_AlsoWithWorkers):
    """A single process."""

    async def test_fixed(self) -> None:
        """How many processes there are is fixed."""
        text = f"listen = '127.0.0.1:0'\ntarget = '{self.echo()}'\n"
        await self.launch(text)
        self.assertIn(":3: --workers: is fixed at the start", await self.reload(f"{text}workers = 2\n"))

    async def test_admin(self) -> None:
        """The admin side has it read again, and says what came of it."""
        text = f"listen = '127.0.0.1:0'\ntarget = '{self.echo()}'\nadmin = 'unix:admin'\n"
        await self.launch(text)

        def ask() -> tuple[int, str]:
            visitor = Visitor(str(self.folder / "admin"))
            head = "POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            visitor.socket.sendall(head.encode())
            answer = b""
            while data := visitor.socket.recv(1 << 16):
                answer += data
            visitor.close()
            return int(answer.split()[1]), answer.decode()

        for more, status, told in (
            ("heartbeat = 5\n", 200, "heartbeat 25 \u2192 5"),
            ("heartbeat = 'x'\n", 409, f"{self.file}:4: --heartbeat x: not a number of seconds"),
        ):
            self.file.write_text(text + more)
            answer = await deferToThread(ask)
            self.assertEqual(answer[0], status)
            self.assertIn(told, answer[1].replace("\\u2192", "\u2192"))

    async def test_keptAlive(self) -> None:
        """What holds now does so on connections that were there before."""
        text = f"listen = '127.0.0.1:0'\ntarget = '{self.echo()}'\n"
        port = await self.launch(text)
        visitor = await self.visit(port, "/wsproxy.json", upgrade=False)
        (self.folder / "users").write_text("user:password")
        await self.reload(f"{text}auth-plugin = 'BasicHTTPAuth'\nauth-source = '@users'\n")
        self.assertEqual(await deferToThread(visitor.get), 401)

    async def test_secrets(self) -> None:
        """A secret of the environment holds on, though it is no longer there; one of a file is read again."""
        text = f"listen = '127.0.0.1:0'\ntarget = '{self.echo()}'\nauth-plugin = 'BasicHTTPAuth'\n"
        port = await self.launch(f"{text}auth-source = 'env:USERS'\n", USERS="user:one")
        (self.folder / "users").write_text("user:two")
        await self.reload(f"{text}auth-source = 'env:USERS'\nheartbeat = 5\n")
        self.assertEqual(await self.status(port, "/", "localhost", _basic("user:one")), 101)
        line = await self.reload(f"{text}auth-source = '@users'\n")
        self.assertIn("auth-source changed", line)
        self.assertEqual(await self.status(port, "/", "localhost", _basic("user:one")), 401)
        self.assertEqual(await self.status(port, "/", "localhost", _basic("user:two")), 101)
        (self.folder / "users").write_text("user:three")
        self.assertIn("auth-source changed", await self.reload())
        self.assertEqual(await self.status(port, "/", "localhost", _basic("user:three")), 101)
        self.assertNotIn("three", "".join(self.proxy.lines))


class WorkersReloadTests(_AlsoWithWorkers):
    """Likewise with two workers."""

    arguments = ("--workers", "2")

    async def test_replaced(self) -> None:
        """A worker that is started later has the settings of then; one that is stopped refuses them for all."""
        right = f"listen = '127.0.0.1:0'\ntarget = '{self.echo(b'right')}'\n"
        port = await self.launch(f"listen = '127.0.0.1:0'\ntarget = '{self.echo(b'old')}'\n")
        await self.reload(right)
        pids = [int(found[1]) for found in await self.proxy.said(r"worker \d started as process (\d+)", 2)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await self.proxy.said(r"worker \d+ is up", 4)
        visitor = await self.visit(port)
        self.assertEqual(await deferToThread(visitor.message), b"right")
        pid = int((await self.proxy.said(r"worker 1 started as process (\d+)", 2))[1][1])
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        line = await self.reload(f"listen = '127.0.0.1:0'\ntarget = '{self.echo(b'wrong')}'\n")
        self.assertIn("worker 1 has not answered", line)
        visitor = await self.visit(port)
        self.assertEqual(await deferToThread(visitor.message), b"right")


ROUTES = """
listen = ["127.0.0.1:0"]
heartbeat = 0
max-sessions = 100

[[route]]
host = "vnc.example.com"
target = "{named}"
auth-plugin = "BasicHTTPAuth"
auth-source = "@users"
web-auth = true
record = "records/vnc"

[[route]]
path = "/desks"
target-config = "tokens"
max-sessions-per-token = 1

[[route]]
path = "/desks/front/"
target = "{front}"
origin = "https://front.example"

[[route]]
path = "/pages"
"""


class _RoutesAlsoWithWorkers(ConfigCase):
    """Several ways in, of which each has its own."""

    async def setUp(self) -> None:  # type: ignore[override]
        super().setUp()
        (self.folder / "users").write_text("user:password")
        (self.folder / "records").mkdir()
        (self.folder / "tokens").write_text(f"one: {self.echo(b'one')}\n")
        self.port = await self.launch(ROUTES.format(named=self.echo(b"named"), front=self.echo(b"front")))

    async def assertReaches(self, name: bytes, *request: str) -> Visitor:
        visitor = await self.visit(self.port, *request)
        self.assertEqual(visitor.status, 101, visitor.told)
        self.assertEqual(await deferToThread(visitor.message), name)
        return visitor

    async def test_limits(self) -> None:
        """Sessions are counted for a route, and there by its tokens."""
        visitor = await self.assertReaches(b"one", "/desks?token=one")
        self.assertEqual(await self.status(self.port, "/desks?token=one"), 429)
        await self.proxy.said("1 are open, as many as --max-sessions-per-token says")
        await self.assertReaches(b"front", "/desks/front?token=one")
        visitor.close()

    async def test_changed(self) -> None:
        """A reload adds and removes routes, and says which; the others' sessions stay, and are counted."""
        await self.assertReaches(b"one", "/desks?token=one")
        text = self.file.read_text().partition('[[route]]\npath = "/pages"')[0]
        line = await self.reload(f"{text}[[route]]\npath = '/new'\ntarget = 'demo:'\n")
        self.assertIn("route */new added; route */pages removed", line)
        self.assertEqual(await self.status(self.port, "/new"), 101)
        self.assertEqual(await self.status(self.port, "/desks?token=one"), 429)


class RouteTests(_RoutesAlsoWithWorkers):
    """A single process."""

    async def test_host(self) -> None:
        """A host is the same with a port, a dot at its end, and in capitals; it asks for a password, for pages too."""
        for host in ("vnc.example.com", "VNC.example.com:6080", "vnc.example.com.", "vnc.example.com.:6080"):
            self.assertEqual(await self.status(self.port, "/x", host), 401)
            await self.assertReaches(b"named", "/x", host, _basic("user:password"))
        self.assertEqual(await self.status(self.port, "/", "vnc.example.com", upgrade=False), 401)
        self.assertEqual(await self.status(self.port, "/x", "vnc.example.com.evil"), 404)
        self.assertTrue((self.folder / "records/vnc.1").exists())

    async def test_path(self) -> None:
        """The longest path wins; it ends at a slash, and is decoded once."""
        await self.assertReaches(b"front", "/desks/front")
        await self.assertReaches(b"front", "/d%65sks/front/x?token=one")
        await self.assertReaches(b"one", "/desks/frontier?token=one")
        self.assertEqual(await self.status(self.port, "/desks?token=two"), 403)
        for path in ("/", "/desksx?token=one", "/Desks?token=one", "/d%2565sks?token=one"):
            self.assertEqual(await self.status(self.port, path), 404, path)
            self.assertEqual(await self.status(self.port, path, upgrade=False), 404, path)
        await self.proxy.said("404 Not found: no route is for this host and path")

    async def test_ambiguous(self) -> None:
        """Paths that others may read differently are refused."""
        for path in ("/pages/../desks/front", "/desks/./front", "//desks", "/desks%2Ffront", "/desks%2ffront"):
            self.assertEqual(await self.status(self.port, path), 400, path)
            self.assertEqual(await self.status(self.port, path, upgrade=False), 400, path)
        for path in ("/pages/%2e%2e/desks", "/pages/.%2E/desks", "/desks/..", "/desks%5cfront", "/desks%zz"):
            self.assertEqual(await self.status(self.port, path), 400, path)

    async def test_origins(self) -> None:
        """Pages of other hosts come in where a route lets them."""
        origin = "Origin: https://front.example"
        await self.assertReaches(b"front", "/desks/front", "localhost", origin)
        self.assertEqual(await self.status(self.port, "/desks?token=one", "localhost", origin), 403)

    async def test_inspected(self) -> None:
        """C{--explain} says which route it is, and C{--check} in which line something is wrong."""
        twistd = startTwistd(self, "--config", str(self.file), "--explain", "http://localhost/desks?token=one")
        outcome = await twistd.end()
        self.assertEqual(outcome.status, 0)
        self.assertRegex(outcome.out, r"passed +route +\*/desks\n")
        self.assertIn("--target-config", outcome.out)
        twistd = startTwistd(self, "--config", str(self.file), "--explain", "http://localhost/none")
        self.assertIn("refused: 404 Not found", (await twistd.end()).out)
        self.file.write_text(f"{self.file.read_text()}auth-url = 'x'\n[[route]]\npath = '/x'\ntarget = 'no'\n")
        twistd = startTwistd(self, "--config", str(self.file), "--check")
        outcome = await twistd.end()
        self.assertEqual(outcome.status, 1)
        self.assertRegex(outcome.err, rf"{self.file}:\d+: --auth-url x: ")

    async def test_pages(self) -> None:
        """A route without a target serves pages, and leads nowhere."""
        self.assertEqual(await self.status(self.port, "/pages"), 404)
        self.assertEqual(await self.status(self.port, "/pages/none", upgrade=False), 404)


class WorkersRouteTests(_RoutesAlsoWithWorkers):
    """Likewise with two workers, whose parent counts."""

    arguments = ("--workers", "2")


def _speaksTLS(path: str) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WITHIN)
        client.connect(path)
        with context.wrap_socket(client) as secure:
            return secure.version() is not None


def _basic(credentials: str) -> str:
    return f"Authorization: Basic {b64encode(credentials.encode()).decode()}"


del _AlsoWithWorkers, _RoutesAlsoWithWorkers  # which are no tests by themselves
