"""Clients of the drafts (C{--legacy}): those of tests.integration.hixie, and one of version 8."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.integration.bridge import BridgeTestCase, connect
from tests.integration.client import Client, Closed, header
from tests.integration.hixie import Hixie75, Hixie76
from tests.integration.stream import Stream
from wsproxy.access.resolver import FixedResolver
from wsproxy.errors import Refusal
from wsproxy.factory import WebSockifyFactory
from wsproxy.interfaces import Identity, Request, Target
from wsproxy.resource import WebSockifyResource

reactor: Any = _reactor
LARGE = os.urandom(1 << 20)


class HixieContract:
    """What a client of 2010 may expect, whichever draft it was written from."""

    client: type[Hixie75]
    name: str
    secure: bool

    async def hixie(self: Any, **how: Any) -> tuple[Hixie75, Stream]:
        client = self.client(self.connect(), self.secure)
        response = await client.upgrade("/websockify?token=a%20b", **how)
        self.assertEqual(response.status, 101, response)
        return client, await self.target.accept()

    async def test_echo(self: Any) -> None:
        """Bytes of any value go through, both ways; the log says which draft it is."""
        client, target = await self.hixie()
        client.send(bytes(range(256)))
        self.assertEqual(await target.exactly(256), bytes(range(256)))
        target.write(bytes(range(256)))
        self.assertEqual(await client.exactly(256), bytes(range(256)))
        scheme = "wss" if self.secure else "ws"
        await self.proxy.said(rf"\({scheme} /websockify, {self.name}\)", since=self._since)

    async def test_large(self: Any) -> None:
        """So do many, at the same time."""
        client, target = await self.hixie()
        for at in range(0, len(LARGE), 50000):
            client.send(LARGE[at : at + 50000])
        target.write(LARGE)
        up, down = await gatherResults([_asked(target.exactly(len(LARGE))), _asked(client.exactly(len(LARGE)))])
        self.assertEqual((up == LARGE, down == LARGE), (True, True))

    async def test_subprotocols(self: Any) -> None:
        """
        C{base64} is agreed on where it is offered. What offers nothing, or no more than C{binary}, is told nothing, and
        speaks base64 all the same, as websock.js took for granted.
        """
        for offer, told in (("base64", "base64"), (None, None), ("binary", None)):
            client = self.client(self.connect(), self.secure)
            response = await client.upgrade(offer=offer)
            self.assertEqual(response.headers.get(f"{client.prefix}WebSocket-Protocol".lower()), told)
            target = await self.target.accept()
            client.send(b"up")
            target.write(b"down")
            self.assertEqual((await target.exactly(2), await client.exactly(4)), (b"up", b"down"))

    async def test_split(self: Any) -> None:
        """A request that arrives in pieces, what belongs to it behind its headers included."""
        client, target = await self.hixie(pieces=40)
        client.send(b"x")
        self.assertEqual(await target.exactly(1), b"x")

    async def test_targetEnds(self: Any) -> None:
        """The client gets all that the target said before it closed, and then hears of it at once."""
        client, target = await self.hixie()
        target.write(b"bye")
        target.close()
        self.assertEqual(await client.exactly(3), b"bye")
        await client.closed()
        client.close()
        await client.stream.gone()
        ending = await self.ending(client)
        self.assertRegex(ending, r"^closed by target: 1000 Target closed; 0\.\d s, 0 bytes up, 3 bytes down$")

    async def test_clientEnds(self: Any) -> None:
        """The target gets all that the client said before it left."""
        client, target = await self.hixie()
        client.send(b"bye")
        client.close()
        self.assertEqual(await target.rest(), b"bye")
        target.close()
        self.assertRegex(await self.ending(client), r"^closed by client: 100[56] .* 3 bytes up, 0 bytes down$")

    async def test_broken(self: Any) -> None:
        """What is no base64 ends the session; the target gets what came before."""
        client, target = await self.hixie()
        client.send(b"good")
        client.stream.write(b"\0*\xff")
        await client.closed()
        client.close()
        self.assertEqual(await target.rest(), b"good")
        target.close()
        self.assertIn("1007 Invalid base64 in a text message", await self.ending(client))

    async def test_unreachable(self: Any) -> None:
        """A target that resets the connection ends the session."""
        client, target = await self.hixie()
        client.send(b"x")
        await target.exactly(1)
        target.reset()
        await client.closed()
        client.close()
        self.assertIn("1011 Target connection lost", await self.ending(client))

    async def test_silent(self: Any) -> None:
        """Heartbeats do not end the session of one that cannot be pinged."""
        client, target = await self.hixie()
        modern, _ = await self.session()
        for _ in range(5):
            await modern._frame()  # a ping, every 0.3 s
            modern.stream.write(header(0, 10))
        client.send(b"here")
        self.assertEqual(await target.exactly(4), b"here")

    async def test_origin(self: Any) -> None:
        """A page of another host is refused, one of this is not, and programs have none."""
        own = self.client(self.connect(), self.secure).origin
        for origin, status in (("http://evil.example", 403), ("null", 403), (None, 101), (own, 101)):
            client = self.client(self.connect(), self.secure)
            client.origin = origin
            self.assertEqual((await client.upgrade()).status, status, origin)
            if status == 101:
                await self.target.accept()


def _asked(coroutine: Any) -> Any:
    return Deferred.fromCoroutine(coroutine)


_ARGUMENTS = ("--legacy", "--heartbeat", "0.3", "--handshake-timeout", "1")


class Hixie75Tests(HixieContract, BridgeTestCase):
    arguments, client, name = _ARGUMENTS, Hixie75, "hixie-75"


class Hixie76Tests(HixieContract, BridgeTestCase):
    arguments, client, name = _ARGUMENTS, Hixie76, "hixie-76"

    async def test_closing(self) -> None:
        """The client's Close is answered, and the connection ended."""
        client, _ = await self.hixie()
        client.close()
        await client.closed()
        await client.stream.gone()

    async def test_waiting(self) -> None:
        """Eight bytes that do not come are waited for as long as a handshake may take; the connection ends then."""
        client = Hixie76(self.connect())
        client.body = lambda: b"1234567"  # type: ignore[method-assign]
        with self.assertRaises(ConnectionLost):
            await client.upgrade()
        self.assertEqual([line for line in self.proxy.lines[self._since :] if "→" in line or "Traceback" in line], [])

    async def test_together(self) -> None:
        """What comes in one piece with the request is not lost, nor taken for a part of it."""
        client = Hixie76(self.connect())
        own = client.body
        client.body = lambda: own() + b"\0aGVsbG8=\xff"  # type: ignore[method-assign]
        await client.upgrade()
        self.assertEqual(await (await self.target.accept()).exactly(5), b"hello")

    async def test_badKeys(self) -> None:
        """Keys that are none are answered 400, whatever a stranger thinks of."""
        for key in ("", "12345", "1 2 x3", "9" * 5000 + " ", "99999999999 9", "1 2 3"):
            client = Hixie76(self.connect())
            client.keys()
            lines = f"Sec-WebSocket-Key1: {key}", "Sec-WebSocket-Key2: 1 2x4"
            client.keys = lambda lines=lines: lines  # type: ignore[method-assign, misc]
            self.assertEqual((await client.upgrade()).status, 400, key)
        told = "refused: 400 Malformed WebSocket handshake: Sec-WebSocket-Key1 is no key of draft 76"
        await self.proxy.said(told, since=self._since)

    async def test_flash(self) -> None:
        """A player of Flash, which stands in for the browser, first asks for a policy, and then comes again."""
        asking = self.connect()
        asking.write(b"<policy-file-request/>\0")
        policy = await asking.rest()
        self.assertIn(f'to-ports="{self.port}"'.encode(), policy)
        client, target = await self.hixie()
        client.send(b"x")
        self.assertEqual(await target.exactly(1), b"x")


