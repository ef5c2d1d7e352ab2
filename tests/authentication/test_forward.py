"""What a verifier is shown, and what its answers mean."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers
from zope.interface.verify import verifyObject

from wsproxy.authentication.forward import ForwardAuth, questionOf
from wsproxy.authentication.verifier import Answer, VerifierError
from wsproxy.errors import Refusal
from wsproxy.interfaces import Forwarded, IAuthenticator, Identity, Request

CLIENT = IPv4Address("TCP", "192.0.2.1", 40000)
HOST = IPv4Address("TCP", "192.0.2.2", 6080)


def makeRequest(headers: dict[str, str] | None = None, **changes: Any) -> Request:
    known: dict[str, Any] = {"path": "/a%20b", "headers": headers or {}, "peer": CLIENT, "host": HOST, "secure": False}
    return Request(**(known | changes))


def shown(request: Request, *copied: str) -> dict[str, str]:
    """The question's headers by lower-case name."""
    question = questionOf(request, copied).getAllRawHeaders()
    return {name.decode().lower(): b"|".join(values).decode("latin-1") for name, values in question}


class QuestionTests(SynchronousTestCase):
    def test_said(self) -> None:
        """Method, scheme, host, path with its query, and address are the request's, whatever protocol that is for."""
        request = makeRequest({"host": "proxy.example:8443"}, secure=True, rawQuery="token=%20x&y", method="HEAD")
        self.assertEqual(
            shown(request),
            {
                "x-forwarded-method": "HEAD",
                "x-forwarded-proto": "https",
                "x-forwarded-host": "proxy.example:8443",
                "x-forwarded-uri": "/a%20b?token=%20x&y",
                "x-forwarded-for": "192.0.2.1",
                "x-real-ip": "192.0.2.1",
            },
        )
        plain = shown(makeRequest())
        self.assertEqual((plain["x-forwarded-proto"], plain["x-forwarded-uri"]), ("http", "/a%20b"))

    def test_addresses(self) -> None:
        """An IPv6 client is named without the interface it came by; one on a unix socket is no neighbour."""
        for peer, said in (
            (IPv6Address("TCP", "2001:db8::1", 1), "2001:db8::1"),
            (IPv6Address("TCP", "fe80::1%eth0", 1), "fe80::1"),
            (UNIXAddress(b"/run/x"), "unknown"),
        ):
            self.assertEqual(shown(makeRequest(peer=peer))["x-forwarded-for"], said)

    def test_behind(self) -> None:
        """Behind a proxy that is trusted they are those that it tells; nothing of its own headers is passed on."""
        forwarded = Forwarded(IPv4Address("TCP", "203.0.113.7", 0), host="public.example", secure=True)
        headers = {"host": "inside", "x-forwarded-for": "192.0.2.9, 203.0.113.7", "x-forwarded-user": "root"}
        asked = shown(makeRequest(headers, forwarded=forwarded))
        said = [asked[f"x-forwarded-{name}"] for name in ("for", "host", "proto")]
        self.assertEqual((said, asked["x-real-ip"]), (["203.0.113.7", "public.example", "https"], "203.0.113.7"))
        self.assertNotIn("x-forwarded-user", asked)

    def test_passed(self) -> None:
        """Credentials and whatever else is the client's are passed on, byte for byte."""
        headers = {"cookie": "a=b; c=d", "authorization": "Bearer x", "accept": "*/*", "x-y": "\xff"}
        self.assertLessEqual(headers.items(), shown(makeRequest(headers)).items())

    def test_beyond(self) -> None:
        """What C{--explain} was told to ask may be beyond what comes from a socket."""
        asked = shown(makeRequest({"x-y": "\u65e5", "host": "\udc80"}, path="/\u65e5"))
        self.assertEqual((asked["x-y"], asked["x-forwarded-host"]), ("\u65e5".encode().decode("latin-1"), "?"))

    def test_dropped(self) -> None:
        """Nothing of the connection, the upgrade, a body or another host is."""
        names = (
            *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
            *("sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol", "sec-websocket-extensions"),
            *("content-length", "content-type", "content-encoding", "expect", "host", "proxy-authorization", "proxy"),
            *("range", "if-none-match", "if-modified-since", "if-range"),
        )
        asked = shown(makeRequest(dict.fromkeys(names, "x")))
        self.assertEqual([name for name in names if name in asked], [])

    def test_listed(self) -> None:
        """Nor what the client's own Connection lists: it is between the two of us."""
        asked = shown(makeRequest({"connection": "Upgrade, X-Hop", "x-hop": "1", "x-other": "2"}))
        self.assertEqual((asked.get("x-hop"), asked["x-other"]), (None, "2"))

    def test_forged(self) -> None:
        """What a client says of who and where it is does not arrive, in whatever spelling."""
        forged = (
            *("x-forwarded-for", "x-forwarded-user", "x_forwarded_proto", "x-forwarded_uri", "forwarded", "x-real-ip"),
            *("remote-user", "remote_user", "remote-groups", "x-original-url", "x-auth-request-redirect", "x_real_ip"),
        )
        asked = shown(makeRequest(dict.fromkeys(forged, "evil")), "Remote-User", "Remote-Groups")
        self.assertNotIn("evil", asked.values())
        self.assertEqual((asked["x-forwarded-for"], asked["x-real-ip"]), ("192.0.2.1", "192.0.2.1"))


