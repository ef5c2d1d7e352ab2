"""One revocation, as it stands in the log, and as workers are told of it. No Twisted in here.

::

    1700000000000-0   kind identity  subject 2c26b46b68ffc68f…  until 1700086400000
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from wsproxy.nodes.subject import KINDS

__all__ = ["LIFETIME", "LONGEST", "SHORTEST", "Revocation", "fromEntry", "fromPlain"]

LIFETIME = 86400.0
"""Seconds that what was revoked is refused, where nothing else is said."""

SHORTEST, LONGEST = 60.0, 3660 * 86400.0
"""Seconds that may be said: what is forgotten earlier, a node might not hear of at all."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """
    @ivar kind: of L{KINDS}.
    @ivar subject: what stands for whom it is about: L{Subjects.hidden<wsproxy.nodes.subject.Subjects.hidden>}.
    @ivar at: when it was made; until when it is to be remembered. In seconds since the epoch, by the clock of Redis.
    @ivar before: of an identity, sessions that began before that end, by the clock of this machine; by default all
        that there are. Others are from after it.
    """

    kind: str
    subject: str
    at: float
    until: float
    before: float = math.inf

    @property
    def plain(self) -> list[Any]:
        """For JSON; L{fromPlain} reads it."""
        before = None if math.isinf(self.before) else self.before
        return [self.kind, self.subject, self.at, self.until, before]

    def seenAt(self, before: float) -> Revocation:
        """@return: the same, read later: C{before} as above."""
        return replace(self, before=before)


def fromPlain(plain: Sequence[Any]) -> Revocation:
    kind, subject, at, until, before = plain
    return Revocation(kind, subject, at, until, math.inf if before is None else before)


def fromEntry(id: bytes, fields: Sequence[bytes]) -> Revocation:
    """
    @param id: of an entry, which begins with when it was made, in milliseconds.
    @raise ValueError: this is none. A newer version may have kinds of its own.
    """
    known = dict(zip(fields[::2], fields[1::2], strict=True))
    try:
        kind, subject = known[b"kind"].decode("ascii"), known[b"subject"].decode("ascii")
        until = int(known[b"until"])
    except KeyError as error:
        raise ValueError(f"no {error}") from None
    if kind not in KINDS:
        raise ValueError("an unknown kind")
    return Revocation(kind, subject, int(id.partition(b"-")[0]) / 1000, until / 1000)
