"""One way to one target: from asking a dialer to the end of a tunnel, or to the words that the client reads.

::

    dialer asked ─► answered ─► its end is connected ─► the end
         └────────────┴── one deadline ──┘└─► DialError

A dialer is anybody's: L{wsproxy.dialling.dial}'s, a wrapped program's, an embedder's. It may connect our protocol in
another one (Autobahn's C{autobahn:} endpoints do, and open that only after they have answered), so what counts is what
was built here, not what was returned. What it raises is shown to the client only if it was made for that.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from wsproxy.ends.end import ignore
from wsproxy.ends.transport import TransportEnd
from wsproxy.errors import ConfigError, DialError, NotAllowed, Refusal
from wsproxy.escape import escape
from wsproxy.fault import logFault
from wsproxy.interfaces import Session
from wsproxy.sessions.awaited import awaited
from wsproxy.sessions.bounded import giveUp

__all__ = ["Dialling", "TargetEnd"]

UNREACHABLE = "Target unreachable"
"""What the client reads of errors that were not made to be read."""

_EVERYDAY = (ConnectError, ConnectionClosed, DNSLookupError)
"""How Twisted's endpoints say that there was no connection. The log does without a traceback."""


class TargetEnd(TransportEnd):
    """An end that is told of its connection by whoever likes, on a transport that can as little as it likes."""

    settled: Callable[[], None] | None = None
    """Called when it is connected, or will never be."""

    def connectionMade(self) -> None:
        if not isinstance(self.transport, (Connection, ProtocolWrapper)) and not _isComplete(self.transport):
            self.transport = _Completed(self.transport)
        self.connected = 1  # Autobahn calls this, and not makeConnection
        super().connectionMade()
        if self.settled is not None:
            self.settled()

    def connectionLost(self, reason: Failure | None = connectionDone) -> None:
        super().connectionLost(connectionDone if reason is None else reason)  # Autobahn has none
        if self.settled is not None:
            self.settled()

    def drop(self) -> None:
        """Nobody wants it any more. Before it is connected, too."""
        if self.connected:
            self.abort()
        elif self.transport is not None:
            _Completed(self.transport).abortConnection()


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

    def __init__(
        self, name: str, connected: Callable[[TargetEnd], None], failed: Callable[[str, str], None]
    ) -> None:
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
        self._dialled = maybeDeferred(self._ask, dial, session)
        self._dialled.addCallbacks(self._answered, self._fail)
        if self._state is not _State.OVER:
            self._timer = clock.callLater(timeout, self._timedOut)

    def _ask(self, dial: Callable[..., Any], session: Session) -> Any:
        answer = dial(session, self)
        return awaited(answer) if hasattr(answer, "__await__") else answer

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
        try:
            reason = self._reason(failure)
            cause = ", ".join(dict.fromkeys(_causes(failure.value)))
        except BaseException:  # anybody's exception may have a __str__ of its own
            logFault(self._log, "{session:.8} telling why", session=self._name)
            reason, cause = UNREACHABLE, ""
        failed(reason, cause)

    def _reason(self, failure: Failure) -> str:
        match failure.value:
            case DialError() as error:
                return str(error) or UNREACHABLE
            case Refusal(reason=str() as words):
                return words or UNREACHABLE
            case ConfigError():
                return "Target misconfigured"
        if not failure.check(*_EVERYDAY):
            logFault(self._log, "{session:.8} dialling", failure, session=self._name)
        return UNREACHABLE

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


def _causes(error: BaseException | None) -> Iterator[str]:
    """What there is to know of a failed dial beside what the client reads: errors of the system, and the operator's."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop(0)
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        waiting.append(cause.__cause__)
        if isinstance(cause, ExceptionGroup):
            waiting += cause.exceptions
        elif isinstance(cause, NotAllowed):
            yield escape(cause.cause, None)
        elif isinstance(cause, ConfigError):
            yield escape(str(cause))
        else:
            code = getattr(cause, "osError", None) or getattr(cause, "errno", None)
            if isinstance(code, int) and code in errno.errorcode:
                yield f"{errno.errorcode[code]}: {os.strerror(code)}"


_NEEDED = ("abortConnection", "loseWriteConnection", "pauseProducing", "registerProducer", "writeSequence")


def _isComplete(transport: Any) -> bool:
    return all(hasattr(transport, name) for name in _NEEDED)


class _Completed:
    """
    A transport with all that TCP's can do, where what stands for it can do little more than write: what is missing is
    done by the transport beneath, or not at all.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        directlyProvides(self, providedBy(transport))

    def __getattr__(self, name: str) -> Any:
        layer = self._transport
        while layer is not None:
            if hasattr(layer, name):
                return getattr(layer, name)
            layer = getattr(layer, "transport", None)
        if name in _MADE_UP:
            return ignore
        raise AttributeError(name)

    def writeSequence(self, data: list[bytes]) -> None:
        self._transport.write(b"".join(data))

    def loseWriteConnection(self) -> None:
        """The half of what is beneath would be the end of all of this."""
        getattr(self._transport, "loseWriteConnection", self._transport.loseConnection)()

    def resumeProducing(self) -> None:
        """One that is closing has nothing left to read, and Twisted's in memory mind being asked to."""
        if not getattr(self._transport, "disconnecting", False):
            self.__getattr__("resumeProducing")()

    def abortConnection(self) -> None:
        abort = self.__getattr__("abortConnection")
        (self._transport.loseConnection if abort is ignore else abort)()


_MADE_UP = ("abortConnection", "pauseProducing", "resumeProducing", "registerProducer", "unregisterProducer")
"""Whoever has no backpressure goes without."""
