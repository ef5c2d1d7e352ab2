"""Token and auth classes that were written for websockify, together, by a real C{twistd}."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from twisted.internet.defer import Deferred

from tests.integration.bridge import connect
from tests.integration.client import Client, Response
from tests.integration.proxy import Proxy
from tests.integration.test_authentication import AuthenticationTestCase, basic

WILD = """
import asyncio
import sys
import time

from websockify.auth_plugins import AuthenticationError
from websockify.token_plugins import BasePlugin


class Book(BasePlugin):
    "Answers what tokens say; its source is a file that has a line for each that it was asked about."

    async def slowly(self):
        await asyncio.sleep(0.001)
        return "127.0.0.1", 9

    def lookup(self, token):
        with open(self.source, "a") as asked:
            asked.write(token + "\\n")
        if token == "hang":
            time.sleep(3600)
        if token == "sesame":
            return {}[token]
        if token == "exit":
            sys.exit(3)
        if token == "loop":
            return asyncio.get_event_loop().run_until_complete(self.slowly())
        return {
            "list": ["127.0.0.1", "9"],
            "int": ("127.0.0.1", 9),
            "bytes": ("127.0.0.1", b"9"),
            "v6": ("::1", 9),
            "socket": ("unix_socket", "/nowhere"),
            "text": 42,
            "three": ("a", "b", "c"),
            "port": ("127.0.0.1", None),
            "newline": ("a\\nb", 9),
        }.get(token)


class Gate:
    "No base class. Refuses with what it was told, unless a header says so."

    def __init__(self, source):
        pass

    def authenticate(self, headers, target_host, target_port):
        if headers.get("X-Friend") is None:
            place = {"X-Place": f"{target_host} {target_port!r}"}
            raise AuthenticationError(response_code=401, response_headers=place, response_msg="Who?")


class Framer:
    "Refuses with the header that it is told."

    def __init__(self, source):
        pass

    def authenticate(self, headers, target_host, target_port):
        raise AuthenticationError(response_code=401, response_headers={headers["X-Name"]: headers["X-Value"]})
"""


class OldClassesTests(AuthenticationTestCase):
    async def startWild(self, *arguments: str) -> Proxy:
        self.asked = Path(self.mktemp()).absolute()
        self.asked.touch()
        tokens = ("--token-plugin", "wild.Book", "--token-source", str(self.asked))
        return await self.start(*tokens, *arguments, target=None, wild=WILD)

    async def askFor(self, token: str | None, *headers: str) -> Response:
        stream = connect(self.port)
        self.addCleanup(stream.reset)
        return await Client(stream).upgrade("/" if token is None else f"/?token={token}", headers=headers)

    async def test_answers(self) -> None:
        """What a class answers leads there; what it does not know, and no token, is a 403; what is nonsense, a 503."""
        proxy = await self.startWild()
        for tokens, status in (
            (("list", "int", "bytes", "v6", "loop"), 101),
            (("unknown", None), 403),
            (("text", "three", "port", "newline", "sesame", "exit"), 503),
        ):
            for token in tokens:
                self.assertEqual((await self.askFor(token)).status, status, token)
        await proxy.said(r"→ \[::1\]:9")
        await proxy.said(r"KeyError: '\(hidden\)'")
        self.assertDiscreet(proxy, "sesame")

    async def test_order(self) -> None:
        """An auth class is asked after the lookup, about its target; its refusal goes out before the token's."""
        await self.startWild("--auth-plugin", "wild.Gate")
        nowhere = [(token, "None None") for token in ("unknown", "socket", None)]
        somewhere = [("int", "127.0.0.1 9"), ("list", "127.0.0.1 '9'"), ("bytes", "127.0.0.1 b'9'")]
        for token, place in (*somewhere, *nowhere):
            response = await self.askFor(token)
            self.assertEqual((response.status, response.headers["x-place"]), (401, place), token)
        for token, status in (("int", 101), ("unknown", 403), ("sesame", 503)):
            self.assertEqual((await self.askFor(token, "X-Friend: yes")).status, status)

    async def test_framing(self) -> None:
        """No header of an old class frames what an upgrade or a page is answered: it is a whole 503, with a line."""
        proxy = await self.start("--auth-plugin", "wild.Framer", "--web-auth", wild=WILD)
        for name, value, status in (
            ("Content-Length", "9999", 503),
            ("Transfer-Encoding", "chunked", 503),
            ("Connection", "keep-alive", 503),
            ("Bad Name", "x", 503),
            ("X-Good", "x", 401),
        ):
            headers = (f"X-Name: {name}", f"X-Value: {value}")
            self.assertEqual((await self.askFor(None, *headers)).status, status, name)
            stream = connect(self.port)
            self.addCleanup(stream.reset)
            stream.write(
                "\r\n".join(("GET / HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", "")).encode()
            )
            answer = await stream.rest()
            head, _, body = answer.lower().partition(b"\r\n\r\n")
            self.assertEqual(int(head.split()[1]), status, name)
            self.assertEqual(re.findall(b"content-length: (.*)", head), [b"%d\r" % len(body)])
            self.assertEqual(
                head.count(f"{name}: ".lower().encode()), 1 if name in ("Content-Length", "Connection", "X-Good") else 0
            )
        await proxy.said("a header that is none, or that is about the connection or the body", 8)

    async def test_noLookup(self) -> None:
        """Nothing is looked up for whoever one of the proxy's own does not let in: known and unknown look alike."""
        await self.startWild("--auth-plugin", "BasicHTTPAuth", "--auth-source", "env:USERS")
        strangers = [(token, *header) for token in ("int", "unknown") for header in ((), (basic("a", "b"),))]
        seen = {str(await self.askFor(*stranger)) for stranger in strangers}
        self.assertEqual((len(seen), self.asked.read_text()), (1, ""))
        self.assertEqual((await self.askFor("int", basic("alice", "wonderland"))).status, 101)
        self.assertEqual(self.asked.read_text(), "int\n")

    async def test_hangs(self) -> None:
        """A lookup has 5 seconds; others are answered meanwhile, and the end does not wait for it."""
        proxy = await self.startWild()
        asked = Deferred.fromCoroutine(self.askFor("hang"))
        self.assertEqual((await self.askFor("int")).status, 101)
        self.assertEqual((await asked).status, 503)
        await proxy.said("has not answered within 5 s: 1 of at most 32 calls hang")
        proxy.signal(signal.SIGTERM)
        self.assertEqual(await proxy.end(), 0)
