"""What has been revoked and must not come in: in memory, until it would not be let in anyway. No Twisted in here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from wsproxy.interfaces import Admitted
from wsproxy.nodes.revocation import Revocation
from wsproxy.nodes.subject import claimsOf

__all__ = ["Ledger", "madeBefore"]

_EVERY = 60.0
"""Seconds between two looks for what may be forgotten."""


class Ledger:
    """
    The revocations that hold, the newest of each subject.

    @param now: the time of day, in seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._revoked: dict[str, Revocation] = {}
        self._looked = now()

    def __len__(self) -> int:
        return len(self._revoked)

    def __iter__(self) -> Iterator[Revocation]:
        return iter(tuple(self._revoked.values()))

    def enter(self, revocations: Iterable[Revocation]) -> None:
        for revocation in revocations:
            known = self._revoked.get(revocation.subject)
            if known is None or (known.until, known.at) <= (revocation.until, revocation.at):
                self._revoked[revocation.subject] = revocation
            elif known.at < revocation.at:  # for less long, but of what was made since, too
                newer = Revocation(known.kind, known.subject, revocation.at, known.until, revocation.before)
                self._revoked[revocation.subject] = newer
        self._forget()

    def _forget(self) -> None:
        now = self._now()
        if now - self._looked >= _EVERY:
            self._looked = now
            self._revoked = {each.subject: each for each in self if each.until > now}

    def forbids(self, admitted: Admitted, subjects: Sequence[str]) -> Revocation | None:
        """
        @param subjects: whoever this is: L{Subjects.of<wsproxy.nodes.subject.Subjects.of>}.
        @return: why it must not come in.
        """
        for subject in subjects:
            revocation = self._revoked.get(subject)
            if revocation is None or revocation.until <= self._now():
                continue
            if revocation.kind != "identity" or madeBefore(admitted, revocation.at):
                return revocation
        return None


def madeBefore(admitted: Admitted, moment: float) -> bool:
    """
    Whether the token that let this one in was made before that. One that ends some day and does not say when it was
    made counts as such; where there is none, but a password, say, that has to be changed where it is known.
    """
    claims = claimsOf(admitted)
    made = claims.get("iat")
    if isinstance(made, (int, float)) and not isinstance(made, bool):
        return made < moment
    return made is not None or "exp" in claims
