"""When a proxy ends by itself: after one session, after a time, or after a time without a session."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from wsproxy.config import LifetimeConfig
from wsproxy.interfaces import Ending, IObserver, Session
from wsproxy.sessions.sessions import Sessions

__all__ = ["Lifetime"]


class _State(Enum):
    SERVING = "serving"
    ENDING = "ending with its last session"
    CANCELLED = "ended by somebody else"


@implementer(IObserver)
class Lifetime:
    """
    An L{IObserver} for C{--run-once}, C{--timeout}, C{--idle-timeout}.

    @param stopListening: close the listening sockets.
    @param stop: end the process; open sessions are closed first.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        config: LifetimeConfig,
        sessions: Sessions,
        stopListening: Callable[[], object],
        stop: Callable[[], object],
    ) -> None:
        self._clock = clock
        self._config = config
        self._sessions = sessions
        self._stopListening = stopListening
        self._stop = stop
        self._state = _State.SERVING
        self._timeout: IDelayedCall | None = None
        self._idle: IDelayedCall | None = None

    def start(self) -> None:
        """The proxy is up: the times begin."""
        self._sessions.observe(self)
        if self._config.timeout:
            self._timeout = self._clock.callLater(self._config.timeout, self._finish, "--timeout is over")
        self._awaitSession()

    def cancel(self) -> None:
        """The proxy is ending for another reason: C{stop} will not be called."""
        self._state = _State.CANCELLED
        self._cancelTimers()

    def _cancelTimers(self) -> None:
        for call in (self._timeout, self._idle):
            if call is not None and call.active():
                call.cancel()

    def opened(self, session: Session) -> None:
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        if self._config.runOnce and self._state is _State.SERVING:
            self._finish("--run-once has its session")

    def closed(self, session: Session, ending: Ending) -> None:
        if len(self._sessions):
            return
        if self._state is _State.ENDING:
            self._stop()
        elif self._state is _State.SERVING:
            self._awaitSession()

    def _awaitSession(self) -> None:
        if self._config.idleTimeout:
            self._idle = self._clock.callLater(self._config.idleTimeout, self._finish, "--idle-timeout is over")

    def _finish(self, why: str) -> None:
        """Take no more clients, and stop when those here have left."""
        self._log.info("{why}: no longer listening", why=why)
        self._state = _State.ENDING
        self._cancelTimers()
        self._sessions.refuseNew("No more sessions are accepted")
        self._stopListening()
        if not len(self._sessions):
            self._stop()
