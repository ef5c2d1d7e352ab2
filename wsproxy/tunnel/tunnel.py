"""Two ends and the bytes between them: relaying, backpressure, and how it ends.

The client's end speaks a L{wire<wsproxy.wire.wire.Wire>} (WebSocket frames); the target's end speaks plain bytes.
The two directions know of each other only where one of them ends::

                  target's EOF or loss; close()                 client's Close, EOF, loss or error
    CONNECTED ─────────────────────────────────► CLOSING ─┬─────────────────────────────────────► FINISHING ─► CLOSED
        └─────────────── client's Close, EOF, loss or error ────────────────────────────────────────►┘
    anywhere: abort() ─► ABORTING ─► CLOSED

- CONNECTED: both directions flow; before the target has been dialled, its direction queues.
- CLOSING: our Close frame is on its way behind everything the target wrote. What the client sends is still relayed
  until its own Close, for L{CLOSE_TIMEOUT} seconds at most.
- FINISHING: the client is done. What it sent is flushed to the target, then end-of-file. A client that has broken the
  protocol is read on for the Close that answers ours. L{CLOSE_TIMEOUT} seconds at most, then both ends are aborted.
- ABORTING: both ends are being dropped.

What the target says when nobody is there to hear it is dropped: L{LAST_WORDS} bytes, then it is not read any more, and
in FINISHING closed as soon as what it is owed has arrived.

A client that speaks plain TCP has no Close: either direction may end before the other, and both ends are then closed
with the second (still CONNECTED until then). To close it is to end the stream of bytes.

Backpressure: when writing to one end leaves it congested, the other end is not read until it has drained. Each end
queues what one read brought, beyond the kernel's buffers; a session costs at most 256 KiB.

An end that is held back may lose its peer all the same. What that sent before is still relayed as the other side takes
it; if nothing moves for L{CLOSE_TIMEOUT} seconds, all is aborted (for L{STALL_LIMIT} times as long where it is the
target that is gone, and the client that is slow).

Whatever fails in between, a tap above all, ends the session: it is logged once, and the client is told 1011.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from wsproxy.ends.end import Buffer, End, Receiver
from wsproxy.errors import Close, CloseCode
from wsproxy.interfaces import Ending, Tap
from wsproxy.tunnel.pulse import Pulse
from wsproxy.wire.wire import Wire

__all__ = ["CLOSE_TIMEOUT", "EARLY_LIMIT", "LAST_WORDS", "STALL_LIMIT", "Tunnel"]

CLOSE_TIMEOUT = 5.0
"""Seconds a closing side is waited for."""

STALL_LIMIT = 6
"""How many times in a row L{CLOSE_TIMEOUT} may pass while the client acknowledges nothing of what it is still owed."""

EARLY_LIMIT = 65536
"""Bytes the client may send before the target is connected; then it is not read."""

LAST_WORDS = 256 * 1024
"""Bytes that a target may say to nobody, a goodbye above all, before it is not read any more."""

_FLUSHING = 0.1
"""Seconds between two looks at whether a target has all that it is owed."""

_VANISHED = Close(CloseCode.ABNORMAL, "Client vanished")
_TARGET_LOST = Close(CloseCode.INTERNAL_ERROR, "Target connection lost")


class _State(Enum):
    CONNECTED = "connected"
    CLOSING = "closing"
    FINISHING = "finishing"
    ABORTING = "aborting"
    CLOSED = "closed"


_DEAF = (_State.FINISHING, _State.ABORTING, _State.CLOSED)
"""In which nothing more is relayed from the client."""


class Tunnel:
    """Relays between a client and a target until both are gone.

    @param clock: for the closing deadlines.
    @param onEnd: called once, when both ends are gone and nothing is left to cancel.
    """

    __slots__ = (
        "_client",
        "_clientPaused",
        "_clock",
        "_deadline",
        "_dismissal",
        "_early",
        "_ending",
        "_gone",
        "_onEnd",
        "_patience",
        "_pulse",
        "_stalled",
        "_state",
        "_tap",
        "_target",
        "_unheard",
        "_unmoved",
        "_wire",
        "bytesFromClient",
        "bytesFromTarget",
    )

    _log = Logger()

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
        self._patience = STALL_LIMIT  # how many deadlines may pass without anything moving
        self._stalled = 0  # how many have, in a row
        self._unmoved: object = 0  # what has to change meanwhile
        self._gone: str | None = None  # who left while the other one kept it from being read
        self._unheard = 0  # what the target has said to nobody
        self._dismissal: IDelayedCall | None = None
        self._early: bytearray | None = bytearray()
        self._clientPaused = False
        self._pulse = Pulse()
        self.bytesFromClient = 0
        self.bytesFromTarget = 0

    # Life

    def start(self) -> None:
        """Begin to read from the client; its payload waits for L{connected}."""
        assert self._client is not None
        self._client.start(
            Receiver(
                self._clientReceived, self._clientEnded, self._clientDrained, self._clientLost, self._clientLeaving
            )
        )

    @property
    def open(self) -> bool:
        """Whether the tunnel still waits for, or relays to, a target."""
        return self._state is _State.CONNECTED

    def connected(self, target: End) -> None:
        """The target answered: relay. When the tunnel has begun to end meanwhile, the target gets what was sent."""
        if self._state in (_State.ABORTING, _State.CLOSED):
            target.abort()
            return
        self._target = target
        early, self._early = self._early, None
        if early:
            self._writeTarget((bytes(early),))
        target.start(
            Receiver(
                self._targetReceived, self._targetEnded, self._resumeClient, self._targetLost, self._targetLeaving
            )
        )
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
        """End now, without ceremony. C{onEnd} follows, when both ends have said that they are gone, or do not."""
        if self._state is _State.CLOSED:
            return
        if self._ending is None:
            self._ending = Ending("proxy", Close(CloseCode.GOING_AWAY, "Server going down"))
        self._state = _State.ABORTING
        self._early = None
        for end in (self._client, self._target):
            if end is not None:
                self._drop(end)
        self._endIfDone()
        if self._state is _State.ABORTING:
            self._startDeadline()

    def _drop(self, end: End) -> None:
        try:
            end.abort()
        except Exception:
            self._log.failure("dropping a connection")

    def _fail(self) -> None:
        """Something has raised that must not: log it once, tell the client, and let everything else go."""
        self._log.failure("a session failed")
        self._tap = None
        self._early = None
        try:
            self.close(Close(CloseCode.INTERNAL_ERROR, "Internal error"))
        except Exception:
            self.abort()
            return
        if self._target is not None:
            self._drop(self._target)
        self._endIfDone()

    def heartbeat(self) -> None:
        """An interval has passed: close after two without a sign of life, else ask the client for one."""
        client, pulse = self._client, self._pulse
        if self._state is not _State.CONNECTED or client is None or self._wire.plain or self._gone == "client":
            return
        if pulse.beat(client, self._clientPaused, self.bytesFromTarget):
            self._patience = 0
            self.close(Close(CloseCode.HEARTBEAT_LOST, "Heartbeat lost"))
        elif not client.congested:
            ping = self._wire.ping(b"")
            if ping is not None:
                client.write([ping])
                pulse.pinged = True

    # The client's side

    def _clientReceived(self, data: Buffer) -> None:
        if self._state is not _State.CONNECTED and self._state in _DEAF:
            if self._wire.error is not None:
                self._awaitClose(data)
            return
        wire = self._wire
        self._pulse.alive = True
        try:
            payload = wire.receive(data)
            if payload:
                self.bytesFromClient += sum(map(len, payload))
                tap = self._tap
                if tap is not None:
                    tap.fromClient(payload, wire.partial)
                self._writeTarget(payload)
            if wire.due:
                self._clientDue()
        except Exception:
            self._fail()

    def _writeTarget(self, payload: Sequence[Buffer]) -> None:
        target = self._target
        if target is not None:
            target.write(payload)
            if self._tap is not None:
                self._tap.toTarget(target.congested)
            if target.congested:
                self._pauseClient()
        elif self._early is not None:
            early = self._early
            for piece in payload:
                early += piece  # pieces of a byte or two would cost many times what they say
            if len(early) >= EARLY_LIMIT:
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
            if wire.error is None or wire.answered:
                client.close()
            # else read on: TCP ends after the closing handshake (RFC 6455 section 7.1.1), and to close with unread
            # input would reset what we just wrote
        elif self._state is _State.CONNECTED and not client.congested:
            pong = wire.pong()
            if pong is not None:
                client.write([pong])

    def _awaitClose(self, data: Buffer) -> None:
        """A client that broke the protocol was told so: it may still answer."""
        self._wire.receive(data)
        if self._wire.answered and self._client is not None:
            self._client.close()

    def _clientEnded(self) -> None:
        if self._wire.plain and self._state is _State.CONNECTED:
            self._directionEnded("client", self._target)
            return
        self._clientDone(_VANISHED)
        if self._client is not None:
            self._client.close()

    def _clientDrained(self) -> None:
        self._pulse.alive = True
        if self._state is _State.CONNECTED and self._target is not None:
            self._target.resume()
        if self._wire.due:  # a pong that had to wait
            self._clientDue()

    def _clientLeaving(self, half: bool) -> None:
        """The client will send no more, and the target does not take what it sent."""
        if half and self._wire.plain:
            return  # it waits for the answer
        if self._state is _State.CONNECTED:
            self._gone = "client"
            self._patience = 1
            self._unmoved = self._moving()
            self._stalled = 0
            self._startDeadline()
        else:
            self._patience = 0

    def _clientLost(self, error: Exception | None) -> None:
        self._client = None
        self._clientDone(_VANISHED)
        self._endIfDone()

    def _clientDone(self, close: Close) -> None:
        """Nothing more will be relayed from the client: flush to the target, then end-of-file."""
        if self._state in _DEAF:
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
            self._hearNoMore(len(data))
            return
        self.bytesFromTarget += len(data)
        try:
            client.write(self._wire.send(data))
            if self._tap is not None:
                self._tap.fromTarget(data)
                self._tap.toClient(client.congested)
            if client.congested and self._target is not None:
                self._target.pause()
        except Exception:
            self._fail()

    def _hearNoMore(self, size: int) -> None:
        """What the target says has nowhere to go."""
        self._unheard += size
        if self._unheard > LAST_WORDS and self._target is not None:
            self._target.pause()
            if self._state is _State.FINISHING:
                self._dismiss()

    def _dismiss(self, owed: bool = True) -> None:
        """
        Close a target that is not read any more, once all that it is owed has arrived: sooner, unread input would make
        the kernel reset what is on its way.

        @param owed: whether it was owed something a moment ago. A transport may then have bytes that the kernel has
            not.
        """
        target, self._dismissal = self._target, None
        if target is None or self._state is not _State.FINISHING:
            return
        owes = target.congested or target.unsent() > 0
        if owed or owes:
            self._dismissal = self._clock.callLater(_FLUSHING, self._dismiss, owes)
        else:
            target.abort()

    def _targetEnded(self) -> None:
        if self._wire.plain and self._state is _State.CONNECTED:
            self._directionEnded("target", self._client)
            return
        self.close(Close(CloseCode.NORMAL, "Target closed"), "target")
        if self._state is _State.FINISHING and self._target is not None:
            self._target.close()

    def _targetLeaving(self, half: bool) -> None:
        """The target will send no more, and the client does not take what it sent."""
        if self._state is _State.CONNECTED:
            if self._gone is None and not (half and self._wire.plain):
                self._gone = "target"
                self._unmoved = self._moving()
                self._startDeadline()
        elif not half:
            if self._target is not None:
                self._target.abort()  # nobody waits for what it said
        elif self._state is _State.FINISHING and self._dismissal is None:
            self._dismiss()

    def _targetLost(self, error: Exception | None) -> None:
        self._target = None
        if error is None:
            self.close(Close(CloseCode.NORMAL, "Target closed"), "target")
        else:
            self.close(_TARGET_LOST, "target")
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
            self._pulse.alive = True  # it had no chance to be heard
            self._client.resume()

    # Ends

    def _startDeadline(self) -> None:
        if self._deadline is None:
            self._deadline = self._clock.callLater(CLOSE_TIMEOUT, self._timedOut)
        else:
            self._deadline.reset(CLOSE_TIMEOUT)

    def _timedOut(self) -> None:
        """The time is over, unless something still moves towards the side that is there."""
        self._deadline = None
        if self._state is _State.ABORTING:
            self._client = self._target = None  # they do not say that they are gone
            self._endIfDone()
            return
        moving = self._moving()
        self._stalled = 0 if moving != self._unmoved else self._stalled + 1
        self._unmoved = moving
        if moving and self._stalled < self._patience:
            if self._state is _State.CLOSING and self._target is not None:
                self._target.abort()
            self._startDeadline()
            return
        if self._ending is None:
            self._ending = Ending("client", _VANISHED) if self._gone == "client" else Ending("target", _TARGET_LOST)
        self.abort()

    def _moving(self) -> object:
        """What changes as long as somebody takes what they are owed; false where nobody is owed anything."""
        if self._state is _State.CONNECTED and self._gone == "client":
            return (self.bytesFromClient,)
        unsent = self._client.unsent() if self._client is not None else 0
        if self._state is _State.CONNECTED:
            return (self.bytesFromTarget, unsent)
        return unsent if self._state is _State.CLOSING else 0

    def _endIfDone(self) -> None:
        if self._state is _State.CLOSED or self._client is not None or self._target is not None:
            return
        if self._early:
            return  # the client has left, and what it sent waits for the target
        self._state = _State.CLOSED
        for timer in (self._deadline, self._dismissal):
            if timer is not None:
                timer.cancel()
        self._deadline = self._dismissal = None
        onEnd, self._tap = self._onEnd, None
        del self._onEnd  # it leads back to this tunnel, and so may a tap
        assert self._ending is not None
        onEnd(self._ending)