class AnswerTests(SynchronousTestCase):
    def judge(self, status: int, answer: Any = (), copied: Any = (), **request: Any) -> Any:
        """@return: the identity, or the refusal."""

        async def ask(question: Headers) -> Answer:
            answered = Headers()
            for name, value in answer:
                answered.addRawHeader(name, value)
            return Answer(status, answered)

        asking = Deferred.fromCoroutine(ForwardAuth(ask, copied).authenticate(makeRequest(**request)))
        asking.addErrback(lambda failure: failure.trap(Refusal) and failure.value)
        return self.successResultOf(asking)

    def assertRefused(self, refusal: Any, status: int, *headers: tuple[str, str]) -> None:
        self.assertIsInstance(refusal, Refusal)
        self.assertEqual((refusal.status, refusal.headers), (status, headers), refusal.cause)

    def test_interface(self) -> None:
        """It is an authenticator like any other."""

        async def ask(question: Headers) -> Answer:
            raise NotImplementedError

        verifyObject(IAuthenticator, ForwardAuth(ask))

    def test_anonymous(self) -> None:
        """Without C{--auth-copy} whoever is let in is nobody in particular; cookies are passed on all the same."""
        for status in (200, 202, 204, 299):
            self.assertIsNone(self.judge(status))
        identity = self.judge(200, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Remote-User", "x")])
        self.assertEqual(identity, Identity("", responseHeaders=(("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))))

    def test_identity(self) -> None:
        """The first name of C{--auth-copy} is who the client is, and all of them are claims."""
        answer = [("remote-user", " zoë "), ("Remote-Groups", "a"), ("Remote-Groups", "b,c"), ("X-Other", "x")]
        identity = self.judge(200, answer, ("Remote-User", "Remote-Groups", "Remote-Email"))
        self.assertEqual(identity.name, "zoë")
        self.assertEqual(identity.claims, {"Remote-User": "zoë", "Remote-Groups": "a, b,c"})

    def test_noIdentity(self) -> None:
        """A good answer that does not say who lets nobody in, whatever the client says itself."""
        for headers in ([], [("Remote-User", "")], [("Remote-User", " ")], [("Remote-Groups", "x")]):
            refusal = self.judge(200, headers, ("Remote-User", "Remote-Groups"), headers={"remote-user": "root"})
            self.assertRefused(refusal, 403)
            self.assertIn("Remote-User", refusal.cause)

    def test_refused(self) -> None:
        """401 and 403 go to the client with their challenges and cookies, and nothing else."""
        headers = [("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "Bearer"), ("Set-Cookie", "a=; Max-Age=0")]
        for status in (401, 403):
            refusal = self.judge(status, [*headers, ("Location", "/login"), ("X-Secret", "x")])
            self.assertRefused(refusal, status, *headers)

    def test_guess(self) -> None:
        """Credentials that are refused are a guess; cookies that have expired, and nothing at all, are none."""
        self.assertTrue(self.judge(401, headers={"authorization": "Basic x"}).guess)
        self.assertFalse(self.judge(401, headers={"cookie": "session=old"}).guess)
        self.assertFalse(self.judge(403, headers={"authorization": "Basic x"}).guess)

    # judge() is given its request's headers by keyword
    def test_redirect(self) -> None:
        """A page is redirected with its cookies; an upgrade, which cannot follow, is told 401 and given none."""
        login = [("Location", "https://login.example/?rd=https%3A%2F%2Fhere"), ("Set-Cookie", "csrf=1")]
        for status in (301, 302, 303, 307, 308):
            self.assertRefused(self.judge(status, login, page=True), status, *login)
            self.assertRefused(self.judge(status, login), 401)

    def test_nonsense(self) -> None:
        """Every other answer lets nobody in, and is told as the verifier's failure."""
        location = ("Location", "/")
        for status, headers in (
            *((status, []) for status in (100, 304, 300, 400, 404, 407, 429, 500, 502, 503, 599, 600, 999)),
            *((status, [location]) for status in (304, 305, 404, 500)),
            *((302, headers) for headers in ([], [location, location], [("Location", b"/\xff")], [("Location", "\0")])),
            (401, [("WWW-Authenticate", b"\xff")]),
            (200, [("Remote-User", "a"), ("Remote-User", "b")]),
            (200, [("Remote-User", b"\xff")]),
            (200, [("Remote-User", "a\x1b[0m")]),
            (200, [("Remote-User", "a"), ("Set-Cookie", "a\0=b")]),
        ):
            refusal = self.judge(status, headers, ("Remote-User",), page=True)
            self.assertRefused(refusal, 503)
            self.assertIn("--auth-url: ", refusal.cause)

    def test_unanswered(self) -> None:
        """Nor does none; the log has why."""

        async def ask(question: Headers) -> Answer:
            raise VerifierError("it refuses connections")

        asking = Deferred.fromCoroutine(ForwardAuth(ask).authenticate(makeRequest()))
        refusal = self.failureResultOf(asking, Refusal).value
        self.assertEqual((refusal.status, refusal.reason), (503, "Service unavailable"))
        self.assertEqual(refusal.cause, "--auth-url: it refuses connections")
