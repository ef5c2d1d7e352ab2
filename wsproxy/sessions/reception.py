"""Clients that ask to become a session: how each is answered, while no session is known yet.

::

    upgrade ─► Decisions ─┬─► Admission ─► admitted: it becomes a session
                          ├─► Refusal ─► refused, and a line in the log
                          └─► vanished, or nobody waits any longer
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.access.peer import whom
from wsproxy.access.redaction import discreet, secretsOf
from wsproxy.access.refusallog import RefusalLog
from wsproxy.ends.transport import TransportEnd
from wsproxy.errors import Refusal
from wsproxy.fault import logFault
from wsproxy.interfaces import Admitted, Identity, Request
from wsproxy.sessions.bounded import GivenUp
from wsproxy.sessions.decision import Admission, Decisions, depart, malformation
from wsproxy.sessions.trace import Trace
from wsproxy.wire.subprotocol import Draft

__all__ = ["Reception", "Upgrade"]

_log = Logger()

_UNAVAILABLE = Refusal(503, "Service unavailable")
_LATE = Refusal(503, "Service unavailable", cause="no decision in time: --handshake-timeout, or handshakeTimeout")


class Upgrade(Protocol):
    """A complete and valid upgrade request that waits for its answer."""

    @property
    def request(self) -> Request: ...

    @property
    def draft(self) -> Draft | None:
        """What it speaks instead of WebSocket."""

    def accept(self, subprotocol: str | None, headers: Sequence[tuple[str, str]] = ()) -> TransportEnd:
        """
        Answer 101.

        @param headers: what an authenticator adds to it: L{Identity.responseHeaders}.
        @return: the client, to be relayed.
        """

    def refuse(self, refusal: Refusal) -> None:
        """Answer with an HTTP status and close the connection."""

    def abort(self) -> None:
        """Close the connection without an answer."""

    def notifyLost(self, lost: Callable[[], None]) -> None:
        """Call C{lost} should the client vanish before it is answered."""


class Reception:
    """Has it decided about clients, and answers them.

    @param admit: lets a client in. What it raises is logged, and the client told 503.
    @ivar decisions: who decides.
    @ivar refusals: where it is told who was turned away.
    """

    _log = Logger()

    def __init__(
        self, decisions: Decisions, refusals: RefusalLog, admit: Callable[[Upgrade, Admission, bool], None]
    ) -> None:
        self.decisions = decisions
        self.refusals = refusals
        self._admit = admit
        self._undecided: set[_Undecided] = set()

    def open(self, upgrade: Upgrade, raw: bool) -> None:
        """
        Answer this request, now or when the questions about it have been answered. Raises nothing.

        @param raw: the client speaks plain TCP.
        """
        decision = self.decisions.decide(upgrade.request)
        if decision.called:
            decision.addBoth(self._answer, upgrade, raw)
            return
        undecided = _Undecided(self, upgrade, raw, decision)
        self._undecided.add(undecided)
        try:
            undecided.start()
        except BaseException:
            logFault(self._log, "waiting for an answer")
            undecided.refuse(_UNAVAILABLE)

    def explain(self, request: Request, trace: Trace | None = None) -> Deferred[Refusal | None]:
        """
        What would become of this request, were it an upgrade: those who decide are asked, and know why
        (C{request.explaining}). Nothing is dialled or logged, unless somebody raises what is not a refusal.

        @param trace: notes what each of them says.
        @return: fires with the refusal, or L{None} where the client would be let in.
        """
        decisions = self.decisions if trace is None else self.decisions.traced(trace)
        decision = decisions.decide(replace(request, explaining=True))
        return decision.addCallbacks(_forget, self._refusal, errbackArgs=(request,))

    def enter(self, request: Request) -> Refusal | None:
        """
        Whether the gates let this client in, which speaks something else than HTTP; if not, the log is told.

        @return: what it is refused for. Raises nothing.
        """
        try:
            self.decisions.enter(request)
        except BaseException:
            refusal = self._refusal(Failure(), request)
            self.note(refusal, request)
            return refusal
        return None

    def visit(self, request: Request, *, forAnybody: bool = False) -> Deferred[Identity | Refusal | None]:
        """
        Ask those whom pages concern, where L{Decisions.coverPages}.

        @param forAnybody: see L{Decisions.visit}.
        @return: fires with the refusal, of which the log has a line unless it is a redirect; else with who the client
            is, as far as anybody was asked. To cancel it gives up, with L{GivenUp}.
        """
        return self.decisions.visit(request, forAnybody=forAnybody).addErrback(self._turnAway, request)

    def _turnAway(self, failure: Failure, request: Request) -> Refusal:
        refusal = self._refusal(failure, request)
        if refusal.status >= 400:
            self.note(refusal, request)
        return refusal

    def note(self, refusal: Refusal, request: Request) -> None:
        """Tell the log that this request was turned away."""
        with suppress(BaseException):  # an observer of the log
            self.refusals.refused(request.peer, refusal.status, refusal.reason, refusal.cause, request.client)

    @property
    def waiting(self) -> bool:
        """Whether anybody waits to be decided about."""
        return bool(self._undecided)

    def refuseWaiting(self, refusal: Refusal) -> None:
        """Answer so those who wait to be decided about."""
        for waiting in tuple(self._undecided):
            waiting.refuse(refusal)

    def revoke(self, matches: Callable[[Admitted], bool], reason: str) -> None:
        """Of those who wait to be decided about, refuse whom this will be true of."""
        for waiting in self._undecided:
            waiting.revocations.append((matches, reason))

    def decided(self, undecided: _Undecided, upgrade: Upgrade, raw: bool, result: Admission | Failure | None) -> None:
        """This client waits no longer. C{result} is L{None} where it has vanished."""
        self._undecided.discard(undecided)
        if result is not None:
            self._answer(result, upgrade, raw)

    def _answer(self, result: Admission | Failure, upgrade: Upgrade, raw: bool) -> None:
        refused = isinstance(result, Failure)
        try:
            if isinstance(result, Failure):
                self._refuse(upgrade, result)
            else:
                self._admit(upgrade, result, raw)
        except BaseException:
            logFault(self._log, "answering a client")
            self._apologise(upgrade, refused)
            if isinstance(result, Admission):
                depart(result.departures)

    def _apologise(self, upgrade: Upgrade, refused: bool) -> None:
        with suppress(BaseException):  # there was one already
            if not refused:
                upgrade.refuse(_UNAVAILABLE)
                return
        with suppress(BaseException):
            upgrade.abort()

    def _refuse(self, upgrade: Upgrade, failure: Failure) -> None:
        refusal = self._refusal(failure, upgrade.request)
        self.note(refusal, upgrade.request)
        upgrade.refuse(refusal)

    def _refusal(self, failure: Failure, request: Request) -> Refusal:
        """What a client is told for this: what was meant for it, and nothing else."""
        problem = ""
        if isinstance(failure.value, Refusal):
            problem = malformation(failure.value)
            if not problem:
                return failure.value
        if failure.check(GivenUp):
            failure.raiseException()
        if failure.check(TimeoutError):
            return _LATE
        text = "deciding about {peer}: {problem}" if problem else "deciding about {peer}"
        failure = discreet(failure, *secretsOf(request))
        logFault(self._log, text, failure, peer=whom(request.client, request.peer), problem=problem)
        return _UNAVAILABLE


def _forget(admission: Admission) -> None:
    depart(admission.departures)


class _Undecided:
    """
    A client that has not been answered yet.

    @ivar revocations: what must not be true of it once it is to be let in, or else it is told why not.
    """

    def __init__(self, reception: Reception, upgrade: Upgrade, raw: bool, decision: Deferred[Admission]) -> None:
        self._reception = reception
        self._upgrade = upgrade
        self._raw = raw
        self._decision = decision
        self._refusal: Refusal | None = None
        self.revocations: list[tuple[Callable[[Admitted], bool], str]] = []

    def start(self) -> None:
        self._decision.addBoth(self._decided)
        self._upgrade.notifyLost(self._decision.cancel)

    def refuse(self, refusal: Refusal) -> None:
        """Do not wait any longer."""
        self._refusal = refusal
        self._decision.cancel()

    def _decided(self, result: Admission | Failure) -> None:
        answer: Admission | Failure | None = result
        if isinstance(result, Failure) and result.check(GivenUp):
            answer = None if self._refusal is None else Failure(self._refusal)
        elif isinstance(result, Admission):
            answer = self._unlessRevoked(result)
        upgrade = self._upgrade
        del self._upgrade  # it leads back here
        self._reception.decided(self, upgrade, self._raw, answer)

    def _unlessRevoked(self, admission: Admission) -> Admission | Failure:
        for matches, reason in self.revocations:
            try:
                if not matches(admission):
                    continue
            except BaseException:
                logFault(_log, "revoking")
            depart(admission.departures)
            return Failure(Refusal(403, reason))
        return admission
