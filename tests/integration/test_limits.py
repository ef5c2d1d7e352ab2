"""A real proxy with limits, alone, with workers and with other nodes: who comes in, and what the rest is told."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.integration.bridge import connect
from tests.integration.client import Client, Response
from tests.integration.proxy import Proxy
from tests.integration.redisserver import RedisServer
from tests.integration.stream import adopt
from tests.integration.test_life import GREETING, LifeTestCase
from tests.integration.test_workers import WorkersTestCase
from wsproxy.frontend.explanation import TYPE

reactor: Any = _reactor

TOO_MANY = "refused: 503 Too many sessions: "


class LimitsTestCase(LifeTestCase):
    async def knock(self, *headers: str, port: int | None = None, source: str = "127.0.0.1") -> tuple[Response, Client]:
        """One that asks for a session, from this address."""
        connection = socket.socket()
        connection.bind((source, 0))
        connection.connect(("127.0.0.1", self.port if port is None else port))
        stream = adopt(connection)
        self.addCleanup(stream.reset)
        client = Client(stream)
        return await client.upgrade(headers=headers), client

    async def statuses(self, times: int, *headers: str, **more: Any) -> list[int]:
        """What so many are told, one after the other; those that are let in stay."""
        return [(await self.knock(*headers, **more))[0].status for _ in range(times)]

    async def get(self, path: str, *headers: str) -> tuple[Response, bytes]:
        client = Client(connect(self.port))
        self.addCleanup(client.stream.reset)
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
        client.stream.write("\r\n".join(lines).encode())
        return await client.response(), await client.stream.rest()


class SessionsTests(LimitsTestCase):
    """C{--max-sessions} and its kin, in one process."""

    async def test_all(self) -> None:
        """So many come in, and no more until one has gone; raw clients are some of them, pages are not."""
        proxy = await self.start("--max-sessions", "2", "--raw")
        first = await self.session()
        raw = self.connect()
        raw.write(b"hello\r\n")
        self.assertEqual(await raw.exactly(len(GREETING)), GREETING)
        for _ in range(8):
            response, _ = await self.knock()
            self.assertEqual((response.status, response.headers["retry-after"]), (503, "5"))
        another = self.connect()
        another.write(b"hello\r\n")
        await another.gone()
        self.assertEqual((await self.get("/"))[0].status, 200)
        lines = [line for line in proxy.lines if TOO_MANY in line]
        self.assertEqual(len(lines), 5, lines)
        self.assertIn(f"{TOO_MANY}2 are open, as many as --max-sessions says", lines[0])
        raw.reset()
        await proxy.said("closed by client")
        last = await self.session()
        await first.leave()
        await last.leave()

    async def test_explained(self) -> None:
        """A page that asks why is told, and takes nobody's place."""
        await self.start("--max-sessions", "1")
        for status in (101, 101):
            _, body = await self.get("/", f"Accept: {TYPE}")
            self.assertEqual(json.loads(body)["status"], status)
        await self.session()
        _, body = await self.get("/", f"Accept: {TYPE}")
        self.assertEqual(json.loads(body), {"status": 503, "reason": "Too many sessions"})

    async def test_client(self) -> None:
        """One address has its share, another one has its own."""
        await self.start("--max-sessions-per-client", "2")
        self.assertEqual(await self.statuses(3), [101, 101, 429])
        self.assertEqual(await self.statuses(3, source="127.0.0.2"), [101, 101, 429])

    async def test_realClient(self) -> None:
        """Behind a proxy that is trusted it is the client's address that counts."""
        await self.start("--max-sessions-per-client", "1", "--trusted-proxy", "127.0.0.1")
        for client in ("203.0.113.1", "203.0.113.2", "2001:db8::1"):
            self.assertEqual(await self.statuses(2, f"X-Forwarded-For: {client}"), [101, 429])
        self.assertEqual(await self.statuses(1, "X-Forwarded-For: 2001:db8::2"), [429])

    async def test_identity(self) -> None:
        """One user has as many sessions as that says, wherever they come from."""
        words = ("--auth-plugin", "BasicHTTPAuth", "--auth-source", "alice:a")
        await self.start(*words, "--max-sessions-per-identity", "1")
        alice = f"Authorization: Basic {b64encode(b'alice:a').decode()}"
        self.assertEqual(await self.statuses(2, alice), [101, 429])
        self.assertEqual(await self.statuses(1, alice, source="127.0.0.2"), [429])

    async def test_unreachable(self) -> None:
        """A session whose target cannot be reached has gone with its close."""
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            target = f"127.0.0.1:{nobody.getsockname()[1]}"
        proxy = await self.start("--max-sessions", "1", target=target)
        for number in (1, 2, 3):
            _, client = await self.knock()
            self.assertEqual((await client.rest())[1][0], 1011)
            client.close(1011)
            await proxy.said("closed by target", number)


