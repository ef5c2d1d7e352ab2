"""The example of docs/embedding.rst works as it stands."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

EXAMPLE = Path(__file__).parents[2] / "docs/examples/consoles.py"


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
        service = runpy.run_path(str(EXAMPLE))["makeService"](
            reactor, "tcp:0:interface=127.0.0.1", {"red": target}
        )
        service.startService()
        self.addCleanup(service.stopService)
        port = await _listening(service)
        self.url = f"ws://127.0.0.1:{port.getHost().port}"

    def open(self, path: str, **headers: str) -> Any:
        return connect(self.url + path, additional_headers=headers, compression=None)

    async def test_console(self) -> None:
        """A client that logs in and names a console is connected to it."""

        def converse() -> bytes:
            with self.open("/console/red", Authorization="Basic b3BlcmF0b3I6c2VjcmV0") as console:
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
        authorized = {"Authorization": "Basic b3BlcmF0b3I6c2VjcmV0"}
        self.assertEqual(await deferToThread(status, "/console/green", **authorized), 403)


def _listening(service: Any) -> Deferred[Any]:
    """@return: fires with the port of a service that has been started."""
    listening: Deferred[Any] = service._waitingForPort
    port: Deferred[Any] = Deferred()

    def listens(bound: Any) -> Any:
        port.callback(bound)
        return bound

    listening.addCallback(listens)
    return port
