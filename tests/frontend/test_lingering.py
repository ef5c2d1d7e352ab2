"""The end of a connection that is still told something."""

from __future__ import annotations

import gc
import weakref

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.transport import FakeTransport
from wsproxy.frontend.lingering import LINGER, Lingering


class LingeringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.slow = 0
        self.transport = FakeTransport()
        self.transport.write(b"so long")
        self.transport.connect(Lingering(self.clock, self.tooSlow))

    def tooSlow(self) -> None:
        self.slow += 1

    def test_ends(self) -> None:
        """It is closed for writing and read, until the peer has closed it too; then no timer is left."""
        self.assertTrue(self.transport.writeDisconnecting)
        self.transport.receive(b"ignored")
        self.assertFalse(self.transport.disconnecting)
        self.transport.halfClose()
        self.assertTrue(self.transport.disconnecting)
        self.transport.lose()
        self.assertEqual((self.clock.getDelayedCalls(), self.slow), ([], 0))

    def test_cutOff(self) -> None:
        """A peer that neither closes it nor takes anything is cut off, which somebody learns."""
        self.clock.advance(LINGER - 0.1)
        self.transport.receive(b"but wait")
        self.assertFalse(self.transport.aborted)
        self.clock.advance(0.1)
        self.assertEqual((self.transport.aborted, self.slow), (True, 1))

    def test_leavesNothing(self) -> None:
        """When it is over it is freed, and so is who was to learn of a slow peer."""
        gc.disable()
        self.addCleanup(gc.enable)
        transport, holder = FakeTransport(), Holder(self.clock)
        transport.connect(holder.lingering)
        over = [weakref.ref(holder.lingering), weakref.ref(holder)]
        transport.lose()
        transport.protocol = holder = None
        self.assertEqual([each() for each in over], [None, None])


class Holder:
    """Holds on to what lingers, and is to learn of it, as a switch does."""

    def __init__(self, clock: Clock) -> None:
        self.lingering = Lingering(clock, self.tooSlow)

    def tooSlow(self) -> None: ...
