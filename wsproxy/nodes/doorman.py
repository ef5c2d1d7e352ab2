"""Ends the sessions of those whose access was revoked, and lets them in no more.

::

    revocations ─► Doorman.hear ─┬─► Sessions.revoke: 4001
                                 └─► Ledger
    a client ────► Door.admit: the first turnstile ─► Doorman.admit ─► 403, 503
    a session ───► Door.opened ─► Doorman.note: who that is, for later; its request is not kept

Whether anything is known of revocations has three states: nobody has said yet, which clients wait for; the log was
read, and is followed; it cannot be read, as long as Redis is away. Then clients are let in by what was known before,
or, where they must not be (C{--cluster-required}), told 503.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from enum import Enum
from typing import Any, Protocol
from weakref import WeakSet

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from wsproxy.errors import Refusal
from wsproxy.fault import logFault
from wsproxy.interfaces import Admitted, Ending, IObserver, ITurnstile, Request, Session
from wsproxy.nodes.ledger import Ledger, madeBefore
from wsproxy.nodes.revocation import Revocation
from wsproxy.nodes.subject import Subjects

__all__ = ["PATIENCE", "Door", "Doorman", "Knowledge", "Revocable"]

PATIENCE = 2.5
"""Seconds that a client waits for whoever starts to know of revocations: longer than Redis is given to answer."""

_REVOKED = "Access revoked"

_SOON = (("Retry-After", "5"),)


class Knowledge(Enum):
    NONE = "nobody has said anything yet"
    FRESH = "what was revoked is known"
    STALE = "there may be more than is known"


class Revocable(Protocol):
    """L{Sessions<wsproxy.sessions.sessions.Sessions>}, as far as it takes them here."""

    def revoke(self, matches: Callable[[Admitted], bool], reason: str, among: Iterable[str]) -> int: ...


@implementer(ITurnstile, IObserver)
class Door:
    """
    One way in: that of a proxy, or of a route. It may be gone before its sessions are.

    @param subjects: who they are that come by it.
    """

    def __init__(self, doorman: Doorman, subjects: Subjects) -> None:
        self._doorman = doorman
        self.subjects = subjects

    def admit(self, admitted: Admitted) -> Any:
        return self._doorman.admit(admitted, self.subjects.of(admitted))

    def opened(self, session: Session) -> None:
        self._doorman.note(session.id, self.subjects.of(session))

    def closed(self, session: Session, ending: Ending) -> None:
        self._doorman.forget(session.id)


class Doorman:
    """
    See the module.

    @param hide: see L{Subjects}.
    @param required: let nobody in while there may be more revocations than are known.
    @param ask: has L{know} called, now or later.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        hide: Callable[[str | bytes], str],
        ledger: Ledger,
        required: bool = False,
        ask: Callable[[], object] = lambda: None,
    ) -> None:
        self._clock = clock
        self._hide = hide
        self._ledger = ledger
        self._required = required
        self._ask = ask
        self._knowledge = Knowledge.NONE
        self._waiting: list[Deferred[None]] = []
        self._of: dict[str, tuple[str, ...]] = {}
        self._by: dict[str, str | set[str]] = {}  # ids, by who that is; mostly one, and a set takes 216 bytes
        self._sessions: Revocable | None = None
        self._doors: WeakSet[Door] = WeakSet()

    def guard(self, sessions: Revocable) -> None:
        """These are concerned from now on."""
        self._sessions = sessions

    def door(self, tokenOf: Callable[[Request], str | None] | None) -> Door:
        """@param tokenOf: where those that come by it have their token."""
        door = Door(self, Subjects(self._hide, tokenOf))
        self._doors.add(door)
        return door

    # Who is there

    def note(self, id: str, subjects: tuple[str, ...]) -> None:
        """There is a session of them."""
        self._of[id] = subjects
        for subject in subjects:
            others = self._by.setdefault(subject, id)
            if isinstance(others, set):
                others.add(id)
            elif others != id:
                self._by[subject] = {others, id}

    def forget(self, id: str) -> None:
        """It is over."""
        for subject in self._of.pop(id, ()):
            there = self._by.get(subject)
            if isinstance(there, set):
                there.discard(id)
            if not there or there == id:
                self._by.pop(subject, None)

    def _with(self, subject: str) -> Collection[str]:
        """@return: the ids of their sessions; a session is what its id says."""
        there = self._by.get(subject, subject)
        return there if isinstance(there, set) else (there,)

    # Who comes

    def admit(self, admitted: Admitted, subjects: tuple[str, ...]) -> Any:
        """See L{ITurnstile}. @param subjects: whoever that is."""
        if self._knowledge is Knowledge.NONE:
            return self._wait().addCallback(lambda _: self._check(admitted, subjects))
        return self._check(admitted, subjects)

    def _wait(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred(self._leave)
        waiting.addTimeout(PATIENCE, self._clock).addErrback(lambda failure: None)
        self._waiting.append(waiting)
        self._ask()
        return waiting

    def _leave(self, waiting: Deferred[None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def _check(self, admitted: Admitted, subjects: tuple[str, ...]) -> None:
        revocation = self._ledger.forbids(admitted, subjects)
        if revocation is not None:
            raise Refusal(403, "Token not accepted", cause=f"its {revocation.kind} was revoked")
        if self._required and self._knowledge is not Knowledge.FRESH:
            raise Refusal(503, "Service unavailable", _SOON, cause="Redis is away, and --cluster-required")

    # What is heard

    def know(self, fresh: bool) -> None:
        """@param fresh: whether all that was revoked is known, and what is to come will be."""
        self._knowledge = Knowledge.FRESH if fresh else Knowledge.STALE
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def hear(self, revocations: Iterable[Revocation]) -> None:
        """These have been made, now or before; again, too. Raises nothing."""
        heard = {each.subject: each for each in revocations}
        self._ledger.enter(heard.values())
        if not heard or self._sessions is None:
            return
        try:
            among = {id for subject in heard for id in self._with(subject)}
            ended = self._sessions.revoke(lambda admitted: self._concerns(admitted, heard), _REVOKED, among)
        except Exception:
            logFault(self._log, "revoking")
            return
        if ended:
            self._log.info("Access revoked: {ended} sessions are ended", ended=ended)

    def _concerns(self, admitted: Any, heard: dict[str, Revocation]) -> bool:
        id = getattr(admitted, "id", None)
        if id is None:
            # nobody knows by which door it comes: any token that it may have come with counts
            known = {subject for door in self._doors for subject in door.subjects.of(admitted)}
            return any(_forbids(heard[each], admitted) for each in known if each in heard)
        if id in heard:
            return True
        subjects = self._of.get(id, ())
        return any(_ends(heard[each], admitted) for each in subjects if each in heard)


def _forbids(revocation: Revocation, admitted: Admitted) -> bool:
    """Whether one that came before this was heard of must not become a session."""
    fresh = revocation.before == float("inf")
    return revocation.kind != "identity" or fresh or madeBefore(admitted, revocation.at)


def _ends(revocation: Revocation, session: Session) -> bool:
    return revocation.kind != "identity" or session.started < revocation.before
