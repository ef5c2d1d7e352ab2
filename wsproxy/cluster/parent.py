"""What workers have in common is with their parent: how they ask it, and how it answers.

::

    worker: Parent.ask("sessions.take", …) ─► parent: what was registered with Answers.answer("sessions.take", …)
    worker: what Parent.hear names         ◄─ parent: Answers.tellAll, Asker.tell

Those who have something in common know of this and no more: the socket between them is that of
L{wsproxy.workers.channel}. Fields are of what JSON can say.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred

__all__ = ["PARENT_WITHIN", "Answers", "Asker", "Parent"]

PARENT_WITHIN = 3.0
"""Seconds that a parent is waited for, where nothing else is said: longer than it waits for Redis itself. It may be
stopped (SIGSTOP)."""


class Parent(Protocol):
    """To a worker, the process above it."""

    def ask(self, verb: str, /, *, within: float = PARENT_WITHIN, **fields: Any) -> Deferred[Any]:
        """
        @return: fires with the answer; fails within so many seconds where there is none, with
            L{TimeoutError<twisted.internet.defer.TimeoutError>} or C{ChannelError}. What was asked may be done all the
            same, then or later: in the order in which it was said.
        """

    def tell(self, verb: str, /, **fields: Any) -> None: ...

    @property
    def isBehind(self) -> bool:
        """Whether it has not read all that it was told: what can be told later need not wait there."""

    def hear(self, verb: str, function: Callable[..., object]) -> None:
        """Call C{function} with the fields when the parent says this."""


class Asker(Hashable, Protocol):
    """To the parent, one of its workers, from its start to the end of its process.

    @ivar number: which one it is to people, from 1; another one that takes its place has the same.
    """

    number: int

    @property
    def pid(self) -> int:
        """Of its process; as long as that is there it is the same, whatever becomes of the parent's code."""

    def tell(self, verb: str, /, **fields: Any) -> None: ...


class Answers(Protocol):
    """To those who answer in the parent, all of its workers."""

    def answer(self, verb: str, function: Callable[..., object]) -> None:
        """
        Call C{function} with the asker and the fields when a worker says or asks this. What it returns, a Deferred of
        it too, is the answer.
        """

    def tellAll(self, verb: str, /, **fields: Any) -> None: ...

    def askAll(self, verb: str, /, *, within: float, **fields: Any) -> dict[int, Deferred[Any] | None]:
        """@return: by the workers' numbers, as L{Parent.ask} has it; L{None} of one that takes no connections yet."""

    def whenStarted(self, function: Callable[[Asker], object]) -> None:
        """Call C{function} with each worker that starts. What it is told then it hears before it has clients."""

    def keep(self, name: str, state: Callable[[], Any], take: Callable[[Any, Mapping[int, Asker]], object]) -> None:
        """
        What is known under this name outlives an upgrade of the parent.

        @param state: returns it, as JSON can say it.
        @param take: called in the new code with what became of that, whose workers are still there, by their pid.
        """

    def whenGone(self, function: Callable[[Asker], object]) -> None:
        """Call C{function} with each worker that has ended, however. It has said its last."""
