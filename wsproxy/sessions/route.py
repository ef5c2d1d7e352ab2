"""What holds for the sessions of one way in: who decides about them, how their targets are reached, what is kept.

::

    Sessions ─► Route: Reception ─► OpenSession, whose registry it is to its end

A proxy has one, or several by host and path (L{wsproxy.sessions.routes}). Where settings change while it runs others
take their places: a session, and a client that is just being decided about, stays with the one that it came by.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.access.origin import OriginPolicy
from wsproxy.access.peer import printable
from wsproxy.access.refusallog import RefusalLog
from wsproxy.config import ClientsConfig, TargetConfig
from wsproxy.ends.transport import TransportEnd
from wsproxy.ends.watch import Adopter
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
    Request,
    TapFactory,
)
from wsproxy.sessions.awaited import awaited
from wsproxy.sessions.decision import Admission, Closings, Decisions, asCallable
from wsproxy.sessions.expiry import Expiry
from wsproxy.sessions.reception import Reception, Upgrade
from wsproxy.sessions.session import OpenSession
from wsproxy.sessions.shares import Shares
from wsproxy.tunnel.heartbeat import Heartbeat
from wsproxy.wire.subprotocol import choose, wireOf

__all__ = ["GRACE", "Ledger", "Route", "tell"]

GRACE = 1.0
"""Seconds that a dialer has beyond its time: one that counts them itself has the better words when they are over."""

_log = Logger()


class Ledger(Protocol):
    """L{Sessions<wsproxy.sessions.sessions.Sessions>}, as far as a route needs them."""

    refusals: RefusalLog
    closings: Closings

    def opened(self, session: OpenSession) -> bool:
        """Keep this session, and tell of it. @return: whether everybody took it well."""

    def ended(self, session: OpenSession, ending: Ending) -> None:
        """Forget it, and tell of that."""

    def take(self, matches: Callable[[Admitted], bool], reason: str, receptions: Iterable[Reception]) -> int:
        """Take back the access of those whom C{matches} is true of; see L{Sessions.revoke}."""


class Route:
    """A L{Registry<wsproxy.sessions.session.Registry>}.

    @param clock: for deadlines and durations.
    @param dialer: how targets are reached.
    @param webAuth: the authenticator is asked about requests for pages, too.
    @param observers: are told of its sessions.
    @param origins: which pages may connect.
    @param subprotocols: names accepted beside C{binary} and C{base64}.
    @param text: accept text messages, as their UTF-8 bytes.
    @param decisionTimeout: seconds for all four questions together; then the client is answered 503.
    @param negotiator: talks with both sides before the tunnel opens, for C{decisionTimeout} at most.
    @param connectTimeout: seconds that a dialer has; L{GRACE} more for one that counts them itself.
    @param heartbeat: seconds between pings; 0 for none.
    @param bandwidth: bytes a second of a session, in each direction; 0 for no limit.
    @param bandwidthPerIdentity: likewise, of all sessions of one identity together.
    @param sessionTimeout: seconds that a session may last; 0 for as long as it likes.
    @param sessionIdleTimeout: seconds without payload, either way, that it may; 0 for as many as it likes.
    @param taps: each is asked for a tap on each session.
    @param pump: makes the ends of tunnels of their transports; without it those serve as they are.
    @param shownPath: what the log says of a request's path: where that holds a token, its template. By default the
        path itself.
    @param now: the time of day, in seconds since the epoch.
    @ivar coverPages: whether somebody is to be asked about requests for pages.
    @ivar shares: what its sessions have in common with others of their identities.
    """

    opened: Callable[[OpenSession], bool]
    ended: Callable[[OpenSession, Ending], None]
    _ledger: Ledger

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
        observers: Iterable[AnyObserver] = (),
        origins: OriginPolicy,
        subprotocols: tuple[str, ...] = (),
        text: bool = False,
        decisionTimeout: float = ClientsConfig().handshakeTimeout,
        connectTimeout: float = TargetConfig().connectTimeout,
        heartbeat: float = 0.0,
        bandwidth: float = 0.0,
        bandwidthPerIdentity: float = 0.0,
        sessionTimeout: float = 0.0,
        sessionIdleTimeout: float = 0.0,
        taps: Sequence[TapFactory] = (),
        pump: Adopter | None = None,
        shownPath: Callable[[Request], str] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.dial = asCallable(dialer, "dial")
        self.dialTimeout = connectTimeout + GRACE
        self.negotiate = None if negotiator is None else asCallable(negotiator, "negotiate")
        self.negotiationTimeout = decisionTimeout
        self.pump = pump
        self.bandwidth = bandwidth
        self.shares: Sequence[Shares] = (Shares(clock, bandwidthPerIdentity),) if bandwidthPerIdentity else ()
        self.heartbeats = Heartbeat(clock, heartbeat)
        self.expiry = Expiry(clock, now, sessionTimeout, sessionIdleTimeout)
        self.taps = taps
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
        self.reception = Reception(decisions, RefusalLog(clock), self._begin)
        self._observers: list[AnyObserver] = list(observers)
        self._subprotocols = subprotocols
        self._text = text

    def join(self, ledger: Ledger) -> None:
        """From now on its sessions are kept in this ledger."""
        self._ledger = ledger
        self.reception.refusals = ledger.refusals
        self.reception.decisions.closings = ledger.closings
        self._listen()

    def observe(self, observer: AnyObserver) -> None:
        """Tell C{observer} of its sessions from now on."""
        self._observers.append(observer)
        self._listen()

    def _listen(self) -> None:
        """Without observers of its own, nothing is in between."""
        own = bool(self._observers)
        self.opened = self._opened if own else self._ledger.opened
        self.ended = self._ended if own else self._ledger.ended

    def _opened(self, session: OpenSession) -> bool:
        well = self._ledger.opened(session)
        return tell(self._observers, session, lambda observer: observer.opened(session)) and well

    def _ended(self, session: OpenSession, ending: Ending) -> None:
        tell(self._observers, session, lambda observer: observer.closed(session, ending))
        self._ledger.ended(session, ending)

    def revoke(self, matches: Callable[[Admitted], bool], reason: str = "Access revoked") -> int:
        """See L{Sessions.revoke<wsproxy.sessions.sessions.Sessions.revoke>}; of those who come, only by this route."""
        return self._ledger.take(matches, reason, (self.reception,))

    def _begin(self, upgrade: Upgrade, admission: Admission, raw: bool) -> None:
        request = admission.request
        subprotocol = choose(request.subprotocols, self._subprotocols)
        if request.subprotocols and subprotocol is None:
            self.reception.refusals.unspoken(request.peer, request.subprotocols, request.client)
        draft = upgrade.draft
        wire = wireOf(subprotocol, text=self._text, raw=raw, draft=draft)
        peer = printable(request.peer)
        session = OpenSession(self, admission)
        client = upgrade.accept(subprotocol, admission.responseHeaders)
        if not isinstance(client, TransportEnd):
            raise TypeError(f"a client was accepted as {type(client).__name__}")
        session.begin(client, wire, peer, subprotocol if draft is None else draft.value)


def tell(observers: Iterable[AnyObserver], session: OpenSession, event: Callable[[AnyObserver], Any]) -> bool:
    """Call C{event} with each of them. @return: whether everybody took it well."""
    problems: list[Failure] = []

    def failed(problem: Failure) -> None:
        problems.append(problem)
        logFault(_log, "{session:.8} telling an observer", problem, session=session.id)

    for observer in tuple(observers):
        try:
            answer = event(observer)
            if hasattr(answer, "__await__"):
                Deferred.fromCoroutine(_end(answer)).addErrback(failed)
        except BaseException:
            failed(Failure())
    return not problems


async def _end(answer: Awaitable[Any]) -> None:
    await awaited(answer)
