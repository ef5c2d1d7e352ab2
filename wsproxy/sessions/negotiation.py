"""A conversation with both sides before the tunnel opens: between a target that is connected, and one that is relayed.

::

    dialled ─► negotiate(client, target) ─┬─► done: what nobody has read is relayed first
                    └── one deadline ─────┴─► DialError, anything else, or nothing ─► close 1011
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wsproxy.ends.end import End
from wsproxy.errors import DialError
from wsproxy.interfaces import Session
from wsproxy.sessions.awaited import asked
from wsproxy.sessions.bounded import bounded
from wsproxy.sessions.conversation import ClientConversation, TargetConversation
from wsproxy.sessions.excuse import excuse
from wsproxy.sessions.targetend import TargetEnd
from wsproxy.tunnel.tunnel import Tunnel

__all__ = ["Negotiation"]


class Negotiation:
    """
    That of one session. Whatever is said, one of these is called, once, unless L{cancel} is:

    @param done: with what wraps the target's end, where the client's side is to be decrypted on its way.
    @param failed: what the client is to read, what else there is to say for the log, if anything, and by whom it is:
        C{"client"}, where it was that one which did not answer in time, or C{"target"}.
    """

    def __init__(
        self,
        session: Session,
        tunnel: Tunnel,
        end: TargetEnd,
        clock: IReactorTime,
        done: Callable[[TargetEnd, Callable[[End], End]], None],
        failed: Callable[[str, str, str], None],
    ) -> None:
        self._name = session.id
        self._end = end
        self._client = ClientConversation(session, tunnel, clock)
        self._target = TargetConversation(session, end, clock)
        self._done = done
        self._failed = failed
        self._clock = clock
        self._over = False
        self._talking: Deferred[Any] | None = None

    def start(self, negotiate: Callable[..., Any], timeout: float) -> None:
        """@param timeout: seconds for all of it."""
        self._talking = bounded(asked(negotiate, self._client, self._target), timeout, self._clock)
        self._talking.addCallbacks(self._agreed, self._refused)

    def cancel(self) -> None:
        """Nobody waits any more: neither callback is called, and the target is dropped."""
        if not self._over:
            self._finish()
            self._end.drop()
            if self._talking is not None:
                self._talking.cancel()

    def _agreed(self, _: object) -> None:
        if not self._over:
            done = self._done
            self._finish()
            done(self._end, self._client.between)

    def _refused(self, failure: Failure) -> None:
        if self._over:
            return
        failed, by = self._failed, "target"
        if failure.check(TimeoutError):
            by = "client" if self._client.reading and not self._target.reading else by
            failure = Failure(DialError(f"{by.capitalize()} timed out"))
        self._finish()
        self._end.drop()
        reason, cause = excuse(failure, self._name, "negotiating")
        failed(reason, cause, by)

    def _finish(self) -> None:
        self._over = True
        self._client.close()
        self._target.close()
        del self._done, self._failed
