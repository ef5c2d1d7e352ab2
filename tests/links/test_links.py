"""Who comes with a link, where it leads, and what a page is given for it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import OctKey
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.jose.tokens import NOW, encrypted, signed, signedText
from tests.links.links import SECRET, Hour, asked, link, linksAt
from wsproxy.access.secrets import shown
from wsproxy.errors import Refusal
from wsproxy.interfaces import IAuthenticator, Identity, IResolver, ITurnstile, Request, Target
from wsproxy.links.links import Links
from wsproxy.links.once import Outcome
from wsproxy.sessions.decision import Admission
from wsproxy.tokens.location import TokenLocation, missing, notAccepted


class LinksCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.hour = Hour()
        self.links = linksAt(self.hour)

    def way(self, request: Request, links: Links | None = None) -> tuple[Identity | None, Target]:
        """Who comes, and where to."""
        links = links or self.links
        identity = links.authenticate(request)
        return identity, links.resolve(request, identity)

    def refused(self, ask: Any, *arguments: Any) -> Refusal:
        return self.assertRaises(Refusal, ask, *arguments)


class WayTests(LinksCase):
    def test_interfaces(self) -> None:
        """It is all three."""
        for each in (IAuthenticator, IResolver, ITurnstile):
            verifyObject(each, self.links)

    def test_whole(self) -> None:
        """A link says who comes, where to, and until when; what else it says is carried along."""
        identity, target = self.way(asked(link(room="7")))
        assert identity is not None
        self.assertEqual((identity.name, identity.claims["room"]), ("alice", "7"))
        self.assertEqual((target.text, target.expires, target.claims["room"]), ("127.0.0.1:5900", NOW + 600, "7"))

    def test_anybody(self) -> None:
        """A link without sub lets anybody in who has it."""
        self.assertEqual(self.way(asked(link(sub=None)))[0], None)

    def test_hostAndPort(self) -> None:
        """host and port do for target, as websockify has them."""
        for host, port, text in (("h", 1, "h:1"), ("::1", "59", "[::1]:59"), ("[::1]", 59, "[::1]:59")):
            _, target = self.way(asked(link(target=None, host=host, port=port)))
            self.assertEqual(target.text, text)

    def test_senseless(self) -> None:
        """What makes no sense is not accepted, though it is signed."""
        for claims in (
            {"exp": None},
            {"exp": "5"},
            {"sub": ""},
            {"sub": 5},
            {"sub": "x" * 257},
            {"once": "yes"},
            {"once": 1},
            {"once": True, "jti": 5},
            {"target": None},
            {"target": ""},
            {"target": 5},
            {"target": None, "host": "h"},
            {"target": None, "host": "h", "port": True},
            {"target": None, "host": "h", "port": 65536},
            {"target": None, "host": "h", "port": "٣"},
            {"target": "unix:relative"},
            {"target": "systemd:domain=UNIX:index=0"},
            {"target": "h:0"},
            {"target": ["h:1"]},
            {"target": {"host": "h", "port": 1}},
        ):
            refusal = self.refused(self.way, asked(link(**claims)))
            self.assertEqual(refusal.reason, "Token not accepted", claims)

    values = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.floats(NOW, NOW + 99),
        st.sampled_from(["h:1", "[::1]:1", "unix:/x", "tls:h:1", "a:1\n", "h:1 proxy=v3", "unix_socket", "/x", "5900"]),
        st.lists(st.text(max_size=5), max_size=2),
        st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    )
    names = ("target", "host", "port", "sub", "exp", "nbf", "iat", "jti", "once", "aud", "iss")

    @settings(max_examples=150, deadline=None)
    @given(st.dictionaries(st.sampled_from(names), values), st.booleans())
    def test_anything(self, claims: dict[str, Any], page: bool) -> None:
        """Whatever is signed, it comes to a target that ends, to a page, or to a refusal."""
        self.setUp()
        token = signedText(json.dumps(claims), SECRET)
        try:
            identity = self.links.authenticate(asked(token, page=page))
            target = self.links.resolve(asked(token), identity)
            spending = self.links.admit(Admission(asked(token), identity, target))
            if spending is not None:
                spending.close()
        except Refusal as refusal:
            self.assertIn(refusal.status, (302, 403))
        else:
            self.assertTrue(target.expires is not None and target.expires > NOW)

    def test_socket(self) -> None:
        """A link names a socket only where the operator allows it: it is somebody else's word."""
        _, target = self.way(asked(link(target="unix:/run/x.sock")))
        self.assertFalse(target.sockets)

    def test_oneText(self) -> None:
        """Whatever is wrong with a token is told in the same words, which are those of all tokens."""
        wrong = [
            link(exp=NOW),
            link(nbf=NOW + 31),
            link()[:-1],
            "nonsense",
            "a.b.c",
            "..",
            "....",
            "é",
            signed({"target": "a:1", "exp": NOW + 9}, b"another key, of thirty-two bytes "),
            signed({"target": "a:1", "exp": NOW + 9}, SECRET, "HS512"),
            encrypted(link(), OctKey.import_key(SECRET[:32]), "dir"),
            signedText(json.dumps({"target": "a:1", "exp": NOW + 9}), SECRET, {"alg": "none"}),
        ]
        like = notAccepted()
        for token in wrong:
            refusal = self.refused(self.way, asked(token))
            told = refusal.status, refusal.reason, refusal.headers, refusal.guess
            self.assertEqual(told, (like.status, like.reason, like.headers, True), token)
            self.assertIn(shown(token), refusal.cause)
            self.assertNotIn(token, refusal.cause)

    def test_missing(self) -> None:
        """Without a token it is another matter, and no guess."""
        refusal = self.refused(self.way, asked())
        self.assertEqual((refusal.status, refusal.reason, refusal.guess), (403, missing().reason, False))

    def test_elsewhere(self) -> None:
        """A token is wherever tokens are."""
        links = linksAt(self.hour, location=TokenLocation(path="/vnc/{token}"))
        self.assertEqual(self.way(asked(path=f"/vnc/{link()}"), links)[1].text, "127.0.0.1:5900")


