"""The questions about a client: may this page connect, who is it, where does it lead, may it go there?

::

    gates ─► origin ─► authenticate ─► resolve ─► authorise ─► foresee ─► turnstiles ─► 101
    gates ─► authenticate, with --web-auth ─► a page

Those who answer are plugins and embedders' objects: interfaces of L{wsproxy.interfaces}, or plain callables. They may
answer at once, later or never, raise, or answer nonsense. Here that becomes one of two things, within one deadline: an
L{Admission}, of which a session is made, or a failure. No session is known here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from wsproxy.access.origin import OriginPolicy
from wsproxy.errors import ConfigError, DialError, Refusal
from wsproxy.fault import logFault
from wsproxy.interfaces import (
    AnyAuthenticator,
    AnyAuthoriser,
    AnyGate,
    AnyResolver,
    AnyTurnstile,
    Identity,
    Request,
    Target,
)
from wsproxy.sessions.awaited import asked, awaited
from wsproxy.sessions.bounded import bounded
from wsproxy.sessions.crowd import AT_ONCE, Crowd
from wsproxy.sessions.trace import Trace, shownIdentity, shownTarget

__all__ = ["Admission", "Closings", "Decisions", "asCallable", "checkMoment", "depart", "malformation"]

_log = Logger()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Admission:
    """
    What was decided about a client that is let in: who it is, and where it is led.

    @ivar departures: what the turnstiles want to have called when it leaves.
    @ivar responseHeaders: those of its L{Identity}, for the 101.
    @ivar expires: when that or its L{Target} does, the earlier of both; in seconds since the epoch.
    """

    request: Request
    identity: Identity | None
    target: Target
    departures: list[Callable[[], Any]] = field(default_factory=list)
    responseHeaders: tuple[tuple[str, str], ...] = ()
    expires: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Closing:
    """Somebody wants nobody to be let in."""

    reason: str


class Closings:
    """
    Those who want nobody to be let in.

    @ivar reason: what clients read of the newest of them; L{None} where there is none.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._all: list[_Closing] = []

    def add(self, reason: str) -> Callable[[], None]:
        """
        @return: undoes it; what others have asked for stays.
        @raise TypeError: the reason is no text.
        """
        if not isinstance(reason, str):
            raise TypeError(f"a reason is a str, not {_kind(reason)}")
        closing = _Closing(reason)
        self._all.append(closing)
        self.reason = reason

        def reopen() -> None:
            if closing in self._all:
                self._all.remove(closing)
                self.reason = self._all[-1].reason if self._all else None

        return reopen


def asCallable(plugin: Any, name: str) -> Callable[..., Any]:
    """
    @param plugin: an object with this method, or what is called in its place.
    @raise TypeError: it is neither.
    """
    method = getattr(plugin, name, plugin)
    if not callable(method):
        raise TypeError(f"{type(plugin).__name__} object has no method {name}(), and is not callable")
    answer: Callable[..., Any] = method
    return answer


