"""Those who serve clients, as one: a single process, or all workers, of which one may be silent.

Nobody is waited for longer than L{WITHIN}: a worker that has not answered by then is I{stale}, and what is told is told
without it. What it does of what it was asked it may do all the same, when it comes to itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed

from wsproxy.admin.desk import Desk
from wsproxy.cluster.parent import Answers, Asker
from wsproxy.metrics.ledger import Ledger

__all__ = ["COUNTS", "WITHIN", "Alone", "Crew", "Heard", "Team"]

WITHIN = 0.09
"""Seconds: what is told is told 0.1 seconds after it was asked for."""

COUNTS = "admin.counts"
"""What a worker says by itself."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a question.

    @ivar answers: of those who have answered.
    @ivar stale: the numbers of the workers that were silent.
    @ivar absent: of those that there are not, or not yet: they start.
    """

    answers: tuple[Any, ...]
    stale: tuple[int, ...] = ()
    absent: tuple[int, ...] = ()


class Crew(Protocol):
    """See L{Alone} and L{Team}."""

    def ask(self, verb: str, **fields: Any) -> Deferred[Heard]:
        """@return: fires within L{WITHIN}."""

    def keep(self, verb: str, **fields: Any) -> Deferred[Heard]:
        """The same, and whoever starts later is told, too, until something else of the same kind is kept."""

    @property
    def size(self) -> int:
        """How many there are, or should be."""

    @property
    def total(self) -> dict[str, Any]:
        """What all have counted, as far as that is known here."""

    def enter(self, heard: Heard) -> None:
        """These are the newest reports."""


class Alone:
    """One process.

    @param desk: its own.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def ask(self, verb: str, **fields: Any) -> Deferred[Heard]:
        return maybeDeferred(self._desk.verbs[verb], **fields).addCallback(lambda answer: Heard((answer,)))

    keep = ask
    size = 1

    @property
    def total(self) -> dict[str, Any]:
        return self._desk.snapshot()

    def enter(self, heard: Heard) -> None:
        """They are known."""


class Team:
    """Workers, of whom this is the parent.

    What each has counted it says a quarter of a second later at most, and last of all when it ends: so what it has
    counted stays when it is gone.
    """

    def __init__(self, answers: Answers, size: int) -> None:
        self.size = size
        self._answers = answers
        self._ledger = Ledger()
        self._workers: dict[int, Asker] = {}
        self._kept: dict[str, tuple[str, dict[str, Any]]] = {}
        answers.answer(COUNTS, self._counted)
        answers.whenStarted(self._started)
        answers.whenGone(self._gone)
        answers.keep("admin", self._state, self._resume)

    def ask(self, verb: str, **fields: Any) -> Deferred[Heard]:
        asked = self._answers.askAll(verb, within=WITHIN, **fields)
        waiting = {number: answer for number, answer in asked.items() if answer is not None}
        absent = tuple(number for number in asked if number not in waiting)
        if not waiting:
            return succeed(Heard((), (), absent))
        listed = DeferredList([*waiting.values()], consumeErrors=True)
        return listed.addCallback(_heard, [*waiting], absent)

    def keep(self, verb: str, **fields: Any) -> Deferred[Heard]:
        self._kept[_KINDS.get(verb, verb)] = (verb, fields)
        return self.ask(verb, **fields)

    @property
    def total(self) -> dict[str, Any]:
        return self._ledger.total

    def enter(self, heard: Heard) -> None:
        for report in heard.answers:
            if report["worker"] in self._workers:  # else it has ended since, and has said more
                self._ledger.enter(self._workers[report["worker"]], report["counts"])

    def _started(self, worker: Asker) -> None:
        self._workers[worker.number] = worker
        for verb, fields in self._kept.values():
            worker.tell(verb, **fields)

    def _counted(self, asker: Asker, counts: dict[str, Any]) -> None:
        self._ledger.enter(asker, counts)

    def _state(self) -> dict[str, Any]:
        """@return: for the code that comes after this. Workers that are there say anew what they have counted."""
        return {"past": self._ledger.past, "kept": [[kind, *told] for kind, told in self._kept.items()]}

    def _resume(self, state: dict[str, Any], askers: object) -> None:
        self._ledger.resume(state["past"])
        self._kept.update({kind: (verb, fields) for kind, verb, fields in state["kept"]})

    def _gone(self, asker: Asker) -> None:
        self._ledger.close(asker)
        if self._workers.get(asker.number) is asker:
            del self._workers[asker.number]


_KINDS: Mapping[str, str] = {"admin.undrain": "admin.drain"}
"""What undoes what."""


def _heard(results: list[tuple[bool, Any]], numbers: list[int], absent: tuple[int, ...]) -> Heard:
    """Of one that has just ended there is no answer either."""
    stale = tuple(number for number, (answered, _) in zip(numbers, results, strict=True) if not answered)
    return Heard(tuple(answer for answered, answer in results if answered), stale, absent)