class PageTests(LinksCase):
    def visit(self, token: str | None = None, **fields: Any) -> Any:
        """What is said to a page."""
        request = asked(token, page=True, **fields)
        try:
            return self.links.authenticate(request)
        except Refusal as refusal:
            return refusal.status, {name.lower(): value for name, value in refusal.headers}

    def test_redirect(self) -> None:
        """A page that is opened by a link comes back without it, and with a cookie."""
        token = link()
        status, headers = self.visit(token, path="/vnc.html", rawQuery=f"a=1&token={token}&path=x%2Fy&b")
        self.assertEqual((status, headers["location"]), (302, "/vnc.html?a=1&path=x%2Fy&b"))
        self.assertEqual(headers["referrer-policy"], "no-referrer")
        self.assertEqual(headers["cache-control"], "no-store")
        cookie, *attributes = headers["set-cookie"].split("; ")
        self.assertEqual(cookie, f"wsproxy-link={token}")
        expected = {"Path=/", "Max-Age=600", "HttpOnly", "SameSite=Lax", "Expires=Mon, 21 Sep 2026 14:23:20 GMT"}
        self.assertEqual(set(attributes), expected)

    def test_secure(self) -> None:
        """Over TLS the cookie is Secure, and one that only this host can set."""
        _, headers = self.visit(link(), secure=True)
        self.assertTrue(headers["set-cookie"].startswith("__Host-wsproxy-link="))
        self.assertIn("Secure", headers["set-cookie"].split("; "))
        self.assertNotIn("domain", headers["set-cookie"].lower())
        status, _ = self.visit(cookie=f"wsproxy-link={link()}", secure=True)
        self.assertEqual(status, 401)

    def test_ourselves(self) -> None:
        """However an address is written, the way leads back to this host."""
        for path, back in (
            ("//evil.example/", "/evil.example/"),
            ("/\\evil.example", "/evil.example"),
            ("/\t/evil.example", "/%09/evil.example"),
            ("/é", "/%E9"),
            ("/a%2Fb", "/a%2Fb"),
        ):
            token = link()
            self.assertEqual(self.visit(token, path=path)[1]["location"], back)
            _, headers = self.visit(token, path=path, rawQuery=f"%74oken={token}&x=//y")
            self.assertEqual(headers["location"], f"{back}?x=//y")

    def test_cookie(self) -> None:
        """The cookie lets the page in, and its upgrade, and what is told to other pages is no address of ours."""
        identity = self.visit(cookie=f"a=b; wsproxy-link={link()}")
        self.assertEqual(identity.name, "alice")
        self.assertEqual(identity.responseHeaders, (("Referrer-Policy", "no-referrer"),))
        self.assertEqual(self.visit(cookie=f"wsproxy-link={link(sub=None)}").name, "")
        _, target = self.way(asked(cookie=f"wsproxy-link={link()}"))
        self.assertEqual(target.text, "127.0.0.1:5900")

    def test_addressFirst(self) -> None:
        """A token in the address counts before a cookie from earlier, be it good or not."""
        cookie = f"wsproxy-link={link(sub='bob')}"
        identity, _ = self.way(asked(link(), cookie=cookie))
        assert identity is not None
        self.assertEqual(identity.name, "alice")
        self.assertEqual(self.refused(self.way, asked("nonsense", cookie=cookie)).status, 403)

    def test_without(self) -> None:
        """A page without a link is told 401, and how it would be let in; one with a bad link 403."""
        status, headers = self.visit()
        self.assertEqual((status, headers["www-authenticate"]), (401, 'Bearer realm="wsproxy"'))
        self.assertEqual(self.visit("nonsense")[0], 403)
        self.assertEqual(self.visit(cookie=f"wsproxy-link={link(exp=NOW - 1)}")[0], 403)

    def test_tooLong(self) -> None:
        """A token that is too long for a cookie stays where it is."""
        self.assertEqual(self.visit(link(pad="x" * 3500)).name, "alice")

    def test_head(self) -> None:
        """HEAD is told the same."""
        self.assertEqual(self.visit(link(), method="HEAD")[0], 302)


