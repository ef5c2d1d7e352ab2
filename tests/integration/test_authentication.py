"""Who may come in, by a real C{twistd}: what clients and the log are told, and what misbehaving plugins come to."""

from __future__ import annotations

import os
import signal
from base64 import b64encode
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.ssl import PrivateCertificate
from twisted.trial.unittest import TestCase

from tests.authentication.test_htpasswd import cheap
from tests.certificates import LOCAL, pem
from tests.integration.bridge import authority, connect, trusting
from tests.integration.client import Client, Response
from tests.integration.proxy import Proxy
from tests.integration.twistd import ROOT, startTwistd

CHALLENGE = 'Basic realm="wsproxy", charset="UTF-8"'

WILD = """
import asyncio
import threading
import time

from websockify.auth_plugins import AuthenticationError, BasePlugin


class ByPort(BasePlugin):
    "Users whose name is in the source may go to the port that the proxy leads to."

    def __init__(self, source):
        self.loop = asyncio.get_event_loop()
        super().__init__(source)

    async def ask(self, user):
        await asyncio.sleep(0)
        return user in self.source.split(",")

    def authenticate(self, headers, target_host, target_port):
        user = headers.get("x-USER")
        if user == "hang":
            time.sleep(3600)
        if user == "raise":
            raise KeyError(headers["Authorization"])
        if user is None:
            raise AuthenticationError(
                response_code=401, response_headers={"WWW-Authenticate": "Wild"}, response_msg="Who are you?"
            )
        if headers.get("SSL_CLIENT_S_DN_CN") or target_host != "127.0.0.1" or not isinstance(target_port, int):
            raise AuthenticationError(log_msg="unlike the original")
        if not asyncio.get_event_loop().run_until_complete(self.ask(user)):
            raise AuthenticationError(log_msg="not in the list")
"""

ASYNC = """
import asyncio

from twisted.internet.defer import succeed

from wsproxy.interfaces import Identity


class Both:
    def __init__(self, source):
        self.source = source

    async def authenticate(self, request):
        async with asyncio.timeout(5):
            await asyncio.sleep(0.001)
        return Identity(await succeed(self.source))
"""


def basic(user: str, password: str) -> str:
    return f"Authorization: Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


