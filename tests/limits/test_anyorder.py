"""Workers that come, take, give up, end and wait for a parent that is stopped, in any order: nothing is left over."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.limits.loop import Loop, Worker
from wsproxy.cluster.parent import PARENT_WITHIN
from wsproxy.limits.counts import Counts
from wsproxy.limits.leases import Leases, ParentTally

LIMITS = {"all": 4, "client": 2}

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(0, 2), st.sampled_from("ab")),
        st.tuples(st.sampled_from(["give", "cancel", "end"]), st.integers(0, 9)),
        st.tuples(st.sampled_from(["stop", "go on", "wait", "answer"])),
    ),
    max_size=40,
)


class _Slow(Counts):
    """One that answers when it is told to, as Redis does; what is cancelled before is given back."""

    def __init__(self) -> None:
        super().__init__(LIMITS)
        self.waiting: list[tuple[Deferred[Any], Any]] = []

    def take(self, subjects: Any) -> Any:
        give = super().take(subjects)
        answer: Deferred[Any] = Deferred(lambda _: give())
        self.waiting.append((answer, give))
        return answer

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for answer, give in waiting:
            if not answer.called:
                answer.callback(give)


class AnyOrderTests(SynchronousTestCase):
    @given(STEPS, st.booleans())
    @settings(deadline=None, max_examples=150)
    def test_anyOrder(self, steps: list[tuple[Any, ...]], slow: bool) -> None:
        """There are never more than there may be, and none when all have gone."""
        loop, counts = Loop(), _Slow() if slow else Counts(LIMITS)
        leases = Leases(counts, loop)
        workers: list[tuple[Worker, ParentTally]] = []
        for _ in range(3):
            worker = loop.worker()
            workers.append((worker, ParentTally(worker)))
        gives: list[tuple[int, Any]] = []
        asking: list[Deferred[Any]] = []

        def take(index: int, client: str) -> None:
            def settled(result: Any) -> None:
                if not isinstance(result, Failure):
                    gives.append((index, result))

            asked = maybeDeferred(workers[index][1].take, [("all", ""), ("client", client)])
            asking.append(asked.addBoth(settled))

        def end(index: int) -> None:
            loop.goOn()
            loop.end(workers[index][0])
            gives[:] = [(who, give) for who, give in gives if who != index]
            worker = loop.worker()
            workers[index] = worker, ParentTally(worker)

        for step, *rest in steps:
            match step:
                case "take":
                    take(*rest)
                case "give" if gives:
                    gives.pop(rest[0] % len(gives))[1]()
                case "cancel" if asking:
                    asking.pop(rest[0] % len(asking)).cancel()
                case "end":
                    end(rest[0] % 3)
                case "stop":
                    loop.stop()
                case "go on":
                    loop.goOn()
                case "wait":
                    loop.clock.advance(PARENT_WITHIN)
                case "answer" if isinstance(counts, _Slow):
                    counts.answer()
            self.assertLessEqual(len(gives), LIMITS["all"])
        loop.goOn()
        loop.clock.advance(PARENT_WITHIN)
        if isinstance(counts, _Slow):
            counts.answer()
        for _, give in gives:
            give()
        self.assertEqual((len(counts), len(leases)), (0, 0))
