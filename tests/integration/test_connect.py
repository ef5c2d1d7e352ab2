"""C{wsproxy connect}: on stdin and stdout, and on a port, with real servers, good ones and bad."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from queue import Queue
from subprocess import PIPE, Popen, TimeoutExpired, run
from typing import Any
from unittest import skipUnless

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.exceptions import ConnectionClosedOK

from tests.integration.test_raw import Server, everything
from tests.integration.twistd import ROOT
from tests.integration.webserver import LibraryServer, echo, shake

WSPROXY = str(Path(sys.executable).with_name("wsproxy"))


class ConnectCase(TestCase):
    timeout = 30

    def library(self, handler: Any = echo) -> LibraryServer:
        server = LibraryServer(handler)
        self.addCleanup(server.close)
        return server

    def start(self, *words: str, **environment: str) -> Popen[bytes]:
        pipes = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE}
        process = Popen([WSPROXY, "connect", *words], cwd=ROOT, env={**os.environ, **environment}, **pipes)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def connect(self, *words: str) -> tuple[int, bytes, str]:
        """@return: exit status, stdout and stderr."""
        done = run(
            [WSPROXY, "connect", *words], input=b"", capture_output=True, timeout=20, check=False, cwd=ROOT,
            env={"PATH": "/usr/bin", "WSPROXY_TOKEN": "s3cret"},
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr.decode()


class StandardTests(ConnectCase):
    def test_conversation(self) -> None:
        """Bytes go both ways, and the end of stdin is an orderly one."""
        process = self.start(f"ws://127.0.0.1:{self.library().port}/x")
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        said = bytes(range(256)) * 400
        process.stdin.write(said)
        process.stdin.flush()
        self.assertEqual(process.stdout.read(len(said)), said)
        process.stdin.close()
        process.stdin = None
        self.assertEqual(process.wait(10), 0)
        self.assertRegex(process.stderr.read(), rb"^wsproxy: ws://127.0.0.1:\d+/x: connected\n$")

    def test_signals(self) -> None:
        """The signals that end a program, SIGHUP of ssh's among them, close the WebSocket behind what it is owed."""
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            told: Queue[tuple[int, int]] = Queue()

            def hear(connection: Any, told: Queue[tuple[int, int]] = told) -> None:
                connection.send(b"hello")
                size = 0
                with contextlib.suppress(ConnectionClosedOK):
                    while True:
                        size += len(connection.recv())
                told.put((size, connection.close_code))

            process = self.start("-q", f"ws://127.0.0.1:{self.library(hear).port}/")
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(b"x" * 1_000_000)
            process.stdin.flush()
            self.assertEqual(process.stdout.read(5), b"hello")
            process.send_signal(number)
            self.assertEqual(process.wait(10), 0)
            size, code = told.get(timeout=10)
            self.assertEqual(code, 1000)
            self.assertGreaterEqual(size, 1_000_000 - 65536)  # what a pipe has, nobody has read

    def test_signalWhileMute(self) -> None:
        """A server that takes no notice of the Close is waited for 5 s."""
        server = Server(lambda client: (shake(client), everything(client)))
        self.addCleanup(server.close)
        process = self.start(f"ws://127.0.0.1:{server.port}/")
        assert process.stderr is not None
        process.stderr.readline()
        began = time.monotonic()
        process.send_signal(signal.SIGHUP)
        self.assertEqual(process.wait(10), 1)
        self.assertLess(time.monotonic() - began, 9)

    def test_ignoredSignal(self) -> None:
        """A SIGHUP that is ignored from the start, as by C{nohup}, still is."""
        server = self.library()
        command = ["nohup", WSPROXY, "connect", f"ws://127.0.0.1:{server.port}/"]
        process = Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=ROOT)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        assert process.stderr is not None and process.stdin is not None and process.stdout is not None
        while b"connected" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGHUP)
        process.stdin.write(b"still here")
        process.stdin.flush()
        self.assertEqual(process.stdout.read(10), b"still here")

    def test_secrets(self) -> None:
        """Token, credentials and headers come from files and the environment, and reach the server, but not stderr."""
        server = self.library(lambda connection: connection.send(b"hello"))
        auth = Path(self.mktemp()).absolute()
        auth.write_text("al:s3cret\n")
        url = f"ws://127.0.0.1:{server.port}/?a=b"
        words = ("--token", "env:WSPROXY_TOKEN", "--auth", f"@{auth}", "--header", "X: y")
        process = self.start(url, *words, WSPROXY_TOKEN="s3cret")
        assert process.stdout is not None
        self.assertEqual(process.stdout.read(5), b"hello")
        _, err = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 0)
        self.assertEqual(server.asked, [("/?a=b&token=s3cret", "binary", "Basic YWw6czNjcmV0")])
        self.assertNotIn(b"s3cret", err)

    def test_closed(self) -> None:
        """All that a server has said is written before the end; with which code it closes makes the exit status."""
        for code, status, told in ((1000, 0, ""), (1001, 0, ""), (1011, 1, "closed with 1011 why"), (4001, 1, "4001")):

            def close(connection: Any, code: int = code) -> None:
                connection.send(b"x" * 1_000_000)
                connection.close(code, "why")

            process = self.start("-q", f"ws://127.0.0.1:{self.library(close).port}/")
            assert process.stdout is not None and process.stderr is not None
            self.assertEqual(len(process.stdout.read()), 1_000_000)
            self.assertEqual(process.wait(10), status)
            self.assertIn(told, process.stderr.read().decode())

    def test_refused(self) -> None:
        """No WebSocket: one line says why, and the exit status is 1; for words that make no sense, 2."""

        def no(client: socket.socket) -> None:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 403 Origin not allowed\r\n\r\n")

        server = Server(no)
        self.addCleanup(server.close)
        silent = Server(everything)
        self.addCleanup(silent.close)
        for words, expected, told in (
            ([f"ws://127.0.0.1:{server.port}/?s3cret"], 1, "/?…: Target answered 403 Origin not allowed"),
            (["ws://127.0.0.1:1/?s3cret"], 1, "Target refused the connection"),
            ([f"ws://127.0.0.1:{silent.port}/", "--timeout", "0.3"], 1, "Target timed out"),
            ([f"wss://127.0.0.1:{server.port}/"], 1, "Target TLS: "),
            (["http://s3cret/"], 2, "connect: expected ws://"),
            (["ws://h/", "--header", "Upgrade: s3cret"], 2, "--header: Upgrade: that one the handshake says by itself"),
            (["ws://h/", "--auth", "s3cret"], 2, "--auth: expected USER:PASSWORD"),
            (["ws://h/", "--auth", "@/nowhere"], 1, "--auth"),
        ):
            status, out, err = self.connect(*words)
            self.assertEqual((status, out, err.count("\n")), (expected, b"", 1), err)
            self.assertIn(told, err)
            self.assertNotIn("s3cret", err)

    def test_unheard(self) -> None:
        """Where nobody reads stdout any more it ends, however much there is on stdin."""
        command = f"{WSPROXY} connect -q ws://127.0.0.1:{self.library().port}/ </dev/zero | head -c 1"
        process = Popen(["sh", "-c", command], stdout=PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertEqual(process.wait(15), 0)

    def redirected(self, redirections: str, *words: str) -> tuple[int, bytes, bytes]:
        """
        What comes of one whose server says much, and whose stdin is silent, and stays open.

        @param redirections: as a shell has them.
        """

        def say(connection: Any) -> None:
            connection.send(b"x" * 1_000_000)
            connection.close(1000)

        command = f'exec "$0" connect "$@" {redirections}'
        started = ["sh", "-c", command, WSPROXY, *words, f"ws://127.0.0.1:{self.library(say).port}/"]
        with Popen(started, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
            assert process.stdout is not None and process.stderr is not None
            said, told = process.stdout.read(), process.stderr.read()
            return process.wait(15), said, told

    def test_stderrClosed(self) -> None:
        """Nothing but bytes of the server is ever on stdout, and all of them, whoever hears what is told."""
        for redirection in ("2>&-", "2>/dev/full"):
            status, said, told = self.redirected(redirection)
            self.assertEqual((status, said == b"x" * 1_000_000, told), (0, True, b""), redirection)

    def test_stdoutFull(self) -> None:
        """Bytes that stdout does not take are told of, and the exit status is 1."""
        status, _, told = self.redirected(">/dev/full")
        self.assertEqual(status, 1)
        self.assertEqual(told.count(b"\n"), 2)
        self.assertIn(b"stdout: cannot be written", told)

    def test_closedStreams(self) -> None:
        """Without stdin or stdout there is nothing to lead anywhere: one line. A port needs neither."""
        for redirection, name in (("<&-", b"stdin"), (">&-", b"stdout")):
            status, said, told = self.redirected(redirection)
            self.assertNotEqual(status, 0)
            self.assertEqual((said, told.count(b"\n")), (b"", 1))
            self.assertIn(b"connect: " + name + b" is closed", told)
        command = f'exec "{WSPROXY}" connect -L 0 ws://127.0.0.1:1/ <&- >&-'
        with Popen(["sh", "-c", command], stderr=PIPE) as process:
            assert process.stderr is not None
            self.assertIn(b"listening on 127.0.0.1:", process.stderr.readline())
            process.kill()

    def test_wrongWords(self) -> None:
        """Wrong words are an exit status of 2, and one line."""
        for words, told in (
            (("-L", "x"), "-L"),
            (("-L", "1", "-L", "2"), "given twice"),
            (("--token", "a", "--token", "b"), "given twice"),
            (("--auth", "a:b", "--auth", "c:d"), "given twice"),
            (("--timeout", "0"), "nobody can be that fast"),
        ):
            status, _, err = self.connect(*words, "ws://h/")
            self.assertEqual((status, err.count("\n")), (2, 1), err)
            self.assertIn(told, err)

    def test_unsayable(self) -> None:
        """What no handshake can say, and a URL that is not where it is said to be, is one line about that."""
        url = f"ws://127.0.0.1:{self.library().port}/"
        for words, told in (
            (("--origin", "a\r\nb", url), "connect: an origin has neither control"),
            (("--origin", "http://é", url), "connect: an origin has neither control"),
            (("--subprotocol", "a b", url), "connect: subprotocol 'a b': not a name"),
            (("--cafile", "/etc/hosts", url), "--cafile: ws:// speaks no TLS"),
            (("--insecure", url), "--insecure: ws:// speaks no TLS"),
            (("@/nonexistent",), "URL @/nonexistent: No such file"),
            (("@",), "URL @: Is a directory"),
            (("env:NO_SUCH",), "URL env:NO_SUCH: not in the environment"),
        ):
            status, _, err = self.connect(*words)
            self.assertNotEqual(status, 0)
            self.assertEqual(err.count("\n"), 1, err)
            self.assertIn(told, err)

    def test_gone(self) -> None:
        """A server that ends without a Close, or breaks the rules: exit status 1, within the time."""

        def leaves(client: socket.socket) -> None:
            shake(client)
            client.sendall(b"\x82\x05hello")

        def lies(client: socket.socket) -> None:
            shake(client)
            client.sendall(b"\x82\x05hello\x83\0")
            everything(client)

        for behaviour, told in ((leaves, "1006 no Close"), (lies, "1002 Reserved opcode")):
            server = Server(behaviour)
            self.addCleanup(server.close)
            process = self.start("-q", f"ws://127.0.0.1:{server.port}/")
            assert process.stdout is not None and process.stderr is not None
            self.assertEqual(process.stdout.read(), b"hello")
            self.assertEqual(process.wait(10), 1)
            self.assertIn(told, process.stderr.read().decode())

    def test_mute(self) -> None:
        """A server that answers neither a Close nor a ping is waited for 5 s, or two pings."""

        def mute(client: socket.socket) -> None:
            shake(client)
            everything(client)

        server = Server(mute)
        self.addCleanup(server.close)
        began = time.monotonic()
        self.assertEqual(self.connect(f"ws://127.0.0.1:{server.port}/")[0], 1)
        self.assertLess(time.monotonic() - began, 9)
        process = self.start("-q", "--heartbeat", "0.2", f"ws://127.0.0.1:{server.port}/")
        assert process.stderr is not None
        self.assertEqual(process.wait(10), 1)
        self.assertIn(b"4002 Heartbeat lost", process.stderr.read())


    @skipUnless(os.environ.get("WSPROXY_SOAK") == "long", "it takes long")
    def test_deaf(self) -> None:
        """
        A server that takes nothing holds up whoever writes to stdin, and is given up 5 s after the last of those has
        left, with what waits in the pipe unread.
        """
        over = threading.Event()
        self.addCleanup(over.set)

        def deaf(client: socket.socket) -> None:
            shake(client)
            over.wait()

        server = Server(deaf)
        self.addCleanup(server.close)
        process = self.start("-q", f"ws://127.0.0.1:{server.port}/")
        assert process.stdin is not None and process.stderr is not None
        os.set_blocking(process.stdin.fileno(), False)
        while select.select([], [process.stdin], [], 2)[1]:
            with contextlib.suppress(BlockingIOError):
                os.write(process.stdin.fileno(), b"x" * 65536)
        self.assertRaises(TimeoutExpired, process.wait, 8)
        process.stdin.close()
        process.stdin = None
        self.assertEqual(process.wait(9), 1)
        self.assertIn(b"connection lost", process.stderr.read())


class LocalTests(ConnectCase):
    def listening(self, *words: str) -> tuple[Popen[bytes], int]:
        process = self.start("-L", "0", *words)
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        self.assertRegex(line, r"^wsproxy: listening on 127\.0\.0\.1:\d+, leading to ws://")
        return process, int(line.partition(",")[0].rpartition(":")[2])

    async def test_clients(self) -> None:
        """Each client of the port has a WebSocket of its own; SIGTERM ends all of them, in good order."""
        server = self.library()
        process, port = self.listening(f"ws://127.0.0.1:{server.port}/")

        def converse() -> tuple[int, bytes]:
            clients = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(3)]
            for number, client in enumerate(clients):
                client.sendall(b"%d" % number)
            self.assertEqual([client.recv(10) for client in clients], [b"0", b"1", b"2"])
            process.terminate()
            status = process.wait(10)
            left = b"".join(client.recv(10) for client in clients)
            for client in clients:
                client.close()
            return status, left

        self.assertEqual(await deferToThread(converse), (0, b""))

    async def test_refused(self) -> None:
        """A client for whom there is no WebSocket is dropped, and told of; the next one is served."""
        allowed = [False, True]

        def maybe(client: socket.socket) -> None:
            if allowed.pop(0):
                shake(client)
                client.sendall(b"\x82\x05hello")
                everything(client)

        server = Server(maybe)
        self.addCleanup(server.close)
        process, port = self.listening(f"ws://127.0.0.1:{server.port}/")

        def converse() -> bytes:
            refused = socket.create_connection(("127.0.0.1", port), 10)
            with refused, contextlib.suppress(ConnectionResetError):
                self.assertEqual(refused.recv(10), b"")
            assert process.stderr is not None
            self.assertIn(b"Target closed the connection", process.stderr.readline())
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                return client.recv(10)

        self.assertEqual(await deferToThread(converse), b"hello")

    def test_taken(self) -> None:
        """A port that is taken: one line, exit status 1."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            status, _, err = self.connect("-L", str(port), "ws://127.0.0.1:1/")
        self.assertEqual((status, err), (1, f"wsproxy: -L 127.0.0.1:{port}: address already in use\n"))