class OnceTests(LinksCase):
    def admit(self, request: Request, links: Links | None = None) -> Any:
        """What the last turnstile says; a Deferred, or None."""
        links = links or self.links
        answer = links.admit(Admission(request, *self.way(request, links)))
        return answer if answer is None else Deferred.fromCoroutine(answer)

    def test_every(self) -> None:
        """A link that does not say so is good until it expires."""
        for claims in ({}, {"once": False}):
            self.assertIsNone(self.admit(asked(link(**claims))))

    def test_once(self) -> None:
        """One that does is good once, by cookie or not, and then says so."""
        token = link(once=True, jti="1")
        self.assertIsNone(self.successResultOf(self.admit(asked(token))))
        for request in (asked(token), asked(cookie=f"wsproxy-link={token}"), asked(link(once=True, jti="1", sub="b"))):
            refusal = self.failureResultOf(self.admit(request), Refusal).value
            self.assertEqual((refusal.status, refusal.reason), (403, "This link was good once, and has been used"))
            self.assertFalse(refusal.guess)
        self.successResultOf(self.admit(asked(link(once=True, jti="2"))))

    def test_unspent(self) -> None:
        """Neither asking what would become of it, nor opening pages, spends it."""
        token = link(once=True)
        for _ in range(3):
            self.successResultOf(self.admit(asked(token, explaining=True)))
            self.refused(self.links.authenticate, asked(token, page=True))
            self.links.authenticate(asked(cookie=f"wsproxy-link={token}", page=True))
        self.successResultOf(self.admit(asked(token)))
        self.failureResultOf(self.admit(asked(token, explaining=True)), Refusal)

    def test_withoutName(self) -> None:
        """Without jti a link is what it says."""
        self.successResultOf(self.admit(asked(link(once=True))))
        self.failureResultOf(self.admit(asked(link(once=True))), Refusal)
        self.successResultOf(self.admit(asked(link(once=True, sub="bob"))))

    def test_failing(self) -> None:
        """Where nobody can tell, nobody is let in: 503, whatever the memory does."""
        for answer in (
            lambda: fail(RuntimeError("x")),
            lambda: 1 / 0,
            lambda: succeed(None),
            lambda: "GOOD",
            lambda: None,
        ):
            links = linksAt(self.hour, once=Answering(answer))
            refusal = self.failureResultOf(self.admit(asked(link(once=True)), links), Refusal).value
            self.assertEqual((refusal.status, refusal.reason), (503, "Service unavailable"))

    def test_outcomes(self) -> None:
        """Every other outcome is a refusal, and none of them a guess."""
        for outcome in set(Outcome) - {Outcome.GOOD}:
            links = linksAt(self.hour, once=Answering(lambda outcome=outcome: outcome))
            refusal = self.failureResultOf(self.admit(asked(link(once=True)), links), Refusal).value
            self.assertFalse(refusal.guess)

    def test_othersIdentity(self) -> None:
        """The ticket is what the target's claims say: those that were verified."""
        request = asked(link(once=True))
        identity, target = self.way(request)
        changed = replace(target, claims={**target.claims, "once": False})
        self.assertIsNone(self.links.admit(Admission(request, identity, changed)))


class Answering:
    """A memory that answers this."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def spend(self, ticket: Any, pretend: bool) -> Any:
        return self._answer()
