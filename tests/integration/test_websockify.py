"""The real C{websockify} command: what those meet who have always called it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.sync.client import connect

from tests.certificates import LOCAL, Authority
from tests.components import requireComponent
from tests.integration.twistd import ROOT, TWISTD, Running, start

AUTHORITY = Authority()
COMMAND = [sys.executable, "-m", "wsproxy.websockify"]
ECHO = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    while True:
        client, _ = listener.accept()
        client.sendall(os.environ.get("LD_PRELOAD", "nothing is preloaded").encode())
        client.close()
"""


def speak(port: int, path: str = "/", **keywords: Any) -> bytes:
    """@return: the first message of the target, to a client that then leaves."""
    with connect(f"ws://127.0.0.1:{port}{path}", compression=None, **keywords) as client:
        said = client.recv(timeout=10)
    assert isinstance(said, bytes)
    return said


class WebsockifyCase(TestCase):
    timeout = 60

    async def running(self, *words: str) -> Running:
        """With C{0} for a port, which is C{self.port} then."""
        running = start(self, [*COMMAND, *words])
        self.port = int((await running.line(r"^  - proxying from \S*:(\d+) to "))[1])
        return running

    def server(self) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        return listener

    def write(self, name: str, content: bytes) -> str:
        path = Path(self.mktemp()).absolute()
        path.mkdir(parents=True)
        (path / name).write_bytes(content)
        return str(path / name)


