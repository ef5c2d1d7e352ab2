"""Whether sessions may go on: the verifier of forward authentication is asked about each again, every so many seconds.

::

    opened ─► waits ─► asked again ─┬─ as before ──────────► waits
                         ▲          ├─ no, or somebody else ─► 4001
                         └─ sooner ─┴─ no answer, for as long as twice the time ─► 4001

What it is asked is what it was asked first, with the credentials of then: they are kept as long as the session. A new
cookie in its answer reaches nobody, for there is no response to send it with.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.authentication.forward import ForwardAuth
from wsproxy.authentication.verifier import Verifier
from wsproxy.config import AuthenticationConfig
from wsproxy.errors import Close, CloseCode, Refusal
from wsproxy.fault import logFault
from wsproxy.interfaces import Ending, Identity, IObserver, Request, Session

__all__ = ["Rechecks", "makeForwardAuth"]

_TURNS, _QUEUE = 64, 1024
"""Requests to the verifier at a time for those who want to come in, and how many of these wait."""

_RECHECK_TURNS = 16
"""And for those who are in, so that nobody waits behind them at the door."""

_WITHDRAWN = Close(CloseCode.EXPIRED, "Access withdrawn")
_UNCONFIRMED = Close(CloseCode.EXPIRED, "Access not confirmed")


_Ask = Callable[[Request], Awaitable[Identity | None]]


class _Watch:
    """One session, until L{stop}."""

    _log = Logger()

    def __init__(self, session: Session, ask: _Ask, rechecks: Rechecks) -> None:
        self._session = session
        self._request = session.request  # whole only now
        self._name = _nameOf(session.identity)
        self._ask = ask
        self._clock = rechecks.clock
        self._every = rechecks.every
        self._asking: Deferred[None] | None = None
        self._timers: list[IDelayedCall] = []
        self._over = False
        self._confirmed()

    def stop(self) -> None:
        self._over = True  # whatever it may still be told
        self._endTimers()
        if self._asking is not None:
            self._asking.cancel()

    def _endTimers(self) -> None:
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._timers.clear()

    def _confirmed(self) -> None:
        """It may go on. Those that began together are not asked about together."""
        self._endTimers()
        self._timers.append(self._clock.callLater(2 * self._every, self._close, _UNCONFIRMED))
        self._askIn(self._every * random.uniform(0.75, 1))

    def _askSooner(self) -> None:
        self._askIn(self._every / 4)

    def _askIn(self, seconds: float) -> None:
        self._timers.append(self._clock.callLater(seconds, self._askAgain))

    def _askAgain(self) -> None:
        self._asking = Deferred.fromCoroutine(self._again())
        self._asking.addErrback(self._failed)

    async def _again(self) -> None:
        proceed = await self._verdict()
        if not self._over:
            proceed()

    async def _verdict(self) -> Callable[[], None]:
        try:
            identity = await self._ask(self._request)
        except Refusal as refusal:
            return self._askSooner if refusal.status == 503 else self._withdraw
        return self._confirmed if _nameOf(identity) == self._name else self._withdraw

    def _failed(self, failure: Failure) -> None:
        if not self._over:
            logFault(self._log, "asking again about a session", failure)
            self._askSooner()

    def _withdraw(self) -> None:
        self._asking = None  # nobody is asked any more
        self._close(_WITHDRAWN)

    def _close(self, close: Close) -> None:
        self.stop()
        self._session.close(close)


def _nameOf(identity: Identity | None) -> str:
    return "" if identity is None else identity.name


@implementer(IObserver)
class Rechecks:
    """
    @param every: seconds. A session that the verifier does not let in any longer is closed with 4001, at the latest
        after so many and what the answer takes; one of which it says nothing after twice as many.
    """

    def __init__(self, clock: IReactorTime, ask: _Ask, every: float) -> None:
        self.clock = clock
        self.every = every
        self._ask = ask
        self._watches: dict[str, _Watch] = {}

    def opened(self, session: Session) -> None:
        self._watches[session.id] = _Watch(session, self._ask, self)

    def closed(self, session: Session, ending: Ending) -> None:
        watch = self._watches.pop(session.id, None)
        if watch is not None:
            watch.stop()


def makeForwardAuth(config: AuthenticationConfig, reactor: Any) -> tuple[ForwardAuth, Rechecks | None]:
    """@return: who is asked about clients, and who asks about their sessions again, where somebody does."""
    assert config.url is not None
    forward = ForwardAuth(Verifier(reactor, config.url, turns=_TURNS, queue=_QUEUE).ask, config.copy)
    if not config.recheck:
        return forward, None
    again = ForwardAuth(Verifier(reactor, config.url, turns=_RECHECK_TURNS).ask, config.copy)
    return forward, Rechecks(reactor, again.authenticate, config.recheck)
