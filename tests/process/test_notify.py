"""The socket that rebind reports to."""

from __future__ import annotations

import os
import socket
import tempfile
from array import array
from pathlib import Path

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.components import require
from tests.process.programs import until
from wsproxy.process.notify import ReportSocket
from wsproxy.process.report import Report

GOOD = b"1 listen 1 inet 127.0.0.1 40123 5901 0.0.0.0\n"


class ReportSocketTests(TestCase):
    def setUp(self) -> None:
        from twisted.internet import reactor

        directory = tempfile.TemporaryDirectory(prefix="wsproxy-")
        self.addCleanup(directory.cleanup)
        self.reports: list[tuple[Report, int]] = []
        self.socket = ReportSocket(reactor, directory.name, lambda report, pid: self.reports.append((report, pid)))
        self.sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.sender.close)

    async def test_reports(self) -> None:
        """Reports arrive with the process that the kernel says sent them; anything else is dropped."""
        self.addCleanup(self.socket.close)
        self.assertTrue(verifyObject(IReadDescriptor, self.socket))
        for datagram in (b"", b"nonsense", GOOD * 20, GOOD):
            self.sender.sendto(datagram, self.socket.path)
        await until(lambda: self.reports)
        self.assertEqual(self.reports, [(Report(True, "127.0.0.1:40123", 5901, "0.0.0.0:5901"), os.getpid())])

    async def test_answer(self) -> None:
        """Who passes a descriptor along is answered, when the report has been dealt with, by its being closed."""
        self.addCleanup(self.socket.close)
        for datagram in GOOD, b"nonsense":
            here, there = socket.socketpair()
            self.addCleanup(here.close)
            here.settimeout(30)
            with there:
                passed = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [there.fileno()]))
                self.sender.sendmsg([datagram], [passed], 0, self.socket.path)
            closed = await deferToThread(here.recv, 1)
            self.assertEqual((closed, len(self.reports)), (b"", 1))

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
