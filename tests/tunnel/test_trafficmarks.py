"""Traffic marks on a stream."""

from __future__ import annotations

from io import StringIO
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.ends.fake import FakeEnd
from tests.tunnel.client import Frame
from wsproxy.tunnel.trafficmarks import TrafficMarks
from wsproxy.tunnel.tunnel import Tunnel
from wsproxy.wire.frames import BINARY
from wsproxy.wire.wire import BinaryWire


class Stream(StringIO):
    """Counts how often it was flushed."""

    flushed = 0

    def flush(self) -> None:
        self.flushed += 1


class Gone:
    """A stream that nobody reads any more."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def write(self, text: str) -> int:
        raise self._error

    def flush(self) -> None: ...


class TrafficTests(SynchronousTestCase):
    def relay(self, stream: Any) -> tuple[FakeEnd, FakeEnd]:
        client, target = FakeEnd(), FakeEnd()
        tunnel = Tunnel(client, BinaryWire(), Clock(), lambda ending: None, TrafficMarks(stream))
        tunnel.start()
        tunnel.connected(target)
        return client, target

    def test_marks(self) -> None:
        """Each piece is marked as it comes and as it goes."""
        stream = Stream()
        client, target = self.relay(stream)
        client.receive(Frame(BINARY, b"up").encode())
        target.receive(b"down")
        self.assertEqual(stream.getvalue(), "}>{<")
        self.assertEqual(stream.flushed, 4)

    def test_partial(self) -> None:
        """A dot follows where a frame is not complete, or not all of it was taken."""
        stream = Stream()
        client, target = self.relay(stream)
        client.receive(Frame(BINARY, b"up").encode()[:-1])
        client.congested = target.congested = True
        target.receive(b"down")
        client.receive(Frame(BINARY, b"up").encode()[-1:])
        self.assertEqual(stream.getvalue(), "}.>{<.}>.")

    def test_gone(self) -> None:
        """A stream that is broken or closed stops the marks, not the session."""
        for error in (BrokenPipeError(), ValueError("I/O operation on closed file")):
            client, target = self.relay(Gone(error))
            client.receive(Frame(BINARY, b"up").encode())
            self.assertEqual(target.written, b"up")
