"""One client from its upgrade request to the close of its connection.

::

    upgrade ─► origin ─► authenticate ─► resolve ─► authorise ─► 101 ─► dial ─► tunnel ─► closed
                  └───────────┴─────────────┴───────────┴─► refusal       └─► close 1011

A session is what the log speaks of: one line when it opens, one when it closes. L{Sessions} makes them, knows those
that are open, and closes them.
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.access.origin import OriginPolicy
from wsproxy.access.peer import printable
from wsproxy.access.refusals import RefusalLog
from wsproxy.errors import Close, CloseCode, Refusal
from wsproxy.escape import escape
from wsproxy.interfaces import IAuthenticator, IAuthoriser, IDialer, IResolver, Request, Target
from wsproxy.tunnel.end import End
from wsproxy.tunnel.heartbeat import Heartbeat
from wsproxy.tunnel.pump import Pump
from wsproxy.tunnel.tap import Tap, TapFactory, Watched, joinTaps
from wsproxy.tunnel.transport import TransportEnd
from wsproxy.tunnel.tunnel import Ending, Tunnel
from wsproxy.tunnel.wire import Base64Wire, BinaryWire, RawWire, Wire

__all__ = ["Session", "SessionObserver", "Sessions", "Upgrade"]


class Upgrade(Protocol):
    """A complete and valid upgrade request that waits for its answer."""

    @property
    def request(self) -> Request: ...

    def accept(self, subprotocol: str | None) -> TransportEnd:
        """Answer 101. @return: the client, to be relayed."""

    def refuse(self, refusal: Refusal) -> None:
        """Answer with an HTTP status and close the connection."""

    def notifyLost(self, lost: Callable[[], None]) -> None:
        """Call C{lost} should the client vanish before it is answered."""


class SessionObserver(Protocol):
    """Learns of sessions coming and going."""

    def sessionOpened(self) -> None:
        """A client was accepted; its target has not been dialled yet."""

    def sessionClosed(self) -> None:
        """A session has ended, and nothing is left of it."""


class _TargetFactory(Factory[TransportEnd]):
    noisy = False
    protocol = TransportEnd


_targetFactory = _TargetFactory()

_LINE = "{line}"
"""The format of what is logged of each session: twisted.logger takes 2 µs for each field that it formats itself."""


class Sessions:
    """The open sessions, and how a new one comes about.

    @param clock: for deadlines and durations.
    @param origins: which pages may connect.
    @param subprotocols: names accepted beside C{binary} and C{base64}.
    @param text: accept text messages, as their UTF-8 bytes.
    @param decisionTimeout: seconds for all four questions together; then the client is answered 503.
    @param heartbeat: seconds between pings; 0 for none.
    @param taps: each is asked for a tap on each session.
    @param pump: relays between sockets; without it their transports do.
    @ivar refusals: where it is told who was turned away.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        *,
        resolver: IResolver,
        dialer: IDialer,
        authenticator: IAuthenticator | None = None,
        authoriser: IAuthoriser | None = None,
        origins: OriginPolicy,
        subprotocols: tuple[str, ...] = (),
        text: bool = False,
        decisionTimeout: float = 10.0,
        heartbeat: float = 0.0,
        taps: Sequence[TapFactory] = (),
        pump: Pump | None = None,
    ) -> None:
        self.clock = clock
        self.dialer = dialer
        self.pump = pump
        self.heartbeats = Heartbeat(clock, heartbeat)
        self.taps = taps
        self.refusals = RefusalLog(clock)
        self._resolver = resolver
        self._authenticator = authenticator
        self._authoriser = authoriser
        self._origins = origins
        self._subprotocols = subprotocols
        self._text = text
        self._decisionTimeout = decisionTimeout
        self._active: set[Session] = set()
        self._observers: list[SessionObserver] = []
        self._closed: str | None = None
        self._idle: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._active)

    def observe(self, observer: SessionObserver) -> None:
        """Tell C{observer} of sessions from now on."""
        self._observers.append(observer)

    def open(self, upgrade: Upgrade, raw: bool = False) -> None:
        """
        Answer this request, now or when the questions about it have been answered.

        @param raw: the client speaks plain TCP, and is to be relayed as it is.
        """
        decision = Deferred.fromCoroutine(self._decide(upgrade.request))
        vanished = False

        def lost() -> None:
            nonlocal vanished
            vanished = True
            decision.cancel()

        def answer(result: Target | Failure) -> None:
            if vanished:
                return  # whatever a plugin made of being cancelled
            if isinstance(result, Failure):
                self._refuse(upgrade, result)
            else:
                self._begin(upgrade, result, raw)

        if not decision.called:
            decision.addTimeout(self._decisionTimeout, self.clock)
            upgrade.notifyLost(lost)
        decision.addBoth(answer).addErrback(lambda failure: self._log.failure("answering a client", failure))

    def _refuse(self, upgrade: Upgrade, failure: Failure) -> None:
        refusal = failure.value
        if not isinstance(refusal, Refusal):
            if not isinstance(refusal, TimeoutError):
                self._log.failure("deciding about {peer}", failure, peer=printable(upgrade.request.peer))
            refusal = Refusal(503, "Service unavailable")
        self.refusals.refused(upgrade.request.peer, refusal.status, refusal.reason, refusal.cause)
        upgrade.refuse(refusal)

    async def _decide(self, request: Request) -> Target:
        headers = request.headers
        page = headers.get("origin"), headers.get("host"), request.secure
        if not self._origins.allows(*page):
            raise Refusal(403, "Origin not allowed", cause=self._origins.cause(*page))
        identity = None
        if self._authenticator is not None:
            identity = await _answer(self._authenticator.authenticate(request))
        target = await _answer(self._resolver.resolve(request))
        if self._authoriser is not None:
            await _answer(self._authoriser.authorise(request, identity, target))
        if self._closed is not None:
            raise Refusal(503, self._closed)
        assert isinstance(target, Target)
        return target

    def _begin(self, upgrade: Upgrade, target: Target, raw: bool) -> None:
        offered = upgrade.request.subprotocols
        allowed = ("binary", "base64", *self._subprotocols)
        subprotocol = next((name for name in allowed if name in offered), None)
        if offered and subprotocol is None:
            self.refusals.unspoken(upgrade.request.peer, offered)
        wire: Wire
        if raw:
            wire = RawWire()
        else:
            wire = Base64Wire() if subprotocol == "base64" else BinaryWire(text=self._text)
        session = Session(self, upgrade.request, target)
        self._active.add(session)
        for observer in self._observers:
            observer.sessionOpened()
        session.begin(upgrade.accept(subprotocol), wire)

    def ended(self, session: Session) -> None:
        """Forget this session: both its ends are gone."""
        self._active.discard(session)
        for observer in self._observers:
            observer.sessionClosed()
        if not self._active:
            waiting, self._idle = self._idle, []
            for deferred in waiting:
                deferred.callback(None)

    def refuseNew(self, reason: str) -> None:
        """Answer 503 to every request from now on. @param reason: what the client reads."""
        self._closed = reason

    def whenIdle(self) -> Deferred[None]:
        """Fires when no session is open, at once if that is so now."""
        if not self._active:
            return succeed(None)
        deferred: Deferred[None] = Deferred(self._idle.remove)
        self._idle.append(deferred)
        return deferred

    def closeAll(self, close: Close) -> Deferred[None]:
        """Close every open session. @return: fires when all are gone, after the closing timeouts at the latest."""
        for session in tuple(self._active):
            session.close(close)
        return self.whenIdle()


