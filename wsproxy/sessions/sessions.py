"""The sessions of one proxy: how one comes about, and how all of them end.

::

    upgrade ─► Reception ─► Admission ─► 101 ─► session
                   └─► refusal
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.access.origin import OriginPolicy
from wsproxy.access.peer import printable
from wsproxy.access.refusallog import RefusalLog
from wsproxy.config import ClientsConfig, TargetConfig
from wsproxy.ends.transport import TransportEnd
from wsproxy.ends.watch import Adopter
from wsproxy.errors import Close, CloseCode, Refusal
from wsproxy.fault import logFault
from wsproxy.interfaces import (
    Admitted,
    AnyAuthenticator,
    AnyAuthoriser,
    AnyDialer,
    AnyGate,
    AnyNegotiator,
    AnyObserver,
    AnyResolver,
    AnyTurnstile,
    Ending,
    Identity,
    Request,
    Session,
    TapFactory,
)
from wsproxy.sessions.awaited import awaiting
from wsproxy.sessions.decision import Admission, Decisions, asCallable
from wsproxy.sessions.expiry import Expiry
from wsproxy.sessions.reception import Reception, Upgrade
from wsproxy.sessions.session import OpenSession
from wsproxy.sessions.trace import Trace
from wsproxy.tunnel.heartbeat import Heartbeat
from wsproxy.wire.subprotocol import choose, wireOf

__all__ = ["GRACE", "Sessions"]

GRACE = 1.0
"""Seconds that a dialer has beyond its time: one that counts them itself has the better words when they are over."""

class Sessions:
    """The open sessions, and how a new one comes about.

    Whatever those who are asked, watch or connect may do, it ends with their session at the worst: the client is told
    503 or 1011, an exception is logged once, and everybody else goes on.

    @param clock: for deadlines and durations.
    @param dialer: how targets are reached.
    @param webAuth: the authenticator is asked about requests for pages, too.
    @param origins: which pages may connect.
    @param subprotocols: names accepted beside C{binary} and C{base64}.
    @param text: accept text messages, as their UTF-8 bytes.
    @param decisionTimeout: seconds for all four questions together; then the client is answered 503.
    @param negotiator: talks with both sides before the tunnel opens, for C{decisionTimeout} at most.
    @param connectTimeout: seconds that a dialer has; L{GRACE} more for one that counts them itself.
    @param heartbeat: seconds between pings; 0 for none.
    @param bandwidth: bytes a second of a session, in each direction; 0 for no limit.
    @param sessionTimeout: seconds that a session may last; 0 for as long as it likes.
    @param sessionIdleTimeout: seconds without payload, either way, that it may; 0 for as many as it likes.
    @param taps: each is asked for a tap on each session.
    @param pump: makes the ends of tunnels of their transports; without it those serve as they are.
    @param shownPath: what the log says of a request's path: where that holds a token, its template. By default the
        path itself.
    @param now: the time of day, in seconds since the epoch.
    @ivar refusals: where it is told who was turned away.
    @ivar coverPages: whether somebody is to be asked about requests for pages, with L{visit}.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        *,
        resolver: AnyResolver,
        dialer: AnyDialer,
        authenticator: AnyAuthenticator | None = None,
        authoriser: AnyAuthoriser | None = None,
        negotiator: AnyNegotiator | None = None,
        gates: Sequence[AnyGate] = (),
        turnstiles: Sequence[AnyTurnstile] = (),
        webAuth: bool = False,
        origins: OriginPolicy,
        subprotocols: tuple[str, ...] = (),
        text: bool = False,
        decisionTimeout: float = ClientsConfig().handshakeTimeout,
        connectTimeout: float = TargetConfig().connectTimeout,
        heartbeat: float = 0.0,
        bandwidth: float = 0.0,
        sessionTimeout: float = 0.0,
        sessionIdleTimeout: float = 0.0,
        taps: Sequence[TapFactory] = (),
        pump: Adopter | None = None,
        shownPath: Callable[[Request], str] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.dial = awaiting(asCallable(dialer, "dial"))
        self.dialTimeout = connectTimeout + GRACE
        self.negotiate = None if negotiator is None else asCallable(negotiator, "negotiate")
        self.negotiationTimeout = decisionTimeout
        self.pump = pump
        self.bandwidth = bandwidth
        self.heartbeats = Heartbeat(clock, heartbeat)
        self.expiry = Expiry(clock, now, sessionTimeout, sessionIdleTimeout)
        self.taps = taps
        self.refusals = RefusalLog(clock)
        self.shownPath = shownPath
        self.now = now
        decisions = Decisions(
            clock,
            origins=origins,
            authenticator=authenticator,
            resolver=resolver,
            authoriser=authoriser,
            gates=gates,
            turnstiles=turnstiles,
            webAuth=webAuth,
            foresee=getattr(dialer, "foresee", None),
            timeout=decisionTimeout,
        )
        self.coverPages = decisions.coverPages
        self._reception = Reception(decisions, self.refusals, self._begin)
        self._subprotocols = subprotocols
        self._text = text
        self._active: dict[str, OpenSession] = {}
        self._observers: list[AnyObserver] = []
        self._idle: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._active)

    def __iter__(self) -> Iterator[Session]:
        """Those that are open now, in the order in which they came; it may be closed what one comes by."""
        return iter(tuple(self._active.values()))

    def get(self, id: str) -> Session | None:
        """@return: the open session of this id, all 32 digits of it; L{None} where there is none, or no longer."""
        return self._active.get(id)

    def close(self, id: str, code: int, reason: str = "") -> bool:
        """
        Close a session.

        @param code: a close code that an endpoint may send: RFC 6455 section 7.4.
        @param reason: what the client reads: at most 123 bytes of UTF-8.
        @return: whether there is one of this id.
        """
        session = self._active.get(id)
        if session is not None:
            session.close(Close(code, reason))
        return session is not None

    def observe(self, observer: AnyObserver) -> Callable[[], None]:
        """
        Tell C{observer} of sessions from now on.

        @return: undoes it.
        """
        self._observers.append(observer)

        def forget() -> None:
            if observer in self._observers:
                self._observers.remove(observer)

        return forget

    def open(self, upgrade: Upgrade, raw: bool = False) -> None:
        """
        Answer this request, now or when the questions about it have been answered. Raises nothing.

        @param raw: the client speaks plain TCP, and is to be relayed as it is.
        """
        self._reception.open(upgrade, raw)

    def enter(self, request: Request) -> Refusal | None:
        """See L{Reception.enter}."""
        return self._reception.enter(request)

    def explain(self, request: Request, trace: Trace | None = None) -> Deferred[Refusal | None]:
        """See L{Reception.explain}."""
        return self._reception.explain(request, trace)

    def visit(self, request: Request, *, forAnybody: bool = False) -> Deferred[Identity | Refusal | None]:
        """See L{Reception.visit}."""
        return self._reception.visit(request, forAnybody=forAnybody)

    def _begin(self, upgrade: Upgrade, admission: Admission, raw: bool) -> None:
        request = admission.request
        subprotocol = choose(request.subprotocols, self._subprotocols)
        if request.subprotocols and subprotocol is None:
            self.refusals.unspoken(request.peer, request.subprotocols, request.client)
        draft = upgrade.draft
        wire = wireOf(subprotocol, text=self._text, raw=raw, draft=draft)
        peer = printable(request.peer)
        session = OpenSession(self, admission)
        client = upgrade.accept(subprotocol, admission.responseHeaders)
        if not isinstance(client, TransportEnd):
            raise TypeError(f"a client was accepted as {type(client).__name__}")
        session.begin(client, wire, peer, subprotocol if draft is None else draft.value)

    def opened(self, session: OpenSession) -> bool:
        """Keep this session, and tell of it. @return: whether everybody took it well."""
        self._active[session.id] = session
        return not self._observers or self._tell(session, lambda observer: observer.opened(session))

    def _tell(self, session: OpenSession, event: Callable[[AnyObserver], Any]) -> bool:
        problems: list[Failure] = []

        def failed(problem: Failure) -> None:
            problems.append(problem)
            logFault(self._log, "{session:.8} telling an observer", problem, session=session.id)

        for observer in tuple(self._observers):
            try:
                answer = event(observer)
                if hasattr(answer, "__await__"):
                    ensureDeferred(answer).addErrback(failed)
            except BaseException:
                failed(Failure())
        return not problems

    def ended(self, session: OpenSession, ending: Ending) -> None:
        """Forget this session: both its ends are gone, or left alone."""
        self._active.pop(session.id, None)
        if self._observers:
            self._tell(session, lambda observer: observer.closed(session, ending))
        if not self._active:
            waiting, self._idle = self._idle, []
            for deferred in waiting:
                deferred.callback(None)

    def revoke(self, matches: Callable[[Admitted], bool], reason: str = "Access revoked") -> int:
        """
        Take back the access of those whom C{matches} is true of: sessions are closed with 4001, and are gone within
        L{END_TIMEOUT} and L{ABORT_TIMEOUT} seconds, whatever they do; whoever is just being decided about is refused
        with 403. Whoever comes later is not concerned: what let them in must not do so again.

        @param matches: is given sessions and those who are to become one: their C{identity} and C{target}, and of a
            session no more of its C{request} than it keeps. What it raises is raised here, and nobody is concerned.
        @param reason: what they read: at most 123 bytes of UTF-8.
        @return: how many sessions there were.
        """
        concerned = [session for session in self._active.values() if matches(session)]
        self._reception.revoke(matches, reason)
        for session in concerned:
            session.end(Close(CloseCode.EXPIRED, reason))
        return len(concerned)

    def refuseNew(self, reason: str) -> Callable[[], None]:
        """
        Answer 503 to every request from now on.

        @param reason: what the client reads.
        @return: undoes it; what others have asked for stays.
        """
        return self._reception.refuseNew(reason)

    def whenIdle(self) -> Deferred[None]:
        """Fires when no session is open, at once if that is so now."""
        if not self._active:
            return succeed(None)
        deferred: Deferred[None] = Deferred(self._idle.remove)
        self._idle.append(deferred)
        return deferred

    def closeAll(self, close: Close, within: float = 6.0) -> Deferred[None]:
        """
        Close every open session, and answer 503 to those that wait to be decided about.

        @param within: seconds until those that are left are aborted, however much they are still owed.
        @return: fires when all are gone, after C{within} and L{ABORT_TIMEOUT} seconds at the latest.
        """
        self._reception.refuseWaiting(Refusal(503, close.reason))
        for session in tuple(self._active.values()):
            session.close(close)
        if self._active:
            timer = self.clock.callLater(within, self._abortAll)
            self.whenIdle().addCallback(lambda _: timer.cancel() if timer.active() else None)
        return self.whenIdle()

    def _abortAll(self) -> None:
        for session in tuple(self._active.values()):
            session.abort()
