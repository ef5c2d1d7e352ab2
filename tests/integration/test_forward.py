"""Forward authentication: a proxy before a verifier that misbehaves, and before nginx as one."""

from __future__ import annotations

import http.client
import shlex
import tempfile
import time
import tomllib
from base64 import b64encode
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from twisted.web.http_headers import Headers

from tests.certificates import LOCAL, Authority, pem
from tests.integration import verifier as fake
from tests.integration.bridge import connect
from tests.integration.client import Client, Closed
from tests.integration.fronts import Front, Nginx
from tests.integration.proxy import Proxy
from tests.integration.recipes import recipesOf
from tests.integration.twistd import ROOT
from tests.integration.verifier import GOOD, says
from wsproxy.access.resolver import FixedResolver
from wsproxy.authentication.forward import ForwardAuth
from wsproxy.authentication.recheck import Rechecks
from wsproxy.authentication.verifier import Verifier, VerifierError
from wsproxy.command.usage import Options
from wsproxy.dialling.webservice import LONGEST as BODY_LIMIT
from wsproxy.dialling.webservice import PATIENCE as ANSWER_TIMEOUT
from wsproxy.factory import WebSockifyFactory
from wsproxy.interfaces import Target
from wsproxy.static_web.pages import OwnPages

reactor: Any = _reactor

HEAD = b"HTTP/1.1 200 OK\r\nRemote-User: alice\r\n"
MUCH = b"x" * 65536
SILENT = f"no answer within {ANSWER_TIMEOUT:g} s"
ENDLESS = f"its answer is too long: {BODY_LIMIT >> 10} KiB at most"
BROKEN = "it breaks off, or answers what is no HTTP"

