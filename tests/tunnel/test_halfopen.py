"""Plain TCP on both sides: either direction may end before the other."""

from __future__ import annotations

from tests.ends.fake import Message
from tests.tunnel.tunnelcase import GOING_AWAY, TunnelTestCase
from wsproxy.tunnel.patience import CLOSE_TIMEOUT
from wsproxy.wire.wire import RawWire, Wire


class HalfOpenTests(TunnelTestCase):
    def makeWire(self) -> Wire:
        return RawWire()

    def told(self) -> list[Message]:
        return []

    def test_clientFirst(self) -> None:
        """A client that has said all still hears what the target says, up to its end."""
        self.connect()
        self.client.receive(b"question")
        self.client.end()
        self.assertTrue(self.target.finished and not self.target.closed)
        self.assertTrue(self.tunnel.open)
        self.target.receive(b"answer")
        self.assertEqual((self.target.written, self.client.written), (b"question", b"answer"))
        self.target.end()
        self.assertFalse(self.tunnel.open)
        self.assertTrue(self.client.closed and self.target.closed)
        self.client.lose()
        self.target.lose()
        self.assertEnded("client", 1000, "Client closed")

    def test_targetFirst(self) -> None:
        """A target that has said all still hears what the client says, up to its end."""
        self.connect()
        self.target.receive(b"greeting")
        self.target.end()
        self.assertTrue(self.client.finished and not self.client.closed)
        self.assertTrue(self.tunnel.open)
        self.client.receive(b"thanks")
        self.assertEqual((self.client.written, self.target.written), (b"greeting", b"thanks"))
        self.client.end()
        self.assertTrue(self.client.closed and self.target.closed)
        self.client.lose()
        self.target.lose()
        self.assertEnded("target", 1000, "Target closed")

    def test_early(self) -> None:
        """A client that has said all before there is a target is answered all the same."""
        self.start()
        self.client.receive(b"question")
        self.client.end()
        self.assertTrue(self.tunnel.open)
        self.tunnel.connected(self.target)
        self.assertEqual(self.target.written, b"question")
        self.assertTrue(self.target.finished)
        self.target.receive(b"answer")
        self.assertEqual(self.client.written, b"answer")

    def test_backpressure(self) -> None:
        """The direction that goes on does so at the pace of whoever takes it."""
        self.connect()
        self.client.end()
        self.client.congested = True
        self.target.receive(b"answer")
        self.assertFalse(self.target.reading)
        self.client.drain()
        self.assertTrue(self.target.reading)

    def test_close(self) -> None:
        """To close it is to end the other direction; who ended first is who ended it."""
        self.connect()
        self.target.end()
        self.tunnel.close(GOING_AWAY)
        self.assertFalse(self.tunnel.open)
        self.client.end()
        self.assertTrue(self.client.closed)
        self.client.lose()
        self.target.lose()
        self.assertEnded("target", 1000, "Target closed")

    def test_mute(self) -> None:
        """When both have ended they are waited for, and then aborted."""
        self.connect()
        self.target.end()
        self.clock.advance(2 * CLOSE_TIMEOUT)
        self.assertFalse(self.client.aborted or self.target.aborted)
        self.client.end()
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.client.aborted and self.target.aborted)