class SecureHixie75Tests(Hixie75Tests):
    secure = True


class Version8(Client):
    """draft-ietf-hybi-thewebsocketprotocol-08 to -12: frames as today, another name for C{Origin}."""

    async def ask(self, *headers: str, offer: tuple[str, ...] = ()) -> Any:
        lines = [
            "GET /websockify HTTP/1.1",
            "Host: localhost",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 8",
            *(f"Sec-WebSocket-Protocol: {name}" for name in offer),
            *headers,
        ]
        self.stream.write("\r\n".join([*lines, "", ""]).encode())
        response = await self.response()
        self.base64 = response.headers.get("sec-websocket-protocol") == "base64"
        return response


class Version8Tests(BridgeTestCase):
    arguments = _ARGUMENTS

    async def test_session(self) -> None:
        """Its frames are today's, and so is what it is told: pings, codes and reasons."""
        for offer, chosen in ((("base64", "binary"), "binary"), (("base64",), "base64")):
            client = Version8(self.connect())
            response = await client.ask("Sec-WebSocket-Origin: http://localhost", offer=offer)
            self.assertEqual(response.status, 101)
            self.assertEqual(response.headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            self.assertEqual(response.headers["sec-websocket-protocol"], chosen)
            target = await self.target.accept()
            client.send(b"up")
            target.write(b"down")
            self.assertEqual((await target.exactly(2), await client.exactly(4)), (b"up", b"down"))
            target.close()
            with self.assertRaises(Closed) as raised:
                await client.some()
            self.assertEqual(raised.exception.told, (1000, "Target closed"))

    async def test_origin(self) -> None:
        """C{Sec-WebSocket-Origin} is an Origin; one that contradicts another is none that may come in."""
        evil, good = "http://evil.example", "http://localhost"
        for headers, status in (
            ((f"Sec-WebSocket-Origin: {evil}",), 403),
            ((f"Sec-WebSocket-Origin: {evil}", f"Origin: {good}"), 403),
            ((f"Sec-WebSocket-Origin: {good}", f"Origin: {evil}"), 403),
            ((f"Sec-WebSocket-Origin: {good}", f"Sec-WebSocket-Origin: {evil}"), 403),
            ((f"Origin: {evil}",), 403),
            ((f"Sec-WebSocket-Origin: {good}:80",), 101),
            ((f"Sec-WebSocket-Origin: {good}:80", f"Origin: {good}:80"), 101),
            ((), 101),
        ):
            self.assertEqual((await Version8(self.connect()).ask(*headers)).status, status, headers)
            if status == 101:
                await self.target.accept()
        await self.proxy.said(f"refused: 403 Origin not allowed: Origin {evil}", since=self._since)

    async def test_today(self) -> None:
        """A client of version 13 is nobody's draft: its C{Sec-WebSocket-Origin} means nothing, and its Origin all."""
        client = Client(self.connect())
        response = await client.upgrade(
            headers=("Origin: http://evil.example", "Sec-WebSocket-Origin: http://localhost")
        )
        self.assertEqual(response.status, 403)
        client, target = await self.session("binary")
        client.send(b"x")
        self.assertEqual(await target.exactly(1), b"x")


class OffTests(BridgeTestCase):
    """Without C{--legacy}."""

    async def test_refused(self) -> None:
        """None of them is let in; the log says what would."""
        for status, asking, told in (
            (426, Version8(self.connect()).ask(), "Sec-WebSocket-Version is 8, .* or --legacy"),
            (426, Hixie76(self.connect()).upgrade(), "Sec-WebSocket-Key1 is of a draft of 2010: .* or --legacy"),
            (426, Hixie75(self.connect()).upgrade(), "no Sec-WebSocket-Version"),
        ):
            self.assertEqual((await asking).status, status)
            await self.proxy.said(told, since=self._since)


class WorkersTests(BridgeTestCase):
    arguments = ("--legacy", "--workers", "2")

    async def test_worker(self) -> None:
        """It is said once, at the start, what is given up; however many processes there are, which all know them."""
        for client in (Hixie75, Hixie76):
            hixie = client(self.connect())
            self.assertEqual((await hixie.upgrade()).status, 101)
            (await self.target.accept()).write(b"hello")
            self.assertEqual(await hixie.exactly(5), b"hello")
        warnings = [line for line in self.proxy.lines if "--legacy: clients of 2009 to 2011 are let in" in line]
        self.assertEqual(len(warnings), 1)


class EmbeddedTests(TestCase):
    """All that decides about clients does so about those of the drafts, on a port of ours and in a Site."""

    async def serve(self, **how: Any) -> tuple[int, int]:
        """@return: the port of a factory, and that of a Site with its resource."""
        factory = WebSockifyFactory(
            reactor, resolver=FixedResolver(Target("demo:")), origins=("*",), legacy=True, **how
        )
        root = Resource()
        root.putChild(b"ws", WebSockifyResource(factory))
        ports = [
            await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(each) for each in (factory, Site(root))
        ]
        for port in ports:
            self.addCleanup(port.stopListening)
        self.addCleanup(factory.closeAll)
        return ports[0].getHost().port, ports[1].getHost().port

    def stream(self, port: int) -> Stream:
        stream = connect(port)
        self.addCleanup(stream.gone)
        self.addCleanup(stream.reset)
        return stream

    async def test_authenticator(self) -> None:
        """It sees the request, and adds to the answer; a refusal is an answer of HTTP's."""
        seen: list[Request] = []

        def authenticate(request: Request) -> Identity:
            seen.append(request)
            if request.query.get("token") != "good":
                raise Refusal(401, "Who?", (("WWW-Authenticate", "Basic realm=x"),))
            return Identity("alice", responseHeaders=(("Set-Cookie", "a=b"),))

        for port in await self.serve(authenticator=authenticate):
            for client in (Hixie75, Hixie76):
                refused = await client(self.stream(port)).upgrade("/ws?token=bad")
                self.assertEqual((refused.status, refused.headers["www-authenticate"]), (401, "Basic realm=x"))
                hixie = client(self.stream(port))
                response = await hixie.upgrade("/ws?token=good", pieces=20)
                self.assertEqual(response.headers["set-cookie"], "a=b")
                self.assertTrue(await hixie.exactly(5))
                self.assertEqual(seen[-1].headers["origin"], "http://localhost")
                self.assertEqual(seen[-1].subprotocols, ("base64",))
            version8 = await Version8(self.stream(port)).ask("Sec-WebSocket-Origin: http://page.example")
            self.assertIn(version8.status, (401, 404))

    async def test_originsCalled(self) -> None:
        """A callable for origins is asked about the page that version 8 names its own way."""
        pages: list[str | None] = []

        def allows(request: Request) -> bool:
            pages.append(request.headers.get("origin"))
            return False

        factory = WebSockifyFactory(reactor, resolver=FixedResolver(Target("demo:")), origins=allows, legacy=True)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        client = Version8(self.stream(port.getHost().port))
        self.assertEqual((await client.ask("Sec-WebSocket-Origin: http://page.example")).status, 403)
        self.assertEqual(pages, ["http://page.example"])

    async def test_gates(self) -> None:
        """Who may not come in is told so, Hixie or not."""
        for port in await self.serve(allow=("192.0.2.1",)):
            for client in (Hixie75, Hixie76):
                self.assertEqual((await client(self.stream(port)).upgrade("/ws")).status, 403)

    async def test_location(self) -> None:
        """Behind a trusted proxy, the answer names what the browser connected to."""
        port, _ = await self.serve(trustedProxies=("127.0.0.1",))
        for client in (Hixie75, Hixie76):
            hixie = client(self.stream(port), secure=True, host="public.example")
            forwarded = ("X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: public.example")
            self.assertEqual((await hixie.upgrade("/", headers=forwarded)).status, 101)

    async def test_hostile(self) -> None:
        """What a client would have in its answer is no line of its own there, whatever separates lines for somebody."""
        port, _ = await self.serve()
        for bad in ("\x0b", "\x0c", "\x1c", "\x85", "\x00", "é"):
            stream = self.stream(port)
            stream.write(
                f"GET /x{bad}y HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: h\r\n"
                f"Origin: http://a{bad}Set-Cookie: b\r\n\r\n".encode("latin-1")
            )
            head = (await stream.until(b"\r\n\r\n")).decode("ascii")
            self.assertEqual(len(head.splitlines()), head.count("\r\n"), head)
