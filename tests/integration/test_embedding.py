"""The example of docs/embedding.rst works as it stands there."""

from __future__ import annotations

import contextlib
import pydoc
import re
import runpy
import socket
import ssl
import sys
from subprocess import PIPE, Popen
from textwrap import dedent
from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase, TestCase
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import wsproxy
from tests.certificates import LOCAL, Authority, Issued, pem
from tests.integration.twistd import ROOT, TWISTD, start
from wsproxy import WebSockifyFactory
from wsproxy.config import TLSConfig
from wsproxy.errors import Refusal
from wsproxy.interfaces import Identity, Request
from wsproxy.tls.server import ServerTLS

EXAMPLE = ROOT / "docs/embedding/consoles.py"
AUTHORIZED = {"Authorization": "Basic b3BlcmF0b3I6c2VjcmV0"}


class Greeter(Protocol):
    """A console that says its name and echoes."""

    transport: Any

    def connectionMade(self) -> None:
        self.transport.write(b"red console: ")

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class EmbeddingTests(TestCase):
    async def setUp(self) -> None:
        from twisted.internet import reactor

        console = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Greeter))
        self.addCleanup(console.stopListening)
        target = f"127.0.0.1:{console.getHost().port}"
        service = runpy.run_path(str(EXAMPLE))["makeService"](reactor, "127.0.0.1:0", {"red": target})
        service.startService()
        self.addCleanup(service.stopService)
        [port] = await service.whenListening()
        self.url = f"ws://127.0.0.1:{port.getHost().port}"

    def open(self, path: str, **headers: str) -> Any:
        return connect(self.url + path, additional_headers=headers, compression=None)

    async def test_console(self) -> None:
        """A client that logs in and names a console is connected to it."""

        def converse() -> bytes:
            with self.open("/console/red", **AUTHORIZED) as console:
                said = console.recv()
                console.send(b"hello")
                while not said.endswith(b"hello"):
                    said += console.recv()
                return bytes(said)

        self.assertEqual(await deferToThread(converse), b"red console: hello")

    async def test_refusals(self) -> None:
        """Without credentials the answer is 401; with them, for a console that is not there, 403."""

        def status(path: str, **headers: str) -> int:
            try:
                with self.open(path, **headers):
                    return 101
            except InvalidStatus as refused:
                return refused.response.status_code

        self.assertEqual(await deferToThread(status, "/console/red"), 401)
        self.assertEqual(await deferToThread(status, "/console/green", **AUTHORIZED), 403)


class CertificateTests(TestCase):
    """A client's certificate, for those who decide."""

    async def seen(self, client: Issued | None, raw: bool = False) -> Request:
        """@return: what a resolver is asked about a client that has this certificate."""
        from twisted.internet import reactor

        authority, asked = Authority(), []
        files = {name: FilePath(self.mktemp()) for name in ("both", "authority")}
        files["both"].setContent(authority.issue(*LOCAL).both)
        files["authority"].setContent(pem(AUTHORITY.certificate))
        asks = {"verifyClient": client is not None, "authorities": files["authority"].path}
        tls = ServerTLS(TLSConfig(files["both"].path, **asks))

        def resolve(request: Request, identity: Identity | None) -> str:
            asked.append(request)
            raise Refusal(403, "Seen")

        factory = WebSockifyFactory(reactor, resolver=resolve, tls=tls, raw=raw)
        self.addCleanup(factory.closeAll)
        listening = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(listening.stopListening)
        context = ssl.create_default_context(cadata=pem(authority.certificate).decode())
        if client is not None:
            path = FilePath(self.mktemp())
            path.setContent(client.both)
            context.load_cert_chain(path.path)

        def speak() -> None:
            address = ("127.0.0.1", listening.getHost().port)
            plain = socket.create_connection(address, 10)
            with context.wrap_socket(plain, server_hostname="localhost") as it:
                it.sendall(b"\0raw" if raw else WEBSOCKET)
                with contextlib.suppress(OSError):
                    it.recv(1000)

        await deferToThread(speak)
        (request,) = asked
        return request

    async def test_shown(self) -> None:
        """A request has the certificate that its client has shown, be it a WebSocket or not."""
        client = AUTHORITY.issue("alice", client=True)
        for raw in (False, True):
            request = await self.seen(client, raw=raw)
            self.assertEqual(request.certificate, client.certificate)

    async def test_none(self) -> None:
        """Where none was asked for there is none."""
        request = await self.seen(None)
        self.assertEqual((request.secure, request.certificate), (True, None))


AUTHORITY = Authority()