class Session:
    """One accepted client. C{id} names it in the log."""

    __slots__ = ("_dialling", "_peer", "_sessions", "_started", "_tap", "_target", "_tunnel", "id")

    _log = Logger()

    def __init__(self, sessions: Sessions, request: Request, target: Target) -> None:
        self.id = secrets.token_hex(4)
        self._sessions = sessions
        self._peer = printable(request.peer)
        self._target = target
        self._started = sessions.clock.seconds()
        self._dialling: Deferred[Any] | None = None

    def begin(self, client: TransportEnd, wire: Wire) -> None:
        """Relay between this client and the target, once that is connected."""
        sessions = self._sessions
        end: End = client if sessions.pump is None else sessions.pump.adopt(client)
        target = escape(str(self._target))
        raw = " (raw)" if wire.plain else ""
        self._log.info(
            _LINE,
            line=f"{self.id} {self._peer} → {target}{raw}",
            session=self.id,
            peer=self._peer,
            target=target,
        )
        self._tap: Tap | None = None
        if sessions.taps:
            watched = Watched(self.id, self._peer, str(self._target), self._started, self.close)
            self._tap = joinTaps(sessions.taps, watched)
        self._tunnel = Tunnel(end, wire, sessions.clock, self._ended, self._tap)
        sessions.heartbeats.add(self._tunnel)
        self._tunnel.start()
        dialling = self._dialling = maybeDeferred(sessions.dialer.dial, self._target, _targetFactory)
        dialling.addCallback(self._dialled).addErrback(self._undialled)

    def _dialled(self, target: TransportEnd) -> None:
        self._dialling = None
        pump = self._sessions.pump
        self._tunnel.connected(target if pump is None else pump.adopt(target))

    def _undialled(self, failure: Failure) -> None:
        reason = str(failure.value) or "Target unreachable"
        self._tunnel.failed(Close(CloseCode.INTERNAL_ERROR, reason))

    def close(self, close: Close) -> None:
        """Close the WebSocket with this; L{Sessions.ended} follows."""
        self._tunnel.close(close)

    def _ended(self, ending: Ending) -> None:
        sessions, tunnel = self._sessions, self._tunnel
        if self._dialling is not None:
            self._dialling.cancel()
        sessions.heartbeats.remove(tunnel)
        if self._tap is not None:
            self._tap.close()
            self._tap = None  # it may lead back to this session
        by, code, reason = ending.by, int(ending.close.code), escape(ending.close.reason) or "(no reason)"
        seconds = sessions.clock.seconds() - self._started
        up, down = tunnel.bytesFromClient, tunnel.bytesFromTarget
        self._log.info(
            _LINE,
            line=f"{self.id} closed by {by}: {code} {reason}; {seconds:.1f} s, {up} bytes up, {down} bytes down",
            session=self.id,
            by=by,
            code=code,
            reason=reason,
            seconds=seconds,
            up=up,
            down=down,
        )
        sessions.ended(self)


async def _answer(value: Any) -> Any:
    """What a plugin answered: a plain value, a Deferred or a coroutine."""
    return await value if inspect.isawaitable(value) else value
