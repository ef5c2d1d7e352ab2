"""To revoke: on this node at once, and on all others as soon as Redis has it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from wsproxy.errors import ConfigError
from wsproxy.nodes.follower import Hearer
from wsproxy.nodes.log import RevocationLog
from wsproxy.nodes.revocation import LIFETIME, LONGEST, SHORTEST, Revocation
from wsproxy.nodes.subject import KINDS, Subjects, tokenExpiry

__all__ = ["Order", "Revocations", "makeOrder"]

_SESSION = re.compile("[0-9a-f]{32}")
"""A session's id, whole: of the first digits of one nobody here knows whose they are."""


@dataclass(frozen=True, slots=True)
class Order:
    """
    What somebody wants to be revoked.

    @ivar name: the secret itself where C{kind} is C{"token"}.
    @ivar until: until when it is refused, in seconds since the epoch.
    @ivar atLeast: seconds from now that it is, in any case.
    """

    kind: str
    name: str
    until: float
    atLeast: float

    def __repr__(self) -> str:
        return f"<Order {self.kind}>"


def makeOrder(kind: str, name: str, lifetime: float | None = None) -> Order:
    """
    @param kind: C{"identity"}, C{"token"}, C{"jti"} or C{"session"}.
    @param lifetime: seconds; by default until a token says that it expires, else L{LIFETIME}.
    @raise ConfigError: that makes no sense.
    """
    if kind not in KINDS or not name:
        raise ConfigError(f"revoke: expected one of {', '.join(KINDS)}, and which")
    if lifetime is not None and not 0 < lifetime <= LONGEST:
        raise ConfigError(f"--for: expected 1 to {LONGEST:.0f} seconds")
    expires = tokenExpiry(name) if kind == "token" else None
    if expires is not None:
        until = min(expires, time.time() + LONGEST) + SHORTEST  # clocks differ
        return Order(kind, name, until, max(lifetime or 0, SHORTEST))
    if kind == "session":
        name, lifetime = name.lower(), SHORTEST
        if not _SESSION.fullmatch(name):
            raise ConfigError("session: expected all 32 digits of its id")
    return Order(kind, name, 0, max(lifetime or LIFETIME, SHORTEST))


class Revocations:
    """
    What a node is asked to revoke.

    @param hear: ends sessions on this node, in all its workers.
    @param log: L{None} where there is no cluster.
    @param now: the time of day, in seconds since the epoch.
    """

    def __init__(
        self, subjects: Subjects, hear: Hearer, log: RevocationLog | None, now: Callable[[], float] = time.time
    ) -> None:
        self._subjects = subjects
        self._hear = hear
        self._log = log
        self._now = now

    def revoke(self, kind: str, name: str, lifetime: float | None = None) -> Deferred[None]:
        """
        See L{makeOrder}. It holds on this node when this returns.

        @return: fires when it will on all. Fails with L{RedisError<wsproxy.cluster.errors.RedisError>} where nobody
            knows that: it has to be said again.
        @raise ConfigError: that makes no sense.
        """
        order = makeOrder(kind, name, lifetime)
        subject, now = self._subjects.hidden(kind, order.name), self._now()
        self._hear([Revocation(kind, subject, now, max(order.until, now + order.atLeast))])
        if self._log is None:
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done
        return self._log.append(kind, subject, order.until, order.atLeast)