class WorkersTests(WorkersTestCase, LimitsTestCase):
    """They hold for all workers together."""

    async def test_together(self) -> None:
        """As many come in as there may be, whoever serves them; what a worker had is free when it is dead."""
        proxy = await self.startWorkers("--max-sessions", "6")
        served = await self.sessions(6)
        self.assertEqual(await self.statuses(6), [503] * 6)
        shares = Counter(worker for worker, _ in served)
        os.kill((await self.pids())[0], signal.SIGKILL)
        await proxy.said("worker 1 ended with status 137")
        self.assertEqual(await self.statuses(shares[1] + 2), [101] * shares[1] + [503] * 2)

    async def test_stopped(self) -> None:
        """While the parent is stopped nobody comes in, but nobody waits long; then all is as before."""
        proxy = await self.startWorkers("--max-sessions", "2")
        client = await self.session()
        proxy.signal(signal.SIGSTOP)
        began = time.monotonic()
        knocks = await gatherResults([Deferred.fromCoroutine(self.knock()) for _ in range(4)])
        self.assertEqual({response.status for response, _ in knocks}, {503})
        self.assertLess(time.monotonic() - began, 5)
        await self.assertAlive(client, b"still here")
        proxy.signal(signal.SIGCONT)
        self.assertEqual(await self.statuses(2), [101, 503])


class GuessesTests(WorkersTestCase, LimitsTestCase):
    """Who guesses too often."""

    words = ("--auth-plugin", "BasicHTTPAuth", "--auth-source", "alice:a", "--trusted-proxy", "127.0.0.1")
    client = "X-Forwarded-For: 203.0.113.7"
    right = f"Authorization: Basic {b64encode(b'alice:a').decode()}"
    wrong = f"Authorization: Basic {b64encode(b'alice:b').decode()}"

    async def test_blocked(self) -> None:
        """Ten wrong passwords are answered; then it is 429 for whatever is tried, pages too, and when to try again."""
        proxy = await self.start(*self.words, "--web-auth")
        self.assertEqual(await self.statuses(20, self.client), [401] * 20)  # without any there is no guess
        told = [(await self.get("/", self.client, self.wrong))[0].status for _ in range(4)]
        explained = [await self.get("/", self.client, self.wrong, f"Accept: {TYPE}") for _ in range(3)]
        told += [json.loads(body)["status"] for _, body in explained]
        told += await self.statuses(5, self.client, self.wrong)
        self.assertEqual(told, [401] * 10 + [429] * 2)
        response, _ = await self.knock(self.client, self.right)
        self.assertEqual(response.status, 429)
        self.assertTrue(290 <= int(response.headers["retry-after"]) <= 300)
        self.assertEqual((await self.get("/", self.client, self.right))[0].status, 429)
        self.assertEqual((await self.knock("X-Forwarded-For: 203.0.113.8", self.right))[0].status, 101)
        [line] = [line for line in proxy.lines if "429" in line][:1]
        self.assertIn("10 wrong credentials or tokens within 5 minutes", line)

    async def test_loopback(self) -> None:
        """Clients of this machine guess as often as they like."""
        await self.start(*self.words)
        self.assertEqual(await self.statuses(30, self.wrong), [401] * 30)

    async def test_workers(self) -> None:
        """Of many guesses at once, at two workers, ten are answered; from then on both know."""
        await self.startWorkers(*self.words)
        knocks = [self.knock(self.client, self.wrong) for _ in range(60)]
        answers = await gatherResults([Deferred.fromCoroutine(knock) for knock in knocks])
        self.assertEqual(Counter(response.status for response, _ in answers), {401: 10, 429: 50})
        self.assertEqual(await self.statuses(6, self.client, self.right), [429] * 6)


