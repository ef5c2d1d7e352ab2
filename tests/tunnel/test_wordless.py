"""A client whose language has no word for the end: Hixie-75."""

from __future__ import annotations

from tests.ends.fake import Message
from tests.tunnel.tunnelcase import GOING_AWAY, TunnelTestCase
from wsproxy.wire.hixie import HixieWire
from wsproxy.wire.wire import Wire


class WordlessTests(TunnelTestCase):
    def makeWire(self) -> Wire:
        return HixieWire(closes=False)

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def told(self) -> list[Message]:
        """It gets no frames."""
        return []

    def test_targetEnds(self) -> None:
        """What the target said is sent, and the end of the stream behind it; the client's end is waited for."""
        self.target.receive(b"abc")
        self.target.end()
        self.assertEqual(self.client.written, b"\0YWJj\xff")
        self.assertTrue(self.client.finished and not self.client.closed)
        self.client.end()
        self.assertTrue(self.client.closed)
        self.client.lose()
        self.target.lose()
        self.assertEqual((self.endings[0].by, self.endings[0].close.reason), ("target", "Target closed"))

    def test_error(self) -> None:
        """So is one that breaks the protocol told, and nothing is written; the target gets what came before."""
        self.client.receive(b"\0YWJj\xff\0*\xff")
        self.assertEqual((self.client.written, self.target.written), (b"", b"abc"))
        self.assertTrue(self.client.finished)
        self.assertTrue(self.target.finished)

    def test_closed(self) -> None:
        """And one whose proxy goes down."""
        self.tunnel.close(GOING_AWAY)
        self.assertTrue(self.client.finished)
        self.assertEqual(self.client.written, b"")

    def test_heartbeat(self) -> None:
        """It cannot be pinged, and is not taken for lost as long as its kernel takes what it is sent."""
        for _ in range(5):
            self.tunnel.heartbeat()
        self.assertEqual(self.client.written, b"")
        self.assertTrue(self.tunnel.open)
