"""One client from its 101 to the end of its connection, and of its target's.

::

    accepted ─► observers, taps ─► dial ─► tunnel ─► closed
        └─────────────┴─────────────┴────────┴─► something raises ─► close 1011

A session is what the log speaks of: one line when it opens, one when it closes. Whatever it calls outward may raise,
hang or answer nonsense. That ends this one session, within a time, and is logged once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from types import MappingProxyType
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from wsproxy.access.peer import printable, whom
from wsproxy.daemon.line import logLine
from wsproxy.endpoints.weburl import discreetTarget
from wsproxy.ends.bucket import Bucket
from wsproxy.ends.end import End
from wsproxy.ends.pacedend import PacedEnd
from wsproxy.ends.transport import TransportEnd
from wsproxy.ends.watch import Adopter
from wsproxy.errors import Close, CloseCode, checkClose
from wsproxy.escape import escape
from wsproxy.fault import logFault, tellLog
from wsproxy.interfaces import Ending, Forwarded, Request, Tap, TapFactory
from wsproxy.sessions.approach import Dialling
from wsproxy.sessions.decision import Admission, checkMoment, depart
from wsproxy.sessions.excuse import UNREACHABLE
from wsproxy.sessions.expiry import Expiry, Term
from wsproxy.sessions.negotiation import Negotiation
from wsproxy.sessions.shares import Shares
from wsproxy.sessions.targetend import TargetEnd
from wsproxy.tunnel.heartbeat import Heartbeat
from wsproxy.tunnel.relay import Traffic
from wsproxy.tunnel.tap import closeTap, joinTaps
from wsproxy.tunnel.tunnel import Tunnel
from wsproxy.wire.wire import Wire

__all__ = ["ABORT_TIMEOUT", "END_TIMEOUT", "FAULT_TIMEOUT", "OpenSession", "Registry"]

FAULT_TIMEOUT = 6.0
"""Seconds after which a session is aborted in which something raised: nobody knows what still works of it."""

END_TIMEOUT = 6.0
"""Seconds after which a session is aborted whose client has no more access, however much it is still owed."""

ABORT_TIMEOUT = 1.0
"""Seconds after which a session is given up whose ends do not go when they are aborted."""

_NO_TRAFFIC = Traffic()

_BROKEN = Close(CloseCode.INTERNAL_ERROR, "Internal error")
_ABANDONED = Close(CloseCode.ABNORMAL, "Abandoned")

_lines = Logger(f"{__name__}.OpenSession")
"""For the two of every session: one of the class is made anew for each use."""


class Registry(Protocol):
    """L{Sessions<wsproxy.sessions.sessions.Sessions>}, as far as one session needs them."""

    clock: IReactorTime
    now: Callable[[], float]
    dial: Callable[..., Any]
    dialTimeout: float
    negotiate: Callable[..., Any] | None
    negotiationTimeout: float
    heartbeats: Heartbeat
    taps: Sequence[TapFactory]
    pump: Adopter | None
    bandwidth: float
    shares: Sequence[Shares]
    expiry: Expiry
    shownPath: Callable[[Request], str] | None

    def opened(self, session: OpenSession) -> bool:
        """Keep this session, and tell of it. @return: whether everybody took it well."""

    def ended(self, session: OpenSession, ending: Ending) -> None:
        """Forget it, and tell of that."""


class _State(Enum):
    OPENING = "nothing relays yet"
    OPEN = "there is a tunnel"
    OVER = "nothing is left of it"


class OpenSession:
    """
    The L{Session<wsproxy.interfaces.Session>} that there is. It may be closed and aborted at any time, before it has
    begun and after it has ended, too.

    @ivar reached: seconds from its beginning until its target was connected; L{None} as long as it is not.
    """

    __slots__ = (
        "_aborting",
        "_cause",
        "_closing",
        "_deadline",
        "_departures",
        "_dialling",
        "_expires",
        "_registry",
        "_since",
        "_state",
        "_tap",
        "_term",
        "_tunnel",
        "id",
        "identity",
        "reached",
        "request",
        "started",
        "target",
    )

    _log = Logger()

    def __init__(self, registry: Registry, admission: Admission) -> None:
        self.id = os.urandom(16).hex()
        self.request = admission.request
        self.identity = admission.identity
        self.target = admission.target
        self.started = registry.now()
        self._registry = registry
        self._since = registry.clock.seconds()
        self.reached: float | None = None
        self._state = _State.OPENING
        self._closing: Close | None = None  # what was asked for while opening
        self._aborting = False
        self._tunnel: Tunnel | None = None
        self._tap: Tap | None = None
        self._dialling: Dialling | Negotiation | None = None
        self._deadline: IDelayedCall | None = None
        self._cause = ""
        self._expires = admission.expires
        self._term: Term | None = None
        self._departures = admission.departures or None

    # Its beginning

    def begin(self, client: TransportEnd, wire: Wire, peer: str, subprotocol: str | None) -> None:
        """
        Relay between this client and the target, once that is connected. Raises nothing.

        @param peer: how the address that it comes from is shown in the log, for which C{subprotocol} is, too.
        """
        self._limit()
        if not self._registry.opened(self):
            self._closing = _BROKEN
        end: End = client
        try:
            self._announce(peer, subprotocol, wire.plain)
            if self._registry.taps:
                self._tap = self._makeTap()
            end = self._adopt(client, up=True)
        except BaseException:
            self._fault("opening")
        try:
            self._relay(end, wire)
        except BaseException:
            self._fault("relaying")
        if self._state is _State.OPENING:
            self._state = _State.OPEN
            self._proceed()
        self.request = _remains(self.request)

    def _limit(self) -> None:
        """Have it end when what let it in expires, and when it must."""
        expires, expiry = self._expires, self._registry.expiry
        if expires is not None or expiry.always:
            self._term = expiry.begin(self, expires)

    def _announce(self, peer: str, subprotocol: str | None, plain: bool) -> None:
        request, shownPath = self.request, self._registry.shownPath
        path = escape(request.path if shownPath is None else shownPath(request))
        scheme = ("raw over TLS" if request.secure else "raw") if plain else "wss" if request.secure else "ws"
        name = None if self.identity is None else escape(self.identity.name)
        how = f"{scheme} {path}" if path else scheme
        if subprotocol is not None:
            how = f"{how}, {subprotocol}"
        if name is not None:
            how = f"{how}, as {name}"
        target = escape(discreetTarget(self.target.text))
        client, who = peer, peer
        if request.forwarded is not None:
            client, who = printable(request.client), whom(request.client, request.peer)
        with suppress(BaseException):  # observers of the log
            logLine(
                _lines,
                f"{self.id[:8]} {who} → {target} ({how})",
                session=self.id,
                client=client,
                peer=peer,
                target=target,
                scheme=scheme,
                path=path,
                subprotocol=subprotocol,
                identity=name,
                userAgent=request.headers.get("user-agent"),
            )

    def _makeTap(self) -> Tap | None:
        return joinTaps(self._registry.taps, self, lambda: self.close(_BROKEN))

    def _relay(self, end: End, wire: Wire) -> None:
        registry = self._registry
        tunnel = self._tunnel = Tunnel(end, wire, registry.clock, self._ended, self._tap)
        registry.heartbeats.add(tunnel)
        tunnel.start()

    def _proceed(self) -> None:
        """Do what was asked for meanwhile, or else dial."""
        registry = self._registry
        if self._aborting or self._tunnel is None:
            self.abort()
        elif self._closing is not None:
            self.close(self._closing)
            self._unreachable(self._closing.reason, "")  # what the client has sent waits for no target
        else:
            self._dialling = Dialling(self.id, self._connected, self._unreachable)
            self._dialling.start(registry.dial, self, registry.clock, registry.dialTimeout)

    def _adopt(self, end: TransportEnd, *, up: bool) -> End:
        """@param up: what is read of it is what the client sends."""
        registry = self._registry
        adopted: End = end if registry.pump is None else registry.pump.adopt(end)
        if registry.bandwidth:
            adopted = PacedEnd(adopted, Bucket(registry.clock, registry.bandwidth))
        if self.identity is not None:
            for shares in registry.shares:
                adopted = PacedEnd(adopted, shares.bucket(self.identity.name, up))
        return adopted

    # Its target

    def _connected(self, end: TargetEnd) -> None:
        assert self._tunnel is not None
        registry, self._dialling = self._registry, None
        self.reached = registry.clock.seconds() - self._since
        if registry.negotiate is None:
            self._join(end)
            return
        negotiation = Negotiation(self, self._tunnel, end, registry.clock, self._join, self._unreachable)
        self._dialling = negotiation
        negotiation.start(registry.negotiate, registry.negotiationTimeout)

    def _join(self, end: TargetEnd, between: Callable[[End], End] | None = None) -> None:
        assert self._tunnel is not None
        self._dialling = None
        try:
            target = self._adopt(end, up=False)
            self._tunnel.connected(target if between is None else between(target))
        except BaseException:
            self._fault("connecting")
            self._unreachable(UNREACHABLE, "")
            self._abort(end)

    def _unreachable(self, reason: str, cause: str, by: str = "target") -> None:
        assert self._tunnel is not None
        self._dialling = None
        self._cause = cause
        try:
            self._tunnel.failed(Close(CloseCode.INTERNAL_ERROR, reason), by)
        except BaseException:
            self._fault("telling why")

    # Its end

    def close(self, close: Close) -> None:
        """
        Close the WebSocket with this; L{Registry.ended} follows.

        @raise TypeError: it is nothing that a client can be sent, as is L{ValueError}.
        """
        checkClose(close)
        if self._state is _State.OPENING:
            self._closing = self._closing or close
        elif self._state is _State.OPEN and self._tunnel is not None:
            try:
                self._tunnel.close(close)
            except BaseException:
                logFault(self._log, "{session:.8} closing", session=self.id)
                self.abort()

    def end(self, close: Close) -> None:
        """
        Close it with this, and be done in L{END_TIMEOUT} and L{ABORT_TIMEOUT} seconds, whatever its client does.
        Nothing that comes from there now reaches the target, and one that is not connected yet never is.
        """
        self.close(close)
        if self._state is not _State.OPEN:
            return
        if self._dialling is not None:
            self._dialling.cancel()
            self._unreachable(close.reason, "")
        elif self._tunnel is not None:
            self._tunnel.release()
        if self._deadline is None and self._state is _State.OPEN:
            self._startDeadline(END_TIMEOUT, self.abort)

    def expireAt(self, when: float | None) -> None:
        """See L{Session<wsproxy.interfaces.Session>}."""
        checkMoment(when, "a session")
        if self._state is _State.OVER:
            return
        if self._term is not None:
            self._registry.expiry.set(self._term, when)
        elif when is not None:
            self._term = self._registry.expiry.begin(self, when)

    @property
    def open(self) -> bool:
        """Whether nobody has begun to end it."""
        return self._state is _State.OPENING or (self._tunnel is not None and self._tunnel.open)

    @property
    def age(self) -> float:
        """Seconds since its beginning."""
        return self._registry.clock.seconds() - self._since

    @property
    def traffic(self) -> Traffic:
        """What has passed so far, and what waits."""
        return _NO_TRAFFIC if self._tunnel is None else self._tunnel.traffic

    @property
    def ending(self) -> Ending | None:
        """How it is going to end, from the moment that this is known: whose doing it is, and the close code."""
        return None if self._tunnel is None else self._tunnel.ending

    @property
    def carried(self) -> int:
        """Bytes of payload so far, both ways."""
        tunnel = self._tunnel
        return 0 if tunnel is None else tunnel.bytesFromClient + tunnel.bytesFromTarget

    def abort(self) -> None:
        """End now, without ceremony. L{Registry.ended} follows within L{ABORT_TIMEOUT} seconds."""
        if self._state is _State.OPENING:
            self._aborting = True
        elif self._state is _State.OPEN:
            self._startDeadline(ABORT_TIMEOUT, self._abandon)
            try:
                if self._tunnel is not None:
                    self._tunnel.abort()
            except BaseException:
                logFault(self._log, "{session:.8} aborting", session=self.id)

    def _abandon(self) -> None:
        self._deadline = None
        text = "{session:.8} does not let go of its ends; they are left alone"
        tellLog(self._log.warn, text, session=self.id)
        self._ended(Ending("proxy", _ABANDONED))

    def _fault(self, doing: str) -> None:
        """Somebody has raised an exception."""
        logFault(self._log, "{session:.8} {doing}", session=self.id, doing=doing)
        self._startDeadline(FAULT_TIMEOUT, self.abort)
        self.close(_BROKEN)

    def _abort(self, end: TransportEnd) -> None:
        try:
            end.drop() if isinstance(end, TargetEnd) else end.abort()
        except BaseException:
            logFault(self._log, "{session:.8} dropping a connection", session=self.id)

    def _startDeadline(self, seconds: float, expired: Callable[[], None]) -> None:
        self._endDeadline()
        if self._state is not _State.OVER:
            self._deadline = self._registry.clock.callLater(seconds, expired)

    def _endDeadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _ended(self, ending: Ending) -> None:
        if self._state is _State.OVER:
            return
        self._state = _State.OVER
        if self._deadline is not None:
            self._endDeadline()
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        if self._term is not None:
            self._registry.expiry.end(self._term)
        if self._tunnel is not None:
            self._registry.heartbeats.remove(self._tunnel)
        if self._tap is not None:
            closeTap(self._tap, self.id)
            self._tap = None  # it may lead back to this session
        whole = self._whole(ending)
        try:
            self._report(whole)
        except BaseException:  # observers of the log
            logFault(self._log, "{session:.8} telling its end", session=self.id)
        if self._departures is not None:
            depart(self._departures)
        self._registry.ended(self, whole)

    def _whole(self, ending: Ending) -> Ending:
        """What the tunnel says of its end, with what it does not know of."""
        tunnel, seconds = self._tunnel, self._registry.clock.seconds() - self._since
        up, down = (0, 0) if tunnel is None else (tunnel.bytesFromClient, tunnel.bytesFromTarget)
        close = ending.close
        if type(close.reason) is not str or not isinstance(close.code, int):  # of somebody else's transport, or dialer
            close = _ABANDONED
        return Ending(ending.by, close, self._cause, seconds, up, down)

    def _report(self, ending: Ending) -> None:
        by, code, reason = ending.by, int(ending.close.code), escape(ending.close.reason) or "(no reason)"
        seconds, up, down, cause = ending.seconds, ending.up, ending.down, ending.cause
        what = f"closed by {by}: {code} {reason}; {seconds:.1f} s, {up} bytes up, {down} bytes down"
        logLine(
            _lines,
            f"{self.id[:8]} {what}; {cause}" if cause else f"{self.id[:8]} {what}",
            session=self.id,
            by=by,
            code=code,
            reason=reason,
            seconds=seconds,
            up=up,
            down=down,
            cause=cause,
        )


_NOTHING: MappingProxyType[str, Any] = MappingProxyType({})


def _remains(request: Request) -> Request:
    """What a session keeps of its request: see L{Session.request<wsproxy.interfaces.Session>}."""
    told = request.forwarded
    if told is not None:
        told = Forwarded(told.client, told.server)
    return Request("", _NOTHING, request.peer, request.host, request.secure, _NOTHING, forwarded=told)
