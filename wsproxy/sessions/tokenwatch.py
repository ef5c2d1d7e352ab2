"""C{--token-revokes}: a token that is taken back takes its sessions along.

::

    a session opens ─► its token is kept ─► every L{EVERY} seconds: is it still good? ─ no ─► closed with 4001
                                                     └─ a file of tokens, which says so when a line has been missing
                                                        for as long as it takes to know that it is gone

Applications remove lines to make a token good for one time, too, so nobody is watched unless that was asked for. Tokens
are kept in memory as long as their sessions last, and nowhere else.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from wsproxy.fault import logFault
from wsproxy.interfaces import Admitted, Ending, IObserver, Request, Session
from wsproxy.sessions.route import Route
from wsproxy.sessions.sessions import Sessions

__all__ = ["EVERY", "TokenWatch", "Tokens"]

EVERY = 1.0
"""Seconds between two looks."""


class Tokens(Protocol):
    """Who knows about tokens: L{TokenResolver<wsproxy.tokens.resolver.TokenResolver>}."""

    def token(self, request: Request) -> str | None:
        """@return: the one that a request came with."""

    def stillGood(self, token: str) -> bool:
        """Whether it would be accepted now."""


@implementer(IObserver)
class TokenWatch:
    """
    Watches the tokens of all open sessions.

    @param sessions: those of a proxy, or of one way in.
    """

    _log = Logger()

    def __init__(self, sessions: Route | Sessions, tokens: Tokens, clock: IReactorTime) -> None:
        self._sessions = sessions
        self._tokens = tokens
        self._kept: dict[str, set[str]] = {}  # the sessions of each token, by their ids
        self._of: dict[str, str] = {}
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock
        sessions.observe(self)

    def opened(self, session: Session) -> None:
        token = self._tokens.token(session.request)
        if token is None:
            return
        self._kept.setdefault(token, set()).add(session.id)
        self._of[session.id] = token
        if not self._loop.running:
            self._loop.start(EVERY, now=False)

    def closed(self, session: Session, ending: Ending) -> None:
        token = self._of.pop(session.id, None)
        if token is None:
            return
        self._kept[token].discard(session.id)
        if not self._kept[token]:
            del self._kept[token]
        if not self._kept:
            self._loop.stop()

    def revoke(self, token: str) -> int:
        """
        Take this token back, as far as sessions are concerned: see
        L{Sessions.revoke<wsproxy.sessions.sessions.Sessions.revoke>}.

        @return: how many there were.
        """
        concerned = frozenset(self._kept.get(token, ()))

        def matches(subject: Admitted) -> bool:
            id = getattr(subject, "id", None)
            return id in concerned if id is not None else self._tokens.token(subject.request) == token

        return self._sessions.revoke(matches)

    def _look(self) -> None:
        for token in tuple(self._kept):
            try:
                if not self._tokens.stillGood(token):
                    self.revoke(token)
            except BaseException:  # of which the others know nothing
                logFault(self._log, "looking at tokens")
