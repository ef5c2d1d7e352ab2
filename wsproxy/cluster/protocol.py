"""One connection to Redis: txredisapi's protocol, with its bounds.

That reads the language and keeps answers in the order of their questions. What is answered here is bytes, C{str} for a
status, C{int}, L{None} or a list of those. A server that says what Redis never would is left at once.

Imported where it is used: txredisapi is an extra, and touches the reactor.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from txredisapi import BaseRedisProtocol, ResponseError
from txredisapi import RedisError as LibraryError

from wsproxy.cluster.errors import RedisAway, RedisError
from wsproxy.escape import escape

__all__ = ["LONGEST", "RedisProtocol"]

LONGEST = 1024 * 1024
"""Bytes of an answer. The longest of those that are asked for is a target, or a list of integers."""


class RedisProtocol(BaseRedisProtocol):  # type: ignore[misc]  # txredisapi has no types
    """
    @param clock: for what txredisapi defers.
    @ivar lost: fires once when the connection has ended.
    @ivar why: how it has.
    """

    transport: Any

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self.callLater = clock.callLater
        self.lost: Deferred[None] = Deferred()
        self.why: Failure | None = None
        self._read = 0
        self._replies: list[Any] | None = None  # those of one piece

    def ask(self, *words: bytes | str | int) -> Deferred[Any]:
        """
        @return: fires with the answer; fails with L{RedisError} where that is an error, and with L{RedisAway} where the
            connection ends before.
        """
        if not self.connected:
            raise RedisAway("lost")
        answer: Deferred[Any] = self.execute_command(*words)
        return answer.addErrback(_translate)

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        self._read += 0 if unpause else len(data)
        replies: list[Any] = []
        self._replies = replies
        try:
            super().dataReceived(data, unpause)
        except Exception:  # what is no text, or no number, where Redis has one
            self.transport.abortConnection()
            return
        finally:
            self._replies = None
        if self._read > LONGEST or len(replies) > len(self.replyQueue.waiting):  # an answer that nobody asked for
            self.transport.abortConnection()
            return
        for reply in replies:  # not before: whoever gets one may ask the next thing
            self.replyQueue.put(reply)

    def replyReceived(self, reply: Any) -> None:
        self._read = 0
        if self._replies is None:
            self.replyQueue.put(reply)
        else:
            self._replies.append(reply)

    def connectionLost(self, why: Failure = connectionDone) -> None:
        self.why = why
        self.lost.callback(None)  # first: who fails for it may ask again
        super().connectionLost(why)


def _translate(failure: Failure) -> None:
    if failure.check(ResponseError):
        raise RedisError(escape(str(failure.value))) from None
    failure.trap(LibraryError)
    raise RedisAway("the connection was lost") from None
