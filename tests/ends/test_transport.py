"""What the contract does not ask of a transport's end: what it was told before it began, and how it is let go."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor
from twisted.internet.unix import Server
from twisted.trial.unittest import SynchronousTestCase

from tests.ends.contract import Recorder
from tests.transport import FakeTransport
from wsproxy.ends.transport import TransportEnd, closeEmpty


class StartTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.end = TransportEnd()
        self.transport = FakeTransport()
        self.transport.connect(self.end)
        self.recorder = Recorder()

    def test_ended(self) -> None:
        """An end that its peer has ended before it is started says so then, behind what came before."""
        self.end.dataReceived(b"early")
        self.end.readConnectionLost()
        self.end.start(self.recorder.receiver())
        self.assertEqual((self.recorder.received, self.recorder.events), (b"early", ["ended"]))

    def test_lost(self) -> None:
        """So does one that was lost."""
        self.end.dataReceived(b"early")
        self.transport.lose()
        self.end.start(self.recorder.receiver())
        self.assertEqual((self.recorder.received, self.recorder.events), (b"early", ["lost"]))


class ReleaseTests(SynchronousTestCase):
    def test_closedUNIX(self) -> None:
        """The socket of a unix peer that has spoken and closed is let go all the same: what it said can be read."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        ours.setblocking(False)
        reactor: Any = MemoryReactor()
        end, nobody = TransportEnd(), cast(Any, None)
        transport: Any = Server(ours, end, "", nobody, 0, reactor)
        end.makeConnection(transport)
        theirs.sendall(b"last words")
        theirs.close()
        told: list[object] = []
        self.assertEqual(end.release(lambda: told.append("released"), told.append), b"")
        self.assertEqual(told, ["released"])
        self.assertEqual(ours.recv(100), b"last words")

    def test_closeEmpty(self) -> None:
        """A transport with nothing left to send is closed in the reactor's next round."""
        clock, reasons = Clock(), list[Any]()
        transport: Any = SimpleNamespace(reactor=clock, connectionLost=reasons.append)
        closeEmpty(transport)
        self.assertEqual(reasons, [])
        clock.advance(0)
        self.assertEqual(len(reasons), 1)
