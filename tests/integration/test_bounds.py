"""When the proxy has ended at the latest, whoever has other plans."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.certificates import LOCAL
from tests.components import require
from tests.integration.bridge import authority
from tests.integration.proxy import Proxy
from tests.integration.twistd import ROOT
from tests.process.programs import running, until
from wsproxy.errors import ConfigError
from wsproxy.process.command import rebindLibrary

BOUND = 8.0
"""Seconds from SIGTERM to the end, beyond C{--drain}."""

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
LONG_FRAME = b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4)

# name lookups, in their threads, that do not come back
HANGING_NAMES = """
import socket, time
real = socket.getaddrinfo
def getaddrinfo(host, *arguments, **keywords):
    if "nowhere" in str(host):
        time.sleep(600)
    return real(host, *arguments, **keywords)
socket.getaddrinfo = getaddrinfo
"""

# endpoints that do not come back: stuck: blocks the event loop, stuck:thread a thread of its pool
BLOCKING_PLUGIN = """
import time
from twisted.internet.threads import deferToThread
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamClientEndpointStringParserWithReactor
from twisted.plugin import IPlugin
from zope.interface import implementer

@implementer(IStreamClientEndpoint)
class Endpoint:
    def __init__(self, threaded):
        self.threaded = threaded
    def connect(self, factory):
        if self.threaded:
            return deferToThread(self.block)
        self.block()
    def block(self):
        open("stuck", "w").close()
        while True:
            time.sleep(600)

@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class Parser:
    prefix = "stuck"
    def parseStreamClient(self, reactor, *arguments):
        return Endpoint(bool(arguments))

