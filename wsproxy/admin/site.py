"""The admin side over HTTP: requests in, what the L{Office} answers out, and the page for people.

::

    request ─► body? 413 ─► Host, Origin? 403 ─► a file of the page ──► 200
                                     └─► token? 401, 429 ─► route? 404, 405 ─► Office
"""

# twisted.web leaves the methods of Request and Resource without annotations.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, unquote

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from wsproxy.access.peer import printable
from wsproxy.admin.guard import Guard
from wsproxy.admin.office import Asked, Office, Route
from wsproxy.admin.reply import Reply, problem
from wsproxy.admin.visits import Visit
from wsproxy.fault import logFault
from wsproxy.frontend.answer import phrase
from wsproxy.limits.subjects import customer

__all__ = ["AdminSite"]

_LONGEST = 4096
"""Bytes of a query: a token has 4,000 at most where tokens are in addresses."""

IDLE = 60.0
"""Seconds that a connection may be idle."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

_ALWAYS = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", _POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)

_KINDS = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}


def _page() -> dict[str, Reply]:
    """@return: the files of the page, by their paths."""
    folder = files("wsproxy.admin") / "page"
    found = {f"/{each.name}": Reply(200, each.read_bytes(), _KINDS[each.name.rpartition(".")[2]])
             for each in folder.iterdir() if each.name.rpartition(".")[2] in _KINDS}  # fmt: skip
    found["/"] = found.pop("/index.html")
    return found


class _Bodiless(Request):
    """One that may not have a body: twisted.web would write any of it to disk before it asks anybody."""

    _refused = False

    def gotLength(self, length: int | None) -> None:
        super().gotLength(0)
        if length != 0:
            self._refused = True

    def handleContentChunk(self, data: bytes) -> None:
        """It is not kept."""

    @property
    def _visit(self) -> Visit | None:
        visit = getattr(self.channel, "transport", None)
        return visit if isinstance(visit, Visit) else None

    def finish(self) -> None:
        if self._visit is not None:
            self._visit.answered()
        super().finish()  # which begins with the next one that is there

    def process(self) -> None:
        if self._visit is not None:
            self._visit.arrived()
        if self._refused:
            self.content = io.BytesIO()
            _write(self, problem(413, "A request body is not accepted", ("Connection", "close")))
        else:
            super().process()


class _Root(Resource):
    """
    @param office: answers.
    @param routes: what is asked for here.
    @param guard: who may ask; L{None}: anybody.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, clock: IReactorTime, office: Office, routes: Sequence[Route], guard: Guard | None) -> None:
        super().__init__()
        self._clock = clock
        self._office = office
        self._guard = guard
        self._routes = [(tuple(route.path.split("/")), route) for route in routes]
        self._page = {} if guard is None else _page()

    def render(self, request: Any) -> int:
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)

        def reply(answer: Reply) -> None:
            # a turn later: of thousands of requests that came at once, sessions are served in between
            self._clock.callLater(0, lambda: None if gone else _write(request, answer))

        path, _, query = request.uri.partition(b"?")
        refusal = self._refusal(request, path.decode("latin-1"))
        found = refusal or self._find(request.method.decode("latin-1"), path.decode("latin-1"))
        if isinstance(found, Reply):
            reply(found)
            return NOT_DONE_YET
        route, id = found
        try:
            asked = Asked(id, _parameters(query), request.requestHeaders.getRawHeaders("accept", [""])[0])
        except ValueError as error:
            reply(problem(400, str(error)))
            return NOT_DONE_YET
        self._answer(request, route, asked).addCallback(reply)
        return NOT_DONE_YET

    def _refusal(self, request: Any, path: str) -> Reply | None:
        """What is answered before anybody looks at what is asked; the page's files, for which no token is needed."""
        if self._guard is None:
            return None
        foreign = self._guard.foreign(request)
        if foreign is not None:
            return foreign
        if path in self._page and request.method in (b"GET", b"HEAD"):
            return self._page[path]
        return self._guard.unknown(request, customer(request.getClientAddress()))

    def _find(self, method: str, path: str) -> tuple[Route, str] | Reply:
        words = tuple(path.split("/"))
        found = {route.method: route for pattern, route in self._routes if _fits(pattern, words)}
        route = found.get("GET" if method == "HEAD" else method)
        if route is not None:
            return route, unquote(words[-1])
        if found:
            return problem(405, "Not this method", ("Allow", ", ".join(sorted(found))))
        return problem(404, "No such page")

    def _answer(self, request: Any, route: Route, asked: Asked) -> Deferred[Reply]:
        answer = Deferred.fromCoroutine(self._office.answer(route, asked))
        if route.method != "GET":
            who = printable(request.getClientAddress())
            self._log.info("admin: {method} {path} by {who}", method=route.method, path=route.path, who=who)

        def failed(failure: Failure) -> Reply:
            logFault(self._log, "answering {path}", failure, path=route.path)
            return problem(500, "Internal error")

        return answer.addErrback(failed)


def _fits(pattern: Sequence[str], words: Sequence[str]) -> bool:
    return len(pattern) == len(words) and all(
        part == word or (part == "{id}" and word) for part, word in zip(pattern, words, strict=True)
    )


def _parameters(query: bytes) -> dict[str, str]:
    """
    @return: those without a value, too: a filter that was left out would widen what is closed.
    @raise ValueError: they cannot be meant.
    """
    if len(query) > _LONGEST:
        raise ValueError(f"a query of more than {_LONGEST} bytes")
    try:
        given = parse_qs(query.decode("ascii"), keep_blank_values=True, max_num_fields=16, errors="strict")
    except ValueError:
        raise ValueError("a query that is no text") from None
    for name, values in given.items():
        if len(values) > 1:
            raise ValueError(f"{name}: given twice")
    return {name: value for name, [value] in given.items()}


def _write(request: Any, reply: Reply) -> None:
    request.setResponseCode(reply.status, phrase(reply.status).encode())
    for name, value in (*_ALWAYS, ("Content-Type", reply.kind), *reply.headers):
        request.setHeader(name, value)
    request.setHeader("Content-Length", str(len(reply.body)))
    if request.method != b"HEAD":
        request.write(reply.body)
    request.finish()


class AdminSite(Site):
    """
    What listens.

    @param guard: who may ask, and then there is the page, too; L{None}: anybody may ask for C{routes}.
    """

    requestFactory = _Bodiless
    displayTracebacks = False
    noisy = False

    def __init__(self, clock: IReactorTime, office: Office, routes: Sequence[Route], guard: Guard | None) -> None:
        super().__init__(_Root(clock, office, routes, guard), timeout=IDLE, reactor=clock)

    def log(self, request: Any) -> None:
        """Paths may have a token in their query: what was done is logged by who does it."""
