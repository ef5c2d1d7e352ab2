"""The socket that rebind reports to."""

from __future__ import annotations

import os
import socket
import tempfile
from array import array
from contextlib import suppress as suppressed
from pathlib import Path

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.components import require
from tests.process.programs import until
from wsproxy.process.report import Report
from wsproxy.process.reportsocket import ReportSocket

GOOD = b"1 listen 1 inet 127.0.0.1 40123 5901 0.0.0.0\n"


class ReportSocketTests(TestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        directory = tempfile.TemporaryDirectory(prefix="wsproxy-")
        self.addCleanup(directory.cleanup)
        self.reports: list[tuple[Report, int]] = []
        self.socket = ReportSocket(reactor, directory.name, self.reported)
        self.sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.sender.close)

    def reported(self, report: Report, pid: int) -> bool:
        self.reports.append((report, pid))
        return report.event == "taken"

    async def test_reports(self) -> None:
        """Reports arrive with the process that the kernel says sent them; anything else is dropped."""
        self.addCleanup(self.socket.close)
        self.assertTrue(verifyObject(IReadDescriptor, self.socket))
        for datagram in (b"", b"nonsense", GOOD * 20, GOOD):
            self.sender.sendto(datagram, self.socket.path)
        await until(lambda: self.reports)
        self.assertEqual(self.reports, [(Report("listen", "127.0.0.1:40123", 5901, "0.0.0.0:5901"), os.getpid())])

    async def test_unexpected(self) -> None:
        """Whatever is raised about one report, the next one is heard."""
        self.addCleanup(self.socket.close)
        reports, self.reports = self.reports, None  # type: ignore[assignment]
        self.sender.sendto(GOOD, self.socket.path)
        self.socket.doRead()
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.reports = reports
        self.sender.sendto(GOOD, self.socket.path)
        await until(lambda: self.reports)

    async def test_answer(self) -> None:
        """
        Who passes a descriptor along is answered, when the report has been dealt with, by its being closed; with a byte
        before, if the answer is yes.
        """
        self.addCleanup(self.socket.close)
        for datagram, answer, count in (
            (GOOD, b"", 1),
            (b"nonsense", b"", 1),
            (GOOD.replace(b"listen", b"taken"), b"\1", 2),
        ):
            here, there = socket.socketpair()
            self.addCleanup(here.close)
            here.settimeout(30)
            with there:
                passed = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [there.fileno()]))
                self.sender.sendmsg([datagram], [passed], 0, self.socket.path)
            self.assertEqual(await deferToThread(here.recv, 2), answer)
            self.assertEqual(await deferToThread(here.recv, 1), b"")
            self.assertEqual(len(self.reports), count)

    async def test_otherDescriptors(self) -> None:
        """None that is passed stays open here, whatever it is."""
        self.addCleanup(self.socket.close)
        with tempfile.TemporaryFile() as file:
            mine = os.fstat(file.fileno())
            passed = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [file.fileno()] * 10))
            self.sender.sendmsg([GOOD], [passed], 0, self.socket.path)
        await until(lambda: self.reports)
        for name in os.listdir("/proc/self/fd"):
            with suppressed(OSError):
                self.assertFalse(os.path.samestat(os.fstat(int(name)), mine))

    async def test_otherUser(self) -> None:
        """A program that is another user by now can report, since it was told the path; nobody else finds it."""
        require("the right to become another user", lambda: os.geteuid() == 0)
        self.addCleanup(self.socket.close)
        directory, name = os.path.split(self.socket.path)
        os.seteuid(65534)
        self.addCleanup(os.seteuid, 0)
        self.assertRaises(PermissionError, os.listdir, directory)
        self.assertNotIn(name, Path("/proc/net/unix").read_text())
        self.sender.sendto(GOOD, self.socket.path)
        os.seteuid(0)
        await until(lambda: self.reports)

    def test_close(self) -> None:
        """Nothing is left of it, nor in the reactor."""
        self.sender.sendto(GOOD, self.socket.path)
        self.socket.close()
        self.assertFalse(os.path.exists(self.socket.path))
        self.assertEqual(self.reports, [])
