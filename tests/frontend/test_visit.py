"""Requests for pages, where gates or an authenticator are asked before them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.frontend.connection import Connection, makeFactory, responses
from tests.frontend.test_upgrade import ASKING, request, upgrade
from tests.transport import FakeTransport
from wsproxy.access.origin import OriginPolicy
from wsproxy.errors import Refusal
from wsproxy.frontend.site import UpgradeResource
from wsproxy.frontend.upgrade import FrontDoor
from wsproxy.interfaces import Identity, Request
from wsproxy.sessions.sessions import Sessions
from wsproxy.static_web.files import StaticFiles

COOKIES = (("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2"))


class Gate:
    """Asked and told, and refuses where it is told to."""

    def __init__(self) -> None:
        self.entered: list[Request] = []
        self.told: list[Refusal] = []
        self.refusal: Refusal | None = None

    def enter(self, request: Request) -> None:
        self.entered.append(request)
        if self.refusal is not None:
            raise self.refusal

    def refused(self, request: Request, refusal: Refusal) -> None:
        self.told.append(refusal)


class Pages(Resource):
    """The files of a directory, and whether anybody has looked."""

    def __init__(self, root: str) -> None:
        super().__init__()
        self.files = StaticFiles(root)
        self.seen: list[bytes] = []
        self.posted: list[bytes] = []

    def getChild(self, path: bytes, request: Any) -> Any:
        self.seen.append(request.path)
        if request.method == b"POST":
            return self
        request.postpath.insert(0, request.prepath.pop())
        return self.files

    def render_POST(self, request: Any) -> bytes:
        self.posted.append(request.content.read())
        return b"posted"


class VisitTestCase(SynchronousTestCase):
    webAuth = True

    def setUp(self) -> None:
        self.clock = Clock()
        self.gate = Gate()
        self.asked: list[Request] = []
        self.answer: Callable[[], Any] = lambda: None
        root = self.mktemp()
        os.makedirs(f"{root}/.well-known/acme-challenge")
        for name in ("page.html", ".well-known/acme-challenge/Proof-1", ".well-known/security.txt"):
            with open(f"{root}/{name}", "w", encoding="ascii") as file:
                file.write("0123456789")
        self.pages = Pages(root)
        self.sessions = Sessions(
            self.clock,
            resolver=lambda *subject: "target:1",
            dialer=lambda *subject: Deferred(),
            authenticator=self.authenticate,
            gates=[self.gate],
            webAuth=self.webAuth,
            origins=OriginPolicy(),
        )
        door = FrontDoor(self.clock, self.sessions, self.pages)
        self.factory = makeFactory(self.clock, door)
        self.connection = self.connect()
        self.lines: list[LogEvent] = []
        globalLogPublisher.addObserver(self.lines.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.lines.append)

    def authenticate(self, request: Request) -> Any:
        self.asked.append(request)
        return self.answer()

    def connect(self) -> Connection:
        connection = Connection(self.factory)
        self.addCleanup(connection.lose)
        return connection

    def refuse(self, *refusal: Any, **more: Any) -> None:
        def answer() -> Any:
            raise Refusal(*refusal, **more)

        self.answer = answer

    def told(self, *asking: Any, **how: Any) -> bytes:
        """What a new connection is answered to one request."""
        connection = self.connect()
        connection.send(request(*asking, **how))
        return connection.told

    def refusals(self) -> int:
        return sum("refused: " in str(line.get("text")) for line in self.lines)


class RefusedTests(VisitTestCase):
    def test_alike(self) -> None:
        """What is there and what is not are refused with the same bytes, and nobody has looked."""
        self.refuse(401, "Authentication needed", (("WWW-Authenticate", "Basic"),))
        kinds: list[tuple[bytes, ...]] = [(), (b"Range: bytes=0-1",), (b"If-None-Match: *",), (b"If-Match: x",)]
        for headers in kinds:
            paths = (b"/page.html", b"/missing", b"/", b"/.well-known/", b"/../x")
            told = {_undated(self.told(path, *headers)) for path in paths}
            self.assertEqual(len(told), 1)
            (response,) = responses(told.pop())
            self.assertEqual((response.status, response.headers["www-authenticate"]), (401, "Basic"))
            self.assertEqual(response.headers["cache-control"], "no-store")
            self.assertEqual(response.headers["content-type"], "text/plain; charset=utf-8")
            self.assertEqual(response.headers["x-content-type-options"], "nosniff")
        self.assertEqual(self.pages.seen, [])

    def test_head(self) -> None:
        """HEAD is refused with the headers of GET, and no body."""
        self.refuse(401, "No")
        get, head = _undated(self.told(b"/")), _undated(self.told(b"/", method=b"HEAD"))
        self.assertEqual(head, get[: get.index(b"\r\n\r\n") + 4])
        self.assertEqual([asked.method for asked in self.asked], ["GET", "HEAD"])

    def test_keptAlive(self) -> None:
        """Whoever is refused may ask again on the same connection, as browsers do with credentials."""
        self.refuse(401, "No")
        self.connection.send(request(b"/page.html"))
        self.answer = lambda: Identity("me")
        self.connection.send(request(b"/page.html"))
        refused, page = responses(self.connection.told)
        self.assertEqual((refused.status, page.status, page.body), (401, 200, b"0123456789"))

    def test_phrase(self) -> None:
        """Each status has the words of the standard, those that Twisted does not know as well."""
        for status, line in (
            (401, b"401 Unauthorized"),
            (429, b"429 Too Many Requests"),
            (451, b"451 Unavailable For Leg"),
        ):
            self.refuse(status, "No")
            self.assertTrue(self.told(b"/").startswith(b"HTTP/1.1 " + line), status)
        self.refuse(599, "No")
        self.assertTrue(self.told(b"/").startswith(b"HTTP/1.1 599 \r\n"))

    def test_redirected(self) -> None:
        """A redirect and all its cookies reach the client; it is no line in the log, a refusal is one."""
        self.refuse(302, "Found", (("Location", "https://login/?rd=x"), *COOKIES))
        told = self.told(b"/page.html?token=x")
        self.assertEqual(told[:13], b"HTTP/1.1 302 ")
        for line in (b"Location: https://login/?rd=x", b"Set-Cookie: a=1; Path=/", b"Set-Cookie: b=2"):
            self.assertIn(b"\r\n" + line + b"\r\n", told)
        self.assertEqual(self.refusals(), 0)
        self.refuse(403, "No")
        self.told(b"/page.html")
        self.assertEqual(self.refusals(), 1)

    def test_oneLine(self) -> None:
        """Nothing that is repeated in a header ends it."""
        self.refuse(302, "Found", (("Location", "/\r\nSet-Cookie: evil\n\0=1"),))
        told = self.told(b"/")
        self.assertIn(b"\r\nLocation: /  Set-Cookie: evil  =1\r\n", told)

    def test_faults(self) -> None:
        """Of what an authenticator raises or answers by mistake a visitor learns nothing but that it does not work."""
        for fault in (ZeroDivisionError("hunter2"), KeyboardInterrupt("hunter2")):

            def fail(fault: BaseException = fault) -> Any:
                raise fault

            self.answer = fail
            (response,) = responses(self.told(b"/page.html"))
            self.assertEqual((response.status, response.body), (503, b"503 Service unavailable\n"))
            self.assertEqual(len(self.flushLoggedErrors(type(fault))), 1)
        self.answer = lambda: 7
        (response,) = responses(self.told(b"/page.html"))
        self.assertEqual(response.status, 503)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual(self.pages.seen, [])

    def test_late(self) -> None:
        """An authenticator that does not come back is not waited for, and what comes later is nothing."""
        waiting: Deferred[Any] = Deferred()
        self.answer = lambda: waiting
        self.connection.send(request(b"/page.html"))
        self.clock.advance(9.9)
        self.assertEqual(self.connection.told, b"")
        self.clock.advance(0.2)
        waiting.callback(None)
        (response,) = responses(self.connection.told)
        self.assertEqual((response.status, self.pages.seen), (503, []))


class AdmittedTests(VisitTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.waiting: Deferred[Identity | None] = Deferred()
        self.answer = lambda: self.waiting

    def test_request(self) -> None:
        """Those who are asked see that it is for a page, and all of the request."""
        self.connection.send(request(b"/page%2ehtml?a=%20&b", b"Cookie: c=d"))
        (asked,) = self.asked
        self.assertEqual((asked.page, asked.method, asked.path), (True, "GET", "/page%2ehtml"))
        self.assertEqual((asked.rawQuery, asked.query, asked.cookies), ("a=%20&b", {"a": " ", "b": ""}, {"c": "d"}))
        self.assertFalse(asked.explaining)

    def test_served(self) -> None:
        """Who is let in has the page, with all cookies that were given; nobody looks for it before."""
        self.connection.send(request(b"/page.html"))
        self.assertEqual((self.connection.told, self.pages.seen), (b"", []))
        self.waiting.callback(Identity("me", responseHeaders=COOKIES))
        told = self.connection.told
        self.assertTrue(told.startswith(b"HTTP/1.1 200 ") and told.endswith(b"\r\n\r\n0123456789"), told)
        self.assertIn(b"\r\nSet-Cookie: a=1; Path=/\r\n", told)
        self.assertIn(b"\r\nSet-Cookie: b=2\r\n", told)
        self.assertEqual(self.pages.seen, [b"/page.html"])

    def test_parts(self) -> None:
        """Ranges, conditions and HEAD mean what they always do."""
        self.waiting.callback(None)
        (part,) = responses(self.told(b"/page.html", b"Range: bytes=2-3"))
        self.assertEqual((part.status, part.body), (206, b"23"))
        same = self.told(b"/page.html", b"If-None-Match: " + part.headers["etag"].encode())
        self.assertEqual(same[:13], b"HTTP/1.1 304 ")
        (head,) = responses(self.told(b"/page.html", method=b"HEAD"), "HEAD")
        self.assertEqual((head.status, head.headers["content-length"]), (200, "10"))
        (missing,) = responses(self.told(b"/missing"))
        self.assertEqual(missing.status, 404)

    def test_pipelined(self) -> None:
        """Requests that come together are asked about and answered one after the other."""
        self.connection.send(request(b"/page.html") + request(b"/missing") + request(method=b"OPTIONS"))
        self.assertEqual(len(self.asked), 1)
        self.waiting.callback(None)
        self.assertEqual([response.status for response in responses(self.connection.told)], [200, 404, 204])
        self.assertEqual(len(self.asked), 2)

    def test_upgradeBehind(self) -> None:
        """An upgrade may be the next request on a connection that has had a page."""
        self.connection.send(request(b"/page.html") + upgrade())
        self.waiting.callback(Identity("me", responseHeaders=COOKIES))
        told = self.connection.told
        self.assertIn(b"0123456789HTTP/1.1 101 ", told)
        self.assertEqual(told.count(b"\r\nSet-Cookie: b=2\r\n"), 2)
        self.assertTrue(told.endswith(b"\r\n\r\n"))
        self.assertEqual([asked.page for asked in self.asked], [True, False])

    def test_vanished(self) -> None:
        """A visitor that leaves is not asked about any longer."""
        cancelled: list[bool] = []
        self.waiting = Deferred(lambda _: cancelled.append(True))
        self.connection.send(request(b"/page.html"))
        self.connection.lose()
        self.assertEqual((cancelled, self.pages.seen, self.refusals()), ([True], [], 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_broken(self) -> None:
        """A resource that fails is answered 500, and logged."""
        self.pages.files.render = lambda request: 1 // 0  # type: ignore[method-assign]
        self.connection.send(request(b"/page.html"))
        self.waiting.callback(None)
        (response,) = responses(self.connection.told)
        self.assertEqual((response.status, len(self.flushLoggedErrors(ZeroDivisionError))), (500, 1))

    def test_brokenLate(self) -> None:
        """One that fails when it has answered is logged, and its answer stands."""

        def answer(request: Any) -> int:
            request.finish()
            return 1 // 0

        self.pages.files.render = answer  # type: ignore[method-assign]
        self.connection.send(request(b"/page.html"))
        self.waiting.callback(None)
        self.assertEqual(self.connection.told[:13], b"HTTP/1.1 200 ")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class ForAnybodyTests(VisitTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.refuse(401, "No")

    def test_proof(self) -> None:
        """A certificate's authority, which has nothing to show, finds its proof, and nothing else."""
        proof = b"/.well-known/acme-challenge/Proof-1"
        (response,) = responses(self.told(proof))
        self.assertEqual((response.status, response.body, self.asked), (200, b"0123456789", []))
        self.assertEqual(len(self.gate.entered), 1)
        others = (
            b"/.well-known/security.txt",
            b"/.well-known/acme-challenge/",
            proof + b"/../../../page.html",
            b"/" + proof,
        )
        for path in (*others, b"/.well-known/acme-challenge/%2e%2e", b"/.well-known/acme-challenge/../security.txt"):
            (response,) = responses(self.told(path))
            self.assertEqual(response.status, 401, path)

    def test_options(self) -> None:
        """A front proxy is told that there is somebody, whatever it asks about; it learns nothing else."""
        for path in (b"/page.html", b"/missing", b"*"):
            (response,) = responses(self.told(path, method=b"OPTIONS"))
            self.assertEqual((response.status, response.body), (204, b""))
        self.assertEqual((self.asked, self.pages.seen), ([], []))

    def test_explanation(self) -> None:
        """A page that asks why is told as ever: what an upgrade would be answered."""
        (response,) = responses(self.told(b"/page.html", ASKING))
        self.assertEqual((response.status, response.body), (200, b'{"status": 401, "reason": "No"}'))
        (asked,) = self.asked
        self.assertEqual((asked.explaining, asked.page, self.pages.seen), (True, False, []))


