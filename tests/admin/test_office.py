"""What the admin side answers to what makes no sense, or cannot be."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.admin.crew import Heard
from wsproxy.admin.history import History
from wsproxy.admin.levels import Levels
from wsproxy.admin.office import ROUTES, Asked, Office
from wsproxy.admin.reply import Reply
from wsproxy.cluster.errors import RedisError
from wsproxy.errors import ConfigError
from wsproxy.metrics.counts import nothing
from wsproxy.nodes.revocations import makeOrder


class Workers:
    """A crew of two, which answers as a test says, and remembers what it was asked."""

    size = 2
    total = nothing()

    def __init__(self) -> None:
        self.heard = Heard(())
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def ask(self, verb: str, **fields: Any) -> Deferred[Heard]:
        self.asked.append((verb, fields))
        return succeed(self.heard)

    keep = ask

    def enter(self, heard: Heard) -> None: ...


class Others:
    """The other nodes: their sessions, and what they were told to revoke."""

    def __init__(self) -> None:
        self.listed: list[str] = []
        self.revoked: list[tuple[str, str]] = []
        self.away = False

    def revoke(self, kind: str, name: str, lifetime: float | None = None) -> Deferred[None]:
        order = makeOrder(kind, name, lifetime)
        self.revoked.append((order.kind, order.name))
        return fail(RedisError("away")) if self.away else succeed(None)

    async def sessions(self) -> list[dict[str, Any]]:
        if self.away:
            raise RedisError("away")
        return [{"id": id} for id in self.listed]


class OfficeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.crew = Workers()
        self.set: list[str] = []
        self.reloaded: Deferred[str] = succeed("something")
        self.office = Office(self.crew, History(), Levels("info", self.set.append), lambda: self.reloaded)

    def answer(self, method: str, path: str, id: str = "", **query: str) -> Reply:
        [route] = [each for each in ROUTES if (each.method, each.path) == (method, path)]
        return self.successResultOf(Deferred.fromCoroutine(self.office.answer(route, Asked(id, query, ""))))

    def refused(self, status: int, *words: str, **query: str) -> None:
        reply = self.answer(*words, **query)
        self.assertEqual(reply.status, status, reply)
        self.assertEqual([*json.loads(reply.body)], ["error"])

    def test_nonsense(self) -> None:
        """What makes no sense is 400, and nobody is asked anything."""
        self.refused(400, "GET", "/sessions", color="red")
        self.refused(400, "GET", "/sessions", client="somewhere")
        self.refused(400, "DELETE", "/sessions")
        self.refused(400, "DELETE", "/sessions", reason="because")
        self.refused(400, "DELETE", "/sessions", identity="alice", reason="ü" * 62)
        self.refused(400, "DELETE", "/sessions", identity="", client="127.0.0.1")
        self.refused(400, "DELETE", "/sessions", token="")
        self.refused(400, "GET", "/sessions", target="")
        self.refused(400, "DELETE", "/sessions/{id}", "x", reason="x" * 124)
        for rate in ("", "-1", "fast", "inf", "nan", "1e9"):
            self.refused(400, "POST", "/drain", rate=rate)
        self.refused(400, "POST", "/log-level", level="loud")
        self.refused(400, "POST", "/log-level")
        self.assertEqual((self.crew.asked, self.set), ([], []))

    def test_revokeSession(self) -> None:
        """A session that no node has is 404, and refused all the same; what is no whole id is 400."""
        others = self.office._neighbours = Others()  # type: ignore[assignment]  # as good as they
        here, there = "a" * 32, "b" * 32
        others.listed = [there]
        self.assertEqual(self.answer("POST", "/revoke", session=there.upper()).status, 200)
        self.refused(404, "POST", "/revoke", session=here)
        self.crew.heard = Heard(([{"id": here}], []))
        self.assertEqual(self.answer("POST", "/revoke", session=here).status, 200)
        self.crew.heard = Heard(([],), stale=(2,))
        self.assertEqual(self.answer("POST", "/revoke", session="c" * 32).status, 200)
        others.away, self.crew.heard = True, Heard(([],))
        self.refused(503, "POST", "/revoke", session=there)
        names = [name for _, name in others.revoked]
        self.assertEqual(names, [there, here, here, "c" * 32, there])
        for words in ({"session": there[:8]}, {"session": ""}, {"identity": "", "jti": "x"}, {}):
            self.refused(400, "POST", "/revoke", **words)
        self.assertEqual(len(others.revoked), 5)

    def test_nobody(self) -> None:
        """Without a worker there is neither health nor readiness."""
        self.crew.heard = Heard((), (1,), (2,))
        self.refused(503, "GET", "/healthz")
        self.refused(503, "GET", "/readyz")
        self.assertEqual(json.loads(self.answer("GET", "/status").body)["stale"], [1])

    def test_ready(self) -> None:
        """It is ready while somebody listens, and nobody drains."""
        for listening, draining, status in ((True, False, 200), (False, False, 503), (True, True, 503)):
            self.crew.heard = Heard(({"listening": listening, "draining": draining},))
            self.assertEqual(self.answer("GET", "/readyz").status, status)
            self.assertEqual(self.answer("GET", "/healthz").status, 200)

    def test_none(self) -> None:
        """A session that nobody has is 404; while a worker is silent nobody can tell."""
        self.crew.heard = Heard(([], []))
        self.refused(404, "GET", "/sessions/{id}", "x")
        self.crew.heard = Heard((0,), (2,))
        self.refused(503, "DELETE", "/sessions/{id}", "x")

    def test_rate(self) -> None:
        """The rate is that of all workers together."""
        self.assertEqual(self.answer("POST", "/drain", rate="5").status, 200)
        self.assertEqual(self.crew.asked, [("admin.drain", {"rate": 2.5})])

    def test_reload(self) -> None:
        """What cannot be reloaded is 409, with the line that says why."""
        self.assertEqual(json.loads(self.answer("POST", "/reload").body), {"changed": "something"})
        self.reloaded = fail(ConfigError("line 3: no such option"))
        reply = self.answer("POST", "/reload")
        self.assertEqual((reply.status, json.loads(reply.body)), (409, {"error": "line 3: no such option"}))

    def test_upgrade(self) -> None:
        """One process cannot be upgraded; another is asked to, and answers before that."""
        reply = self.answer("POST", "/upgrade")
        self.assertEqual(reply.status, 409)
        self.assertIn("--workers", json.loads(reply.body)["error"])
        asked: list[bool] = []
        self.office._upgrade = lambda: asked.append(True)
        reply = self.answer("POST", "/upgrade")
        self.assertEqual((reply.status, json.loads(reply.body), asked), (200, {"upgrading": True}, [True]))

    def test_noClient(self) -> None:
        """Without prometheus-client there are no metrics, and one line says what is missing."""
        name = "wsproxy.metrics.exposition"
        importlib.import_module(name)
        there = sys.modules[name]
        self.addCleanup(sys.modules.__setitem__, name, there)
        sys.modules[name] = None  # type: ignore[assignment]  # as if it could not be imported
        reply = self.answer("GET", "/metrics")
        self.assertEqual(reply.status, 501)
        self.assertIn("pip install 'wsproxy[metrics]'", json.loads(reply.body)["error"])
