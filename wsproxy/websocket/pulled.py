"""A pull producer as a push producer: asked for more, over and over, as long as there is room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from twisted.internet.interfaces import IPullProducer, IPushProducer, IReactorTime
from twisted.internet.task import CooperativeTask, Cooperator, TaskFinished
from zope.interface import implementer

__all__ = ["Pulled"]


@implementer(IPushProducer)
class Pulled:
    """
    @param clock: between two questions everybody else has a turn.
    @param failed: called with the exception of this moment, where the producer raises one. It is asked no more.
    """

    def __init__(self, producer: IPullProducer, clock: IReactorTime, failed: Callable[[], None]) -> None:
        self._producer = producer
        self._failed = failed
        self._paused = False
        cooperator = Cooperator(scheduler=lambda work: clock.callLater(0, work))
        self._task: CooperativeTask[Iterator[None]] = cooperator.cooperate(self._pull())

    def _pull(self) -> Iterator[None]:
        while True:
            try:
                self._producer.resumeProducing()
            except BaseException:
                self._failed()  # and stops
            yield None

    def pauseProducing(self) -> None:
        if not self._paused:
            self._paused = True
            with suppress(TaskFinished):
                self._task.pause()

    def resumeProducing(self) -> None:
        if self._paused:
            self._paused = False
            with suppress(TaskFinished):
                self._task.resume()

    def stop(self) -> None:
        """Ask no more."""
        with suppress(TaskFinished):
            self._task.stop()

    def stopProducing(self) -> None:
        """Nobody takes it any more."""
        self.stop()
        self._producer.stopProducing()