class NodesTests(WorkersTestCase, LimitsTestCase):
    """Two nodes with one Redis."""

    async def test_nodes(self) -> None:
        """Limits and guesses count for both, workers or not; one that ends leaves its room to the other."""
        server = RedisServer(Path(self.mktemp()).absolute())
        self.addCleanup(server.stop)
        server.start()
        url = Path(self.mktemp()).absolute()
        url.write_text(f"redis://127.0.0.1:{server.port}/?key=geheim\n")
        words = (*GuessesTests.words, "--cluster", f"@{url}", "--max-sessions", "4")
        many = await self.startWorkers(*words)
        ports = [self.port]
        one = await self.start(*words)
        ports.append(self.port)
        told = [(await self.knock(GuessesTests.right, port=ports[n % 2]))[0].status for n in range(8)]
        self.assertEqual(told, [101] * 4 + [503] * 4)
        self.assertEqual(await many.stop(), 0)
        self.assertEqual(await self.statuses(3, GuessesTests.right), [101, 101, 503])
        guesses = [GuessesTests.client, GuessesTests.wrong]
        again = await self.startWorkers(*words)
        ports[0] = self.port
        told = [(await self.knock(*guesses, port=ports[n % 2]))[0].status for n in range(12)]
        self.assertEqual(told, [401] * 10 + [429] * 2)
        server.stop()
        await one.said("--cluster: redis://127.0.0.1:[0-9]+/0 is away")
        self.assertEqual(await self.statuses(5, GuessesTests.right), [101] * 4 + [503])
        for proxy in (again, one):
            self.assertNotIn("geheim", "".join(proxy.lines))

    async def test_deaf(self) -> None:
        """While Redis is stopped workers let clients in by the node's own counts; one round of them waits for that."""
        server = RedisServer(Path(self.mktemp()).absolute())
        self.addCleanup(server.stop)
        server.start()
        proxy = await self.startWorkers("--max-sessions", "4", "--cluster", f"redis://127.0.0.1:{server.port}/?key=x")
        self.assertEqual(await self.statuses(1), [101])
        server.freeze()
        knocks = await gatherResults([Deferred.fromCoroutine(self.knock()) for _ in range(2)])
        self.assertEqual([response.status for response, _ in knocks], [101, 101])
        await proxy.said("is away: no answer for 2 s")
        began = time.monotonic()
        self.assertEqual(await self.statuses(3), [101, 503, 503])
        self.assertLess(time.monotonic() - began, 1)


class TokensTests(WorkersTestCase, LimitsTestCase):
    """Tokens in Redis: counted, guessed, and looked up again after a restart."""

    async def test_tokens(self) -> None:
        """One token has its sessions; unknown ones are guesses; Redis comes back without anybody's help."""
        server = RedisServer(Path(self.mktemp()).absolute())
        self.addCleanup(server.stop)
        server.start()
        server.cli("set", "ns:geheim", self.target())
        words = ("--token-plugin", "TokenRedis", "--token-source", f"127.0.0.1:{server.port}:::ns")
        words = (*words, "--max-sessions-per-token", "1", "--trusted-proxy", "127.0.0.1", "--workers", "2")
        proxy = Proxy(Path(self.mktemp()).absolute(), *words)
        self.addCleanup(proxy.stop)
        self.port = await proxy.port()
        self.assertEqual([await self.ask("geheim") for _ in range(3)], [101, 429, 429])
        self.assertEqual([await self.ask("wrong") for _ in range(12)], [403] * 10 + [429] * 2)
        server.stop()
        told = [await self.ask("geheim", "203.0.113.8") for _ in range(3)]
        self.assertEqual(told, [503] * 3)
        server.start()
        server.cli("set", "ns:another", self.target())
        until = time.monotonic() + 8
        while (status := await self.ask("another", "203.0.113.8")) != 101:
            self.assertEqual(status, 503)
            self.assertLess(time.monotonic(), until)
        self.assertNotIn("geheim", "".join(proxy.lines))

    def target(self) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        return f"127.0.0.1:{listener.getsockname()[1]}"

    async def ask(self, token: str, client: str = "203.0.113.7") -> int:
        client_ = Client(self.connect())
        return (await client_.upgrade(f"/?token={token}", headers=[f"X-Forwarded-For: {client}"])).status