class AuthenticationTestCase(TestCase):
    timeout = 30

    async def start(self, *arguments: str, target: str | None = "demo:", **files: str) -> Proxy:
        """@param files: modules that the proxy can import, by name."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text, encoding="utf-8")
        environment = {"USERS": "alice:wonderland", "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
        leading = () if target is None else ("--target", target)
        proxy = Proxy(folder, *leading, *arguments, environment=environment)
        self.addCleanup(proxy.stop)
        self.port = await proxy.port()
        return proxy

    async def ask(self, *headers: str, tls: Any = None) -> Response:
        """What an upgrade with these header lines is answered."""
        stream = connect(self.port, tls)
        self.addCleanup(stream.reset)
        return await Client(stream).upgrade(headers=headers)

    def assertDiscreet(self, proxy: Proxy, *secrets: str) -> None:
        """None of these is in the log, or among the arguments of what the proxy has started."""
        shown = "\n".join(proxy.lines)
        for pid in Path(f"/proc/{proxy.pid}/task/{proxy.pid}/children").read_text().split():
            shown += Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/environ").read_text()
        for secret in secrets:
            self.assertNotIn(secret, shown)


class PasswordTests(AuthenticationTestCase):
    async def test_basic(self) -> None:
        """Missing and wrong credentials are challenged, malformed ones are not; the log has names, and no password."""
        proxy = await self.start("--auth-plugin", "BasicHTTPAuth", "--auth-source", "env:USERS", "--workers", "2")
        for headers, status in (
            ((), 401),
            ((basic("alice", "wrong"),), 401),
            ((basic("bob", "wonderland"),), 401),
            (("Authorization: Basic %%%",), 403),
            (("Authorization: Basic YWxpY2U=",), 403),
            ((basic("alice", "wonderland"),), 101),
        ):
            response = await self.ask(*headers)
            self.assertEqual(response.status, status, headers)
            self.assertEqual(response.headers.get("www-authenticate"), CHALLENGE if status == 401 else None)
        await proxy.said("→ demo:.*alice")
        await proxy.said("refused: 401 .*no user by this name with this password")
        self.assertDiscreet(proxy, "wonderland", "wrong", b64encode(b"alice:wonderland").decode())

    async def test_htpasswd(self) -> None:
        """A file of hashes, whose changes count at once."""
        path = Path(self.mktemp())
        path.write_text(f"alice:{cheap('one')}\n", encoding="utf-8")
        await self.start("--auth-plugin", "HtpasswdAuth", "--auth-source", str(path.absolute()))
        self.assertEqual((await self.ask(basic("alice", "one"))).status, 101)
        self.assertEqual((await self.ask(basic("alice", "two"))).status, 401)
        self.assertEqual((await self.ask(basic("bob", "one"))).status, 401)
        path.with_suffix(".new").write_text(f"alice:{cheap('three')}\n", encoding="utf-8")
        path.with_suffix(".new").rename(path)
        self.assertEqual((await self.ask(basic("alice", "one"))).status, 401)
        self.assertEqual((await self.ask(basic("alice", "three"))).status, 101)

    async def test_checker(self) -> None:
        """A credential checker of Twisted's, and its file."""
        path = Path(self.mktemp())
        path.write_text("alice:one\n", encoding="utf-8")
        proxy = await self.start("--auth", f"file:{path.absolute()}")
        self.assertEqual((await self.ask()).headers["www-authenticate"], CHALLENGE)
        self.assertEqual((await self.ask(basic("alice", "two"))).status, 401)
        self.assertEqual((await self.ask(basic("alice", "one"))).status, 101)
        await proxy.said("→ demo:.*alice")

    async def test_pages(self) -> None:
        """With --web-auth pages are for those who may come in alone."""
        await self.start("--auth-plugin", "BasicHTTPAuth", "--auth-source", "env:USERS", "--web-auth")
        for header, status in (("", 401), (basic("alice", "wonderland") + "\r\n", 200)):
            stream = connect(self.port)
            self.addCleanup(stream.reset)
            stream.write(f"GET / HTTP/1.1\r\nHost: localhost\r\n{header}\r\n".encode())
            self.assertEqual((await Client(stream).response()).status, status)


class OriginTests(AuthenticationTestCase):
    async def test_expectOrigin(self) -> None:
        """ExpectOrigin's list is the origin policy, and whoever sends no Origin is refused."""
        proxy = await self.start(
            "--auth-plugin", "ExpectOrigin", "--auth-source", "https://a.example https://b.example"
        )
        for headers, status in (
            ((), 403), (("Origin: http://localhost",), 403), (("Origin: https://b.example",), 101),
        ):  # fmt: skip
            self.assertEqual((await self.ask(*headers)).status, status, headers)
        await proxy.said("refused: 403 Origin not allowed: no Origin")