parser = Parser()
"""

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


_End = Callable[[], Coroutine[Any, Any, None]]
"""Ends what a case has started, and sees to it that that is in time."""


class Flood:
    """A target that writes for ever, and reads nothing."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self._listener.getsockname()[1]
        self._clients: list[socket.socket] = []
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self._clients.append(client)
                Thread(target=self._pour, args=(client,), daemon=True).start()

    def _pour(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client.sendall(bytes(65536))

    def close(self) -> None:
        for each in (self._listener, *self._clients):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def client(port: int, secure: bool) -> socket.socket:
    """A client whose target has begun to write, or whose request is answered at least."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", port))
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = context.wrap_socket(connection)
    connection.sendall(UPGRADE)
    assert connection.recv(12) == b"HTTP/1.1 101"
    return connection


def slow(connection: socket.socket) -> None:
    """Read 32 KiB a second."""
    while connection.recv(3277):
        time.sleep(0.1)


def deaf(connection: socket.socket) -> None:
    """Read nothing."""


def uploading(connection: socket.socket) -> None:
    """Write for ever to a target that does not read, and read nothing."""
    connection.sendall(LONG_FRAME)
    while True:
        connection.sendall(bytes(65536))


class BoundsTestCase(TestCase):
    timeout = 90

    def proxy(self, *arguments: str, **environment: str) -> Proxy:
        proxy = Proxy(self.folder(), *arguments, environment=environment)
        self.addCleanup(proxy.kill)
        return proxy

    def folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=".")).absolute()

    def behave(self, connection: socket.socket, how: Callable[[socket.socket], None]) -> None:
        def run() -> None:
            with contextlib.suppress(OSError, ValueError):
                how(connection)

        self.addCleanup(connection.close)
        Thread(target=run, daemon=True).start()

    async def open(self, proxy: Proxy, secure: bool = False) -> socket.socket:
        connection: socket.socket = await deferToThread(client, await proxy.port(), secure)
        self.addCleanup(connection.close)
        return connection

    async def assertLeaves(self, proxy: Proxy, within: float = BOUND) -> None:
        """SIGTERM ends it in time, with status 0."""
        began = time.monotonic()
        proxy.signal(signal.SIGTERM)
        status = await proxy.end()
        took = time.monotonic() - began
        self.assertEqual(status, 0, proxy.lines)
        self.assertLess(took, within, proxy.lines)


class ClientTests(BoundsTestCase):
    """Clients and targets that do not go."""

    def setUp(self) -> None:
        self.flood = Flood()
        self.addCleanup(self.flood.close)
        certificate = self.folder() / "cert.pem"
        certificate.write_bytes(authority().issue(*LOCAL).both)
        self.certified = ("--cert", str(certificate))

    def ways(self) -> Iterator[tuple[bool, float, Proxy]]:
        """Whether over TLS, C{--drain}, and a proxy."""
        target = ("--target", f"127.0.0.1:{self.flood.port}")
        for secure in (False, True):
            for words in ((), ("--no-pump",), ("--workers", "2")):
                yield secure, 0, self.proxy(*target, *words, *(self.certified if secure else ()))
        yield False, 0, self.proxy(*target, "--record", str(self.folder() / "it"))
        for words in ((), ("--workers", "2")):
            yield False, 1, self.proxy(*target, *words, "--drain", "1")

    async def test_anybody(self) -> None:
        """Whether they read slowly, or not at all, or write without end, and whichever way they are relayed."""
        ways = list(self.ways())
        for secure, _, proxy in ways:
            for how in (slow, deaf, uploading):
                self.behave(await self.open(proxy, secure), how)
        await _all(self.assertLeaves(proxy, drain + BOUND) for _, drain, proxy in ways)


class ProcessTests(BoundsTestCase):
    """What keeps a process from ending."""

    async def test_anything(self) -> None:
        """Threads, the event loop, workers and programs: each for itself does not keep it, and nothing is left."""
        cases = (self.threads, self.eventLoop, self.stoppedWorkers, self.programs, self.parentGone)
        ends = [end for case in cases for end in await case()]
        await _all(end() for end in ends)

    async def threads(self) -> list[_End]:
        """A name lookup that does not come back, or another call in a thread, in one process or several."""
        folder = self.folder()
        (folder / "sitecustomize.py").write_text(HANGING_NAMES)
        path = os.pathsep.join([str(ROOT), str(folder)])
        proxies = [self.proxy("--target", "nowhere:1", *words, PYTHONPATH=path) for words in ((), ("--workers", "2"))]
        for proxy in proxies:
            await self.open(proxy)
        proxies += [await self.stuck(*words, target="stuck:thread") for words in ((), ("--workers", "2"))]
        return [partial(self.assertLeaves, proxy) for proxy in proxies]

    async def stuck(self, *words: str, target: str = "stuck:") -> Proxy:
        """A proxy, or a worker of it, whose event loop, or a thread, a plugin does not give back."""
        plugins = self.folder() / "twisted" / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "stuck.py").write_text(BLOCKING_PLUGIN)
        path = os.pathsep.join([str(ROOT), str(plugins.parents[1])])
        proxy = self.proxy("--target", target, *words, PYTHONPATH=path)
        connection = socket.create_connection(("127.0.0.1", await proxy.port()))
        self.addCleanup(connection.close)
        connection.sendall(UPGRADE)
        await until((proxy.folder / "stuck").exists)
        return proxy

    async def eventLoop(self) -> list[_End]:
        """A plugin that blocks the event loop; a second SIGTERM makes it quick."""
        first, second, workers = await self.stuck(), await self.stuck(), await self.stuck("--workers", "2")

        async def twice() -> None:
            first.signal(signal.SIGTERM)
            await deferToThread(time.sleep, 0.2)
            first.signal(signal.SIGTERM)
            self.assertEqual(await first.end(), 128 + signal.SIGTERM)

        return [twice, partial(self.assertLeaves, second), partial(self.assertLeaves, workers)]

    async def stoppedWorkers(self) -> list[_End]:
        """A worker that was stopped (SIGSTOP), with C{--drain} and without."""
        ends: list[_End] = []
        for drain in (0, 1):
            proxy = self.proxy("--target", "demo:", "--workers", "2", "--drain", str(drain))
            await self.open(proxy)
            await proxy.said(r"worker \d is up", 2)
            pids = [int(found[1]) for found in await proxy.said(r"worker \d started as process (\d+)", 2)]
            os.kill(pids[-1], signal.SIGSTOP)
            ends.append(partial(self.assertNobodyStays, proxy, pids, drain + BOUND))
        return ends

    async def assertNobodyStays(self, proxy: Proxy, pids: list[int], within: float = BOUND) -> None:
        await self.assertLeaves(proxy, within)
        self.assertFalse(any(map(running, pids)))

    async def programs(self) -> list[_End]:
        """A wrapped program that ignores SIGTERM."""
        require("rebind.so", _rebind)
        ends: list[_End] = []
        for words in ((), ("--workers", "2")):
            proxy = self.proxy("--wrap-mode", "exit", *words, "--", sys.executable, "-c", DEAF, "{port}")
            pid = int((await proxy.said(r"\] python\S* started as process (\d+)"))[0][1])
            await proxy.said("deaf")
            ends.append(partial(self.assertNobodyStays, proxy, [pid]))
        return ends

    async def parentGone(self) -> list[_End]:
        """A worker that has no parent any more is gone in time, too, though its event loop does not come back."""
        proxy = await self.stuck("--workers", "2")
        pids = [int(found[1]) for found in await proxy.said(r"worker \d started as process (\d+)", 2)]

        async def end() -> None:
            proxy.signal(signal.SIGKILL)
            await proxy.end()
            began = time.monotonic()
            await until(lambda: not any(map(running, pids)))
            self.assertLess(time.monotonic() - began, BOUND)

        return [end]


async def _all(coroutines: Iterable[Any]) -> None:
    await gatherResults([Deferred.fromCoroutine(each) for each in coroutines], consumeErrors=True)


def _rebind() -> bool:
    with contextlib.suppress(ConfigError):
        return bool(rebindLibrary())
    return False
