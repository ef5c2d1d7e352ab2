"""Several workers that answer as one."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.admin.crew import COUNTS, Heard, Team
from wsproxy.metrics.counts import Counts


class Fellow:
    """A worker, to its parent."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.told: list[tuple[str, dict[str, Any]]] = []

    def tell(self, verb: str, /, **fields: Any) -> None:
        self.told.append((verb, fields))


class Parent:
    """Workers whose answers a test gives."""

    def __init__(self) -> None:
        self.verbs: dict[str, Any] = {}
        self.replies: dict[int, Deferred[Any] | None] = {}

    def answer(self, verb: str, function: Any) -> None:
        self.verbs[verb] = function

    def tellAll(self, verb: str, /, **fields: Any) -> None: ...

    def keep(self, name: str, state: Any, take: Any) -> None:
        self.state, self.take = state, take

    def whenStarted(self, function: Any) -> None:
        self.started = function

    def whenGone(self, function: Any) -> None:
        self.gone = function

    def askAll(self, verb: str, /, *, within: float, **fields: Any) -> dict[int, Deferred[Any] | None]:
        return self.replies


def counted(refusals: int) -> dict[str, Any]:
    counts = Counts()
    for _ in range(refusals):
        counts.refused(403, "x")
    return counts.snapshot()


class TeamTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.parent = Parent()
        self.team = Team(self.parent, 3)
        self.first, self.second = Fellow(1), Fellow(2)
        for each in (self.first, self.second):
            self.parent.started(each)

    def heard(self) -> Heard:
        return self.successResultOf(self.team.ask("admin.state"))

    def refusals(self) -> int:
        return sum(self.team.total["refusals"].values())

    def test_silent(self) -> None:
        """Who has not answered is stale; who is not there is absent; the others are heard."""
        self.parent.replies = {1: succeed("hello"), 2: fail(TimeoutError()), 3: None}
        self.assertEqual(self.heard(), Heard(("hello",), (2,), (3,)))

    def test_nobody(self) -> None:
        """Where nobody is there, that is the answer."""
        self.parent.replies = {1: None, 2: None, 3: None}
        self.assertEqual(self.heard(), Heard((), (), (1, 2, 3)))

    def test_total(self) -> None:
        """Counts are those that were said or asked last; those of who is gone stay, once."""
        self.parent.verbs["admin.counts"](self.first, counts=counted(1))
        self.team.enter(Heard(({"worker": 1, "counts": counted(2)}, {"worker": 2, "counts": counted(5)})))
        self.assertEqual(self.refusals(), 7)
        self.parent.gone(self.first)
        self.assertEqual(self.refusals(), 7)
        self.team.enter(Heard(({"worker": 1, "counts": counted(2)},)))  # an answer that comes late
        self.assertEqual(self.refusals(), 7)
        another = Fellow(1)
        self.parent.started(another)
        self.parent.verbs["admin.counts"](another, counts=counted(1))
        self.assertEqual(self.refusals(), 8)

    def test_upgrade(self) -> None:
        """What dead workers have counted, and what holds, the code after this one knows."""
        fellow = Fellow(1)
        self.parent.started(fellow)
        self.parent.verbs[COUNTS](fellow, counted(3))
        self.parent.gone(fellow)
        self.team.keep("admin.drain", rate=1.0)
        parent = Parent()
        team = Team(parent, 3)
        parent.take(json.loads(json.dumps(self.parent.state())), {})
        self.assertEqual(team.total, json.loads(json.dumps(self.team.total)))
        late = Fellow(1)
        parent.started(late)
        self.assertEqual(late.told, [("admin.drain", {"rate": 1.0})])

    def test_kept(self) -> None:
        """Who starts later is told what holds, the last thing said, and not what was only asked."""
        self.parent.replies = {1: succeed(None)}
        self.team.ask("admin.close", id="x")
        self.team.keep("admin.drain", rate=1.0)
        self.team.keep("admin.undrain")
        late = Fellow(3)
        self.parent.started(late)
        self.assertEqual(late.told, [("admin.undrain", {})])