class StartTests(WebsockifyCase):
    async def test_lines(self) -> None:
        """A session's lines are on stderr, in the original's words; nothing is on stdout; a pidfile is nowhere."""
        target = self.server()
        place = f"127.0.0.1:{target.getsockname()[1]}"
        running = await self.running("-v", "0", place)
        port = self.port

        def visit() -> None:
            with connect(f"ws://127.0.0.1:{port}/websockify?token=hush", compression=None) as client:
                accepted, _ = target.accept()
                client.send(b"x")
                accepted.recv(1)
            accepted.close()

        await deferToThread(visit)
        await running.line(f"{place}: Client closed connection")
        self.assertEqual(list(running.directory.iterdir()), [])
        outcome = await running.stop()
        self.assertEqual((outcome.status, outcome.out), (0, ""))
        for line in (
            "127.0.0.1: Plain non-SSL (ws://) WebSocket connection",
            "127.0.0.1: Path: '/websockify?token=…'",
            f"connecting to: {place}",
            f"proxying from :{port} to {place}",
        ):
            self.assertIn(line, outcome.err)
        self.assertNotIn("hush", outcome.err)

    async def test_targetCloses(self) -> None:
        """With -v it is told when the target has closed; without, it is not."""
        for words, told in ((["-v"], True), ([], False)):
            target = self.server()
            running = await self.running(*words, "0", f"127.0.0.1:{target.getsockname()[1]}")

            def visit(port: int = self.port, target: socket.socket = target) -> None:
                with connect(f"ws://127.0.0.1:{port}/", compression=None) as client:
                    target.accept()[0].close()
                    for _ in client:
                        pass

            await deferToThread(visit)
            await running.line("closed by target: 1000")
            err = (await running.stop()).err
            self.assertEqual(("Target closed connection" in err, "Closed target" in err), (told, told))

    async def test_sockets(self) -> None:
        """A class of one's own may name a unix socket, as with the original: there is no option to allow that by."""
        place = str(Path(self.write("x", b"")).with_name("socket"))
        module = self.write("booksockets.py", f"class Book:\n def __init__(self, source): pass\n"
                            f" def lookup(self, token): return 'unix_socket', {place!r}\n".encode())  # fmt: skip
        with socket.socket(socket.AF_UNIX) as target:
            target.bind(place)
            target.listen()
            path = os.pathsep.join((str(ROOT), str(Path(module).parent)))
            running = start(self, [*COMMAND, "--token-plugin", "booksockets.Book", "0"], PYTHONPATH=path)
            self.port = int((await running.line(r"^  - proxying from \S*:(\d+) to "))[1])

            def visit(port: int = self.port) -> Any:
                with connect(f"ws://127.0.0.1:{port}/?token=x", compression=None) as client:
                    accepted, _ = target.accept()
                    with accepted:
                        accepted.sendall(b"here")
                        return client.recv(timeout=10)

            self.assertEqual(await deferToThread(visit), b"here")

    async def test_anyOrigin(self) -> None:
        """A page of anywhere may connect, and one warning says so."""
        running = await self.running("0", "127.0.0.1:1")
        with self.assertRaises(Exception) as caught:  # the target is nobody's, which is told by close code
            await deferToThread(speak, self.port, origin="https://evil.example")
        self.assertIn("1011", str(caught.exception))
        outcome = await running.stop()
        self.assertEqual(outcome.err.count("whatever its Origin"), 1)
        self.assertIn("Failed to connect to 127.0.0.1:1", outcome.err)

    async def test_process(self) -> None:
        """pgrep finds it by its name and its port; it is one process."""
        requireComponent("pgrep")
        running = await self.running("--heart=30", "127.0.0.1:0", "127.0.0.1:1")
        found = subprocess.run(
            ["pgrep", "-f", "websockify.*127.0.0.1:0"], check=False, text=True, capture_output=True
        ).stdout.split()
        self.assertIn(str(running.pid), found)
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text()
        self.assertEqual(children, "")
        await running.stop()

    async def test_statuses(self) -> None:
        """Wrong words are status 2, and what cannot be is 1; each is one line."""
        taken = self.server()
        wrong = (
            (2, ["--bogus", "0", "h:1"]),
            (2, ["0"]),
            (2, ["0", "h:1", "--web", "/no/web"]),
            (2, ["0", "h:1", "--ssl-only"]),
            (2, ["--inetd", "0", "h:1"]),
            (1, [f"127.0.0.1:{taken.getsockname()[1]}", "h:1"]),
        )
        outcomes = await gatherResults([start(self, [*COMMAND, *words]).end() for _, words in wrong])
        for outcome, (status, words) in zip(outcomes, wrong, strict=True):
            self.assertEqual((outcome.status, outcome.out), (status, ""), words)
            last = outcome.err.splitlines()[-1]
            self.assertTrue(last.startswith("websockify: "), outcome)
            self.assertNotIn("Traceback", outcome.err)

    async def test_daemon(self) -> None:
        """A daemon listens when its launcher has left, and logs to its file; it leaves nothing else behind."""
        with self.server() as free:
            port = free.getsockname()[1]
        launcher = start(self, [*COMMAND, "-D", "--log-file", "log", f"127.0.0.1:{port}", "127.0.0.1:1"])
        outcome = await launcher.end()
        log = launcher.directory / "log"
        command = f"wsproxy.websockify -D --log-file log 127.0.0.1:{port}"
        [pid] = subprocess.run(["pgrep", "-f", command], check=True, text=True, capture_output=True).stdout.split()
        self.addCleanup(_kill, int(pid))
        self.assertEqual((outcome.status, outcome.out), (0, ""))
        self.assertIn(f"proxying from 127.0.0.1:{port} to 127.0.0.1:1", log.read_text())
        self.assertEqual([path.name for path in launcher.directory.iterdir()], ["log"])
        socket.create_connection(("127.0.0.1", port)).close()


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


class FilesTests(WebsockifyCase):
    async def test_web(self) -> None:
        """Files are served, and directories listed unless --file-only; the proxy's own pages are not there."""
        page = self.write("vnc.html", b"the page")
        folder = os.path.dirname(page)

        def get(path: str) -> tuple[int, bytes]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                return error.code, b""

        await self.running("--web", folder, "0", "127.0.0.1:1")
        self.assertEqual(await deferToThread(get, "/vnc.html"), (200, b"the page"))
        self.assertIn(b"vnc.html", (await deferToThread(get, "/"))[1])
        self.assertEqual((await deferToThread(get, "/telnet.html"))[0], 404)
        await self.running("--file-only", "--web", folder, "0", "127.0.0.1:1")
        self.assertEqual((await deferToThread(get, "/"))[0], 404)
        await self.running("0", "127.0.0.1:1")
        self.assertEqual((await deferToThread(get, "/"))[0], 405)


