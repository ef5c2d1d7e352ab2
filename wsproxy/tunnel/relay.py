"""The bytes between two ends, and backpressure.

The client's end speaks a L{wire<wsproxy.wire.wire.Wire>} (WebSocket frames); the target's end speaks plain bytes::

    client ─► wire.receive ─► tap ─► target, or what is early
    client ◄─ wire.send ◄──── tap ◄─ target

When writing to one end leaves it congested, the other end is not read until it has drained. Each end queues what one
read brought, beyond the kernel's buffers; a session costs at most 256 KiB.

Whatever fails in between, a tap above all, ends the session.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

from wsproxy.ends.end import Buffer, End
from wsproxy.interfaces import Tap
from wsproxy.tunnel.pulse import Pulse
from wsproxy.tunnel.state import State
from wsproxy.wire.wire import Wire

__all__ = ["EARLY_LIMIT", "Relay", "Traffic"]

EARLY_LIMIT = 65536
"""Bytes the client may send before the target is connected; then it is not read."""

_HALF_OPEN, _FINISHING = State.HALF_OPEN, State.FINISHING


class Traffic(NamedTuple):
    """What has passed, and what waits; for whoever looks now and then. Sizes in bytes.

    @ivar up: payload that the client has sent so far.
    @ivar down: bytes that it was sent so far.
    @ivar queuedUp: that wait in this process for the target to take them.
    @ivar queuedDown: the same of the client.
    @ivar roundTrip: see L{Pulse}, as with C{answers}.
    """

    up: int = 0
    down: int = 0
    queuedUp: int = 0
    queuedDown: int = 0
    roundTrip: float | None = None
    answers: int = 0


class Relay(ABC):
    """What passes between a client and a target, as long as the state allows it.

    @ivar bytesFromClient: payload that the client has sent so far.
    @ivar bytesFromTarget: bytes that it was sent so far.
    """

    __slots__ = (
        "_client",
        "_clientPaused",
        "_early",
        "_heard",
        "_pulse",
        "_state",
        "_tap",
        "_target",
        "_wire",
        "bytesFromClient",
        "bytesFromTarget",
    )

    def __init__(self, client: End, wire: Wire, tap: Tap | None) -> None:
        self._client: End | None = client
        self._target: End | None = None
        self._wire = wire
        self._tap = tap
        self._state = State.CONNECTED
        self._early: bytearray | None = bytearray()  # what waits for a target, while there may still be one
        self._heard: Callable[[], None] | None = None  # called when that has grown, or will not any more
        self._clientPaused = False
        self._pulse = Pulse()
        self.bytesFromClient = 0
        self.bytesFromTarget = 0

    # what else there is to a tunnel

    @abstractmethod
    def _clientDue(self) -> None:
        """The client sent something beside payload: a ping, its Close, or nonsense."""

    @abstractmethod
    def _clientUnheard(self, data: Buffer) -> None:
        """What the client says has nowhere to go."""

    @abstractmethod
    def _targetUnheard(self, size: int) -> None:
        """What the target says has nowhere to go."""

    @abstractmethod
    def _fail(self) -> None:
        """Something has raised that must not: it is the exception of this moment."""

    @property
    def traffic(self) -> Traffic:
        """See L{Traffic}. Costs nothing until it is asked for."""
        client, target, pulse = self._client, self._target, self._pulse
        queuedUp = len(self._early or b"") if target is None else target.queued()
        queuedDown = 0 if client is None else client.queued()
        return Traffic(self.bytesFromClient, self.bytesFromTarget, queuedUp, queuedDown, pulse.roundTrip, pulse.answers)

    # from the client

    def _clientReceived(self, data: Buffer) -> None:
        if self._state >= _FINISHING:
            self._clientUnheard(data)
            return
        wire = self._wire
        self._pulse.alive = True
        try:
            payload = wire.receive(data)
            if payload:
                self.bytesFromClient += len(payload[0]) if len(payload) == 1 else sum(map(len, payload))
                tap = self._tap
                if tap is not None:
                    tap.fromClient(payload, wire.partial)
                self._writeTarget(payload)
            if wire.due:
                self._clientDue()
        except BaseException:
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
            if self._heard is not None:
                self._heard()

    # with whoever negotiates first

    @property
    def early(self) -> bytearray:
        """What the client has sent, and no target was told yet; for whoever takes some of it."""
        return bytearray() if self._early is None else self._early

    @property
    def listens(self) -> bool:
        """Whether the client may send more, for a target that is to come."""
        return self._client is not None and self._early is not None and self._state <= _HALF_OPEN

    def listen(self, heard: Callable[[], None] | None) -> None:
        """Have C{heard} called when L{early} has grown, or nothing more will come."""
        self._heard = heard
        if heard is not None and len(self.early) < EARLY_LIMIT:
            self._resumeClient()

    def tell(self, data: bytes) -> None:
        """Say this to the client, as its target would."""
        self._targetReceived(data)

    def _flushEarly(self) -> None:
        """The target is there: it is told what was said before."""
        early, self._early = self._early, None
        if early:
            self._writeTarget((bytes(early),))

    def _pauseClient(self) -> None:
        if self._client is not None and not self._clientPaused and self._state is not _FINISHING:
            self._clientPaused = True
            self._client.pause()

    def _resumeClient(self) -> None:
        if self._client is not None and self._clientPaused:
            self._clientPaused = False
            self._pulse.alive = True  # it had no chance to be heard
            try:
                self._client.resume()
            except BaseException:
                self._fail()

    # from the target

    def _targetReceived(self, data: Buffer) -> None:
        client = self._client
        if client is None or self._state > _HALF_OPEN:
            self._targetUnheard(len(data))
            return
        self.bytesFromTarget += len(data)
        try:
            client.write(self._wire.send(data))
            if self._tap is not None:
                self._tap.fromTarget(data)
                self._tap.toClient(client.congested)
            if client.congested and self._target is not None:
                self._target.pause()
        except BaseException:
            self._fail()