class Decisions:
    """Asks the questions, one after the other.

    @param clock: for the deadline.
    @param gates: are asked first, one after the other, and told who was refused after them.
    @param turnstiles: are passed last, one after the other.
    @param webAuth: the authenticator is asked about pages, too.
    @param foresee: raises L{DialError} for a target that the dialer is not going to dial.
    @param timeout: seconds for all questions together.
    @param atOnce: about how many clients questions are asked at a time; for others the time has not begun.
    @raise ConfigError: it is to be asked, and there is none.
    @ivar coverPages: whether there is anybody to be asked about pages.
    @ivar closings: while there are any, every request is answered 503.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        origins: OriginPolicy,
        authenticator: AnyAuthenticator | None,
        resolver: AnyResolver,
        authoriser: AnyAuthoriser | None,
        gates: Sequence[AnyGate] = (),
        turnstiles: Sequence[AnyTurnstile] = (),
        webAuth: bool = False,
        foresee: Callable[[Target], None] | None = None,
        timeout: float,
        atOnce: int = AT_ONCE,
    ) -> None:
        if webAuth and authenticator is None:
            raise ConfigError("--web-auth: who is to be asked? --auth-plugin, --auth, --auth-url or --link-key")
        self._clock = clock
        self._origins = origins
        self._authenticate = None if authenticator is None else asCallable(authenticator, "authenticate")
        self._resolve = asCallable(resolver, "resolve")
        self._authorise = None if authoriser is None else asCallable(authoriser, "authorise")
        self._gates = gates
        self._turnstiles = [asCallable(turnstile, "admit") for turnstile in turnstiles]
        self._webAuth = webAuth
        self._foresee = foresee
        self._timeout = timeout
        self._crowd: Crowd[Admission] = Crowd(clock, atOnce)
        self.coverPages = webAuth or bool(gates)
        self.closings = Closings()

    def refuse(self, reason: str) -> Callable[[], None]:
        """
        Answer 503 to every request from now on.

        @param reason: what the client reads.
        @return: undoes it; what others have asked for stays.
        """
        return self.closings.add(reason)

    def decide(self, request: Request) -> Deferred[Admission]:
        """
        @return: fails with L{Refusal}; with L{TimeoutError<twisted.internet.defer.TimeoutError>} when the time is over;
            or with whatever somebody raised. To cancel it gives up, with L{GivenUp<wsproxy.sessions.bounded.GivenUp>}.
        """
        return self._crowd.wait(partial(self._decide, request)) if self._crowd.isFull else self._decide(request)

    def _decide(self, request: Request) -> Deferred[Admission]:
        questions = self._pass(request, self._ask) if self._gates else self._ask(request)
        deciding = Deferred.fromCoroutine(questions)
        if not deciding.called:
            deciding = bounded(deciding, self._timeout, self._clock, _leave)
            self._crowd.enter(deciding)
        return deciding

    def traced(self, trace: Trace) -> Decisions:
        """@return: the same questions, each of which C{trace} notes the answer to."""
        authorise, foresee = self._authorise, self._foresee
        return Decisions(
            self._clock,
            origins=trace.origins(self._origins),
            authenticator=None
            if self._authenticate is None
            else trace.asking("authenticate", self._authenticate, lambda answer: shownIdentity(_asIdentity(answer))),
            resolver=trace.asking("resolve", self._resolve, lambda answer: shownTarget(_asTarget(answer))),
            authoriser=None if authorise is None else trace.asking("authorise", authorise, _shownConsent),
            gates=[trace.gate(gate) for gate in self._gates],
            turnstiles=[trace.asking("turnstile", each, lambda answer: "lets through") for each in self._turnstiles],
            foresee=None if foresee is None else trace.telling("target", foresee, "may be dialled, as far as is known"),
            timeout=self._timeout,
        )

    def enter(self, request: Request) -> None:
        """
        @raise Refusal: a gate is shut to this client.
        @raise TypeError: it answers later, when nobody asks any more.
        """
        for gate in self._gates:
            told: Any = gate.enter(request)
            if told is not None:
                raise TypeError(f"a gate answered {_kind(told)}; it refuses by raising Refusal, at once")

    def visit(self, request: Request, *, forAnybody: bool = False) -> Deferred[Identity | None]:
        """
        Ask those whom pages concern.

        @param forAnybody: no matter who it is, as long as the gates let it in.
        @return: fires with who the client is, as far as anybody was asked; fails and is cancelled as L{decide} is.
        """
        ask = self._admitToPages if self._webAuth and not forAnybody else _nobody
        visiting = Deferred.fromCoroutine(self._pass(request, ask))
        return visiting if visiting.called else bounded(visiting, self._timeout, self._clock)

    async def _admitToPages(self, request: Request) -> Identity | None:
        identity = await self._identify(request)
        self.enter(request)  # again: of many guesses at a time a right one comes too late, too
        return identity

    async def _pass(self, request: Request, ask: Callable[[Request], Awaitable[T]]) -> T:
        self.enter(request)
        try:
            return await ask(request)
        except Refusal as refusal:
            for gate in self._gates:
                told = gate.refused(request, refusal)
                if hasattr(told, "__await__"):
                    await awaited(told)
            raise

    async def _ask(self, request: Request) -> Admission:
        headers = request.headers
        page = headers.get("origin"), headers.get("host"), request.secure
        if request.forwarded is not None:
            page = page[0], request.publicHost, request.publicSecure
        if not self._origins.allows(*page):
            raise Refusal(403, "Origin not allowed", cause=self._origins.cause(*page))
        if self.closings.reason is not None:
            raise Refusal(503, self.closings.reason)
        identity = None if self._authenticate is None else await self._identify(request)
        responseHeaders, expires = ((), None) if identity is None else (identity.responseHeaders, identity.expires)
        if identity is not None and not identity.name:
            identity = None
        target = self._resolve(request, identity)
        if hasattr(target, "__await__"):
            target = await awaited(target)
        if type(target) is not Target or type(target.text) is not str or target.expires is not None:
            target = _asTarget(target)
            if target.expires is not None:
                expires = target.expires if expires is None else min(expires, target.expires)
        if self._authorise is not None:
            consent = self._authorise(request, identity, target)
            if hasattr(consent, "__await__"):
                consent = await awaited(consent)
            _checkConsent(consent)
        if self._foresee is not None:
            try:
                self._foresee(target)
            except DialError as error:
                raise Refusal(403, str(error), cause=getattr(error, "cause", "")) from error
        if self.closings.reason is not None:  # meanwhile
            raise Refusal(503, self.closings.reason)
        admission = Admission(request, identity, target, responseHeaders=responseHeaders, expires=expires)
        if self._turnstiles:
            await self._admit(admission)
        return admission

    async def _identify(self, request: Request) -> Identity | None:
        assert self._authenticate is not None
        identity = self._authenticate(request)
        if hasattr(identity, "__await__"):
            identity = await awaited(identity)
        return _asIdentity(identity)

    async def _admit(self, admission: Admission) -> None:
        try:
            for turnstile in self._turnstiles:
                departure = turnstile(admission)
                if hasattr(departure, "__await__"):
                    departure = await awaited(departure)
                if departure is not None:
                    admission.departures.append(_checkDeparture(departure))
            if self.closings.reason is not None:
                raise Refusal(503, self.closings.reason)
        except BaseException:
            depart(admission.departures)
            raise


async def _nobody(request: Request) -> None:
    """Who it is was not asked."""


def depart(departures: list[Callable[[], Any]]) -> None:
    """Call what the turnstiles wanted to have called when this client leaves, last things first. Raises nothing."""
    while departures:
        asked(departures.pop()).addErrback(lambda failure: logFault(_log, "a client leaves", failure))


def _leave(admission: Admission) -> None:
    depart(admission.departures)


def malformation(refusal: Refusal) -> str:
    """What is wrong with a refusal, for the log; empty where it is one that HTTP can say (RFC 9110 section 15)."""
    try:
        status, reason, headers, cause = refusal.status, refusal.reason, refusal.headers, refusal.cause
    except BaseException as error:  # a subclass may do without
        return f"a Refusal that cannot be read ({type(error).__name__})"
    if not isinstance(status, int) or not 300 <= status <= 599:
        return f"a Refusal with a status of {status if isinstance(status, int) else _kind(status)}, not 300 to 599"
    if not (isinstance(reason, str) and isinstance(cause, str)):
        return f"a Refusal with {_kind(reason)} for a reason and {_kind(cause)} for a cause, not str"
    if not isinstance(headers, (tuple, list)) or not all(map(_isHeader, headers)):
        return "a Refusal with headers that are not pairs of str"
    if not all(_NAME.fullmatch(name) for name, _ in headers):
        return "a Refusal with a header that is none, or that is about the connection or the body"
    return ""


def _isHeader(pair: object) -> bool:
    return isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(each, str) for each in pair)


# What an answer is made of may be a secret: a complaint about it names its type.


def _asIdentity(answer: object) -> Identity | None:
    """@raise TypeError: an authenticator cannot mean that."""
    if answer is None:
        return None
    if not (isinstance(answer, Identity) and isinstance(answer.name, str)):
        raise TypeError(f"an authenticator answered {_kind(answer)}, not an Identity or None")
    headers = answer.responseHeaders
    if headers and not (isinstance(headers, (tuple, list)) and all(map(_isSendable, headers))):
        raise TypeError("an authenticator answered an Identity with responseHeaders that no response can have")
    checkMoment(answer.expires, "an authenticator's Identity")
    return answer


def _isSendable(pair: object) -> bool:
    """Whether this header may be added to a response that has those it needs."""
    return (
        _isHeader(pair)
        and _NAME.fullmatch(pair[0]) is not None  # type: ignore[index]  # it is a pair
        and not pair[0].lower().startswith("sec-websocket-")  # type: ignore[index]
        and _VALUE.fullmatch(pair[1]) is not None  # type: ignore[index]
    )


_NAME = re.compile(
    r"(?!(?:Connection|Keep-Alive|Proxy-Connection|TE|Trailer|Transfer-Encoding|Upgrade)$)"
    r"(?!Content-(?:Encoding|Length|Range)$)"
    r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+",
    re.IGNORECASE,
)
"""A token (RFC 9110 section 5.6.2), but for what frames a response, and what is of one connection (section 7.6.1)."""

_VALUE = re.compile("[\t\x20-\x7e\x80-\ud7ff\ue000-\U0010ffff]*")
"""No control character, and nothing that is not UTF-8."""


def _asTarget(answer: object) -> Target:
    """@raise TypeError: a resolver cannot mean that."""
    if isinstance(answer, Target) and isinstance(answer.text, str):
        checkMoment(answer.expires, "a resolver's Target")
        return answer
    if isinstance(answer, str):
        return Target(answer)
    raise TypeError(f"a resolver answered {_kind(answer)}, not a Target or a str")


def checkMoment(when: object, whose: str) -> None:
    """@raise TypeError: it is no moment, in seconds since the epoch, nor L{None}."""
    if when is not None and (type(when) not in (int, float) or math.isnan(when)):  # type: ignore[arg-type]
        raise TypeError(f"{whose} expires at {_kind(when)}, not at seconds since the epoch")


def _checkConsent(answer: object) -> None:
    """@raise TypeError: it looks like a no, which is said by raising L{Refusal}."""
    if answer is not None and not answer:
        raise TypeError(f"an authoriser answered {_kind(answer)}; it refuses by raising Refusal, and returns None")


def _shownConsent(answer: object) -> str:
    _checkConsent(answer)
    return "may go there"


def _checkDeparture(answer: object) -> Callable[[], Any]:
    """@raise TypeError: a turnstile cannot mean that."""
    if not callable(answer):
        raise TypeError(f"a turnstile answered {_kind(answer)}, neither None nor callable")
    return answer


def _kind(answer: object) -> str:
    return answer.__class__.__name__