class TLSTests(WebsockifyCase):
    async def test_systemAuthorities(self) -> None:
        """--verify-client alone trusts the system's authorities, and lets no plaintext in."""
        certificate = self.write("cert.pem", AUTHORITY.issue(*LOCAL).both)
        await self.running("--cert", certificate, "--verify-client", "0", "127.0.0.1:1")
        with self.assertRaises(Exception) as caught:
            await deferToThread(speak, self.port)
        self.assertIn("400", str(caught.exception))


class SocketFileTests(WebsockifyCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()  # short
        self.addCleanup(self.folder.cleanup)

    async def test_listen(self) -> None:
        """A socket file is for its owner alone, or has the mode that it is told."""
        for words, mode in (([], 0o600), (["--unix-listen-mode", "666"], 0o666)):
            path = f"{self.folder.name}/{mode}"
            running = start(self, [*COMMAND, *words, "--unix-listen", path, "127.0.0.1:1"])
            await running.line("proxying from unix:")
            self.assertEqual(os.stat(path).st_mode & 0o777, mode)
            await running.stop()

    async def test_program(self) -> None:
        """--unix-target S -- PROGRAM: it is started, nothing is preloaded, and its own socket is the target."""
        path = f"{self.folder.name}/s"
        program = [sys.executable, "-I", "-S", "-c", ECHO, path]
        running = start(self, [*COMMAND, "--unix-target", path, "127.0.0.1:0", "--", *program])
        self.port = int((await running.line(r"proxying from \S*:(\d+) to "))[1])
        self.assertEqual(await deferToThread(speak, self.port), b"nothing is preloaded")
        outcome = await running.stop()
        self.assertIn(f"connecting to unix socket: {path}", outcome.err)


class InetdTests(WebsockifyCase):
    """The socket on stdin, under each command that takes it."""

    def serve(self, stdin: socket.socket, *words: str, **streams: Any) -> subprocess.Popen[bytes]:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(words, stdin=stdin, cwd=folder, env=environment, **streams)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        return process

    def commands(self, target: str) -> list[list[str]]:
        return [
            [*COMMAND, "--inetd", target],
            [TWISTD, "-n", "--pidfile=", "websockify", "--inetd", "--target", target],
            [sys.executable, "-m", "wsproxy", "--inetd", "--target", target],
        ]

    def greeter(self) -> str:
        """A target that says one word to each client, and closes."""
        listener = self.server()

        def greet() -> None:
            with listener:
                while True:
                    try:
                        client, _ = listener.accept()
                    except OSError:
                        return
                    client.sendall(b"hello")
                    client.close()

        threading.Thread(target=greet, daemon=True).start()
        self.addCleanup(listener.shutdown, socket.SHUT_RDWR)
        return f"127.0.0.1:{listener.getsockname()[1]}"

    def test_connected(self) -> None:
        """A connected socket is served once, then the process ends with 0; stdout has nothing."""
        target = self.greeter()
        for words in self.commands(target):
            with self.server() as listener, socket.create_connection(listener.getsockname()) as client:
                accepted, _ = listener.accept()
                with accepted:
                    process = self.serve(accepted, *words)
                with connect("ws://localhost/", sock=client, compression=None) as web:
                    self.assertEqual(web.recv(timeout=10), b"hello")
                out, err = process.communicate(timeout=10)
            self.assertEqual((process.returncode, out), (0, b""), words)
            self.assertIn(b"closed by", err)

    def test_listening(self) -> None:
        """A listening socket is accepted from, until the process is told to end."""
        target = self.greeter()
        for words in self.commands(target)[:2]:
            with self.server() as listener:
                port = listener.getsockname()[1]
                process = self.serve(listener, *words)
            self.assertEqual([speak(port), speak(port)], [b"hello", b"hello"])
            process.terminate()
            out, _ = process.communicate(timeout=10)
            self.assertEqual((process.returncode, out), (0, b""), words)

    def test_allThree(self) -> None:
        """inetd puts the client on all three: not a byte of the log reaches it, and its end is seen."""
        target = self.greeter()
        for words in self.commands(target):
            with self.server() as listener, socket.create_connection(listener.getsockname()) as client:
                accepted, _ = listener.accept()
                with accepted:
                    process = self.serve(accepted, *words, stdout=accepted, stderr=accepted)
                client.settimeout(10)
                client.sendall(b"GET /no HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                got = b""
                while data := client.recv(65536):
                    got += data
                self.assertTrue(got.startswith(b"HTTP/1.1 40"), got)
                self.assertNotIn(b"wsproxy.", got)
                self.assertEqual(process.wait(10), 0)

    def test_unix(self) -> None:
        """A socket of the unix family serves likewise."""
        target = self.greeter()
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                process = self.serve(theirs, *self.commands(target)[0])
            with connect("ws://localhost/", sock=ours, compression=None) as web:
                self.assertEqual(web.recv(timeout=10), b"hello")
        self.assertEqual(process.wait(10), 0)
        process.communicate()

    def test_mute(self) -> None:
        """A client that says nothing is not waited for longer than any other."""
        ours, theirs = socket.socketpair()
        words = [sys.executable, "-m", "wsproxy", "--inetd", "--target", "demo:", "--handshake-timeout", "0.2"]
        with ours:
            with theirs:
                process = self.serve(theirs, *words)
            self.assertEqual(process.wait(10), 0)
            process.communicate()

    def test_noSocket(self) -> None:
        """Where stdin is no socket, one line says so."""
        for words in self.commands("127.0.0.1:1"):
            with open(os.devnull) as null:
                process = self.serve(null, *words)  # type: ignore[arg-type]
                out, err = process.communicate(timeout=10)
            self.assertEqual(process.returncode, 1)
            self.assertEqual(out, b"")
            self.assertIn(b"--inetd: stdin is no socket", err)
            self.assertNotIn(b"Traceback", err)


class ServeTests(WebsockifyCase):
    """C{wsproxy}, the same proxy without twistd's name."""

    async def test_serve(self) -> None:
        """In the foreground, with the log on stdout, without a pidfile; SIGTERM ends it with 0."""
        running = start(self, [sys.executable, "-m", "wsproxy", "127.0.0.1:0", "demo:"])
        port = int((await running.line(r"Listening on 127\.0\.0\.1:(\d+) "))[1])
        self.assertIn(b"demo", await deferToThread(speak, port))
        self.assertEqual(list(running.directory.iterdir()), [])
        outcome = await running.stop()
        self.assertEqual((outcome.status, outcome.err), (0, ""))

    async def test_process(self) -> None:
        """--daemon, --pidfile and --logfile are twistd's."""
        words = ["--daemon", "--pidfile", "pid", "--logfile", "log"]
        launcher = start(self, [sys.executable, "-m", "wsproxy", "127.0.0.1:0", "demo:", *words])
        outcome = await launcher.end()
        self.assertEqual((outcome.status, outcome.out, outcome.err), (0, "", ""))
        pid = int((launcher.directory / "pid").read_text())
        self.addCleanup(_kill, pid)
        self.assertIn("Listening on 127.0.0.1:", (launcher.directory / "log").read_text())

    async def test_wrongWords(self) -> None:
        """Words that make no sense are one line and a status of 2, of wherever they are made sense of."""
        for words in (["6080x", "demo:"], ["127.0.0.1:0", "nowhere:y"], ["6080", "demo:", "--heartbeat", "x"]):
            outcome = await start(self, [sys.executable, "-m", "wsproxy", *words]).end()
            self.assertEqual((outcome.status, outcome.out, outcome.err.count("\n")), (2, "", 1), outcome)
            self.assertTrue(outcome.err.startswith("wsproxy: --"), outcome.err)

    async def test_taken(self) -> None:
        """What cannot be is one line, which begins with the command's name."""
        place = f"127.0.0.1:{self.server().getsockname()[1]}"
        outcome = await start(self, [sys.executable, "-m", "wsproxy", place, "demo:"]).end()
        self.assertEqual(outcome.status, 1)
        self.assertEqual(outcome.err, f"wsproxy: --listen {place}: address already in use\n")

    def test_embedding(self) -> None:
        """The package's own name gives the factory."""
        from wsproxy import WebSockifyFactory
        from wsproxy.factory import WebSockifyFactory as Factory

        self.assertIs(WebSockifyFactory, Factory)
