"""What a service manager is told, and how often."""

from __future__ import annotations

import os
import socket
import tempfile

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.daemon.servicemanager import ServiceManager


class ServiceManagerTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = f"{folder.name}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.setblocking(False)
        self.socket.bind(self.path)
        self.clock = Clock()
        self.asked: list[float] = []
        self.well: list[Deferred[bool]] = []

    def told(self) -> list[str]:
        told = []
        try:
            while True:
                told.append(self.socket.recv(4096).decode())
        except BlockingIOError:
            return told

    def manager(self, **environment: str) -> ServiceManager:
        return ServiceManager({"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "4000000", **environment})

    def isWell(self, within: float) -> Deferred[bool]:
        self.asked.append(within)
        return self.well.pop(0) if self.well else succeed(True)

    def test_environment(self) -> None:
        """What is meant for this process is taken out of what others inherit; nothing else is."""
        mine = dict.fromkeys(("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS"), "1")
        environment = {**mine, "LISTEN_FDNAMES": "a", "PATH": "/bin"}
        ServiceManager(environment)
        self.assertEqual(environment, {"PATH": "/bin"})

    def test_nobody(self) -> None:
        """Without a manager nothing is told, and nothing waits for a time."""
        manager = ServiceManager({"WATCHDOG_USEC": "4000000"})
        manager.ready()
        manager.stopping()
        manager.watchOver(self.clock, self.isWell)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_once(self) -> None:
        """That it stops is told once."""
        manager = self.manager()
        manager.stopping()
        manager.stopping()
        self.assertEqual(self.told(), ["STOPPING=1"])

    def test_petting(self) -> None:
        """Four times as often as is needed, and only when all is well."""
        self.manager(WATCHDOG_PID=str(os.getpid())).watchOver(self.clock, self.isWell)
        self.assertEqual((self.told(), self.asked), (["WATCHDOG=1"], [1.0]))
        self.well = [succeed(False)]
        self.clock.advance(1)
        self.assertEqual(self.told(), [])
        self.clock.advance(1)
        self.assertEqual(self.told(), ["WATCHDOG=1"])

    def test_late(self) -> None:
        """Nobody is asked again before he has answered, and nothing is told until then."""
        answer: Deferred[bool] = Deferred()
        self.well = [answer]
        self.manager().watchOver(self.clock, self.isWell)
        self.clock.pump([0.5] * 4)
        self.assertEqual((self.told(), len(self.asked)), ([], 1))
        answer.callback(True)
        self.assertEqual(self.told(), ["WATCHDOG=1"])
        self.clock.advance(1)
        self.assertEqual(self.told(), ["WATCHDOG=1"])

    def test_raises(self) -> None:
        """One who cannot say is not well; it is logged, and he is asked again."""
        self.well = [fail(ValueError())]
        self.manager().watchOver(self.clock, self.isWell)
        self.assertEqual(self.told(), [])
        self.clock.advance(1)
        self.assertEqual(self.told(), ["WATCHDOG=1"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_notWanted(self) -> None:
        """No watchdog is petted where there is none, where it is another process's, or makes no sense."""
        for wanted in ({"WATCHDOG_USEC": ""}, {"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "-5"}):
            self.manager(**wanted).watchOver(self.clock, self.isWell)
            self.assertEqual(self.told(), [])

    def test_deaf(self) -> None:
        """A manager that does not read is not waited for."""
        manager = self.manager()
        for _ in range(5000):
            manager.ready()
        self.assertIn("READY=1", self.told())
