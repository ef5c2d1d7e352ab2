"""A program that was written for websockify's classes, with the name C{websockify} of the folder alias."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.integration.twistd import ROOT, Running, start

PROGRAM = Path(__file__).with_name("consoles.py")


def hypervisor(client: socket.socket) -> None:
    """Takes a CONNECT, if there is one, and then echoes."""
    first = client.recv(1024)
    if first.startswith(b"CONNECT"):
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\nRFB ")
    else:
        client.sendall(first)
    while data := client.recv(1024):
        client.sendall(data)
    client.close()


class AliasTests(TestCase):
    timeout = 60

    async def running(self, mode: str) -> Running:
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        self.addCleanup(listener.shutdown, socket.SHUT_RDWR)

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=hypervisor, args=(client,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        path = f"{ROOT / 'alias'}:{ROOT}"
        running = start(self, [sys.executable, "-P", str(PROGRAM), mode, place], PYTHONPATH=path)
        self.port = int((await running.line(r"^  - proxying from 127\.0\.0\.1:(\d+) to "))[1])
        return running

    def converse(self, path: str, *said: bytes, **keywords: Any) -> bytes:
        """@return: what the target said by the time that it had said as much as it was told."""
        with connect(f"ws://127.0.0.1:{self.port}{path}", compression=None, **keywords) as client:
            got = b""
            for each in said:
                client.send(each)
            while not got.endswith(said[-1]):
                got += client.recv(timeout=10)  # type: ignore[operator]  # bytes, for we send no text
            return got

    def closing(self, path: str, **keywords: Any) -> tuple[int, str]:
        """@return: code and reason."""
        with connect(f"ws://127.0.0.1:{self.port}{path}", compression=None, **keywords) as client:
            try:
                client.recv(timeout=10)
            except ConnectionClosed as closed:
                assert closed.rcvd is not None
                return closed.rcvd.code, closed.rcvd.reason
        raise AssertionError("it was not closed")

    async def test_console(self) -> None:
        """In Nova's manner: its own token, Origin, CONNECT and socket; what the socket has said is not lost."""
        running = await self.running("console")
        cookie = {"Cookie": "token=good"}
        for path, headers in (("/?token=good", {}), ("/websockify", cookie)):
            got = await deferToThread(self.converse, path, b"x" * 70000 + b".", additional_headers=headers)
            self.assertEqual(got, b"RFB " + b"x" * 70000 + b".")
        self.assertEqual(await deferToThread(self.closing, "/?token=bad"), (1008, "Invalid Token"))
        closed = await deferToThread(self.closing, "/?token=good", origin="https://evil.example")
        self.assertEqual(closed, (1008, "Origin header does not match this host."))
        await running.line("the console of 127.0.0.1 is over")
        outcome = await running.stop()
        self.assertEqual((outcome.status, outcome.out), (0, ""))
        self.assertIn("has started", outcome.err)
        self.assertIn("connect info: {'host': '127.0.0.1'", outcome.err)
        self.assertNotIn("Traceback", outcome.err)

    async def test_many(self) -> None:
        """More sessions at a time than any pool has threads; SIGTERM ends them and the process."""
        running = await self.running("console")

        def openMany() -> list[Any]:
            clients = []
            for _ in range(30):
                clients.append(connect(f"ws://127.0.0.1:{self.port}/?token=good", compression=None))
            return [(client, client.recv(timeout=10)) for client in clients]

        clients = await deferToThread(openMany)
        self.assertEqual({said for _, said in clients}, {b"RFB "})
        outcome = await running.stop()
        self.assertEqual(outcome.status, 0)
        await deferToThread(lambda: [client.close() for client, _ in clients])

    async def test_tokens(self) -> None:
        """get_target and auth_connection are asked before the 101, and refuse by 403."""
        running = await self.running("tokens")
        password = {"X-Password": "sesame"}
        got = await deferToThread(self.converse, "/?token=good", b"hello.", additional_headers=password)
        self.assertEqual(got, b"hello.")
        for path, headers in (("/?token=good", {}), ("/?token=hush", password), ("/", password)):
            with self.assertRaises(InvalidStatus) as caught:
                await deferToThread(self.converse, path, b"x", additional_headers=headers)
            self.assertEqual(caught.exception.response.status_code, 403)
        self.assertNotIn("hush", (await running.stop()).err)

    async def test_counting(self) -> None:
        """do_proxy may be overridden alone, and returns when it is over; without either, all is the proxy's own."""
        running = await self.running("counting")
        self.assertEqual(await deferToThread(self.converse, "/", b"hello."), b"hello.")
        await running.line("^ends$")
        self.assertIn("begins", (await running.stop()).err)
        running = await self.running("plain")
        self.assertEqual(await deferToThread(self.converse, "/", b"hello."), b"hello.")
        threads = len(os.listdir(f"/proc/{running.pid}/task"))
        self.assertLess(threads, 20)
        await running.stop()
