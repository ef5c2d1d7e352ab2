"""What each of those who decide has said about one request: for C{--explain}.

The questions are asked as ever, by L{Decisions<wsproxy.sessions.decision.Decisions>}; what is asked has a pen in hand::

    Decisions ─► Trace ─► the authenticator
                   └─► Step("authenticate", "HtpasswdAuth", "alice", True)

Nothing that is secret is noted: of an exception its kind and where it was raised, not what it says, which may quote
anything; of an identity its name, of a target its text and until when it is good.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from twisted.internet.defer import CancelledError

from wsproxy.access.origin import OriginPolicy
from wsproxy.endpoints.weburl import discreetTarget
from wsproxy.errors import DialError, Refusal
from wsproxy.escape import escape
from wsproxy.interfaces import AnyGate, Identity, Request, Target
from wsproxy.sessions.awaited import awaited

__all__ = ["Step", "Trace", "nameOf", "shownIdentity", "shownTarget"]

_LATE = "503: has not answered in time"


@dataclass(frozen=True, slots=True)
class Step:
    """
    One question.

    @ivar question: C{"authenticate"}, say.
    @ivar by: who was asked.
    @ivar said: the answer, in one line.
    @ivar passed: whether the next question was asked because of it.
    """

    question: str
    by: str
    said: str
    passed: bool


def nameOf(plugin: object) -> str:
    """What somebody who answers is called: a class or a function, with its module where that is not one of ours."""
    owner: Any = getattr(plugin, "__self__", plugin)
    named = owner if hasattr(owner, "__qualname__") else type(owner)
    module = named.__module__ or ""
    return named.__qualname__ if module.partition(".")[0] == "wsproxy" else f"{module}.{named.__qualname__}"


class Trace:
    """
    @ivar steps: what was asked so far, in its order.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._asked: tuple[str, str] | None = None
        self._over = False

    def begin(self, question: str, by: str) -> None:
        """Somebody is asked."""
        self._asked = question, by

    def note(self, question: str, by: str, said: str, passed: bool) -> None:
        """They have answered."""
        self._asked = None
        if not self._over:
            self.steps.append(Step(question, by, escape(said, None), passed))

    def end(self) -> None:
        """Nobody waits any more. Who has not answered is noted for that."""
        if self._asked is not None:
            self.note(*self._asked, _LATE, False)
        self._over = True

    def asking(self, question: str, plugin: Callable[..., Any], shown: Callable[[Any], str]) -> Callable[..., Any]:
        """
        @param shown: what is noted of an answer; raises L{TypeError} where it is none.
        @return: asks C{plugin}, and notes what it says.
        """

        async def ask(*subject: Any) -> Any:
            with self._noting(question, nameOf(plugin)) as note:
                answer = plugin(*subject)
                if hasattr(answer, "__await__"):
                    answer = await awaited(answer)
                note(shown(answer))
            return answer

        return ask

    def telling(self, question: str, plugin: Callable[..., None], said: str) -> Callable[..., None]:
        """The same of somebody who answers at once, or raises. @param said: what is noted where he does not."""

        def ask(*subject: Any) -> None:
            with self._noting(question, nameOf(plugin)) as note:
                plugin(*subject)
                note(said)

        return ask

    def gate(self, gate: AnyGate) -> AnyGate:
        """@return: a gate that is noted, and is not told who was refused: nobody came."""
        return _Gate(self.telling("gate", gate.enter, "open"))

    def origins(self, policy: OriginPolicy) -> OriginPolicy:
        """@return: a policy that is noted."""
        return cast(OriginPolicy, _Origins(policy, self))

    def _noting(self, question: str, by: str) -> _Note:
        return _Note(self, question, by)


class _Note:
    """One that is being written: a context manager, whose value writes down what was said."""

    def __init__(self, trace: Trace, question: str, by: str) -> None:
        self._trace = trace
        self._question = question
        self._by = by

    def __enter__(self) -> Callable[[str], None]:
        self._trace.begin(self._question, self._by)
        return lambda said: self._write(said, True)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._write(_shownError(error), False)

    def _write(self, said: str, passed: bool) -> None:
        self._trace.note(self._question, self._by, said, passed)


@dataclass(frozen=True)
class _Gate:
    enter: Callable[[Request], None]

    def refused(self, request: Request, refusal: Refusal) -> None:
        """Nobody came."""


class _Origins:
    def __init__(self, policy: OriginPolicy, trace: Trace) -> None:
        self._policy = policy
        self._trace = trace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def allows(self, origin: str | None, *page: Any) -> bool:
        allowed = self._policy.allows(origin, *page)
        said = ("no Origin: no web page" if origin is None else f"{origin[:200]} may connect") if allowed else ""
        if not allowed:
            said = f"403 Origin not allowed: {self._policy.cause(origin, *page)}"
        self._trace.note("origin", nameOf(self._policy), said, allowed)
        return allowed


def _shownError(error: BaseException) -> str:
    match error:
        case Refusal():
            cause = f": {error.cause}" if error.cause else ""
            return f"{error.status} {error.reason}{cause}"
        case DialError():
            cause = getattr(error, "cause", "")
            return f"403 {error}{f': {cause}' if cause else ''}"
        case CancelledError() | GeneratorExit():
            return _LATE
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
    return f"503: raised {type(error).__name__}{where}"


def shownIdentity(identity: Identity | None) -> str:
    """@return: who a client is, for a trace."""
    return "anybody" if identity is None or not identity.name else f"{identity.name}{_until(identity.expires)}"


def shownTarget(target: Target) -> str:
    """@return: where it leads, for a trace."""
    header = f", told of its client by PROXY {target.proxyHeader}" if target.proxyHeader else ""
    return f"{discreetTarget(target.text)}{_until(target.expires)}{header}"


def _until(expires: float | None) -> str:
    if expires is None:
        return ""
    try:
        return f", until {datetime.fromtimestamp(expires, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):
        return f", until {expires}"
