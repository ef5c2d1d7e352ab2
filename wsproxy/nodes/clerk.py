"""Tells the roster of a node which sessions there are: in one process, and in each of several.

::

    sessions ─► Clerk ─► Roster                                     one process
    sessions ─► Clerk ─► ParentRoster ── nodes.opened, nodes.closed ──► collect: Roster      a worker, its parent
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from zope.interface import implementer

from wsproxy.access.peer import printable
from wsproxy.cluster.parent import Answers, Asker, Parent
from wsproxy.interfaces import Ending, IObserver, Session

__all__ = ["Clerk", "ParentRoster", "Register", "collect"]

_LONGEST = 200
"""Characters of what strangers have said."""


class Register(Protocol):
    """See L{Roster<wsproxy.nodes.roster.Roster>}."""

    def add(self, id: str, summary: Mapping[str, Any]) -> None: ...

    def remove(self, id: str) -> None: ...


@implementer(IObserver)
class Clerk:
    """Knows what others are to see of a session."""

    def __init__(self, register: Register) -> None:
        self._register = register

    def opened(self, session: Session) -> None:
        identity = None if session.identity is None else session.identity.name[:_LONGEST]
        summary = {
            "client": printable(session.request.client),
            "identity": identity,
            "target": session.target.text[:_LONGEST],
            "started": round(session.started, 3),
            "worker": None,
        }
        self._register.add(session.id, summary)

    def closed(self, session: Session, ending: Ending) -> None:
        self._register.remove(session.id)


class ParentRoster:
    """A worker's: its parent keeps it."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent

    def add(self, id: str, summary: Mapping[str, Any]) -> None:
        self._parent.tell("nodes.opened", id=id, summary=summary)

    def remove(self, id: str) -> None:
        self._parent.tell("nodes.closed", id=id)


def collect(roster: Register, answers: Answers) -> None:
    """The parent's side: what a worker had goes with it."""
    held: dict[Asker, set[str]] = {}

    def opened(asker: Asker, id: str, summary: dict[str, Any]) -> None:
        held.setdefault(asker, set()).add(id)
        roster.add(id, {**summary, "worker": asker.number})

    def closed(asker: Asker, id: str) -> None:
        held.get(asker, set()).discard(id)
        roster.remove(id)

    def gone(asker: Asker) -> None:
        for id in held.pop(asker, ()):
            roster.remove(id)

    answers.answer("nodes.opened", opened)
    answers.answer("nodes.closed", closed)
    answers.whenGone(gone)
