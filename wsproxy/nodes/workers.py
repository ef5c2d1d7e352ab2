"""Revocations of several workers: their parent follows the log, and tells them.

::

    Follower ─► Foreman ── nodes.revoked ──► each worker: Doorman.hear
                        ── nodes.known ────► each worker: Doorman.know

A worker that starts is told all that holds before it has clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wsproxy.cluster.parent import Answers, Asker, Parent
from wsproxy.nodes.doorman import Doorman
from wsproxy.nodes.ledger import Ledger
from wsproxy.nodes.revocation import Revocation, fromPlain

__all__ = ["Foreman", "hearParent"]

_AT_ONCE = 1000
"""Revocations in one message to a worker that starts: 120 KB."""


class Foreman:
    """
    The parent's side.

    @param ledger: what holds.
    """

    def __init__(self, ledger: Ledger, answers: Answers) -> None:
        self._ledger = ledger
        self._answers = answers
        self._fresh: bool | None = None
        answers.whenStarted(self._instruct)

    def hear(self, revocations: Sequence[Revocation]) -> None:
        """See L{Doorman.hear}."""
        self._ledger.enter(revocations)
        for entries in _pages(revocations):
            self._answers.tellAll("nodes.revoked", entries=entries)

    def know(self, fresh: bool) -> None:
        """See L{Doorman.know}."""
        if fresh is not self._fresh:
            self._fresh = fresh
            self._answers.tellAll("nodes.known", fresh=fresh)

    def _instruct(self, worker: Asker) -> None:
        for entries in _pages(tuple(self._ledger)):
            worker.tell("nodes.revoked", entries=entries)
        if self._fresh is not None:
            worker.tell("nodes.known", fresh=self._fresh)


def _pages(revocations: Sequence[Revocation]) -> list[list[Any]]:
    starts = range(0, len(revocations), _AT_ONCE)
    return [[each.plain for each in revocations[start : start + _AT_ONCE]] for start in starts]


def hearParent(doorman: Doorman, parent: Parent) -> None:
    """The worker's side."""
    parent.hear("nodes.revoked", lambda entries: doorman.hear([fromPlain(each) for each in entries]))
    parent.hear("nodes.known", doorman.know)
