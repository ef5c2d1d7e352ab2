"""Two ends and the bytes between them: relaying, backpressure, and how it ends.

The client's end speaks a L{wire<wsproxy.tunnel.wire.Wire>} (WebSocket frames); the target's end speaks plain bytes.
The two directions know of each other only where one of them ends::

                  target's EOF or loss; close()                 client's Close, EOF, loss or error
    CONNECTED ─────────────────────────────────► CLOSING ─┬─────────────────────────────────────► FINISHING ─► CLOSED
        └─────────────── client's Close, EOF, loss or error ────────────────────────────────────────►┘

- CONNECTED: both directions flow; before the target has been dialled, its direction queues.
- CLOSING: our Close frame is on its way behind everything the target wrote. What the client sends is still relayed
  until its own Close, for L{CLOSE_TIMEOUT} seconds at most.
- FINISHING: the client is done. What it sent is flushed to the target, then end-of-file; what the target still says
  has nowhere to go and is dropped. L{CLOSE_TIMEOUT} seconds at most, then both ends are aborted.

A client that speaks plain TCP has no Close: either direction may end before the other, and both ends are then closed
with the second (still CONNECTED until then). To close it is to end the stream of bytes.

Backpressure: when writing to one end leaves it congested, the other end is not read until it has drained. Each end
queues at most 64 KiB or one read of 256 KiB beyond the kernel's buffers, so a peer that stalls costs no more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from wsproxy.errors import Close, CloseCode
from wsproxy.tunnel.end import Buffer, End, Receiver
from wsproxy.tunnel.tap import Tap
from wsproxy.tunnel.wire import Wire

__all__ = ["CLOSE_TIMEOUT", "EARLY_LIMIT", "STALL_LIMIT", "Ending", "Tunnel"]

CLOSE_TIMEOUT = 5.0
"""Seconds a closing side is waited for."""

STALL_LIMIT = 6
"""How many times in a row L{CLOSE_TIMEOUT} may pass while the client acknowledges nothing of what it is still owed."""

EARLY_LIMIT = 65536
"""Bytes the client may send before the target is connected; then it is not read."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a tunnel ended. C{by} is C{"client"}, C{"target"} or C{"proxy"}."""

    by: str
    close: Close


class _State(Enum):
    CONNECTED = "connected"
    CLOSING = "closing"
    FINISHING = "finishing"
    CLOSED = "closed"


