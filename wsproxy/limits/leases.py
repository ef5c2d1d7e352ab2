"""Sessions of several workers, counted by their parent.

::

    worker: ParentTally.take ── sessions.take: lease, subjects ──► Leases ─► Tally
                             ◄── None, or of what there are enough ──
            the session ends ── sessions.give: lease ────────────► Leases: gives it back
            the worker ends ─────────────────────────────────────► Leases: gives back all that it has

The worker names its leases, so that it can give back one whose answer it has not waited for: the parent hears of both
in their order. Where the parent does not answer nobody knows what there is room for, and nobody comes in.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import count
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.cluster.parent import PARENT_WITHIN, Answers, Asker, Parent
from wsproxy.fault import logFault
from wsproxy.limits.counts import Full, Give, Tally, Unknown
from wsproxy.limits.subjects import Subjects

__all__ = ["Leases", "ParentTally"]

_SILENT = f"the process that counts the sessions of all workers has not answered for {PARENT_WITHIN:.0f} s"


class ParentTally:
    """A worker's L{Tally}: its parent counts."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._numbers = count()

    def take(self, subjects: Subjects) -> Deferred[Give]:
        lease = next(self._numbers)
        asked = self._parent.ask("sessions.take", lease=lease, subjects=subjects)
        return asked.addCallbacks(self._taken, self._failed, callbackArgs=(lease,), errbackArgs=(lease,))

    def _taken(self, full: str | None, lease: int) -> Give:
        if full is not None:
            raise Full(full)
        return partial(self._give, lease)

    def _failed(self, failure: Failure, lease: int) -> Give:
        self._give(lease)
        if failure.check(CancelledError):
            failure.raiseException()
        raise Unknown(_SILENT)

    def _give(self, lease: int) -> None:
        self._parent.tell("sessions.give", lease=lease)

    def look(self, subjects: Subjects) -> Deferred[None]:
        asked = self._parent.ask("sessions.look", subjects=subjects)
        return asked.addCallbacks(self._looked, self._unseen)

    def _looked(self, full: str | None) -> None:
        if full is not None:
            raise Full(full)

    def _unseen(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            failure.raiseException()
        raise Unknown(_SILENT)


class Leases:
    """
    The parent's side: what each worker has.

    @param tally: who counts for all of them.
    """

    _log = Logger()

    def __init__(self, tally: Tally, answers: Answers) -> None:
        self._tally = tally
        self._held: dict[Asker, dict[int, Give | Deferred[Any]]] = {}
        self._subjects: dict[Asker, dict[int, Subjects]] = {}  # of those that are held, and some that were not given
        answers.answer("sessions.take", self._take)
        answers.answer("sessions.give", self._give)
        answers.answer("sessions.look", self._look)
        answers.whenGone(self._forget)
        answers.keep("sessions", self._state, self._resume)

    def __len__(self) -> int:
        """How many there are, those included that are not decided about."""
        return sum(map(len, self._held.values()))

    def _take(self, asker: Asker, lease: int, subjects: list[list[str]]) -> Any:
        held = self._held.setdefault(asker, {})
        wanted = [(kind, name) for kind, name in subjects]
        try:
            taken = self._tally.take(wanted)
        except Full as full:
            return full.kind
        self._subjects.setdefault(asker, {})[lease] = wanted
        if not isinstance(taken, Deferred):
            held[lease] = taken
            return None
        answer: Deferred[str | None] = Deferred()
        held[lease] = taken
        taken.addCallbacks(self._taken, self._refused, (held, lease, answer), {}, (held, lease, answer), {})
        return answer

    def _taken(self, give: Give, held: dict[int, Any], lease: int, answer: Deferred[str | None]) -> None:
        held[lease] = give
        answer.callback(None)

    def _refused(self, failure: Failure, held: dict[int, Any], lease: int, answer: Deferred[str | None]) -> None:
        held.pop(lease, None)
        if isinstance(failure.value, Full):
            answer.callback(failure.value.kind)
        elif failure.check(CancelledError):  # it was given back, and nobody waits
            answer.callback(None)
        else:
            answer.errback(failure)

    def _give(self, asker: Asker, lease: int) -> None:
        taken = self._held.get(asker, {}).pop(lease, None)
        self._subjects.get(asker, {}).pop(lease, None)
        if isinstance(taken, Deferred):
            taken.cancel()  # which takes nothing then
        elif taken is not None:
            taken()

    def _look(self, asker: Asker, subjects: list[list[str]]) -> Any:
        try:
            looked = self._tally.look([(kind, name) for kind, name in subjects])
        except Full as full:
            return full.kind
        return None if looked is None else looked.addErrback(_fullKind)

    def _forget(self, asker: Asker) -> None:
        for lease in tuple(self._held.get(asker, ())):
            try:
                self._give(asker, lease)
            except Exception:
                logFault(self._log, "giving back sessions")
        self._held.pop(asker, None)
        self._subjects.pop(asker, None)

    def _state(self) -> list[Any]:
        """@return: for the code that comes after this: of each worker, by its pid, what it has, and for whom."""
        return [
            [asker.pid, [[lease, subjects[lease]] for lease, give in held.items() if not isinstance(give, Deferred)]]
            for asker, held in self._held.items()
            if (subjects := self._subjects.get(asker))
        ]

    def _resume(self, state: list[Any], askers: Mapping[int, Asker]) -> None:
        """Count them again; those included for which there would be no room any more, as far as there is."""
        for pid, leases in state:
            for lease, subjects in leases if pid in askers else ():
                self._take(askers[pid], lease, subjects)


def _fullKind(failure: Failure) -> str:
    if isinstance(failure.value, Full):
        return failure.value.kind
    failure.raiseException()
