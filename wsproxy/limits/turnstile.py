"""How many sessions there may be at a time: the turnstile that says so to clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.errors import Refusal
from wsproxy.interfaces import Admitted, ITurnstile, Request
from wsproxy.limits.counts import Full, Give, Tally, Unknown
from wsproxy.limits.subjects import subjectsOf

__all__ = ["SessionLimits"]

_REASONS = {
    "all": "Too many sessions",
    "client": "Too many sessions from this address",
    "identity": "Too many sessions of this user",
    "token": "Too many sessions with this token",
}

_OPTIONS = {
    "all": "--max-sessions",
    "client": "--max-sessions-per-client",
    "identity": "--max-sessions-per-identity",
    "token": "--max-sessions-per-token",
}

_SOON = (("Retry-After", "5"),)
"""For those whom it does not concern: there is room as soon as somebody else goes."""


@implementer(ITurnstile)
class SessionLimits:
    """
    @param tally: who counts.
    @param limits: how many there may be, by kind.
    @param tokenOf: the token that a request came with.
    @param own: likewise, of C{route} alone.
    """

    def __init__(
        self,
        tally: Tally,
        limits: Mapping[str, int],
        tokenOf: Callable[[Request], str | None] | None = None,
        own: Mapping[str, int] = {},
        route: str = "",
    ) -> None:
        self._tally = tally
        self._limits = limits
        self._tokenOf = tokenOf
        self._own = own
        self._route = route

    def admit(self, admitted: Admitted) -> Any:
        subjects = subjectsOf(admitted, self._limits, self._tokenOf)
        if self._own:
            own = subjectsOf(admitted, self._own, self._tokenOf)
            subjects += [(f"{kind}@{self._route}", name) for kind, name in own]
        try:
            answer: Give | Deferred[Any] | None
            if admitted.request.explaining:
                answer = self._tally.look(subjects)
            else:
                answer = self._tally.take(subjects)
        except Full as full:
            raise self._refusal(full.kind) from None
        if isinstance(answer, Deferred):
            answer.addErrback(self._failed)
        return answer

    def _failed(self, failure: Failure) -> None:
        if isinstance(failure.value, Full):
            raise self._refusal(failure.value.kind)
        failure.trap(Unknown)
        raise Refusal(503, "Service unavailable", _SOON, cause=str(failure.value))

    def _refusal(self, kind: str) -> Refusal:
        kind, at, _ = kind.partition("@")
        most = self._own[kind] if at else self._limits[kind]
        cause = f"{most} are open, as many as {_OPTIONS[kind]} says"
        if kind == "all":
            return Refusal(503, _REASONS[kind], _SOON, cause=cause)
        return Refusal(429, _REASONS[kind], cause=cause)
