"""Follows the log of revocations: what is new is heard at once, and what was missed when Redis is back.

::

    absent ─► what has happened since the last entry that was read ─► following: XREAD, which waits for the next entry
       ▲                                                                  │
       └───────────────────────── Redis is away ◄─────────────────────────┘

There is no pub/sub, which forgets what nobody hears: the log itself says when there is something new. For this it has a
connection of its own, and looks for a Redis that is away five times a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from wsproxy.cluster.errors import RedisAway, RedisError
from wsproxy.cluster.redis import Redis
from wsproxy.fault import logFault
from wsproxy.nodes.log import BEGINNING, Page, RevocationLog, order
from wsproxy.nodes.revocation import Revocation

__all__ = ["LOOK", "Follower", "Hearer"]

LOOK = 0.2
"""Seconds until Redis is looked for again. What was missed is to be known within a second of its return."""

_WAIT = 1.0
"""Seconds that a question waits for news: half of what Redis is given to answer."""

Hearer = Callable[[Sequence[Revocation]], object]


class Follower(Service):
    """
    @param redis: the connection for this alone, which ends with it.
    @param hear: called with revocations, some for the second time.
    @param know: called with whether all are known.
    @param now: the time of day, in seconds since the epoch.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        redis: Redis,
        log: RevocationLog,
        hear: Hearer,
        know: Callable[[bool], object],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._reactor = reactor
        self._redis = redis
        self._revocations = log
        self._hear = hear
        self._know = know
        self._now = now
        self._cursor = BEGINNING
        self._following: Deferred[None] | None = None
        self._complaint = ""

    def begin(self) -> None:
        """Now, be it that the service is not started; else with that."""
        if self._following is None:
            self._following = Deferred.fromCoroutine(self._follow())
            self._following.addErrback(lambda failure: failure.trap(CancelledError))
            self._following.addErrback(lambda failure: logFault(self._log, "following revocations", failure))

    def startService(self) -> None:
        super().startService()
        self.begin()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self._following is not None:
            self._following.cancel()
        return self._redis.stopService()

    async def _follow(self) -> None:
        while True:
            try:
                await self._catchUp()
                self._know(True)
                while True:
                    self._take(await self._revocations.read(self._cursor, _WAIT))
            except RedisError as error:
                self._complain(error)
            except CancelledError:
                raise
            except Exception:
                logFault(self._log, "reading revocations")
            self._know(False)
            await deferLater(self._reactor, LOOK)

    async def _catchUp(self) -> None:
        """Read what there is, from where reading has ended; or from the beginning, where the log is another one."""
        newest, seconds = await self._revocations.last()
        ahead = seconds - self._now()
        if order(newest) < order(self._cursor):
            self._cursor = BEGINNING
        page = Page(self._cursor, full=True)
        while page.full:
            page = await self._revocations.read(self._cursor)
            self._take(page, ahead)
        self._complaint = ""

    def _take(self, page: Page, ahead: float | None = None) -> None:
        """@param ahead: seconds by which Redis' clock is before ours; L{None}: what was read has just been written."""
        self._cursor = page.cursor
        if page.unknown:
            self._log.warn("{count} revocations are not understood: of a newer version?", count=page.unknown)
        if page.revocations:
            known = page.revocations
            self._hear(known if ahead is None else [each.seenAt(each.at - ahead) for each in known])

    def _complain(self, error: RedisError) -> None:
        """Once, where Redis is there: that it is away the log has already."""
        complaint = "" if isinstance(error, RedisAway) else str(error)
        if complaint and complaint != self._complaint:
            self._log.warn("Revocations cannot be read: {error}", error=complaint)
        self._complaint = complaint
