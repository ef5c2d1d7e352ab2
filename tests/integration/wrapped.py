"""What tests of wrapped programs share: ports, clients, and a look into the kernel's tables."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.components import require
from tests.integration.twistd import ROOT, Outcome, Running, startTwistd
from wsproxy.errors import ConfigError
from wsproxy.process.command import rebindLibrary

__all__ = ["Client", "WrapTestCase", "listening", "sockets"]

SECONDS = 20.0
"""For one step of a conversation."""

_LISTEN = "0A"


class Client:
    """A WebSocket client for a thread of its own."""

    def __init__(self, port: int) -> None:
        url = f"ws://127.0.0.1:{port}/"
        self._connection = connect(url, subprotocols=["binary"], compression=None)  # type: ignore[list-item]
        self.received = b""

    def send(self, data: bytes) -> None:
        self._connection.send(data)

    def until(self, end: bytes) -> bytes:
        """Everything received up to and including C{end}."""
        while end not in self.received:
            self.more()
        return self.received

    def more(self) -> None:
        """Receive one message."""
        message = self._connection.recv(timeout=SECONDS)
        assert isinstance(message, bytes)
        self.received += message

    def closed(self) -> tuple[int, str]:
        """Read on until the proxy closes. @return: its code and reason."""
        try:
            while True:
                self.more()
        except ConnectionClosed as closed:
            assert closed.rcvd is not None, closed
            return closed.rcvd.code, closed.rcvd.reason

    def close(self) -> None:
        self._connection.close()


class WrapTestCase(TestCase):
    """
    @ivar port: a free port, of both families.
    """

    timeout = 90

    def setUp(self) -> None:
        require("rebind.so", _rebind)
        self.port = self.freePort()

    def freePort(self) -> int:
        """A port that the kernel gives to nobody else until the end of the test."""
        holder = socket.socket(socket.AF_INET6)
        self.addCleanup(holder.close)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        holder.bind(("::", 0))
        return int(holder.getsockname()[1])

    def wrap(self, mode: str, *program: str, options: tuple[str, ...] = (), **environment: str) -> Running:
        """Start the proxy on C{port} with this program behind it."""
        listen = ("--listen", str(self.port))
        return startTwistd(self, *listen, "--wrap-mode", mode, *options, "--", *program, **environment)

    async def pid(self, twistd: Running) -> int:
        """The process of the program's first run."""
        return int((await twistd.line(r"Supervisor.* started as process (\d+)"))[1])

    async def address(self, twistd: Running) -> str:
        """Where it listened first."""
        return (await twistd.line(r"listens on (\S+) instead of port"))[1]

    def converse(self, conversation: Callable[[Client], Any]) -> Deferred[Any]:
        """@return: what a conversation over WebSocket comes to."""

        def converse() -> Any:
            client = Client(self.port)
            try:
                return conversation(client)
            finally:
                client.close()

        return deferToThread(converse)

    def plain(self, data: bytes, end: bytes, port: int | None = None) -> Deferred[bytes]:
        """@return: what a plain TCP client receives that sends this, up to and including C{end}."""

        def converse() -> bytes:
            received = b""
            with socket.create_connection(("127.0.0.1", port or self.port), timeout=SECONDS) as client:
                client.sendall(data)
                while end not in received:
                    more = client.recv(65536)
                    assert more, received
                    received += more
            return received

        return deferToThread(converse)

    async def end(self, twistd: Running) -> Outcome:
        """Stop the proxy in good order."""
        outcome = await twistd.stop()
        self.assertEqual(outcome.status, 0, outcome)
        return outcome


def _rebind() -> bool:
    """Whether there is a rebind.so, or one can be built in this checkout."""
    with suppress(ConfigError):
        return bool(rebindLibrary())
    if shutil.which(os.environ.get("CC", "cc")) is None or shutil.which("make") is None:
        return False
    return subprocess.call(["make", "-s", "-C", str(ROOT / "rebind"), "rebind.so"]) == 0


def sockets(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
    return found


def listening(pid: int) -> set[str]:
    """Where a process listens, as the kernel's own tables have it: C{"127.0.0.1:40123"}."""
    mine = sockets(pid)
    found = set()
    for family, table in (socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and fields[9] in mine:
                digits, port = fields[1].split(":")
                words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
                found.add(f"{socket.inet_ntop(family, b''.join(words))}:{int(port, 16)}")
    return found
