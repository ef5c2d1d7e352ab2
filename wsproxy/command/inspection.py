"""C{--explain} and C{--check}: what would become of a request, and of a start. Both end with a status.

::

    --explain URL ─► a Request ─► those who decide, with a pen in hand ─► their answers ─► 0: let in, 1: refused
    --check ───────► all that a start reads and makes, but for what it opens ──► problems ─► 0: none, 1

The reactor runs as long as the questions take, which have C{--handshake-timeout} for it. Nothing is dialled, bound, or
spent. What is printed holds no secret: of a query and of headers the names alone, and of those who answer what they
would have said to the log.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from threading import Timer
from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from wsproxy.access.peer import printable
from wsproxy.command.asked import asRequest
from wsproxy.command.options import TABLE
from wsproxy.command.printed import printed
from wsproxy.command.settings import Layers
from wsproxy.config import Config, LoggingConfig
from wsproxy.daemon.exit import complaint
from wsproxy.errors import ConfigError, Refusal
from wsproxy.escape import escape
from wsproxy.interfaces import Request
from wsproxy.sessions.routes import Routes
from wsproxy.sessions.trace import Step, Trace, nameOf
from wsproxy.wiring import assembleAlone, parts

__all__ = ["BOUND", "Explainable", "check", "explain", "inspect"]

BOUND = 5.0
"""Seconds, beyond C{--handshake-timeout}, that C{--explain} may take."""


class Explainable(Protocol):
    """A proxy, as far as it can tell what would become of a request."""

    def explain(self, request: Request, trace: Trace) -> Deferred[Refusal | None]:
        """See L{Reception.explain<wsproxy.sessions.reception.Reception.explain>}."""

    def shownPath(self, request: Request) -> str:
        """What the log says of its path."""


def explain(config: Config, proxy: Explainable, tell: Callable[[str], object]) -> Deferred[int]:
    """
    @param tell: called with each line.
    @return: fires with the exit status.
    @raise ConfigError: see L{asRequest}.
    """
    request, trace = asRequest(config), Trace()
    tell(_heading(request, proxy))
    names = _namesIn(_routed(config, request, tell))

    def told(outcome: Refusal | Failure | None) -> int:
        trace.end()
        for step in trace.steps:
            by = names.get(step.question, step.by)
            tell(f"{'passed ' if step.passed else 'refused'}  {step.question:<12}  {by}: {step.said}")
        if outcome is None:
            tell("let in: 101")
            return 0
        tell(f"refused: {_told(outcome, trace.steps)}")
        return 1

    return proxy.explain(request, trace).addBoth(told)


def _heading(request: Request, proxy: Explainable) -> str:
    """What is asked about. Of a query and of headers the names alone: whatever is in them may be a token."""
    query = "&".join(f"{escape(name, 50)}=…" for name in request.queryAll)
    path = escape(f"{proxy.shownPath(request)}{'?' if query else ''}{query}")
    client, peer = map(printable, (request.client, request.peer))
    way = f" by {peer}" if client != peer else ""
    headers = ", ".join(escape(name, 50) for name in request.headers if name != "host")
    url = f"{'wss' if request.secure else 'ws'}://{escape(request.headers['host'])}{path}"
    return f"{url} from {client}{way}{f' with {headers}' if headers else ''}"


def _routed(config: Config, request: Request, tell: Callable[[str], object]) -> Config:
    """@return: what holds for this request; where there are routes, C{tell} hears which one it is."""
    if not config.routes:
        return config
    try:
        route = Routes((each.host, each.path, each) for each in config.routes).of(request)
    except Refusal:
        return config
    tell(f"passed   {'route':<12}  {escape(route.name)}")
    return route.config


_ANSWERS = {
    "authentication.plugin": ("authenticate",),
    "authentication.checker": ("authenticate",),
    "authentication.url": ("authenticate",),
    "links.key": ("authenticate", "resolve"),
    "tokens.plugin": ("resolve",),
    "tokens.file": ("resolve",),
    "target.endpoint": ("resolve",),
}
"""Fields that say who answers, and to which questions."""


def _namesIn(config: Config) -> dict[str, str]:
    """What those who are asked were called on the command line."""
    names: dict[str, str] = {}
    for option in TABLE:
        group, field = option.path
        value = getattr(getattr(config, group), field, None) if option.field in _ANSWERS else None
        for question in _ANSWERS[option.field] if value is not None else ():
            names[question] = f"--{option.name}" if option.kind.secret else escape(f"--{option.name} {value}")
    return names


def _told(outcome: Refusal | Failure, steps: Sequence[Step]) -> str:
    """The last word, and what the last step has not said already."""
    if isinstance(outcome, Failure):
        return f"503 Service unavailable ({nameOf(outcome.value)})"
    status = f"{outcome.status} {escape(str(outcome.reason))}"
    known = bool(steps) and not steps[-1].passed
    return f"{status}: {escape(outcome.cause, None)}" if outcome.cause and not known else status


def check(parts: Iterable[Callable[[], Any]], layers: Layers | None = None) -> list[str]:
    """
    @param parts: each makes a part of what would be started, and raises L{ConfigError} where it cannot be.
    @return: one line for each problem: what was raised, and what the log was warned of.
    """
    problems: list[str] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_level", LogLevel.info) >= LogLevel.warn:
            problems.append(" ".join(formatEvent(event).split()))

    observer = cast(ILogObserver, observe)
    globalLogPublisher.addObserver(observer)
    try:
        for part in parts:
            try:
                part()
            except ConfigError as error:
                problems.append(str(error if layers is None else layers.located(error)))
    finally:
        globalLogPublisher.removeObserver(observer)
    return list(dict.fromkeys(problems))


def inspect(config: Config, reactor: Any, layers: Layers | None = None) -> int:
    """
    Do what C{--check}, C{--print-config} and C{--explain} ask for, and print it.

    @param layers: what C{config} has been made of.

    @param reactor: runs as long as it takes; L{BOUND} seconds more than C{--handshake-timeout} at most.
    @return: the exit status.
    @raise ConfigError: C{--explain} is about nothing that could be.
    """
    explaining = config.inspection.explain is not None
    alone = replace(
        _unrecorded(config) if explaining else config,
        listening=replace(config.listening, workers=0),
        logging=LoggingConfig(),
        routes=tuple(
            replace(route, config=_unrecorded(route.config)) if explaining else route for route in config.routes
        ),
    )
    if config.inspection.check:
        problems = check(parts(alone, reactor), layers)
        for problem in problems:
            print(complaint(problem), file=sys.stderr)
        if problems:
            return 1
        print("--check: nothing is wrong")
    if config.inspection.settings and layers is not None:
        print("\n".join(printed(layers, config, os.getcwd())).lstrip())
    if config.inspection.explain is None:
        return 0
    asRequest(config)
    return _run(reactor, config.clients.handshakeTimeout, lambda proxy: explain(alone, proxy, print), alone)


def _unrecorded(config: Config) -> Config:
    return replace(config, recording=None)


def _run(reactor: Any, seconds: float, ask: Callable[[Explainable], Deferred[int]], config: Config) -> int:
    proxy = assembleAlone(config, reactor)
    outcome = [1]

    def done(result: int | Failure) -> None:
        if isinstance(result, Failure):
            print(f"refused: 503 ({nameOf(result.value)})")
        else:
            outcome[0] = result
        reactor.crash()  # without waiting for anybody's threads

    reactor.callWhenRunning(lambda: maybeDeferred(ask, proxy).addBoth(done))
    watchdog = Timer(seconds + BOUND, _giveUp)
    watchdog.daemon = True
    watchdog.start()
    reactor.run()
    watchdog.cancel()
    return outcome[0]


def _giveUp() -> None:
    """In a thread: somebody does not give the event loop back."""
    print("refused: 503: somebody who was asked does not come back", flush=True)
    os._exit(1)
