"""One way to one target: from asking a dialer to the end of a tunnel, or to the words that the client reads.

::

    dialer asked ─► answered ─► its end is connected ─► the end
         └────────────┴── one deadline ──┘└─► DialError

A dialer is anybody's: L{wsproxy.dialling.dial}'s, a wrapped program's, an embedder's. It may connect our protocol in
another one (Autobahn's C{autobahn:} endpoints do, and open that only after they have answered), so what counts is what
was built here, not what was returned. What it raises is shown to the client only if it was made for that.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.errors import DialError
from wsproxy.fault import logFault
from wsproxy.interfaces import Session
from wsproxy.sessions.awaited import asked
from wsproxy.sessions.bounded import giveUp
from wsproxy.sessions.excuse import excuse
from wsproxy.sessions.targetend import TargetEnd

__all__ = ["Dialling"]


class _State(Enum):
    ASKED = "the dialer was asked"
    ANSWERED = "it has answered, but its end is not connected yet"
    OVER = "there is an end, or there will be none"


class Dialling(Factory[TargetEnd]):
    """
    The factory that a dialer is given. Whatever that does, one of these is called, once, unless L{cancel} is:

    @param connected: the target's end, connected.
    @param failed: what the client is to read, and what else there is to say for the log, if anything.
    """

    noisy = False
    _log = Logger()

    def __init__(self, name: str, connected: Callable[[TargetEnd], None], failed: Callable[[str, str], None]) -> None:
        self._name = name
        self._connected = connected
        self._failed = failed
        self._state = _State.ASKED
        self._built: list[TargetEnd] = []
        self._timer: IDelayedCall | None = None

    def start(self, dial: Callable[..., Any], session: Session, clock: IReactorTime, timeout: float) -> None:
        """
        Ask C{dial} for a way to where C{session} leads.

        @param timeout: seconds.
        """
        self._dialled = asked(dial, session, self)
        self._dialled.addCallbacks(self._answered, self._fail)
        if self._state is not _State.OVER:
            self._timer = clock.callLater(timeout, self._timedOut)

    def cancel(self) -> None:
        """Nobody waits any more: neither callback is called, and what is connected later is dropped."""
        if self._state is not _State.OVER:
            self._finish()
            giveUp(self._dialled)

    def buildProtocol(self, addr: IAddress | None) -> TargetEnd | None:
        if self._state is _State.OVER:
            return None
        end = TargetEnd()
        self._built.append(end)
        return end

    def _answered(self, protocol: object) -> None:
        if self._state is _State.OVER:
            return
        end = self._built[-1] if self._built else None
        if end is not protocol or end is None:
            end = self._find(protocol)
        if end is None or end.transport is None:
            self._fail(Failure(TypeError(f"a dialer answered {type(protocol).__name__}, and connected nothing")))
        elif end.connected:
            self._succeed(end)
        else:
            self._state = _State.ANSWERED
            end.settled = lambda: self._settled(end)

    def _find(self, protocol: object) -> TargetEnd | None:
        """The end that an answer is about: itself, or the last that was built, which it wraps."""
        ends = [end for end in self._built if end.transport is not None]
        return next((end for end in ends if end is protocol), ends[-1] if ends else None)

    def _settled(self, end: TargetEnd) -> None:
        end.settled = None
        if end.connected:
            self._succeed(end)
        else:
            self._fail(Failure(DialError("Target closed the connection")))

    def _timedOut(self) -> None:
        self._timer = None
        self._fail(Failure(DialError("Target timed out")))
        giveUp(self._dialled)

    def _succeed(self, end: TargetEnd) -> None:
        connected = self._connected
        self._built.remove(end)
        self._finish()
        connected(end)

    def _fail(self, failure: Failure) -> None:
        if self._state is _State.OVER:
            return
        failed = self._failed
        self._finish()
        failed(*excuse(failure, self._name, "dialling"))

    def _finish(self) -> None:
        """Forget everybody who leads back here, and drop every end that was not asked for."""
        self._state = _State.OVER
        del self._connected, self._failed
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        built, self._built = self._built, []
        for end in built:
            end.settled = None
            try:
                end.drop()
            except BaseException:
                logFault(self._log, "{session:.8} dropping a connection", session=self._name)