class Tunnel:
    """Relays between a client and a target until both are gone.

    @param clock: for the closing deadlines.
    @param onEnd: called once, when both ends are gone and nothing is left to cancel.
    """

    __slots__ = (
        "_alive",
        "_client",
        "_clientPaused",
        "_clock",
        "_deadline",
        "_early",
        "_earlySize",
        "_ending",
        "_onEnd",
        "_silent",
        "_stalled",
        "_state",
        "_tap",
        "_target",
        "_unsent",
        "_wire",
        "bytesFromClient",
        "bytesFromTarget",
    )

    def __init__(
        self, client: End, wire: Wire, clock: IReactorTime, onEnd: Callable[[Ending], None], tap: Tap | None = None
    ) -> None:
        self._client: End | None = client
        self._target: End | None = None
        self._wire = wire
        self._clock = clock
        self._onEnd = onEnd
        self._tap = tap
        self._state = _State.CONNECTED
        self._ending: Ending | None = None
        self._deadline: IDelayedCall | None = None
        self._unsent = self._stalled = 0
        self._early: list[Buffer] | None = []
        self._earlySize = 0
        self._clientPaused = False
        self._alive = False
        self._silent = 0
        self.bytesFromClient = 0
        self.bytesFromTarget = 0

    # Life

    def start(self) -> None:
        """Begin to read from the client; its payload waits for L{connected}."""
        assert self._client is not None
        self._client.start(
            Receiver(self._clientReceived, self._clientEnded, self._clientDrained, self._clientLost)
        )

    @property
    def open(self) -> bool:
        """Whether the tunnel still waits for, or relays to, a target."""
        return self._state is _State.CONNECTED

    def connected(self, target: End) -> None:
        """The target answered: relay. When the tunnel has begun to end meanwhile, the target gets what was sent."""
        if self._state is _State.CLOSED:
            target.abort()
            return
        self._target = target
        early, self._early = self._early, None
        if early:
            self._writeTarget(early)
        target.start(Receiver(self._targetReceived, self._targetEnded, self._resumeClient, self._targetLost))
        if self._state is _State.FINISHING or (self._state is _State.CONNECTED and self._ending is not None):
            target.finish()
        elif not target.congested:
            self._resumeClient()

    def failed(self, close: Close) -> None:
        """There will be no target: close the WebSocket with this."""
        self._early = None
        self.close(close, "target")
        self._resumeClient()
        self._endIfDone()

    def close(self, close: Close, by: str = "proxy") -> None:
        """Close the WebSocket, behind what has been written to the client; the client answers or is timed out."""
        if self._state is not _State.CONNECTED:
            return
        if self._ending is None:
            self._ending = Ending(by, close)
        self._state = _State.CLOSING
        if self._client is not None:
            if self._wire.plain:
                self._client.finish()
            else:
                self._client.write([self._wire.close(close)])
        if self._target is not None:
            self._target.resume()  # to see its end; what it says is dropped
        self._resumeClient()
        self._startDeadline()

    def abort(self) -> None:
        """End now, without ceremony. C{onEnd} still follows."""
        if self._ending is None:
            self._ending = Ending("proxy", Close(CloseCode.GOING_AWAY, "Server going down"))
        self._early = None
        for end in (self._client, self._target):
            if end is not None:
                end.abort()
        self._endIfDone()

    def heartbeat(self) -> None:
        """An interval has passed: close after two without a byte from the client, else ask it for a sign of life."""
        if self._state is not _State.CONNECTED or self._client is None or self._wire.plain:
            return
        # a client that we do not read from cannot be heard
        self._silent = 0 if self._alive or self._clientPaused else self._silent + 1
        self._alive = False
        if self._silent == 2:
            self.close(Close(CloseCode.HEARTBEAT_LOST, "Heartbeat lost"))
        elif not self._client.congested:
            ping = self._wire.ping(b"")
            if ping is not None:
                self._client.write([ping])

    # The client's side

    def _clientReceived(self, data: Buffer) -> None:
        if self._state is _State.FINISHING:
            return
        self._alive = True
        wire = self._wire
        payload = wire.receive(data)
        if payload:
            self.bytesFromClient += sum(map(len, payload))
            tap = self._tap
            if tap is not None:
                tap.fromClient(payload, wire.partial)
            self._writeTarget(payload)
        if wire.due:
            self._clientDue()

    def _writeTarget(self, payload: Sequence[Buffer]) -> None:
        target = self._target
        if target is not None:
            target.write(payload)
            if self._tap is not None:
                self._tap.toTarget(target.congested)
            if target.congested:
                self._pauseClient()
        elif self._early is not None:
            self._early += map(bytes, payload)  # it may be a view
            self._earlySize += sum(map(len, payload))
            if self._earlySize >= EARLY_LIMIT:
                self._pauseClient()

    def _clientDue(self) -> None:
        """The client sent something beside payload: a ping, its Close, or nonsense."""
        wire, client = self._wire, self._client
        if client is None:
            return
        close = wire.closed if wire.error is None else wire.error.close
        if close is not None:
            if self._state is _State.CONNECTED:
                client.write([wire.close(close)])
            self._clientDone(close)
            if wire.error is None:
                client.close()
            else:
                client.finish()  # and read on: closing with unread input would reset what we just wrote
        elif self._state is _State.CONNECTED and not client.congested:
            pong = wire.pong()
            if pong is not None:
                client.write([pong])

    def _clientEnded(self) -> None:
        if self._wire.plain and self._state is _State.CONNECTED:
            self._directionEnded("client", self._target)
            return
        self._clientDone(Close(CloseCode.ABNORMAL, "Client vanished"))
        if self._client is not None:
            self._client.close()

    def _clientDrained(self) -> None:
        if self._state is _State.CONNECTED and self._target is not None:
            self._target.resume()
        if self._wire.due:  # a pong that had to wait
            self._clientDue()

    def _clientLost(self, error: Exception | None) -> None:
        self._client = None
        self._clientDone(Close(CloseCode.ABNORMAL, "Client vanished"))
        self._endIfDone()

    def _clientDone(self, close: Close) -> None:
        """Nothing more will be relayed from the client: flush to the target, then end-of-file."""
        if self._state in (_State.FINISHING, _State.CLOSED):
            return
        if self._ending is None:
            self._ending = Ending("client", close)
        self._state = _State.FINISHING
        if self._target is not None:
            self._target.finish()
            self._target.resume()  # to see its end; what it says is dropped
        self._resumeClient()
        self._startDeadline()

    # The target's side

    def _targetReceived(self, data: Buffer) -> None:
        client = self._client
        if client is None or self._state is not _State.CONNECTED:
            return
        self.bytesFromTarget += len(data)
        client.write(self._wire.send(data))
        if self._tap is not None:
            self._tap.fromTarget(data)
            self._tap.toClient(client.congested)
        if client.congested and self._target is not None:
            self._target.pause()

    def _targetEnded(self) -> None:
        if self._wire.plain and self._state is _State.CONNECTED:
            self._directionEnded("target", self._client)
            return
        self.close(Close(CloseCode.NORMAL, "Target closed"), "target")
        if self._state is _State.FINISHING and self._target is not None:
            self._target.close()

    def _targetLost(self, error: Exception | None) -> None:
        self._target = None
        if error is None:
            self.close(Close(CloseCode.NORMAL, "Target closed"), "target")
        else:
            self.close(Close(CloseCode.INTERNAL_ERROR, "Target connection lost"), "target")
        self._resumeClient()
        self._endIfDone()

    def _directionEnded(self, by: str, other: End | None) -> None:
        """Over plain TCP the other direction goes on, until it ends as well."""
        if self._ending is None:
            self._ending = Ending(by, Close(CloseCode.NORMAL, f"{by.capitalize()} closed"))
            if other is not None:
                other.finish()
            return
        self._state = _State.CLOSING
        for end in (self._client, self._target):
            if end is not None:
                end.close()
        self._startDeadline()

    # Reading the client

    def _pauseClient(self) -> None:
        if self._client is not None and not self._clientPaused and self._state is not _State.FINISHING:
            self._clientPaused = True
            self._client.pause()

    def _resumeClient(self) -> None:
        if self._client is not None and self._clientPaused:
            self._clientPaused = False
            self._alive = True  # it had no chance to be heard
            self._client.resume()

    # Ends

    def _startDeadline(self) -> None:
        if self._deadline is None:
            self._deadline = self._clock.callLater(CLOSE_TIMEOUT, self._timedOut)
        else:
            self._deadline.reset(CLOSE_TIMEOUT)

    def _timedOut(self) -> None:
        """The time is over, except for a client that is still being owed what the target said before it closed."""
        self._deadline = None
        unsent = self._client.unsent() if self._client is not None and self._state is _State.CLOSING else 0
        self._stalled = 0 if unsent != self._unsent else self._stalled + 1
        self._unsent = unsent
        if unsent and self._stalled < STALL_LIMIT:
            if self._target is not None:
                self._target.abort()
            self._startDeadline()
        else:
            self.abort()

    def _endIfDone(self) -> None:
        if self._state is _State.CLOSED or self._client is not None or self._target is not None:
            return
        if self._early:
            return  # the client has left, and what it sent waits for the target
        self._state = _State.CLOSED
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        assert self._ending is not None
        self._onEnd(self._ending)