class CertificateTests(AuthenticationTestCase):
    async def test_commonName(self) -> None:
        """ClientCertCNAuth goes by the verified certificate; a header of its name lets nobody in."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "cert.pem").write_bytes(authority().issue(*LOCAL).both)
        (folder / "ca.pem").write_bytes(pem(authority().certificate))
        proxy = await self.start(
            *("--cert", str(folder / "cert.pem"), "--verify-client", "--cafile", str(folder / "ca.pem")),
            *("--auth-plugin", "ClientCertCNAuth", "--auth-source", "alice carol"),
        )
        for name, status in (("alice", 101), ("mallory", 403)):
            shown = PrivateCertificate.loadPEM(authority().issue(name, client=True).both)
            forged = "ssl_client_s_dn_cn: alice"
            self.assertEqual((await self.ask(forged, tls=trusting(clientCertificate=shown))).status, status)
        await proxy.said("→ demo:.*alice")
        await proxy.said("refused: 403 Not allowed: certificate of mallory")


class WildTests(AuthenticationTestCase):
    """A class that was written for the original, which is not installed."""

    arguments = ("--auth-plugin", "wild.ByPort", "--auth-source", "alice,bob")

    async def startWild(self, *arguments: str) -> Proxy:
        return await self.start(*self.arguments, *arguments, target="127.0.0.1:9", wild=WILD)

    async def test_asked(self) -> None:
        """It is asked with headers and target, and what it raises is what the client is told."""
        proxy = await self.startWild()
        for headers, status in (
            ((), 401), (("X-User: mallory",), 403), (("X-User: alice", "Ssl_Client_S_Dn_Cn: root"), 101),
        ):  # fmt: skip
            response = await self.ask(*headers)
            self.assertEqual(response.status, status, headers)
            self.assertEqual(response.headers.get("www-authenticate"), "Wild" if status == 401 else None)
        await proxy.said("refused: 401 Who are you")
        await proxy.said("refused: 403 Forbidden: not in the list")

    async def test_raises(self) -> None:
        """What else it raises is a 503; the log has its traceback, and no credentials."""
        proxy = await self.startWild()
        secret = basic("alice", "hunter2")
        self.assertEqual((await self.ask("X-User: raise", secret)).status, 503)
        await proxy.said(r"KeyError: '\(hidden\)'")
        self.assertDiscreet(proxy, secret.rpartition(" ")[2])

    async def test_hangs(self) -> None:
        """It has 5 seconds; others are served meanwhile, and what hangs does not hold up the end, workers or not."""
        proxy = await self.startWild("--workers", "2")
        hanging = connect(self.port)
        self.addCleanup(hanging.reset)
        asked = Deferred.fromCoroutine(Client(hanging).upgrade(headers=["X-User: hang"]))
        self.assertEqual((await self.ask("X-User: bob")).status, 101)
        self.assertEqual((await asked).status, 503)
        await proxy.said("has not answered within 5 s: 1 of at most 32 calls hang")
        proxy.signal(signal.SIGTERM)
        self.assertEqual(await proxy.end(), 0)


class AsyncioTests(AuthenticationTestCase):
    async def test_both(self) -> None:
        """Under the asyncio reactor a plugin of the new contract may await asyncio's futures, and Deferreds."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "both.py").write_text(ASYNC, encoding="utf-8")
        running = startTwistd(
            self,
            *("--listen", "127.0.0.1:0", "--target", "demo:"),
            *("--auth-plugin", "both.Both", "--auth-source", "alice"),
            options=() if os.environ.get("WSPROXY_REACTOR") == "asyncio" else ("--reactor", "asyncio"),
            PYTHONPATH=f"{folder}{os.pathsep}{ROOT}",
        )
        self.port = int((await running.line(r" starting on (\d+)"))[1])
        self.assertEqual((await self.ask()).status, 101)
        await running.line("→ demo:.*alice")


class ComplaintTests(TestCase):
    timeout = 30

    async def test_oneLine(self) -> None:
        """What is wrong with a plugin is one line on stderr, without what may be a secret, and status 1."""
        for arguments, said in (
            (("--auth-plugin", "no.such.Class"), "--auth-plugin no.such.Class: cannot import no.such"),
            (("--auth-plugin", "os.path"), "--auth-plugin os.path: not a class, but module"),
            (("--auth-plugin", "int", "--auth-source", "hunter2"), "--auth-plugin int: not one of BasicHTTPAuth"),
            (("--auth-plugin", "builtins.int", "--auth-source", "hunter2"), "--auth-plugin builtins.int: ValueError"),
            (("--auth", "nonsense:hunter2"), "--auth nonsense: "),
        ):
            running = startTwistd(self, "--listen", "127.0.0.1:0", "--target", "demo:", *arguments)
            outcome = await running.end()
            self.assertEqual((outcome.status, outcome.err.count("\n")), (1, 1), outcome)
            self.assertIn(said, outcome.err)
            self.assertNotIn("hunter2", outcome.err)
