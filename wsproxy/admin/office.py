"""What the admin side answers: each route there is, and what it does. Knows of HTTP no more than statuses.

docs/admin/openapi.json describes it to others; a test holds that against L{ROUTES}.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from wsproxy import __version__
from wsproxy.admin.crew import Crew, Heard
from wsproxy.admin.desk import CLOSED, DeskError, checkFilters
from wsproxy.admin.history import History
from wsproxy.admin.levels import LEVELS, Levels
from wsproxy.admin.reply import Reply, asJSON, problem
from wsproxy.cluster.errors import RedisError
from wsproxy.errors import ConfigError
from wsproxy.nodes.neighbours import Neighbours
from wsproxy.nodes.subject import KINDS

__all__ = ["HEALTH", "ROUTES", "Asked", "Office", "Route"]

_REASON_LIMIT = 123
"""Bytes of UTF-8 in a close reason: RFC 6455 section 5.5."""

_FASTEST = 100_000.0
"""Sessions a second: more than there are."""


class Asked(NamedTuple):
    """
    @ivar id: what the path has in the place of C{{id}}.
    @ivar query: the parameters, each of which is given once.
    @ivar accept: the header.
    """

    id: str
    query: Mapping[str, str]
    accept: str


class Route(NamedTuple):
    """
    @ivar path: with C{{id}} for what may be anything there.
    @ivar name: of L{Office}'s method.
    @ivar parameters: what its query may have.
    """

    method: str
    path: str
    name: str
    parameters: tuple[str, ...] = ()


HEALTH = (Route("GET", "/healthz", "healthy"), Route("GET", "/readyz", "ready"))
"""What may be open to anybody: C{--health}."""

_FILTERS = ("identity", "token", "target", "client")

ROUTES = (
    *HEALTH,
    Route("GET", "/metrics", "metrics"),
    Route("GET", "/status", "status"),
    Route("GET", "/history", "history"),
    Route("GET", "/sessions", "sessions", _FILTERS),
    Route("DELETE", "/sessions", "closeSome", (*_FILTERS, "reason")),
    Route("GET", "/sessions/{id}", "session"),
    Route("DELETE", "/sessions/{id}", "closeOne", ("reason",)),
    Route("GET", "/cluster/sessions", "clusterSessions"),
    Route("POST", "/revoke", "revoke", (*KINDS, "for")),
    Route("POST", "/drain", "drain", ("rate",)),
    Route("DELETE", "/drain", "undrain"),
    Route("GET", "/log-level", "logLevel"),
    Route("POST", "/log-level", "setLogLevel", ("level",)),
    Route("POST", "/reload", "reload"),
    Route("POST", "/upgrade", "upgrade"),
)


class Office:
    """
    @param reload: looks at what may have changed on disk; answers one line of what it found, in the end. Raises
        L{ConfigError}, and then everything is as it was.
    @param neighbours: the other nodes, where there is a cluster.
    @param upgrade: has the process executed anew, a moment later; L{None} where it cannot be.
    """

    def __init__(
        self,
        crew: Crew,
        history: History,
        levels: Levels,
        reload: Callable[[], Awaitable[str]],
        neighbours: Neighbours | None = None,
        upgrade: Callable[[], object] | None = None,
    ) -> None:
        self._neighbours = neighbours
        self._crew = crew
        self._history = history
        self._levels = levels
        self._reload = reload
        self._upgrade = upgrade
        self._started = time.time()

    async def answer(self, route: Route, asked: Asked) -> Reply:
        """@return: whatever comes of it, within 0.1 seconds and what a reload takes."""
        unknown = [name for name in asked.query if name not in route.parameters]
        if unknown:
            return problem(400, f"{unknown[0]}: not a parameter here")
        try:
            reply: Reply = await getattr(self, route.name)(asked)
        except DeskError as error:
            return problem(400, str(error))
        return reply

    # how it is

    async def healthy(self, asked: Asked) -> Reply:
        """Whether anybody serves; then it need not be started anew."""
        states = await self._crew.ask("admin.state")
        return asJSON({"status": "ok"}) if states.answers else problem(503, "No worker answers")

    async def ready(self, asked: Asked) -> Reply:
        """Whether new clients are to be sent here."""
        states = await self._crew.ask("admin.state")
        if not states.answers:
            return problem(503, "No worker answers")
        if any(state["draining"] for state in states.answers):
            return problem(503, "Draining")
        if not any(state["listening"] for state in states.answers):
            return problem(503, "Nobody listens")
        return asJSON({"status": "ready"})

    async def status(self, asked: Asked) -> Reply:
        states = await self._crew.ask("admin.state")
        alone = self._crew.size == 1 and [state["worker"] for state in states.answers] == [None]
        whole = {
            "version": __version__,
            "started": self._started,
            "sessions": sum(state["sessions"] for state in states.answers),
            "draining": any(state["draining"] for state in states.answers),
            "listening": any(state["listening"] for state in states.answers),
            "log_level": self._levels.level,
            "workers": [] if alone else [{key: state[key] for key in _OF_WORKERS} for state in states.answers],
        }
        return asJSON({**whole, **_silent(states)})

    async def metrics(self, asked: Asked) -> Reply:
        try:
            from wsproxy.metrics.exposition import Now, exposition  # late: 20 ms, for some
        except ModuleNotFoundError:
            return problem(501, "/metrics needs prometheus-client: pip install 'wsproxy[metrics]'")
        states = await self._crew.ask("admin.report")
        self._crew.enter(states)
        queued = [state["queued"] for state in states.answers]
        sizes = {"up": len(states.answers), "stale": len(states.stale), "absent": len(states.absent)}
        now = Now(
            sum(state["sessions"] for state in states.answers),
            (sum(up for up, _ in queued), sum(down for _, down in queued)),
            any(state["draining"] for state in states.answers),
            self._started,
            sizes if any(state["worker"] for state in states.answers) or states.stale or states.absent else {},
        )
        document, kind = exposition(self._crew.total, now, asked.accept)
        return Reply(200, document, kind)

    async def history(self, asked: Asked) -> Reply:
        return asJSON(self._history.plain())

    # sessions

    async def sessions(self, asked: Asked) -> Reply:
        checkFilters(asked.query)
        heard = await self._crew.ask("admin.listing", **asked.query)
        rest = json.dumps(_silent(heard), separators=(",", ":")).removeprefix("{")
        return Reply(200, f'{{"sessions":[{",".join(filter(None, heard.answers))}],{rest}\n'.encode("ascii"))

    async def session(self, asked: Asked) -> Reply:
        heard = await self._crew.ask("admin.sessions", id=asked.id)
        found = [session for each in heard.answers for session in each]
        return asJSON(found[0]) if found else _none(heard)

    async def closeOne(self, asked: Asked) -> Reply:
        heard = await self._crew.ask("admin.close", id=asked.id, reason=_reason(asked))
        return asJSON({"closed": 1}) if sum(heard.answers) else _none(heard, ", which is told all the same")

    async def closeSome(self, asked: Asked) -> Reply:
        filters = {name: value for name, value in asked.query.items() if name != "reason"}
        checkFilters(filters)
        if not filters:
            raise DeskError("which sessions? Say identity=, token=, target= or client=")
        heard = await self._crew.ask("admin.close", reason=_reason(asked), **filters)
        return asJSON({"closed": sum(heard.answers), **_silent(heard)})

    # those of all nodes, which takes as long as Redis does

    async def clusterSessions(self, asked: Asked) -> Reply:
        if self._neighbours is None:
            return _alone
        try:
            return asJSON({"sessions": await self._neighbours.sessions()})
        except RedisError as error:
            return problem(503, str(error))

    async def revoke(self, asked: Asked) -> Reply:
        if self._neighbours is None:
            return _alone
        whom = [(kind, asked.query[kind]) for kind in KINDS if kind in asked.query]
        if len(whom) != 1:
            raise DeskError(f"whose access? Say one of {', '.join(f'{kind}=' for kind in KINDS)}")
        [(kind, name)] = whom
        try:
            lifetime = _lifetime(asked.query.get("for"))
            known = kind != "session" or await self._isAnywhere(self._neighbours, name.lower())
            await self._neighbours.revoke(kind, name, lifetime)
        except ConfigError as error:
            raise DeskError(str(error)) from None
        except RedisError as error:
            return problem(503, f"On this node alone, and to be said again: {error}")
        return asJSON({"revoked": True}) if known else problem(404, "No node has this session")

    async def _isAnywhere(self, neighbours: Neighbours, id: str) -> bool:
        """Whether any node has this session; where nobody can tell, that it has."""
        heard = await self._crew.ask("admin.sessions", id=id)
        if any(heard.answers) or heard.stale:
            return True
        try:
            return any(session["id"] == id for session in await neighbours.sessions())
        except RedisError:
            return True

    # all of it

    async def drain(self, asked: Asked) -> Reply:
        rate = _rate(asked.query.get("rate", "0"))
        heard = await self._crew.keep("admin.drain", rate=rate / self._crew.size)
        return asJSON({"draining": True, "rate": rate, **_silent(heard)})

    async def undrain(self, asked: Asked) -> Reply:
        return asJSON({"draining": False, **_silent(await self._crew.keep("admin.undrain"))})

    async def logLevel(self, asked: Asked) -> Reply:
        return asJSON({"level": self._levels.level})

    async def setLogLevel(self, asked: Asked) -> Reply:
        level = asked.query.get("level", "")
        if level not in LEVELS:
            raise DeskError(f"level: not one of {', '.join(LEVELS)}")
        self._levels.set(level)
        heard = await self._crew.ask("admin.state")  # who answers has heard of it before
        return asJSON({"level": level, **_silent(heard)})

    async def reload(self, asked: Asked) -> Reply:
        try:
            return asJSON({"changed": await self._reload()})
        except ConfigError as error:
            return problem(409, str(error))

    async def upgrade(self, asked: Asked) -> Reply:
        if self._upgrade is None:
            return problem(409, "No upgrade: it takes a process that stays, --workers 1 or more")
        self._upgrade()
        return asJSON({"upgrading": True})


_OF_WORKERS = ("worker", "pid", "sessions", "listening", "draining")


def _silent(heard: Heard) -> dict[str, Any]:
    """Whose part of the answer is missing."""
    return {"stale": [*heard.stale], "absent": [*heard.absent]}


def _none(heard: Heard, then: str = "") -> Reply:
    """@param then: what becomes of the question, with those who have not answered it yet."""
    if heard.stale:
        silent = ", ".join(map(str, heard.stale))
        return problem(503, f"No such session, unless it is with a silent worker: {silent}{then}")
    return problem(404, "No such session")


def _reason(asked: Asked) -> str:
    reason = asked.query.get("reason") or CLOSED
    if len(reason.encode("utf-8", "replace")) > _REASON_LIMIT:
        raise DeskError(f"reason: more than {_REASON_LIMIT} bytes of UTF-8")
    return reason


_alone = problem(501, "There are no other nodes: --cluster")


def _lifetime(word: str | None) -> float | None:
    try:
        return None if word is None else float(word)
    except ValueError:
        raise DeskError("for: expected seconds") from None


def _rate(word: str) -> float:
    try:
        rate = float(word)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= _FASTEST:
        raise DeskError(f"rate: expected sessions a second, from 0 to {_FASTEST:.0f}")
    return rate