WEBSOCKET = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class AsyncioTests(TestCase):
    """In a program that is asyncio's."""

    timeout = 60

    async def test_everybodyWaits(self) -> None:
        """
        Whoever is asked or told may wait for asyncio, however it makes its coroutine; and until it first waits, what
        it is given is whole.
        """
        from twisted.internet import reactor

        console = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Greeter))
        self.addCleanup(console.stopListening)
        target = f"tcp:127.0.0.1:{console.getHost().port}"
        command = [sys.executable, "-m", "tests.integration.asynciohooks", target]

        def converse() -> tuple[list[str], int, str]:
            with Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, cwd=ROOT) as program:
                assert program.stdout is not None
                port = program.stdout.readline().strip()
                with connect(f"ws://127.0.0.1:{port}/", additional_headers={"Cookie": "seat=7"}) as client:
                    said = b""
                    while not said.endswith(b"console: "):
                        heard = client.recv(10)
                        assert isinstance(heard, bytes)
                        said += heard
                lines = []
                while not lines or not lines[-1].startswith("closed"):
                    lines.append(program.stdout.readline())
                out, err = program.communicate("", 20)
                return [*"".join([*lines, out]).splitlines(), said.decode()], program.returncode, err

        told, status, err = await deferToThread(converse)
        asked = ["authenticate", "resolve", "authorise"]
        told[3:5] = sorted(told[3:5])  # the dialer and the observer wait at the same time
        self.assertEqual(
            told,
            [*asked, "dial 7", "opened 7", "negotiate red", "closed 1000", " console: "],
            err,
        )
        self.assertEqual(status, 0)
        self.assertNotIn("Traceback", err)
        self.assertIn(", as 7)\n", err)

    async def test_shown(self) -> None:
        """What the document shows of such a program runs as it stands there, and logs what it does."""
        document = (ROOT / "docs/embedding.rst").read_text()
        block = document.partition("Under asyncio\n---")[2].partition(".. code-block:: python\n\n")[2]
        shown = dedent(block.partition("\n\nNothing")[0])
        self.assertEqual((shown.count("…"), shown.count('["6080"]')), (1, 1))
        program = (
            "import asyncio, sys\nfrom twisted.internet import asyncioreactor\n"
            "from twisted.logger import globalLogBeginner, textFileLogObserver\n"
            "from wsproxy import WebSockifyFactory, WebSockifyService\n"
            "def resolve(request, identity): return 'demo:'\n"
            + shown.replace("…", "pass").replace('"6080"', '"127.0.0.1:0"')
        )
        outcome = await start(self, [sys.executable, "-c", program]).end()
        self.assertEqual(outcome.status, 0, outcome.err)
        self.assertIn("starting on", outcome.err)
        self.assertNotIn("Traceback", outcome.err)

    async def test_import(self) -> None:
        """To import what the document says installs no reactor: which one it is may be decided later."""
        program = (
            "import sys, wsproxy.errors, wsproxy.interfaces, wsproxy.testing; "
            "from wsproxy import WebSockifyFactory, WebSockifyResource, WebSockifyService; "
            "print('twisted.internet.reactor' in sys.modules)"
        )
        outcome = await start(self, [sys.executable, "-c", program]).end()
        self.assertEqual((outcome.out, outcome.status), ("False\n", 0), outcome.err)


class HelpTests(SynchronousTestCase):
    def test_module(self) -> None:
        """C{help(wsproxy)} has what there is to import, and points to nothing that may move."""
        told = pydoc.render_doc(wsproxy, renderer=pydoc.plaintext)
        for name in ("WebSockifyFactory", "WebSockifyResource", "WebSockifyService"):
            self.assertIn(f"class {name}(", told)
        for line in (WebSockifyFactory.__doc__ or "").splitlines():
            for place in re.findall(r"wsproxy\.[a-z_]+", line):
                self.assertIn(place, ("wsproxy.interfaces", "wsproxy.errors"))


class DocumentTests(TestCase):
    """What the document promises of it."""

    timeout = 60

    def test_shown(self) -> None:
        """The document shows the whole of it, wherever it is read."""
        document = (ROOT / "docs/embedding.rst").read_text()
        block = document.partition(".. code-block:: python\n\n")[2].partition("\n\nMore of them")[0]
        self.assertEqual(dedent(block) + "\n", EXAMPLE.read_text())

    async def test_typed(self) -> None:
        """It and its like pass C{mypy --strict}, with the plugin for zope.interface and without any configuration."""
        examples = sorted(map(str, EXAMPLE.parent.glob("*.py")))
        for configuration, cache in (("", ".mypy_cache/plain"), (str(ROOT / "pyproject.toml"), ".mypy_cache/zope")):
            settings = [f"--config-file={configuration}", f"--cache-dir={ROOT / cache}"]
            outcome = await start(self, [sys.executable, "-m", "mypy", "--strict", *settings, *examples]).end()
            self.assertEqual((outcome.status, outcome.err), (0, ""), outcome.out)

    async def test_stopped(self) -> None:
        """Run by C{twistd}, it closes its sessions with 1001 when it is told to end, and ends."""
        text = EXAMPLE.read_text().replace('"6080"', '"127.0.0.1:0"').replace("localhost:5901", "demo:")
        twistd = start(self, [sys.executable, "-c", WAIT, TWISTD, "-n", "--pidfile=", "-y", "consoles.py"], TEXT=text)
        port = int((await twistd.line(r"starting on (\d+)"))[1])
        opened = await deferToThread(connect, f"ws://127.0.0.1:{port}/console/red", additional_headers=AUTHORIZED)

        def told() -> tuple[int, str]:
            try:
                while True:
                    opened.recv()
            except ConnectionClosed as closed:
                assert closed.rcvd is not None
                return closed.rcvd.code, closed.rcvd.reason

        closed = deferToThread(told)
        await twistd.stop()
        self.assertEqual(await closed, (1001, "Server going down"))


WAIT = "import os, sys; open('consoles.py', 'w').write(os.environ['TEXT']); os.execv(sys.argv[1], sys.argv[1:])"
"""Writes the example into the working directory, and becomes the program in the arguments."""
