"""A tunnel between two fakes, to be tested."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.ends.fake import FakeEnd, Message, messages
from tests.tunnel.client import Frame
from wsproxy.ends.end import End
from wsproxy.errors import Close
from wsproxy.interfaces import Ending
from wsproxy.tunnel.tunnel import Tunnel
from wsproxy.wire.frames import BINARY, CLOSE
from wsproxy.wire.wire import BinaryWire, Wire

__all__ = ["GOING_AWAY", "RESET", "TunnelTestCase", "binary", "closing"]

RESET = ConnectionResetError("reset by peer")
GOING_AWAY = Close(1001, "Server going down")


def binary(payload: bytes) -> bytes:
    return Frame(BINARY, payload).encode()


def closing(code: int, reason: bytes = b"") -> bytes:
    """The payload of a Close frame."""
    return code.to_bytes(2, "big") + reason


class TunnelTestCase(SynchronousTestCase):
    """A tunnel between two fakes. However a test leaves it, it ends once and leaves nothing behind."""

    def makeWire(self) -> Wire:
        return BinaryWire(text=True)

    def setUp(self) -> None:
        self.clock = Clock()
        self.client = FakeEnd()
        self.target = FakeEnd()
        self.endings: list[Ending] = []
        self.tap: Any = None
        self.tunnel = self.makeTunnel(self.client)

    def makeTunnel(self, client: End) -> Tunnel:
        return Tunnel(client, self.makeWire(), self.clock, self.endings.append, self.tap)

    def start(self) -> None:
        """Before the target has answered."""
        self.tunnel.start()

    def connect(self) -> None:
        """Both ends are there."""
        self.tunnel.start()
        self.tunnel.connected(self.target)

    def tearDown(self) -> None:
        if self.client.receiver is None:
            return
        if not self.endings:
            self.tunnel.abort()
            self.client.lose()
            self.target.lose()
        self.assertEqual(len(self.endings), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.tunnel.abort()
        self.tunnel.close(GOING_AWAY)
        self.tunnel.heartbeat()
        self.assertEqual(len(self.endings), 1)
        self.assertLessEqual(sum(message.opcode == CLOSE for message in self.told()), 1)

    def told(self) -> list[Message]:
        """What the client has been sent."""
        return messages(self.client.written)

    def assertClosing(self, code: int, reason: bytes = b"") -> None:
        """The last that the client was told is a Close."""
        self.assertEqual(self.told()[-1:], [Message(CLOSE, closing(code, reason))])

    def assertEnded(self, by: str, code: int, reason: str = "") -> None:
        self.assertEqual(self.endings, [Ending(by, Close(code, reason))])
