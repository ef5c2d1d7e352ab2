"""A parent and its workers in memory: what they say passes through JSON, as it does between processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from wsproxy.cluster.parent import PARENT_WITHIN, Asker

__all__ = ["Loop", "Worker"]


class Worker:
    """An L{Asker} and its L{Parent<wsproxy.cluster.parent.Parent>} in one."""

    def __init__(self, loop: Loop) -> None:
        self.pid = 1000 + len(loop.workers)
        self.told: list[tuple[str, dict[str, Any]]] = []
        self._loop = loop
        self._heard: dict[str, Callable[..., object]] = {}

    def ask(self, verb: str, /, *, within: float = PARENT_WITHIN, **fields: Any) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        answer.addTimeout(within, self._loop.clock)
        self._loop.say(partial(self._answer, verb, _passed(fields), answer))
        return answer

    def _answer(self, verb: str, fields: dict[str, Any], answer: Deferred[Any]) -> None:
        def arrives(result: Any) -> None:
            if not answer.called:
                answer.callback(_passed(result))

        maybeDeferred(self._loop.verbs[verb], self, **fields).addCallback(arrives)

    def move(self, loop: Loop) -> None:
        """Have another parent from now on."""
        self._loop = loop

    def hear(self, verb: str, function: Callable[..., object]) -> None:
        self._heard[verb] = function

    def tell(self, verb: str, /, **fields: Any) -> None:
        """Both ways: as a parent's word to this worker where that hears it, or else the other way round."""
        if verb in self._heard:
            self._heard[verb](**_passed(fields))
        elif verb in self._loop.verbs:
            self._loop.say(partial(self._loop.verbs[verb], self, **_passed(fields)))
        else:
            self.told.append((verb, fields))


class Loop:
    """The parent's L{Answers<wsproxy.cluster.parent.Answers>}. It may be stopped, and hears it all when it goes on."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.verbs: dict[str, Callable[..., object]] = {}
        self.workers: list[Worker] = []
        self._waiting: list[Callable[[], object]] | None = None
        self._started: list[Callable[[Asker], object]] = []
        self._gone: list[Callable[[Asker], object]] = []
        self._kept: dict[str, tuple[Callable[[], Any], Callable[[Any, Mapping[int, Asker]], object]]] = {}

    def upgrade(self, new: Loop) -> None:
        """What is kept is known to the new one, and so are the workers."""
        new.workers = self.workers
        askers: dict[int, Asker] = {worker.pid: worker for worker in self.workers}
        for name, (state, _) in self._kept.items():
            new._kept[name][1](_passed(state()), askers)
        for worker in self.workers:
            worker.move(new)

    def worker(self, set_up: Callable[[Worker], Any] = lambda worker: None) -> Worker:
        worker = Worker(self)
        set_up(worker)
        self.workers.append(worker)
        for function in self._started:
            function(worker)
        return worker

    def end(self, worker: Worker) -> None:
        self.workers.remove(worker)
        for function in self._gone:
            function(worker)

    def say(self, what: Callable[[], object]) -> None:
        what() if self._waiting is None else self._waiting.append(what)

    def stop(self) -> None:
        if self._waiting is None:
            self._waiting = []

    def goOn(self) -> None:
        waiting, self._waiting = self._waiting or [], None
        for what in waiting:
            what()

    def answer(self, verb: str, function: Callable[..., object]) -> None:
        self.verbs[verb] = function

    def tellAll(self, verb: str, /, **fields: Any) -> None:
        for worker in self.workers:
            worker.tell(verb, **fields)

    def whenStarted(self, function: Callable[[Asker], object]) -> None:
        self._started.append(function)

    def keep(self, name: str, state: Callable[[], Any], take: Callable[[Any, Mapping[int, Asker]], object]) -> None:
        self._kept[name] = (state, take)

    def whenGone(self, function: Callable[[Asker], object]) -> None:
        self._gone.append(function)


def _passed(value: Any) -> Any:
    return json.loads(json.dumps(value))
