"""The sessions of one proxy: how one comes about, and how all of them end.

::

    upgrade ─► Route: Reception ─► Admission ─► 101 ─► session
                         └─► refusal
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from wsproxy.access.refusallog import RefusalLog
from wsproxy.errors import Close, CloseCode, Refusal, checkClose
from wsproxy.interfaces import Admitted, AnyObserver, Ending, Identity, Request, Session
from wsproxy.sessions.decision import Closings
from wsproxy.sessions.reception import Reception, Upgrade
from wsproxy.sessions.route import GRACE, Route, tell
from wsproxy.sessions.routes import Routes
from wsproxy.sessions.session import OpenSession
from wsproxy.sessions.trace import Trace

__all__ = ["GRACE", "Sessions"]


class Sessions:
    """The open sessions, and how a new one comes about.

    Whatever those who are asked, watch or connect may do, it ends with their session at the worst: the client is told
    503 or 1011, an exception is logged once, and everybody else goes on.

    @param clock: for deadlines and durations.
    @param settings: of the one way in: see L{Route}.
    @ivar refusals: where it is told who was turned away.
    @ivar closings: while there are any, every request is answered 503.
    @ivar coverPages: whether somebody is to be asked about requests for pages, with L{visit}.
    """

    def __init__(self, clock: IReactorTime, **settings: Any) -> None:
        self.clock = clock
        self.refusals = RefusalLog(clock)
        self.closings = Closings()
        self._active: dict[str, OpenSession] = {}
        self._observers: list[AnyObserver] = []
        self._idle: list[Deferred[None]] = []
        self._left: list[Reception] = []
        self.route = Route(clock, **settings)
        self.route.join(self)
        self._routes: Routes[Route] | None = None
        self.coverPages = self.route.coverPages

    def branch(self, routes: Routes[Route]) -> None:
        """Let clients in by these routes alone."""
        for route in routes.all:
            self._join(route, self.route)
        self._routes = routes
        self.coverPages = True  # which of them asks whom is known when one is chosen

    def become(self, other: Sessions) -> None:
        """
        Let clients in by the routes of C{other} from now on, which has no sessions of its own. Whoever is here goes on
        as before. Raises nothing.
        """
        self._left = [each for each in (*self._left, *self._receptions()) if each.waiting]
        before, self.route, self._routes = self.route, other.route, other._routes
        for route in (self.route, *(() if self._routes is None else self._routes.all)):
            self._join(route, before)
        self.coverPages = other.coverPages

    def _join(self, route: Route, other: Route) -> None:
        """Sockets are all in one set, where both are pumped."""
        if type(route.pump) is type(other.pump):
            route.pump = other.pump
        route.join(self)

    def _receptions(self) -> Iterable[Reception]:
        """Those of today."""
        routes = () if self._routes is None else self._routes.all
        return [route.reception for route in (self.route, *routes)]

    def _choose(self, request: Request) -> Route | Refusal:
        if self._routes is None:
            return self.route
        try:
            return self._routes.of(request)
        except Refusal as refusal:
            return refusal

    def _turnAway(self, refusal: Refusal, request: Request) -> Refusal:
        """What somebody is told whom no route is for; who must not ask at all does not learn that."""
        told = self.route.reception.enter(request)
        if told is None:
            self.route.reception.note(refusal, request)
        return told or refusal

    def shownPath(self, request: Request) -> str:
        """What the log says of a request's path: where that holds a token, its template."""
        route = self._choose(request)
        shown = None if isinstance(route, Refusal) else route.shownPath
        return request.path if shown is None else shown(request)

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
        @param reason: what the client reads: the first 123 bytes of it in UTF-8.
        @return: whether there is one of this id.
        @raise ValueError: nobody may send this code.
        @raise TypeError: it is no number, or the reason no text.
        """
        close = Close(code, reason)
        checkClose(close)
        session = self._active.get(id)
        if session is not None:
            session.close(close)
        return session is not None

    def observe(self, observer: AnyObserver) -> Callable[[], None]:
        """
        Tell C{observer} of sessions from now on.

        @return: undoes it.
        @raise TypeError: it cannot be told.
        """
        for event in ("opened", "closed"):
            if not callable(getattr(observer, event, None)):
                raise TypeError(f"{type(observer).__name__} object has no method {event}()")
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
        route = self.route if self._routes is None else self._choose(upgrade.request)
        if isinstance(route, Refusal):
            upgrade.refuse(self._turnAway(route, upgrade.request))
        else:
            route.reception.open(upgrade, raw)

    def enter(self, request: Request) -> Refusal | None:
        """See L{Reception.enter}."""
        return self.route.reception.enter(request)

    def explain(self, request: Request, trace: Trace | None = None) -> Deferred[Refusal | None]:
        """See L{Reception.explain}."""
        route = self._choose(request)
        if isinstance(route, Refusal):
            return succeed(route)
        return route.reception.explain(request, trace)

    def visit(self, request: Request, *, forAnybody: bool = False) -> Deferred[Identity | Refusal | None]:
        """See L{Reception.visit}."""
        route = self._choose(request)
        if isinstance(route, Refusal):
            return succeed(self.enter(request) if forAnybody else self._turnAway(route, request))
        if not route.coverPages:
            return succeed(None)
        return route.reception.visit(request, forAnybody=forAnybody)

    def opened(self, session: OpenSession) -> bool:
        """Keep this session, and tell of it. @return: whether everybody took it well."""
        self._active[session.id] = session
        return not self._observers or tell(self._observers, session, lambda observer: observer.opened(session))

    def ended(self, session: OpenSession, ending: Ending) -> None:
        """Forget this session: both its ends are gone, or left alone."""
        self._active.pop(session.id, None)
        if self._observers:
            tell(self._observers, session, lambda observer: observer.closed(session, ending))
        if not self._active:
            waiting, self._idle = self._idle, []
            for deferred in waiting:
                deferred.callback(None)

    def revoke(
        self, matches: Callable[[Admitted], bool], reason: str = "Access revoked", among: Iterable[str] | None = None
    ) -> int:
        """
        Take back the access of those whom C{matches} is true of: sessions are closed with 4001, and are gone within
        L{END_TIMEOUT} and L{ABORT_TIMEOUT} seconds, whatever they do; whoever is just being decided about is refused
        with 403. Whoever comes later is not concerned: what let them in must not do so again.

        @param matches: is given sessions and those who are to become one: their C{identity} and C{target}, and of a
            session no more of its C{request} than it keeps. What it raises is raised here, and nobody is concerned.
        @param reason: what they read: at most 123 bytes of UTF-8.
        @param among: the ids of the sessions that it can be true of, where that is known; by default all are asked.
        @return: how many sessions there were.
        @raise TypeError: the reason is no text.
        """
        checkClose(Close(CloseCode.EXPIRED, reason))
        return self.take(matches, reason, (*self._receptions(), *self._left), among)

    def take(
        self,
        matches: Callable[[Admitted], bool],
        reason: str,
        receptions: Iterable[Reception],
        among: Iterable[str] | None = None,
    ) -> int:
        """L{revoke}, of whoever is just being decided about at these receptions."""
        asked = self._active.values() if among is None else filter(None, map(self._active.get, among))
        concerned = [session for session in asked if matches(session)]
        for reception in receptions:
            reception.revoke(matches, reason)
        for session in concerned:
            session.end(Close(CloseCode.EXPIRED, reason))
        return len(concerned)

    def refuseNew(self, reason: str) -> Callable[[], None]:
        """
        Answer 503 to every request from now on.

        @param reason: what the client reads.
        @return: undoes it; what others have asked for stays.
        """
        return self.closings.add(reason)

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
        @raise TypeError: it is nothing that a client can be sent, as is L{ValueError}.
        """
        checkClose(close)
        for reception in (*self._receptions(), *self._left):
            reception.refuseWaiting(Refusal(503, close.reason))
        for session in tuple(self._active.values()):
            session.close(close)
        if self._active:
            timer = self.clock.callLater(within, self._abortAll)
            self.whenIdle().addCallback(lambda _: timer.cancel() if timer.active() else None)
        return self.whenIdle()

    def _abortAll(self) -> None:
        for session in tuple(self._active.values()):
            session.abort()
