"""Two ends and the bytes between them: how it begins, and how it ends.

The two directions (see L{wsproxy.tunnel.relay}) know of each other only where one of them ends, and go through the
L{State}s then. A closing side is waited for once (see L{wsproxy.tunnel.patience}), then both ends are aborted.

What the target says when nobody is there to hear it is dropped: L{LAST_WORDS} bytes, then it is not read any more, and
in FINISHING closed as soon as what it is owed has arrived.

An end that is held back may lose its peer all the same. What that sent before is still relayed as the other side takes
it. If nothing moves, a target is waited for once, and a client that is merely slow several times; then all is aborted.

Whatever fails in between, ends included, ends the session: it is logged once, and the client is told 1011. The target
is let go at once, whether it can say that it is gone or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from wsproxy.ends.end import Buffer, End, Receiver
from wsproxy.errors import Close, CloseCode, PeerClosed, checkClose
from wsproxy.fault import logFault
from wsproxy.interfaces import Ending, Tap
from wsproxy.tunnel.dismissal import LAST_WORDS, Dismissal
from wsproxy.tunnel.flow import Flow
from wsproxy.tunnel.patience import Patience
from wsproxy.tunnel.relay import Relay
from wsproxy.tunnel.state import State
from wsproxy.wire.wire import Wire

__all__ = ["Tunnel"]

P = ParamSpec("P")

_VANISHED = Close(CloseCode.ABNORMAL, "Client vanished")
_TARGET_LOST = Close(CloseCode.INTERNAL_ERROR, "Target connection lost")

_HALF_OPEN = State.HALF_OPEN


def _guarded(method: Callable[Concatenate[Tunnel, P], None]) -> Callable[Concatenate[Tunnel, P], None]:
    """The same, for those who must not hear what an end raises: timers, sessions and the other end. One call more."""

    def guarded(tunnel: Tunnel, /, *args: P.args, **named: P.kwargs) -> None:
        try:
            method(tunnel, *args, **named)
        except BaseException:
            tunnel._fail()

    return guarded


class Tunnel(Relay):
    """Relays between a client and a target until both are gone.

    @param clock: for the closing deadlines.
    @param onEnd: called once, when both ends are gone and nothing is left to cancel.
    """

    __slots__ = (
        "_clock",
        "_dismissal",
        "_down",
        "_ending",
        "_faulty",
        "_gone",
        "_onEnd",
        "_patience",
        "_unheard",
        "_up",
    )

    _log = Logger()

    def __init__(
        self, client: End, wire: Wire, clock: IReactorTime, onEnd: Callable[[Ending], None], tap: Tap | None = None
    ) -> None:
        super().__init__(client, wire, tap)
        self._clock = clock
        self._onEnd = onEnd
        self._ending: Ending | None = None
        self._patience = Patience(clock)
        self._down: Flow | None = None
        self._up: Flow | None = None
        self._gone: str | None = None  # who left while the other one kept it from being read
        self._unheard = 0  # what the target has said to nobody
        self._dismissal: Dismissal | None = None
        self._faulty = False  # whether it was logged that something has raised

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
        return self._state <= _HALF_OPEN

    @property
    def ending(self) -> Ending | None:
        """How it is going to end, from the moment that this is known."""
        return self._ending

    def connected(self, target: End) -> None:
        """The target answered: relay. When the tunnel has begun to end meanwhile, the target gets what was sent."""
        if self._state >= State.ABORTING:
            self._drop(target)
            return
        self._target = target
        receiver = Receiver(
            self._targetReceived, self._targetEnded, self._targetDrained, self._targetLost, self._targetLeaving
        )
        try:
            target.receiveAt(0.0)  # until it is known to be more
            self._flushEarly()
            target.start(receiver)
            if self._state in (State.HALF_OPEN, State.FINISHING):
                target.finish()
            elif not target.congested:
                self._resumeClient()
        except BaseException:
            self._fail()

    def failed(self, close: Close, by: str = "target") -> None:
        """There will be no target: close the WebSocket with this."""
        self._early = None
        self.close(close, by)
        self._resumeClient()
        self._endIfDone()

    @_guarded
    def close(self, close: Close, by: str = "proxy") -> None:
        """Close the WebSocket, behind what has been written to the client; the client answers or is timed out."""
        if self._state > _HALF_OPEN:
            return
        if self._ending is None:
            self._ending = Ending(by, close)
        self._state = State.CLOSING
        if self._client is not None:
            self._sayWhy(self._client, close)
        try:
            if self._target is not None:
                self._target.resume()  # to see its end; what it says is dropped
        except BaseException:
            self._letTargetGo()
        self._resumeClient()
        self._patience.start(self._timedOut)

    @_guarded
    def release(self) -> None:
        """
        After L{close}: what the client says from here on is for nobody. The target is told end-of-file behind what it
        was sent before.
        """
        self._early = None
        if self._target is not None:
            self._target.finish()

    def abort(self) -> None:
        """End now, without ceremony. C{onEnd} follows, when both ends have said that they are gone, or do not."""
        if self._state is State.CLOSED:
            return
        if self._ending is None:
            self._ending = Ending("proxy", Close(CloseCode.GOING_AWAY, "Server going down"))
        self._state = State.ABORTING
        self._early = None
        if self._dismissal is not None:
            self._dismissal.cancel()
        for end in (self._client, self._target):
            if end is not None:
                self._drop(end)
        self._endIfDone()
        if self._state is State.ABORTING:
            self._patience.start(self._timedOut)

    def _drop(self, end: End) -> None:
        try:
            end.abort()
        except BaseException:
            self._complain()
            if end is self._client:  # it is not likely to say that it is gone
                self._client = None
            elif end is self._target:
                self._target = None

    def _complain(self) -> None:
        """Log the exception of this moment, the first of a session: what comes after it comes of it."""
        if not self._faulty:
            self._faulty = True
            logFault(self._log, "a session failed")

    def _fail(self) -> None:
        self._complain()
        self._tap = None
        self._early = None
        if self.open:
            self.close(Close(CloseCode.INTERNAL_ERROR, "Internal error"))  # and aborts where it fails
            self._letTargetGo()
            self._endIfDone()
        else:
            self.abort()

    def _letTargetGo(self) -> None:
        """It has raised, or its session did: nobody waits for it to say that it is gone."""
        self._complain()
        if self._dismissal is not None:
            self._dismissal.cancel()
        if self._target is not None:
            self._drop(self._target)
            self._target = None

    @_guarded
    def heartbeat(self) -> None:
        """An interval has passed: close after two without a sign of life, else ask the client for one."""
        client, pulse = self._client, self._pulse
        if self._state > _HALF_OPEN or client is None or self._wire.plain or self._gone == "client":
            return
        if pulse.beat(client, self._clientPaused, self.bytesFromTarget):
            self._patience.limit = 0
            self.close(Close(CloseCode.HEARTBEAT_LOST, "Heartbeat lost"))
        elif not client.congested:
            ping = self._wire.ping(b"")
            if ping is not None:
                client.write([ping])
                pulse.asked(self._clock.seconds())

    # The client's side

    def _sayWhy(self, client: End, close: Close) -> None:
        """It is the end; where its language has no word for that, the end of the stream says so."""
        word = self._wire.close(close)
        if word:
            client.write([word])
        else:
            client.finish()

    def _clientDue(self) -> None:
        wire, client = self._wire, self._client
        if client is None:
            return
        close = wire.closed if wire.error is None else wire.error.close
        if close is not None:
            if self._state <= _HALF_OPEN:
                self._sayWhy(client, close)
            self._clientDone(close)
            if wire.error is None or wire.answered:
                client.close()
            # else read on: TCP ends after the closing handshake (RFC 6455 section 7.1.1), and to close with unread
            # input would reset what we just wrote
            return
        if wire.takePong():
            self._pulse.answered(self._clock.seconds())
        if self._state <= _HALF_OPEN and not client.congested:
            pong = wire.pong()
            if pong is not None:
                client.write([pong])

    @_guarded
    def _clientUnheard(self, data: Buffer) -> None:
        if self._wire.error is None:
            return
        self._wire.receive(data)  # it broke the protocol and was told so: it may still answer
        if self._wire.answered and self._client is not None:
            self._client.close()

    def _clientEnded(self) -> None:
        try:
            if self._wire.plain and self._state <= _HALF_OPEN:
                self._directionEnded("client", self._target)
                return
            self._clientDone(_VANISHED)
            if self._client is not None:
                self._client.close()
        except BaseException:
            self._fail()

    def _clientDrained(self) -> None:
        self._pulse.alive = True
        try:
            if self._state <= _HALF_OPEN and self._target is not None:
                if self._down is None:
                    assert self._client is not None
                    self._down = Flow(self._clock, self._client, self._target, self.bytesFromTarget)
                self._down.drained(self.bytesFromTarget)
                self._target.resume()
            if self._wire.due:  # a pong that had to wait
                self._clientDue()
        except BaseException:
            self._fail()

    @_guarded
    def _clientLeaving(self, half: bool) -> None:
        """The client will send no more, and the target does not take what it sent."""
        if half and self._wire.plain:
            return  # it waits for the answer
        if self._state <= _HALF_OPEN:
            self._gone = "client"
            self._patience.limit = 1
            self._patience.watch(self._moving())
            self._patience.start(self._timedOut)
        else:
            self._patience.limit = 0

    def _clientLost(self, error: Exception | None) -> None:
        self._client = None
        self._clientDone(_VANISHED)
        self._endIfDone()

    def _clientDone(self, close: Close) -> None:
        """Nothing more will be relayed from the client: flush to the target, then end-of-file."""
        if self._state >= State.FINISHING:
            return
        if self._ending is None:
            self._ending = Ending("client", close)
        self._state = State.FINISHING
        if self._heard is not None:
            self._heard()
        try:
            if self._target is not None:
                self._target.finish()
            if self._target is not None:  # that may have been the end of it
                self._target.resume()  # to see its end; what it says is dropped
        except BaseException:
            self._letTargetGo()
        self._resumeClient()
        if self._state < State.CLOSED:
            self._patience.start(self._timedOut)

    # The target's side

    @_guarded
    def _targetUnheard(self, size: int) -> None:
        self._unheard += size
        if self._unheard > LAST_WORDS and self._target is not None:
            self._target.pause()
            self._dismiss()

    def _dismiss(self) -> None:
        """The target is not read any more: close it, once it has all that it is owed."""
        if self._state is State.FINISHING and self._target is not None and self._dismissal is None:
            self._dismissal = Dismissal(self._clock, self._target, self._fail)

    def _targetDrained(self) -> None:
        try:
            if self._state <= _HALF_OPEN and self._target is not None:
                if self._up is None:
                    self._up = Flow(self._clock, self._target, None, self.bytesFromClient)
                self._up.drained(self.bytesFromClient)
        except BaseException:
            self._fail()
        self._resumeClient()

    def _targetEnded(self) -> None:
        try:
            if self._wire.plain and self._state <= _HALF_OPEN:
                self._directionEnded("target", self._client)
                return
            self.close(Close(CloseCode.NORMAL, "Target closed"), "target")
            if self._state is State.FINISHING and self._target is not None:
                self._target.close()
        except BaseException:
            self._fail()

    @_guarded
    def _targetLeaving(self, half: bool) -> None:
        """The target will send no more, and the client does not take what it sent."""
        if self._state <= _HALF_OPEN:
            if self._gone is None and not (half and self._wire.plain):
                self._gone = "target"
                self._patience.watch(self._moving())
                self._patience.start(self._timedOut)
        elif not half:
            if self._target is not None:
                self._target.abort()  # nobody waits for what it said
        else:
            self._dismiss()

    def _targetLost(self, error: Exception | None) -> None:
        self._target = None
        if self._dismissal is not None:
            self._dismissal.cancel()
        if error is None:
            self.close(Close(CloseCode.NORMAL, "Target closed"), "target")
        else:
            self.close(_passedOn(error.close) if isinstance(error, PeerClosed) else _TARGET_LOST, "target")
        self._resumeClient()
        self._endIfDone()

    def _directionEnded(self, by: str, other: End | None) -> None:
        """Over plain TCP the other direction goes on, until it ends as well."""
        if self._state is State.CONNECTED:
            self._state = State.HALF_OPEN
            self._ending = Ending(by, Close(CloseCode.NORMAL, f"{by.capitalize()} closed"))
            if other is not None:
                other.finish()
            return
        self._state = State.CLOSING
        for end in (self._client, self._target):
            if end is not None:
                end.close()
        self._patience.start(self._timedOut)

    # Ends

    @_guarded
    def _timedOut(self) -> None:
        """The time is over, unless something still moves towards the side that is there."""
        if self._state is State.ABORTING:
            self._client = self._target = None  # they do not say that they are gone
            self._endIfDone()
            return
        if self._patience.lasts(self._moving()):
            if self._state is State.CLOSING and self._target is not None:
                self._target.abort()
            self._patience.start(self._timedOut)
            return
        if self._ending is None:
            self._ending = Ending("client", _VANISHED) if self._gone == "client" else Ending("target", _TARGET_LOST)
        self.abort()

    def _moving(self) -> object:
        """What changes as long as somebody takes what they are owed; false where nobody is owed anything."""
        if self._state <= _HALF_OPEN and self._gone == "client":
            return (self.bytesFromClient,)
        unsent = self._client.unsent() if self._client is not None else 0
        if self._state <= _HALF_OPEN or (self._state is State.CLOSING and unsent):
            return (self.bytesFromTarget, unsent)  # in either state the same: to go on to the next is no sign of life
        return 0

    def _endIfDone(self) -> None:
        if self._state is State.CLOSED or self._client is not None or self._target is not None:
            return
        if self._early:
            return  # the client has left, and what it sent waits for the target
        self._state = State.CLOSED
        self._patience.stop()
        self._down = self._up = None
        onEnd, self._tap = self._onEnd, None
        del self._onEnd  # it leads back to this tunnel, and so may a tap
        assert self._ending is not None
        onEnd(self._ending)


_ABOUT_US = frozenset({CloseCode.PROTOCOL_ERROR, CloseCode.UNSUPPORTED_DATA, CloseCode.INVALID_DATA})
"""What a target's WebSocket says, or is told, of the way in which we and it have spoken: not our client's affair."""


def _passedOn(close: Close) -> Close:
    """@return: what a client is told of a target that is a WebSocket itself, and was closed with this."""
    if close.code in (CloseCode.NORMAL, CloseCode.NO_STATUS):
        return Close(CloseCode.NORMAL, close.reason or "Target closed")
    if close.code in (CloseCode.ABNORMAL, CloseCode.HEARTBEAT_LOST) or close.code in _ABOUT_US:
        return _TARGET_LOST
    try:
        checkClose(close)
    except (TypeError, ValueError):  # of a transport that is not ours
        return _TARGET_LOST
    return close
