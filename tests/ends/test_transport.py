"""What the contract does not ask of a transport's end: what it was told before it began, and how it is let go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
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
    def test_closeEmpty(self) -> None:
        """A transport with nothing left to send is closed in the reactor's next round."""
        clock, reasons = Clock(), list[Any]()
        transport: Any = SimpleNamespace(reactor=clock, connectionLost=reasons.append)
        closeEmpty(transport)
        self.assertEqual(reasons, [])
        clock.advance(0)
        self.assertEqual(len(reasons), 1)
