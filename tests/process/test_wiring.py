"""Which settings a wrapped program can have, and that nothing is left of it."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.integration.wrapped import WrapTestCase
from tests.process.programs import until
from wsproxy.config import Config, ListeningConfig, ProgramConfig
from wsproxy.errors import ConfigError
from wsproxy.interfaces import IStatusStop
from wsproxy.process.supervisor import Supervisor
from wsproxy.service.proxy import Proxy
from wsproxy.wiring import makeProxy

CYCLES = 100 if os.environ.get("WSPROXY_SOAK") == "long" else 15

SERVER = """
import os, socket, sys, time
if os.fork():
    os.wait()
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("", int(sys.argv[1])))
listener.listen()
time.sleep(3600)
"""


@implementer(IStatusStop)
class Statuses(list[int]):
    def stop(self, status: int) -> None:
        self.append(status)

    def fail(self, failure: Failure) -> None:
        self.append(1)


def proxy(config: Config) -> Proxy:
    from twisted.internet import reactor

    return makeProxy(config, reactor, Statuses())


class ComplaintTests(TestCase):
    def complaint(self, *program: str, listen: tuple[str, ...] = ("6080",), everyPort: bool = False) -> str:
        config = Config(ListeningConfig(listen), program=ProgramConfig(program, everyPort=everyPort))
        return str(self.assertRaises(ConfigError, proxy, config))

    def test_listens(self) -> None:
        """A port can be moved where there is one to listen on: not two, none, or one of the kernel's choice."""
        for listen in ("80", "81"), ("unix:/run/x",), ("0",):
            line = self.complaint("sh", listen=listen)
            self.assertTrue(line.startswith(f"--listen {listen[0]}"), line)
            self.assertIn("{port} or {socket}", line)

    def test_placeholders(self) -> None:
        """A program that is told where to listen goes with any listeners, but not with --every-port."""
        proxy(Config(ListeningConfig(("80", "unix:/run/x")), program=ProgramConfig(("sh", "{port}"))))
        self.assertIn("--every-port", self.complaint("sh", "{socket}", listen=(), everyPort=True))

    def test_noProgram(self) -> None:
        """The program has to be there."""
        self.assertEqual(self.complaint("no-such-program"), "-- no-such-program: no such program")


def children() -> set[str]:
    """@return: the process ids of our children, dead ones included."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


class CycleTests(WrapTestCase):
    async def test_cycles(self) -> None:
        """Start after stop, nothing is left: no process, no descriptor, no directory, no timer."""
        from twisted.internet import reactor

        counts = set()
        others = children()
        folder = tempfile.mkdtemp()  # shorter than mktemp(): a socket's path has 107 bytes
        self.addCleanup(shutil.rmtree, folder)
        self.patch(tempfile, "tempdir", folder)
        for cycle in range(CYCLES):
            program = (sys.executable, "-I", "-S", "-c", SERVER, str(self.port))
            service = proxy(Config(ListeningConfig((str(self.port),)), program=ProgramConfig(program)))
            (supervisor,) = service
            assert isinstance(supervisor, Supervisor)
            service.privilegedStartService()
            service.startService()
            await until(partial(supervisor._listeners.at, self.port))
            run = supervisor._run
            assert run is not None
            stopping: Deferred[None] = service.stopService()
            await stopping
            self.assertFalse(run.runs())
            self.assertEqual(children(), others)
            if cycle:  # the first one leaves the reactor's own descriptors behind
                gc.collect()  # the pump's epoll set goes with its factory
                timers = len(reactor.getDelayedCalls())
                directories = len(os.listdir(folder))
                counts.add((len(os.listdir("/proc/self/fd")), directories, timers))
        self.assertEqual(len(counts), 1, counts)
