"""Whatever happens to a tunnel, in whatever order: what holds of all of it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.ends.fake import FakeEnd, messages
from tests.tunnel.client import Frame
from wsproxy.errors import Close
from wsproxy.interfaces import Ending
from wsproxy.tunnel.patience import CLOSE_TIMEOUT, STALL_LIMIT
from wsproxy.tunnel.tunnel import Tunnel
from wsproxy.wire.frames import BINARY, CLOSE, PING
from wsproxy.wire.wire import BinaryWire

EVENTS = st.sampled_from(
    [
        *("connect", "fail", "proxy closes", "heartbeat", "time passes", "abort"),
        *("client sends", "client pings", "client closes", "client errs", "client ends", "client is lost"),
        *("client leaves", "client half leaves", "target leaves", "target half leaves"),
        *("client vanishes", "client is owed", "target is owed", "target floods"),
        *("client congests", "client drains", "target congests", "target drains"),
        *("target sends", "target ends", "target is lost"),
    ]
)


class Story:
    """One tunnel, and what its peers did: payload they sent while it had to be relayed."""

    def __init__(self, prompt: bool) -> None:
        self.clock = Clock()
        self.client = FakeEnd(prompt)
        self.target = FakeEnd(prompt)
        self.endings: list[Ending] = []
        self.tunnel = Tunnel(self.client, BinaryWire(), self.clock, self.endings.append)
        self.tunnel.start()
        self.number = 0
        self.dialled = False
        self.clientDone = self.targetDone = False
        self.up = b""
        self.down = b""

    def happens(self, event: str) -> None:
        client, target = self.client, self.target
        subject, _, verb = event.partition(" ")
        match event:
            case "connect" | "fail" if not self.dialled and not self.endings:
                self.dialled = True
                if event == "connect":
                    self.tunnel.connected(target)
                else:
                    self.tunnel.failed(Close(1011, "refused"))
            case "proxy closes":
                self.tunnel.close(Close(1001, "going down"))
            case "heartbeat":
                self.tunnel.heartbeat()
            case "time passes":
                self.clock.advance(CLOSE_TIMEOUT / 2)
            case "abort":
                self.tunnel.abort()
        if subject == "client" and self._live(client):
            self._client(verb)
        elif subject == "target" and self._live(target):
            self._target(verb)

    @staticmethod
    def _live(end: FakeEnd) -> bool:
        return end.receiver is not None and not (end.isLost or end.aborted)

    def _client(self, verb: str) -> None:
        client = self.client
        self.number += 1
        payload = b"<%d>" % self.number
        match verb:
            case "sends" if client.reading and not self.clientDone:
                self.up += payload
                client.receive(Frame(BINARY, payload).encode())
            case "pings" if client.reading and not self.clientDone:
                client.receive(Frame(PING, payload).encode())
            case "closes" | "errs" if client.reading and not self.clientDone:
                self.clientDone = True
                self.up += payload
                last = Frame(CLOSE) if verb == "closes" else Frame(BINARY, masked=False)
                client.receive(Frame(BINARY, payload).encode() + last.encode() + b"junk")
            case "ends" if client.reading:
                self.clientDone = True
                client.end()
            case "ends" | "leaves" | "half leaves" if not client.reading:
                self.clientDone = True
                client.leave(verb == "half leaves")
            case "is lost" if not client.unread:
                self.clientDone = True
                client.lose(ConnectionResetError())
            case "vanishes":
                client.vanished = True
            case "is owed":
                client.owed += 1
            case "congests":
                client.congested = True
            case "drains" if client.congested:
                client.drain()

    def _target(self, verb: str) -> None:
        target = self.target
        self.number += 1
        match verb:
            case "sends" if target.reading and not self.targetDone:
                payload = b"<%d>" % self.number
                if self.tunnel.open:
                    self.down += payload
                target.receive(payload)
            case "ends" if target.reading and not self.targetDone:
                self.targetDone = True
                target.end()
            case "floods" if target.reading and not self.targetDone and not self.tunnel.open:
                target.receive(bytes(1 << 20))
            case "leaves" | "half leaves" if not target.reading:
                self.targetDone = True
                target.leave(verb == "half leaves")
            case "is lost" if not target.unread:
                self.targetDone = True
                target.lose(ConnectionResetError())
            case "is owed":
                target.owed += 1
            case "congests":
                target.congested = True
            case "drains" if target.congested:
                target.drain()

    def check(self) -> None:
        """What holds at any time."""
        client, target = self.client, self.target
        told = messages(client.written)
        assert [message.opcode for message in told].count(CLOSE) <= 1
        assert b"".join(message.payload for message in told if message.opcode == BINARY) == self.down
        if target.receiver is not None:
            # what was written before the target was lost is all there is to know
            assert self.up.startswith(target.written)
            if not (target.isLost or target.aborted):
                assert target.written == self.up
        assert len(self.endings) <= 1
        if self.endings:
            # or they were dropped, and did not say in time that they are gone
            assert client.isLost or client.aborted
            assert target.isLost or target.aborted or target.receiver is None
            assert self.clock.getDelayedCalls() == []
        elif client.isLost or not self.tunnel.open:
            # something is on its way to end it
            assert self.clock.getDelayedCalls() or client.aborted

    def conclude(self) -> None:
        """Nobody does anything any more: time ends it."""
        if self.tunnel.open:
            self.tunnel.close(Close(1001, "going down"))
        for _ in range(STALL_LIMIT + 2):
            self.clock.advance(CLOSE_TIMEOUT)
            for end in (self.client, self.target):
                if end.aborted or end.closed:
                    end.lose(ConnectionAbortedError())
        assert len(self.endings) == 1, "not ended"
        self.check()


class AnyOrderTests(SynchronousTestCase):
    @settings(derandomize=True, database=None, deadline=None, max_examples=500)
    @given(st.booleans(), st.lists(EVENTS, max_size=20))
    def test_anyOrder(self, prompt: bool, events: list[str]) -> None:
        """
        One Close frame at most, behind everything from the target; everything from before the client's end reaches
        the target; the end is told once, when both are gone, and comes in bounded time.
        """
        story = Story(prompt)
        for event in events:
            story.happens(event)
            story.check()
        story.conclude()