FAILURES: dict[str, tuple[Any, str]] = {
    "mute": (lambda conversation: None, SILENT),
    "slow": (lambda conversation: conversation.trickle(GOOD, 0.2), SILENT),
    "half": (says(HEAD + b"Content-Length: 5\r\n\r\nabc"), SILENT),
    "halfHead": (says(HEAD), SILENT),
    "endlessHead": (lambda conversation: conversation.flood(HEAD, b"X-More: " + MUCH[:8000] + b"\r\n"), ENDLESS),
    "endlessLine": (lambda conversation: conversation.flood(HEAD, MUCH), ENDLESS),
    "endlessBody": (lambda conversation: conversation.flood(HEAD + b"\r\n", MUCH), ENDLESS),
    "longBody": (says(HEAD + b"Content-Length: 70000\r\n\r\n" + MUCH * 2), ENDLESS),
    "hundreds": (lambda conversation: conversation.flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), ENDLESS),
    "gone": (says(b"", then="close"), BROKEN),
    "reset": (says(HEAD, then="reset"), BROKEN),
    "brokenOff": (says(HEAD + b"Content-Length: 5\r\n\r\nabc", then="close"), BROKEN),
    "brokenChunks": (says(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", then="close"), BROKEN),
    "noHTTP": (says(b"220 ready\r\n"), BROKEN),
    "badLength": (says(HEAD + b"Content-Length: five\r\n\r\n"), BROKEN),
    "badChunks": (says(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), BROKEN),
}
"""How a verifier fails, and what is said of it."""


class ForwardTestCase(TestCase):
    timeout = 60

    async def upgrade(self, port: int, path: str, *headers: str) -> tuple[Client, Any]:
        client = Client(connect(port))
        self.addCleanup(client.stream.reset)
        return client, await client.upgrade(path, headers=headers)

    async def get(self, port: int, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        def ask() -> tuple[http.client.HTTPResponse, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read()
            connection.close()
            return response, body

        result: Any = await deferToThread(ask)
        return result


class MisbehavingTests(ForwardTestCase):
    """With a proxy in this process."""

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def lines(self) -> str:
        return "\n".join(filter(None, map(formatEvent, self.events)))

    def asking(self, port: int, turns: int = 64) -> Verifier:
        """How the proxy asks it."""
        verifier = Verifier(reactor, f"http://127.0.0.1:{port}/verify", turns=turns, queue=100)
        self.addCleanup(verifier.close)
        return verifier

    async def start(self, *, recheck: float = 0, **settings: Any) -> tuple[fake.Verifier, int]:
        """@return: who is asked, and the port of the proxy."""
        verifier = fake.Verifier(good=says(GOOD), **{name: way for name, (way, _) in FAILURES.items()})
        self.addCleanup(lambda: Deferred.fromCoroutine(verifier.stop()))
        forward = ForwardAuth(self.asking(verifier.listen()).ask, ["Remote-User"])
        factory = WebSockifyFactory(
            reactor,
            resolver=FixedResolver(Target("demo:")),
            authenticator=forward,
            pages=OwnPages(),
            observers=[Rechecks(reactor, forward.authenticate, recheck)] if recheck else (),
            **settings,
        )
        self.factory = factory
        listening = await TCP4ServerEndpoint(reactor, 0, 200, "127.0.0.1").listen(factory)
        self.addCleanup(listening.stopListening)
        self.addCleanup(factory.closeAll)
        return verifier, listening.getHost().port

    async def test_causes(self) -> None:
        """However it fails there is no answer, within the time, and there are words for it."""
        verifier = fake.Verifier(**{name: way for name, (way, _) in FAILURES.items()})
        self.addCleanup(lambda: Deferred.fromCoroutine(verifier.stop()))
        asking = self.asking(verifier.listen())

        async def said(name: str) -> str:
            try:
                answer = await asking.ask(Headers({"X-Forwarded-Uri": [f"/{name}"]}))
            except VerifierError as error:
                return str(error)
            return str(answer.status)

        began = time.monotonic()
        told = await gatherResults([Deferred.fromCoroutine(said(name)) for name in FAILURES])
        self.assertLess(time.monotonic() - began, ANSWER_TIMEOUT + 2)
        for (name, (_, cause)), words in zip(FAILURES.items(), told, strict=True):
            self.assertEqual(words[: len(cause)], cause, name)
        await verifier.until(lambda: not verifier.open)

    async def test_failures(self) -> None:
        """Its client is told 503, and others are let in meanwhile."""
        verifier, port = await self.start()

        async def refused(name: str) -> None:
            _, response = await self.upgrade(port, f"/{name}")
            self.assertEqual(response.status, 503, name)

        began = time.monotonic()
        asking = [Deferred.fromCoroutine(refused(name)) for name in FAILURES]
        await verifier.until(lambda: len(verifier.asked) >= len(FAILURES))
        _, response = await self.upgrade(port, "/good")
        self.assertEqual(response.status, 101)
        self.assertLess(time.monotonic() - began, ANSWER_TIMEOUT)
        await gatherResults(asking)
        self.assertLess(time.monotonic() - began, ANSWER_TIMEOUT + 2)
        self.assertIn("refused: 503 Service unavailable: --auth-url: ", self.lines())
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_gone(self) -> None:
        """While it is gone nobody comes in; once it is back, everybody does."""
        verifier, port = await self.start()
        self.assertEqual((await self.upgrade(port, "/good"))[1].status, 101)
        await verifier.stop()
        self.assertEqual((await self.upgrade(port, "/good"))[1].status, 503)
        self.assertIn("503 Service unavailable: --auth-url: it refuses connections", self.lines())
        verifier.listen()
        self.assertEqual((await self.upgrade(port, "/good"))[1].status, 101)

    async def test_pooled(self) -> None:
        """One after the other they share a connection; one that it has closed meanwhile is no failure."""
        verifier, port = await self.start()
        for _ in range(5):
            self.assertEqual((await self.upgrade(port, "/good"))[1].status, 101)
        self.assertEqual((verifier.opened, len(verifier.asked)), (1, 5))
        for closing in ("loseConnection", "abortConnection"):
            for conversation in tuple(verifier.open):
                getattr(conversation.transport, closing)()
            self.assertEqual((await self.upgrade(port, "/good"))[1].status, 101)

    async def test_bounded(self) -> None:
        """It is asked by so many at a time, however many come; whoever leaves takes the question back."""
        verifier, port = await self.start(handshakeTimeout=3.0)
        clients = [Client(connect(port)) for _ in range(100)]
        answers = [Deferred.fromCoroutine(client.upgrade("/mute")) for client in clients]
        await verifier.until(lambda: len(verifier.asked) == 64)
        await self.get(port, "/")
        self.assertEqual((len(verifier.asked), verifier.most), (64, 64))
        for client, answer in zip(clients[:20], answers[:20], strict=True):
            client.stream.reset()
            answer.addErrback(lambda failure: None)
        await verifier.until(lambda: len(verifier.asked) == 84)
        for answer in answers[20:]:
            self.assertEqual((await answer).status, 503)
        await verifier.until(lambda: not verifier.open)
        for client in clients:
            client.stream.reset()
        verifier.ways["mute"] = says(GOOD)
        self.assertEqual((await self.upgrade(port, "/mute"))[1].status, 101)

    async def test_circles(self) -> None:
        """Redirects that lead back are for the browser to follow, or not: it is asked once for each request."""
        circle = b"HTTP/1.1 302 Found\r\nLocation: /circle\r\nContent-Length: 0\r\n\r\n"
        verifier, port = await self.start(webAuth=True)
        verifier.ways["circle"] = says(circle)
        response, _ = await self.get(port, "/circle")
        self.assertEqual((response.status, response.getheader("Location")), (302, "/circle"))
        self.assertEqual((await self.upgrade(port, "/circle"))[1].status, 401)
        self.assertEqual(len(verifier.asked), 2)

    async def test_strangers(self) -> None:
        """Cookies that it gives one client are not shown to it as another's."""
        cookie = b"HTTP/1.1 200 OK\r\nRemote-User: alice\r\nSet-Cookie: of=alice\r\nContent-Length: 0\r\n\r\n"
        verifier, port = await self.start()
        verifier.ways["good"] = says(cookie)
        await self.upgrade(port, "/good")
        await self.upgrade(port, "/good")
        self.assertEqual([asked.get("cookie") for asked in verifier.asked], [None, None])

    async def closed(self, client: Client) -> tuple[int | None, str]:
        """The code and the reason."""
        try:
            while True:
                await client.some()
        except Closed as closed:
            return closed.told

    async def test_withdrawn(self) -> None:
        """With C{--auth-recheck} a session that is let in no longer ends, with what it came with shown again."""
        verifier, port = await self.start(recheck=0.5)
        client, _ = await self.upgrade(port, "/good?a=b", "Cookie: session=1", "X-Forwarded-For: 192.0.2.9")
        await verifier.until(lambda: len(verifier.asked) >= 3)
        self.assertEqual(verifier.asked[1:], verifier.asked[:1] * (len(verifier.asked) - 1))
        self.assertEqual(verifier.asked[0]["cookie"], "session=1")
        verifier.ways["good"] = says(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(await self.closed(client), (4001, "Access withdrawn"))
        client.close()
        await self.factory.sessions.whenIdle()
        self.assertIn("closed by proxy: 4001 Access withdrawn", self.lines())

    async def test_secure(self) -> None:
        """Over TLS it shows a certificate for its name, of an authority that this machine trusts."""
        authority = Authority()
        path = Path(self.mktemp()).absolute()
        path.write_bytes(pem(authority.certificate))
        verifier = fake.Verifier(good=says(GOOD))
        options = PrivateCertificate.loadPEM(authority.issue(*LOCAL).both).options()
        listening = reactor.listenSSL(0, verifier, options, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        self.addCleanup(lambda: Deferred.fromCoroutine(verifier.stop()))
        port = listening.getHost().port
        said: list[int] = []
        for environment in ({"SSL_CERT_FILE": str(path)}, {}):
            arguments = ("--target", "demo:", "--auth-url", f"https://localhost:{port}/")
            proxy = Proxy(Path(self.mktemp()).absolute(), *arguments, environment=environment)
            self.addCleanup(proxy.kill)
            _, response = await self.upgrade(await proxy.port(), "/good")
            said.append(response.status)
        self.assertEqual(said, [101, 503])
        await proxy.said("--auth-url: its certificate is not accepted")


_SEEN = " ".join(
    f"{name}=$http_{name}"
    for name in (
        *("x_forwarded_method", "x_forwarded_proto", "x_forwarded_host", "x_forwarded_uri", "x_forwarded_for"),
        *("upgrade", "sec_websocket_key", "remote_user", "forwarded"),
    )
)

LOCATIONS = {
    "verify": "".join(
        f'if ($http_x_forwarded_uri ~ "^/{name}") {{ rewrite ^ /{name}/ last; }}\n'
        for name in ("basic", "authelia", "oauth2", "seen")
    ),
    "basic": (
        'if ($http_authorization = "Basic YWxpY2U6c2VjcmV0") { add_header Remote-User alice; return 204; }\n'
        "add_header WWW-Authenticate 'Basic realm=\"consoles\"' always; return 401;"
    ),
    "authelia": (
        'if ($cookie_authelia_session = "good") { add_header Remote-User alice; add_header Remote-Groups "admins,dev";'
        ' add_header Set-Cookie "authelia_session=good; Path=/; HttpOnly"; add_header Set-Cookie "b=2"; return 200; }\n'
        'add_header Set-Cookie "authelia_session=new; Path=/; HttpOnly";\n'
        'return 302 "https://auth.example.com/?rd=$http_x_forwarded_proto://$http_x_forwarded_host'
        '$http_x_forwarded_uri&rm=$http_x_forwarded_method";'
    ),
    "oauth2": (
        'if ($cookie__oauth2_proxy = "good") { add_header Remote-User bob always; return 202 "Authenticated"; }\n'
        'return 401 "Unauthorized";'
    ),
    "seen": f'add_header Remote-User "$request_method {_SEEN}"; return 204;',
}
"""nginx as a verifier: the answers of Authelia and of oauth2-proxy as their documents have them, and others."""

_FRONT = (
    "proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1; proxy_set_header Host $http_host;"
    "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
)


class _Stage:
    """nginx, and a proxy that asks it."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        for name in LOCATIONS:
            (folder / "web" / name).mkdir(parents=True)
            (folder / "web" / name / "page.html").write_text("the page")
        self.verifier = Nginx(LOCATIONS)
        url = f"http://127.0.0.1:{self.verifier.port}/verify/"
        asking = ("--auth-url", url, "--auth-copy", "Remote-User,Remote-Groups", "--web-auth")
        self.proxy = Proxy(folder, "--target", "demo:", "--web", str(folder / "web"), *asking)

    def close(self) -> None:
        self.proxy.kill()
        self.verifier.stop()


_stages: list[_Stage] = []
"""The one of these tests, once there is one."""


def _closeStages() -> None:
    while _stages:
        _stages.pop().close()


reactor.addSystemEventTrigger("after", "shutdown", _closeStages)


class NginxTests(ForwardTestCase):
    """nginx says who may come in."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        if not _stages:
            _stages.append(_Stage())
        self.proxy = _stages[0].proxy
        self.port = await self.proxy.port()

    async def test_seen(self) -> None:
        """It sees a GET with what the request was for, nothing of the upgrade, and nothing that a client makes up."""
        forged = ("X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: https", "Remote-User: root", "Forwarded: for=x")
        _, response = await self.upgrade(self.port, "/seen/a%20b?token=x", *forged)
        self.assertEqual(response.status, 101)
        await self.proxy.said(
            r"as GET x_forwarded_method=GET x_forwarded_proto=http x_forwarded_host=localhost "
            r"x_forwarded_uri=/seen/a%20b\?token=x x_forwarded_for=127\.0\.0\.1 "
            r"upgrade= sec_websocket_key= remote_user= forwarded=\)"
        )

    async def authelia(self, port: int, host: str) -> None:
        """As a browser meets it that comes to this host and port."""
        for page in ("page.html", "missing.html"):
            response, _ = await self.get(port, f"/authelia/{page}?a=b", Host=host)
            location = f"https://auth.example.com/?rd=http://{host}/authelia/{page}?a=b&rm=GET"
            self.assertEqual((response.status, response.getheader("Location")), (302, location))
            self.assertEqual(response.getheader("Set-Cookie"), "authelia_session=new; Path=/; HttpOnly")
        response, body = await self.get(port, "/authelia/page.html", Host=host, Cookie="authelia_session=good")
        self.assertEqual((response.status, body), (200, b"the page"))
        cookies = ["authelia_session=good; Path=/; HttpOnly", "b=2"]
        self.assertEqual(response.headers.get_all("Set-Cookie"), cookies)
        response, _ = await self.get(port, "/authelia/missing.html", Host=host, Cookie="authelia_session=good")
        self.assertEqual(response.status, 404)

    async def test_authelia(self) -> None:
        """A page is redirected to where one signs in, there or not; with the cookie of there it is served."""
        await self.authelia(self.port, "console.example")
        client, response = await self.upgrade(self.port, "/authelia/")
        self.assertEqual((response.status, response.headers.get("set-cookie")), (401, None))
        client, response = await self.upgrade(self.port, "/authelia/", "Cookie: authelia_session=good")
        self.assertEqual((response.status, response.headers["set-cookie"]), (101, "b=2"))  # the last of two
        self.assertEqual(await client.exactly(6), b"Hello!")
        await self.proxy.said(r"\(ws /authelia/, as alice\)")

    async def test_behind(self) -> None:
        """All of that behind another nginx."""
        front = Nginx({"authelia": _FRONT.format(port=self.port)})
        self.addCleanup(front.stop)
        await self.authelia(front.port, "console.example")
        _, response = await self.upgrade(front.port, "/authelia/")
        self.assertEqual(response.status, 401)
        client, response = await self.upgrade(front.port, "/authelia/", "Cookie: authelia_session=good")
        self.assertEqual(response.status, 101)
        self.assertEqual(await client.exactly(6), b"Hello!")

    async def test_challenges(self) -> None:
        """Browsers are asked for a password where it is wanted; without a challenge they are just told no."""
        response, body = await self.get(self.port, "/basic/page.html")
        challenge = 'Basic realm="consoles"'
        self.assertEqual((response.status, response.getheader("WWW-Authenticate")), (401, challenge))
        response, body = await self.get(self.port, "/basic/page.html", Authorization="Basic YWxpY2U6c2VjcmV0")
        self.assertEqual((response.status, body), (200, b"the page"))
        _, response = await self.upgrade(self.port, "/basic/", "Authorization: Basic YWxpY2U6d3Jvbmc=")
        self.assertEqual((response.status, response.headers["www-authenticate"]), (401, challenge))
        for path in ("/oauth2/page.html", "/oauth2/missing"):
            response, body = await self.get(self.port, path)
            self.assertEqual((response.status, response.getheader("WWW-Authenticate")), (401, None))
            self.assertNotIn(b"Unauthorized", body)
        response, body = await self.get(self.port, "/oauth2/page.html", Cookie="_oauth2_proxy=good")
        self.assertEqual((response.status, body), (200, b"the page"))


class _Written(Front):
    """nginx with a server as a document has it."""

    name = "nginx"

    def __init__(self, server: str) -> None:
        super().__init__()
        (self._folder / "passwd").write_text("alice:{PLAIN}secret\n")
        own = server.replace("127.0.0.1:9000", f"127.0.0.1:{self.port}")
        own = own.replace("/etc/nginx/consoles.passwd", str(self._folder / "passwd"))
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        folders = "".join(f"{kind}_temp_path {self._folder}/{kind};\n" for kind in kinds)
        self.start(
            f"daemon off; pid {self._folder}/pid;\nevents {{}}\nhttp {{ access_log off;\n{folders}{own}\n}}\n",
            *("-e", "stderr", "-p", str(self._folder), "-c"),
            NGINX=f"{self.descriptor};",
        )


class RecipeTests(ForwardTestCase):
    """docs/access.rst, as far as it can be typed here."""

    def recipes(self, title: str) -> list[str]:
        """The literal blocks under a title, each command on one line."""
        found = [recipe.text for recipe in recipesOf(ROOT / "docs/access.rst") if recipe.title == title]
        return [text.replace("\\\n", " ") for text in found]

    def test_options(self) -> None:
        """What stands there is taken."""
        for title in ("Forward authentication", "Authelia", "oauth2-proxy"):
            usage = Options()
            usage.parseOptions(["--target", "demo:", *shlex.split(self.recipes(title)[0])])
            self.assertTrue(usage.config.authentication.web, title)

    def test_oauth2Proxy(self) -> None:
        """Its file is TOML."""
        settings = tomllib.loads(self.recipes("oauth2-proxy")[1])
        self.assertEqual((settings["upstreams"], settings["set_xauthrequest"]), (["static://202"], True))

    async def test_nginx(self) -> None:
        """nginx asks for a password, and says whose it was."""
        (server,) = self.recipes("nginx, and your own")
        front = _Written(server)
        self.addCleanup(front.stop)
        (options,) = self.recipes("Forward authentication")
        options = options.replace("127.0.0.1:9000", f"127.0.0.1:{front.port}")
        proxy = Proxy(Path(self.mktemp()).absolute(), "--target", "demo:", *shlex.split(options))
        self.addCleanup(proxy.kill)
        port = await proxy.port()
        response, _ = await self.get(port, "/")
        self.assertEqual((response.status, response.getheader("WWW-Authenticate")), (401, 'Basic realm="Consoles"'))
        for password, status in (("wrong", 401), ("secret", 101)):
            credentials = b64encode(f"alice:{password}".encode()).decode()
            _, answer = await self.upgrade(port, "/", f"Authorization: Basic {credentials}")
            self.assertEqual(answer.status, status)
        await proxy.said(r"\(ws /, as alice\)")
