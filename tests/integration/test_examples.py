"""The worked examples of C{docs/embedding/}, each with what it is made for around it."""

from __future__ import annotations

import runpy
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request as Question
from urllib.request import urlopen

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.certificates import Authority, pem
from tests.components import requireComponent
from tests.integration.twistd import ROOT

EXAMPLES = ROOT / "docs/embedding"


class Speaker(Protocol):
    """A console behind a gateway: wants a CONNECT where it is told so, then greets."""

    gate = b""

    def __init__(self, gate: bytes) -> None:
        self._gate = gate
        self._heard = b""

    def connectionMade(self) -> None:
        if not self._gate:
            self.transport.write(b"hello")  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self._heard += data
        if self._gate and self._heard.endswith(b"\r\n\r\n"):
            good = self._heard.startswith(b"CONNECT " + self._gate + b" ")
            answer = b"HTTP/1.1 200 OK\r\n\r\nhello" if good else b"HTTP/1.1 403 No\r\n\r\n"
            self.transport.write(answer)  # type: ignore[union-attr]


class ExampleTestCase(TestCase):
    timeout = 60

    def load(self, name: str) -> dict[str, Any]:
        return runpy.run_path(str(EXAMPLES / name))

    def folder(self) -> Path:
        path = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, path)
        return path

    async def console(self, gate: bytes = b"") -> int:
        """@return: the port of a console."""
        from twisted.internet import reactor

        port = reactor.listenTCP(0, Factory.forProtocol(lambda: Speaker(gate)), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def serve(self, service: Any) -> str:
        service.startService()
        self.addCleanup(service.stopService)
        [port] = await service.whenListening()
        return f"ws://127.0.0.1:{port.getHost().port}"

    async def heard(self, url: str, **headers: str) -> bytes | int:
        """@return: what a client is told first, or the status that it is refused with."""

        def speak() -> bytes | int:
            try:
                with connect(url, additional_headers=headers, compression=None) as client:
                    said = client.recv()
                    assert isinstance(said, bytes)
                    return said
            except InvalidStatus as refused:
                return refused.response.status_code

        return await deferToThread(speak)


class NovaTests(ExampleTestCase):
    async def setUp(self) -> None:
        from twisted.internet import reactor

        file = str(self.folder() / "consoles.sqlite")
        example = self.load("nova.py")
        plain, gated = await self.console(), await self.console(b"/access/7")
        with sqlite3.connect(file) as database:
            database.execute(example["TABLE"])
            for row in (
                ("good", "alice", "127.0.0.1", plain, None, time.time() + 60, "https://horizon.example"),
                ("gated", "bob", "127.0.0.1", gated, "/access/7", time.time() + 60, "https://horizon.example"),
                ("closed", "bob", "127.0.0.1", gated, "/access/8", time.time() + 60, "https://horizon.example"),
                ("brief", "carol", "127.0.0.1", plain, None, time.time() + 1.5, "https://horizon.example"),
                ("over", "dave", "127.0.0.1", plain, None, time.time() - 1, "https://horizon.example"),
            ):
                database.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self.url = await self.serve(example["makeService"](reactor, "127.0.0.1:0", file))

    async def test_tokens(self) -> None:
        """A token leads to its console, from the query, noVNC's path or a cookie; others, and old ones, are refused."""
        self.assertEqual(await self.heard(self.url + "/?token=good"), b"hello")
        self.assertEqual(await self.heard(self.url + "/?path=%3Ftoken%3Dgood"), b"hello")
        self.assertEqual(await self.heard(self.url, Cookie="token=good"), b"hello")
        for token in ("over", "bad", ""):
            self.assertEqual(await self.heard(f"{self.url}/?token={token}"), 403)

    async def test_gateway(self) -> None:
        """A gateway is asked to CONNECT first, and its answer is kept from the browser; a no is told."""
        self.assertEqual(await self.heard(self.url + "/?token=gated"), b"hello")
        with self.assertRaisesRegex(ConnectionClosed, "gateway says no"):
            await self.heard(self.url + "/?token=closed")

    async def test_origin(self) -> None:
        """Each console has a page of its own."""
        self.assertEqual(await self.heard(self.url + "/?token=good", Origin="https://horizon.example"), b"hello")
        self.assertEqual(await self.heard(self.url + "/?token=good", Origin="https://elsewhere.example"), 403)

    async def test_expires(self) -> None:
        """The session ends with its token."""

        def wait() -> tuple[int, str]:
            with connect(self.url + "/?token=brief", compression=None) as client:
                try:
                    while True:
                        client.recv()
                except ConnectionClosed as closed:
                    assert closed.rcvd is not None
                    return closed.rcvd.code, closed.rcvd.reason

        self.assertEqual((await deferToThread(wait))[0], 4001)

    def test_short(self) -> None:
        """It takes no more than a hundred lines, and nothing that is not public."""
        text = (EXAMPLES / "nova.py").read_text()
        self.assertLessEqual(len(text.splitlines()), 100)
        for line in text.splitlines():
            if line.startswith("from wsproxy"):
                self.assertIn(line.split()[1], ("wsproxy", "wsproxy.errors", "wsproxy.interfaces", "wsproxy.testing"))


class SiteTests(ExampleTestCase):
    async def test_beside(self) -> None:
        """Sessions on their path; pages, forms and all else as they were."""
        from twisted.internet import reactor

        port = await self.console()
        site, factory = self.load("site.py")["makeSite"](reactor, {"red": f"127.0.0.1:{port}"})
        listening = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(listening.stopListening)
        self.addCleanup(factory.closeAll)
        where = f"127.0.0.1:{listening.getHost().port}"

        def ask(path: str, data: bytes | None = None) -> bytes:
            with urlopen(Question(f"http://{where}{path}", data), timeout=10) as answer:
                said: bytes = answer.read()
                return said

        self.assertEqual(await self.heard(f"ws://{where}/console/red"), b"hello")
        self.assertEqual(await self.heard(f"ws://{where}/console/green"), 403)
        self.assertIn(b"red, blue", await deferToThread(ask, "/"))
        self.assertEqual(await deferToThread(ask, "/wishes", b"more"), b"noted: more")


class AsyncioTests(ExampleTestCase):
    async def test_together(self) -> None:
        """In one process: the application gives out a token, the proxy takes it, once, and logs what it does."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            web = free.getsockname()[1]
        script = (EXAMPLES / "asgi.py").read_text().replace("8000", str(web)).replace('"6080"', '"127.0.0.1:0"')
        path = self.folder() / "asgi.py"
        path.write_text(script)

        def together() -> list[bytes | int]:
            command, pipe = [sys.executable, path], subprocess.PIPE
            program = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
            try:
                assert program.stdout is not None
                url = program.stdout.readline().strip()
                token = _retry(lambda: urlopen(f"http://127.0.0.1:{web}/", timeout=5).read().decode())
                told: list[bytes | int] = []
                for _ in range(2):
                    try:
                        with connect(f"{url}?token={token}", compression=None) as client:
                            client.send(b"hi\n")
                            told.append(b"session")
                    except InvalidStatus as refused:
                        told.append(refused.response.status_code)
                return told
            finally:
                program.terminate()
                said.append(program.communicate(timeout=10)[1])

        said: list[str] = []
        self.assertEqual(await deferToThread(together), [b"session", 403])
        self.assertIn("403 Token not accepted", said[0])
        self.assertNotIn("Traceback", said[0])


def _retry(act: Callable[[], Any]) -> Any:
    for _ in range(100):
        try:
            return act()
        except OSError:
            time.sleep(0.1)
    return act()


AUTHORITY = Authority()


class VeNCryptTests(ExampleTestCase):
    """Real servers, of which one wants a certificate of its clients."""

    def certificates(self) -> Path:
        folder = self.folder()
        server = AUTHORITY.issue("localhost", "127.0.0.1")
        (folder / "ca-cert.pem").write_bytes(pem(AUTHORITY.certificate))
        (folder / "server-cert.pem").write_bytes(server.chain)
        (folder / "server-key.pem").write_bytes(server.keyPEM())
        for path in folder.iterdir():
            path.chmod(0o644)
        folder.chmod(0o755)
        return folder

    async def name(self, port: int, client: bytes | None) -> bytes:
        """@return: the name of the desktop, as a browser is told it through the proxy."""
        from twisted.internet import reactor

        example = self.load("vencrypt.py")
        own = client if client is not None else Authority("of somebody else").issue("proxy", client=True).both
        vencrypt = example["VeNCrypt"](pem(AUTHORITY.certificate), own, "localhost")
        url = await self.serve(example["makeService"](reactor, vencrypt, f"127.0.0.1:{port}", "127.0.0.1:0"))
        return await deferToThread(_desktop, url)

    async def test_qemu(self) -> None:
        """QEMU's lets in the proxy by its certificate, and nobody by another's."""
        qemu = requireComponent("qemu-system-x86_64")
        folder = self.certificates()
        with _unixServer(self, folder, qemu) as port:
            own = AUTHORITY.issue("proxy", client=True).both
            self.assertEqual(await self.name(port, own), b"QEMU")
            with self.assertRaises(ConnectionClosed):
                await self.name(port, None)

    async def test_tigervnc(self) -> None:
        """TigerVNC's X509None asks for no certificate."""
        program = requireComponent("Xtigervnc")
        folder = self.certificates()
        number = next(number for number in range(60, 99) if not Path(f"/tmp/.X11-unix/X{number}").exists())
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [
            program, f":{number}", "-rfbport", str(port), "-localhost", "-SecurityTypes", "X509None",
            "-X509Cert", str(folder / "server-cert.pem"), "-X509Key", str(folder / "server-key.pem"),
            "-desktop", "a desktop",
        ]  # fmt: skip
        with _running(command, port):
            self.assertEqual(await self.name(port, AUTHORITY.issue("proxy", client=True).both), b"a desktop")


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _retry(lambda: socket.create_connection(("127.0.0.1", port), 1).close())
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def _unixServer(test: TestCase, folder: Path, qemu: str) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        qemu, "-machine", "none", "-display", "none", "-monitor", "none", "-serial", "none",
        "-object", f"tls-creds-x509,id=tls0,dir={folder},endpoint=server,verify-peer=on",
        "-vnc", f"127.0.0.1:{port - 5900},tls-creds=tls0",
    ]  # fmt: skip
    with _running(command, port):
        yield port


def _desktop(url: str) -> bytes:
    """RFC 6143 section 7: a client without security gets as far as ServerInit."""
    with connect(url, compression=None, subprotocols=["binary"]) as client:  # type: ignore[list-item]
        stream = _Stream(client)
        assert stream.read(12) == b"RFB 003.008\n"
        client.send(b"RFB 003.008\n")
        assert stream.read(2) == b"\1\1"
        client.send(b"\1")
        assert stream.read(4) == bytes(4)
        client.send(b"\1")  # ClientInit: shared
        (size,) = struct.unpack("!20xI", stream.read(24))
        return stream.read(size)


class _Stream:
    def __init__(self, client: ClientConnection) -> None:
        self._client = client
        self._buffer = b""

    def read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            said = self._client.recv(timeout=20)
            assert isinstance(said, bytes)
            self._buffer += said
        read, self._buffer = self._buffer[:size], self._buffer[size:]
        return read
