"""What a process that serves clients is asked, and told, by the admin side: of itself alone.

::

    Site ─► Crew ─┬─► Desk                            one process
                  └─► the channel ─► worker: Desk     several

Of a session's token there is a hash here, under a key of this process, for whoever has the token to find the session
by: L{Desk} shows neither.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from wsproxy.access.networks import Networks
from wsproxy.access.peer import printable
from wsproxy.admin.draining import Draining
from wsproxy.errors import ConfigError
from wsproxy.interfaces import Admitted, Ending, IObserver, Request, Session
from wsproxy.metrics.counts import Counts
from wsproxy.metrics.sampling import Sampling
from wsproxy.sessions.sessions import Sessions

_encode = json.JSONEncoder(separators=(",", ":")).encode

__all__ = ["CLOSED", "FILTERS", "Desk", "DeskError", "checkFilters"]

CLOSED = "Closed by an operator"
"""What a client reads, unless the operator has a reason to give."""

FILTERS = ("identity", "token", "target", "client")
"""By what sessions are looked for, beside their C{id}."""


class DeskError(Exception):
    """What was asked for makes no sense; in one line, for whoever has asked."""


def checkFilters(filters: Mapping[str, str]) -> None:
    """@raise DeskError: there is no such session, and cannot be."""
    unknown = [name for name in filters if name not in FILTERS]
    if unknown:
        raise DeskError(f"{unknown[0]}: not one of {', '.join(FILTERS)}")
    empty = [name for name, value in filters.items() if not value]
    if empty:
        raise DeskError(f"{empty[0]}: empty; leave it out where it does not matter")
    if "client" in filters:
        try:
            Networks((filters["client"],), "client")
        except ConfigError as error:
            raise DeskError(str(error)) from None


@implementer(IObserver)
class Desk:
    """
    @param tokenOf: where a request has its token; L{None} where there are no tokens.
    @param worker: which one this is, from 1; L{None}: there is one process.
    @param listening: whether clients are listened for.
    """

    def __init__(
        self,
        clock: IReactorTime,
        sessions: Sessions,
        tokenOf: Callable[[Request], str | None] | None,
        worker: int | None,
        listening: Callable[[], bool],
    ) -> None:
        self.counts = Counts()
        self._sampling = Sampling(clock, self.counts.histograms)
        self._sessions = sessions
        self._tokenOf = tokenOf
        self._worker = worker
        self._listening = listening
        self._draining = Draining(clock, sessions)
        self._key = secrets.token_bytes(32)
        self._tokens: dict[str, bytes] = {}
        self._told: dict[str, dict[str, Any]] = {}
        sessions.refusals.counted = self.counts.refused
        for observer in (self.counts, self._sampling, self):
            sessions.observe(observer)

    @property
    def verbs(self) -> Mapping[str, Callable[..., Any]]:
        """What it is asked by."""
        return {
            "admin.state": self.state,
            "admin.report": self.report,
            "admin.sessions": self.sessions,
            "admin.listing": self.listing,
            "admin.close": self.close,
            "admin.drain": self._draining.begin,
            "admin.undrain": self._draining.end,
        }

    # of each session, a hash of its token

    def opened(self, session: Session) -> None:
        token = None if self._tokenOf is None else self._tokenOf(session.request)
        if token:
            self._tokens[session.id] = self._hashed(token)

    def closed(self, session: Session, ending: Ending) -> None:
        self._tokens.pop(session.id, None)
        self._told.pop(session.id, None)

    def _hashed(self, token: str) -> bytes:
        return blake2b(token.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).digest()

    # what there is

    @property
    def busy(self) -> bool:
        """Whether there is any session."""
        return len(self._sessions) > 0

    def state(self) -> dict[str, Any]:
        """How this process is; what waits in it, as it was looked at last."""
        return {
            "worker": self._worker,
            "pid": os.getpid(),
            "sessions": len(self._sessions),
            "listening": self._listening(),
            "draining": self._draining.active,
            "queued": [*self._sampling.queued()],
        }

    def report(self) -> dict[str, Any]:
        """The same, with what was counted."""
        return {**self.state(), "counts": self.snapshot()}

    def snapshot(self) -> dict[str, Any]:
        """What was counted so far, with what open sessions had carried when they were looked at last."""
        return self.counts.snapshot(*self._sampling.carried())

    def sessions(self, **filters: Any) -> list[dict[str, Any]]:
        """
        @param filters: C{id}, C{identity}, C{token}, C{target}, C{client}: those that have all of these.
        """
        matches = self._matcher(filters)
        return [self._shown(session) for session in self._sessions if matches(session)]

    def listing(self, **filters: Any) -> str:
        """
        The same in JSON, with commas between: a parent that has thousands of them from each worker has no time to look
        at each.
        """
        return ",".join(map(_encode, self.sessions(**filters)))

    def _shown(self, session: Any) -> dict[str, Any]:
        traffic, rates = session.traffic, self._sampling.rates(session.id)
        told = self._told.get(session.id)
        if told is None:
            told = self._told[session.id] = self._toldOf(session)
        return {
            **told,
            "age": round(session.age, 3),
            "connected": session.reached is not None,
            "bytes_up": traffic.up,
            "bytes_down": traffic.down,
            "rate_up": round(rates.up, 1),
            "rate_down": round(rates.down, 1),
            "queued_up": traffic.queuedUp,
            "queued_down": traffic.queuedDown,
            "round_trip": None if traffic.roundTrip is None else round(traffic.roundTrip, 6),
        }

    def _toldOf(self, session: Any) -> dict[str, Any]:
        """What does not change of a session, and is not made anew each time: it is half of the work."""
        return {
            "id": session.id,
            "client": printable(session.request.client),
            "peer": printable(session.request.peer),
            "identity": None if session.identity is None else session.identity.name,
            "target": session.target.text,
            "worker": self._worker,
            "started": session.started,
            "tls": session.request.secure,
        }

    # what is done

    def close(self, reason: str = CLOSED, **filters: Any) -> int:
        """
        End these sessions, with 4001; they are gone 7 seconds later at most, whatever their clients do. Who is just
        being decided about is refused.

        @param filters: as of L{sessions}, and checked; at least one.
        @return: how many there were that nobody had begun to end.
        """
        matches = self._matcher(filters)
        asked = [session for session in self._sessions if session.open]  # type: ignore[attr-defined]  # ours say so
        count = sum(map(matches, asked))
        self._sessions.revoke(matches, reason)
        return count

    def _matcher(self, filters: Mapping[str, Any]) -> Callable[[Any], bool]:
        """@return: whether a session, or who is to become one, has all of these."""
        tests = [self._test(name, value) for name, value in filters.items() if value is not None]
        return lambda subject: all(test(subject) for test in tests)

    def _test(self, name: str, value: str) -> Callable[[Any], bool]:
        if name == "id":
            return lambda subject: getattr(subject, "id", None) == value
        if name == "identity":
            return lambda subject: subject.identity is not None and subject.identity.name == value
        if name == "target":
            return lambda subject: bool(subject.target.text == value)
        if name == "token":
            hashed = self._hashed(value)
            return lambda subject: self._tokenHash(subject) == hashed
        networks = Networks((value,), name)
        return lambda subject: networks.contains(subject.request.client)

    def _tokenHash(self, subject: Admitted) -> bytes | None:
        id = getattr(subject, "id", None)
        if id is not None:
            return self._tokens.get(id)
        token = None if self._tokenOf is None else self._tokenOf(subject.request)
        return self._hashed(token) if token else None