class GateTests(VisitTestCase):
    webAuth = False

    def test_everyRequest(self) -> None:
        """Gates are asked about each page, and without C{--web-auth} nobody else is."""
        for path in (b"/page.html", b"/missing"):
            self.told(path)
        self.assertEqual([entered.path for entered in self.gate.entered], ["/page.html", "/missing"])
        self.assertTrue(all(entered.page for entered in self.gate.entered))
        self.assertEqual(self.asked, [])

    def test_closed(self) -> None:
        """Whom a gate refuses nobody else is asked about, and nothing is looked for."""
        self.gate.refusal = Refusal(429, "Too many", (("Retry-After", "300"),))
        (response,) = responses(self.told(b"/page.html"))
        self.assertEqual((response.status, response.headers["retry-after"]), (429, "300"))
        self.assertEqual((self.pages.seen, self.gate.told), ([], []))


class CountedTests(VisitTestCase):
    def test_told(self) -> None:
        """Gates are told of visitors who are refused after them."""
        self.refuse(401, "No", guess=True)
        self.told(b"/page.html")
        self.assertEqual([refusal.guess for refusal in self.gate.told], [True])


class SiteTests(VisitTestCase):
    """In an embedder's own Site, whose resources take what they like."""

    def setUp(self) -> None:
        super().setUp()
        resource = UpgradeResource(self.clock, self.sessions, self.pages)
        site = Site(resource, reactor=cast(Any, self.clock))
        self.transport = FakeTransport()
        self.transport.connect(cast(Any, site.buildProtocol(None)))
        self.addCleanup(self.transport.lose)

    def post(self) -> bytes:
        self.transport.receive(request(b"/form", b"Content-Length: 3", method=b"POST") + b"x=y")
        told: bytes = self.transport.value()
        return told

    def test_posted(self) -> None:
        """A form reaches its resource whole, once its sender is let in."""
        waiting: Deferred[None] = Deferred()
        self.answer = lambda: waiting
        self.assertEqual((self.post(), self.pages.posted), (b"", []))
        waiting.callback(None)
        self.assertEqual((self.pages.posted, self.transport.value()[-6:]), ([b"x=y"], b"posted"))
        self.assertEqual(self.asked[0].method, "POST")

    def test_refused(self) -> None:
        """Or does not reach it."""
        self.refuse(401, "No")
        self.assertEqual((self.post()[:13], self.pages.posted), (b"HTTP/1.1 401 ", []))

    def test_options(self) -> None:
        """Nor do other methods."""
        self.refuse(401, "No")
        self.transport.receive(request(b"/form", method=b"OPTIONS"))
        self.assertEqual((self.transport.value()[:13], self.pages.seen), (b"HTTP/1.1 401 ", []))


def _undated(response: bytes) -> bytes:
    """Without the time of day."""
    return re.sub(rb"\r\nDate: [^\r]*", b"", response)
