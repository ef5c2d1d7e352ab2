"""Three real nodes, one of them with workers, and a real Redis: whose access is revoked is out within a second."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.integration.bridge import connect
from tests.integration.client import Client, Response
from tests.integration.proxy import Proxy
from tests.integration.redisserver import RedisServer
from tests.integration.twistd import ROOT
from wsproxy.cluster.cluster import hiding, joinCluster
from wsproxy.cluster.errors import RedisError
from wsproxy.links.mint import claimsFor, mint
from wsproxy.nodes.follower import LOOK
from wsproxy.nodes.make import makeRevocations
from wsproxy.nodes.revocations import Revocations
from wsproxy.nodes.roster import LIFETIME, readRoster
from wsproxy.nodes.subject import Subjects

reactor: Any = _reactor

WSPROXY = str(Path(sys.executable).with_name("wsproxy"))

LONG = os.environ.get("WSPROXY_SOAK") == "long"

SESSIONS = 1000 if LONG else 100

REVOKED = (4001, "Access revoked")

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


async def ended(node: Proxy) -> None:
    await node.stop()


class NodesTestCase(TestCase):
    """Nodes with a key for links, which lead to the built-in target."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        self.secret = secrets.token_hex(32)
        (self.folder / "link.key").write_text(self.secret)
        self.redis = RedisServer(self.folder / "redis", *DURABLE)
        self.addCleanup(self.redis.stop)
        self.redis.start()
        self.url = f"redis://127.0.0.1:{self.redis.port}/?key=geheim"
        self.nodes: list[Proxy] = []
        self.ports: list[int] = []

    async def start(self, *nodes: Sequence[str]) -> None:
        """@param nodes: of each, more words."""
        words = ("--link-key", f"@{self.folder / 'link.key'}", "--heartbeat", "0", "--cluster", self.url)
        for more in nodes:
            proxy = Proxy(self.folder / f"node{len(self.nodes)}", *words, *more)
            self.addCleanup(proxy.stop)
            self.nodes.append(proxy)
        self.ports = list(await gatherResults([Deferred.fromCoroutine(each.port()) for each in self.nodes]))

    def link(self, identity: str | None = None, **more: Any) -> str:
        claims = claimsFor("demo:", now=time.time(), lifetime=600, identity=identity) | more
        return mint(self.secret.encode(), claims)

    async def knock(self, token: str, node: int = 0) -> tuple[Response, Client]:
        stream = connect(self.ports[node])
        self.addCleanup(stream.reset)
        client = Client(stream)
        return await client.upgrade(f"/?token={token}"), client

    async def session(self, token: str, node: int = 0) -> Client:
        response, client = await self.knock(token, node)
        self.assertEqual(response.status, 101)
        await client.some()  # it is greeted: the session is complete
        return client

    async def status(self, token: str, node: int = 0) -> int:
        return (await self.knock(token, node))[0].status

    async def ending(self, client: Client) -> tuple[Any, float]:
        """@return: how it was closed, and when."""
        told = (await client.rest())[1]
        client.close(told[0])
        return told, time.monotonic()

    async def assertRevoked(self, clients: Sequence[Client], since: float, within: float = 1.0) -> None:
        endings = await gatherResults([Deferred.fromCoroutine(self.ending(each)) for each in clients])
        self.assertEqual({told for told, _ in endings}, {REVOKED})
        self.slowest = max(when for _, when in endings) - since
        self.assertLess(self.slowest, within)

    def wsproxy(self, *words: str, stdin: str = "", cluster: bool = True) -> Deferred[subprocess.CompletedProcess[str]]:
        """A command, with the cluster's URL."""
        command = [WSPROXY, *words, *(("--cluster", "env:CLUSTER") if cluster else ())]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "CLUSTER": self.url}
        return deferToThread(
            subprocess.run, command, capture_output=True, text=True, timeout=30, input=stdin, env=environment
        )

    async def seen(self, count: int, within: float = 5.0) -> list[dict[str, Any]]:
        """So many, soon."""
        cluster = joinCluster(reactor, self.url)
        try:
            give = time.monotonic() + within
            while True:
                found = await readRoster(cluster)
                if len(found) == count or time.monotonic() > give:
                    self.assertEqual(len(found), count)
                    return found
                await deferLater(reactor, 0.1, lambda: None)
        finally:
            await cluster.redis.stopService()

    async def revoke(self, *words: str, stdin: str = "") -> None:
        outcome = await self.wsproxy("revoke", *words, stdin=stdin)
        self.assertEqual((outcome.returncode, outcome.stdout, outcome.stderr), (0, "", ""))


class RevokingTests(NodesTestCase):
    """C{wsproxy revoke}."""

    async def test_each(self) -> None:
        """By identity, token, jti and session: sessions end on the node that has them; other ones go on."""
        await self.start((), ("--workers", "2"), ())
        links = [self.link(f"user{number}", jti=f"id{number}") for number in range(5)]
        clients = [[await self.session(link, node) for node in range(3)] for link in links]
        await self.revoke("--identity", "user0")
        await self.assertRevoked(clients[0], time.monotonic(), 0.5)
        await self.revoke("--token", "-", stdin=f"{links[1]}\n")
        await self.assertRevoked(clients[1], time.monotonic(), 0.5)
        await self.revoke("--jti", "id2")
        await self.assertRevoked(clients[2], time.monotonic(), 0.5)
        for number in (0, 1, 2):
            self.assertEqual([await self.status(links[number], node) for node in range(3)], [403] * 3)
        for number in (3, 4):
            for client in clients[number]:
                client.send(b"still here\r\n")
                await client.some()
                client.stream.reset()
        again = self.link("user0")
        self.assertEqual([await self.status(again, node) for node in range(3)], [101] * 3)
        self.assertNotIn(links[1], "".join(line for node in self.nodes for line in node.lines))

    async def test_secret(self) -> None:
        """What stands in Redis is no token and no name, and has a lifetime."""
        await self.start(())
        link = self.link("somebody", jti="number-7")
        for words in (("--identity", "somebody"), ("--jti", "number-7", "--for", "90")):
            await self.revoke(*words)
        await self.revoke("--token", "-", stdin=link)
        cli = self.redis.cli
        for key in cli("keys", "*revocations*").split("\n"):
            self.assertTrue(0 < int(cli("ttl", key)) <= 86400, key)
        there = cli("xrange", "wsproxy:main:revocations", "-", "+")
        self.assertEqual(there.count("subject"), 3)
        for word in ("somebody", "number-7", link):
            self.assertNotIn(word, there)

    async def test_signature(self) -> None:
        """A signature that is written in another way makes no other token of one that was revoked."""
        await self.start(())
        link = self.link()
        await self.revoke("--token", "-", stdin=link)
        digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        others = [link[:-1] + digits[digits.index(link[-1]) ^ bits] for bits in (1, 2, 3)]
        self.assertEqual([await self.status(each) for each in (link, *others)], [403] * 4)

    async def test_latecomer(self) -> None:
        """A node, or a worker, that starts later knows of what was revoked before it has clients."""
        await self.revoke("--jti", "old")
        await self.start((), ("--workers", "2"))
        link = self.link(jti="old")
        self.assertEqual([await self.status(link, node) for node in (0, 1, 1, 1)], [403] * 4)

    async def test_away(self) -> None:
        """While Redis is away nothing is confirmed, in one line, and nothing is revoked in secret."""
        await self.start(())
        client = await self.session(self.link("somebody"))
        self.redis.stop()
        outcome = await self.wsproxy("revoke", "--identity", "somebody")
        self.assertEqual((outcome.returncode, outcome.stdout), (1, ""))
        self.assertRegex(outcome.stderr, r"^wsproxy: --cluster: redis://127\.0\.0\.1:\d+/0 is away\n$")
        client.send(b"still here\r\n")
        await client.some()

    async def test_admin(self) -> None:
        """Through a node's admin side it is the same; while Redis is away it acts on that node alone, and says so."""
        admin = f"unix:{self.folder}/admin"
        for more in ((), ("--workers", "2")):
            await self.start(("--admin", admin, *more), ())
            here, there, *rest = [await self.session(self.link("somebody"), node) for node in (-2, -1, -2, -1)]
            mine = ("--admin", admin)
            await self.seen(4)
            listed = await self.wsproxy("nodes", "--json", *mine, cluster=False)
            outcome = await self.wsproxy("revoke", "--session", "0" * 32, *mine, cluster=False)
            self.assertEqual((outcome.returncode, outcome.stderr), (1, "wsproxy: No node has this session\n"))
            port = rest[1].stream.port
            [id] = [it["id"] for it in json.loads(listed.stdout)["sessions"] if it["client"].endswith(f":{port}")]
            outcome = await self.wsproxy("revoke", "--session", id[:9].upper(), *mine, cluster=False)
            self.assertEqual((outcome.returncode, outcome.stderr), (0, ""))
            await self.assertRevoked(rest[1:], time.monotonic(), 0.5)
            self.redis.stop()
            outcome = await self.wsproxy("revoke", "--identity", "somebody", *mine, cluster=False)
            self.assertEqual((outcome.returncode, outcome.stdout), (1, ""))
            self.assertRegex(outcome.stderr, r"^wsproxy: .*On this node alone, and to be said again: .* is away\n$")
            await self.assertRevoked((here, rest[0]), time.monotonic(), 0.5)
            there.send(b"still here\r\n")
            await there.some()
            self.redis.start()
            for node in self.nodes[-2:]:
                await node.said("is back")  # or what had been theirs would be listed in the next round
            await gatherResults([Deferred.fromCoroutine(ended(node)) for node in self.nodes])

    async def test_words(self) -> None:
        """Wrong words are one line, without a secret in it."""
        for words, status, complaint in (
            ((), 2, "one of the arguments"),
            (("--token", "geheim"), 2, "--token: expected @FILE"),
            (("--jti", "x", "--identity", "y"), 2, "not allowed with"),
            (("--jti", "x", "--for", "-1"), 1, "--for: expected 1 to"),
            (("--identity", ""), 1, "revoke: expected one of identity"),
        ):
            outcome = await self.wsproxy("revoke", *words)
            self.assertEqual((outcome.returncode, outcome.stdout), (status, ""), words)
            self.assertIn(complaint, outcome.stderr)
            self.assertEqual(outcome.stderr.count("\n"), 1)
            self.assertNotIn("geheim", outcome.stderr)


class RoutesTests(NodesTestCase):
    """Ways in that differ in where tokens are."""

    async def test_routes(self) -> None:
        """Each knows its own tokens: what is revoked ends there, and is refused there."""
        config = self.folder / "wsproxy.toml"
        key = self.folder / "link.key"
        config.write_text(
            f"""
[[route]]
path = "/query/"
link-key = "@{key}"
[[route]]
path = "/path/"
link-key = "@{key}"
token-path = "/path/{{token}}"
"""
        )
        proxy = Proxy(self.folder / "node", "--config", str(config), "--cluster", self.url)
        self.addCleanup(proxy.stop)
        self.ports = [await proxy.port()]
        links = [self.link() for _ in range(3)]
        paths = [f"/query/?token={links[0]}", f"/path/{links[1]}", f"/path/{links[2]}"]
        clients = []
        for path in paths:
            clients.append(Client(connect(self.ports[0])))
            self.addCleanup(clients[-1].stream.reset)
            self.assertEqual((await clients[-1].upgrade(path)).status, 101, path)
        for number in (0, 1):
            await self.revoke("--token", "-", stdin=links[number])
            await self.assertRevoked(clients[number : number + 1], time.monotonic(), 0.5)
        for path, status in zip(paths, (403, 403, 101), strict=True):
            client = Client(connect(self.ports[0]))
            self.addCleanup(client.stream.reset)
            self.assertEqual((await client.upgrade(path)).status, status, path)


class RosterTests(NodesTestCase):
    """The sessions of all nodes."""

    timeout = 90

    async def test_seen(self) -> None:
        """Any node's sessions are seen from outside, and ended by their id; Redis has no word of what they are."""
        await self.start((), ("--workers", "2"), ())
        links = [self.link(f"user{node}") for node in range(3)]
        clients = [await self.session(link, node) for node, link in enumerate(links)]
        found = await self.seen(3)
        self.assertEqual([session["identity"] for session in found], ["user0", "user1", "user2"])
        self.assertEqual({session["target"] for session in found}, {"demo:"})
        self.assertEqual([session["worker"] is None for session in found], [True, False, True])
        names = {session["node"] for session in found}  # of one machine, which does not make them one
        self.assertEqual((len(names), {name.rpartition(":")[0] for name in names}), (3, {socket.gethostname()}))
        cli = self.redis.cli
        for key in cli("keys", "wsproxy:main:node*").split("\n"):
            self.assertTrue(0 < int(cli("pttl", key)) <= 1000 * LIFETIME, key)
            stored = cli("zrange", key, "0", "-1") if key.endswith("nodes") else cli("hgetall", key)
            for word in ("user", "demo", "127.0.0.1", links[0]):
                self.assertNotIn(word, stored)
        outcome = await self.wsproxy("revoke", "--session", "0" * 32)
        self.assertEqual((outcome.returncode, outcome.stdout), (1, ""))
        self.assertIn(": no node has this session", outcome.stderr)
        await self.revoke("--session", found[1]["id"][:8].upper())
        await self.assertRevoked(clients[1:2], time.monotonic(), 0.5)
        await self.seen(2)
        await self.nodes[2].stop()
        self.assertEqual((await self.seen(1, 1.0))[0]["identity"], "user0")
        outcome = await self.wsproxy("nodes")
        self.assertRegex(outcome.stdout, rf"(?s)^ID .*\n{found[0]['id'][:8]}  127\.0\.0\.1:\d+ +user0 +demo: ")
        outcome = await self.wsproxy("revoke", "--session", found[1]["id"][:8])
        self.assertEqual(outcome.returncode, 1)
        self.assertIn("no session that begins so", outcome.stderr)

    async def test_lost(self) -> None:
        """A Redis that has lost everything is told again; a worker that dies takes its sessions along."""
        await self.start((), ("--workers", "2"))
        clients = [await self.session(self.link(), node) for node in range(2)]
        found = await self.seen(2)
        self.redis.stop()
        clients[0].stream.reset()
        await self.session(self.link(), 0)
        shutil.rmtree(self.folder / "redis" / "appendonlydir")
        self.redis.start()
        again = await self.seen(2, 8.0)
        self.assertEqual(len({session["id"] for session in (*found, *again)}), 3)
        (pid,) = [match[2] for match in await self.nodes[1].said("worker ([12]) started as process ([0-9]+)", 2)
                  if int(match[1]) == again[0]["worker"] or int(match[1]) == again[1]["worker"]]  # fmt: skip
        os.kill(int(pid), signal.SIGKILL)
        await self.seen(1)


class RequiredTests(NodesTestCase):
    """Who comes in while Redis is away."""

    async def until(self, status: int, token: str, node: int) -> None:
        give = time.monotonic() + 5
        while await self.status(token, node) != status:
            self.assertLess(time.monotonic(), give)
            await deferLater(reactor, 0.05, lambda: None)

    async def test_required(self) -> None:
        """With C{--cluster-required} nobody does, with workers or without; sessions live on; then all is as before."""
        more = ("--cluster-required", "--max-sessions", "50")
        await self.start(more, (*more, "--workers", "2"), ("--max-sessions", "50"))
        link = self.link()
        clients = [await self.session(link, node) for node in range(3)]
        self.redis.stop()
        for node in (0, 1):
            await self.until(503, link, node)
            self.assertEqual([await self.status(link, node) for _ in range(4)], [503] * 4)
        self.assertEqual(await self.status(link, 2), 101)
        self.redis.start()
        for node in range(3):
            await self.until(101, link, node)
        for client in clients:
            client.send(b"still here\r\n")
            await client.some()

    async def test_neverThere(self) -> None:
        """So it is where Redis was away from the start, and at once."""
        self.redis.stop()
        await self.start((), ("--cluster-required",), ("--cluster-required", "--workers", "2"))
        link = self.link()
        began = time.monotonic()
        self.assertEqual([await self.status(link, node) for node in range(3)], [101, 503, 503])
        self.assertLess(time.monotonic() - began, 3)


class LossTests(NodesTestCase):
    """Redis is killed and comes back; in the long form (WSPROXY_SOAK=long) with a thousand sessions."""

    timeout = 300 if LONG else 60

    def revocations(self) -> Revocations:
        """Somebody who is no node, with a connection of his own."""
        cluster = joinCluster(reactor, self.url, LOOK)
        self.addCleanup(cluster.redis.stopService)
        return makeRevocations(cluster)

    async def confirmed(self, revocations: Revocations, kind: str, name: str) -> None:
        """Say it until Redis has it."""
        while True:
            try:
                await revocations.revoke(kind, name)
                return
            except RedisError:
                await deferLater(reactor, 0.02, lambda: None)

    async def test_restart(self) -> None:
        """
        No revocation is missed: neither one that was confirmed as Redis died, nor those that were written before the
        nodes had found it again. All of them hold within a second of its return.
        """
        await self.start((), ("--workers", "2"), ())
        kinds = ("identity", "token", "jti")
        names: list[tuple[str, str]] = []
        clients: list[Client] = []
        links: list[str] = []
        for number in range(SESSIONS):
            links.append(self.link(f"user{number}", jti=f"id{number}"))
            clients.append(await self.session(links[-1], number % 3))
            kind = kinds[number // 3 % 3]
            names.append((kind, {"identity": f"user{number}", "token": links[-1], "jti": f"id{number}"}[kind]))
        revocations = self.revocations()
        before, during, missed, after = (range(start, SESSIONS - 5, 5) for start in range(4))  # every fifth stays

        for number in before:
            await revocations.revoke(*names[number])
        await self.assertRevoked([clients[number] for number in before], time.monotonic())
        said = [Deferred.fromCoroutine(self.confirmed(revocations, *names[number])) for number in during]
        await said[0]  # and others may be on their way
        self.redis.stop()
        await deferLater(reactor, 1.5, lambda: None)  # nodes look for it as rarely as they ever do
        self.redis.start()
        back = time.monotonic()
        quicker = self.revocations()  # a connection that need not be found again
        await gatherResults([quicker.revoke(*names[number]) for number in missed])
        await gatherResults(said)
        await self.assertRevoked([clients[number] for number in (*during, *missed)], back)
        print(f"{self.slowest:.2f} s after the return of Redis", end=" ")
        for number in after:
            await revocations.revoke(*names[number])
        await self.assertRevoked([clients[number] for number in after], time.monotonic())

        for number in (*before, *during, *missed, *after)[:: SESSIONS // 20]:
            self.assertEqual(await self.status(links[number], (number + 1) % 3), 403)
        for client in clients[4::5]:
            client.send(b"still here\r\n")
            await client.some()

    async def test_deaf(self) -> None:
        """One that is stopped is left after two seconds; what is written as it goes on is heard within one."""
        await self.start((), ("--workers", "2"))
        clients = [await self.session(self.link("somebody"), node) for node in range(2)]
        self.redis.freeze()
        await deferLater(reactor, 3.5, lambda: None)
        self.redis.thaw()
        back = time.monotonic()
        self.redis.cli("ping")
        await self.confirmed(self.revocations(), "identity", "somebody")
        await self.assertRevoked(clients, back)

    async def test_forgetful(self) -> None:
        """A Redis that has lost everything, and whose clock is behind, is read from its beginning."""
        await self.start(())
        client, other = [await self.session(self.link(jti=jti)) for jti in ("one", "two")]
        ahead = ("9999999999999-0", "kind", "jti", "subject", self.hidden("two"), "until", "9999999999999")
        self.redis.cli("xadd", "wsproxy:main:revocations", *ahead)
        await self.assertRevoked([other], time.monotonic())
        self.redis.stop()
        shutil.rmtree(self.folder / "redis" / "appendonlydir")
        self.redis.start()
        back = time.monotonic()
        await self.confirmed(self.revocations(), "jti", "one")
        await self.assertRevoked([client], back)

    async def test_nonsense(self) -> None:
        """What nobody understands is passed over with a line; so is a log that is none, until there is one."""
        await self.start(())
        client = await self.session(self.link(jti="one"))
        stream = "wsproxy:main:revocations"
        self.redis.cli("xadd", stream, "*", "kind", "other", "subject", "x", "until", "1")
        await self.nodes[0].said("1 revocations are not understood")
        self.redis.cli("set", stream, "nonsense")
        await self.nodes[0].said("Revocations cannot be read: ")
        self.redis.cli("del", stream)
        await self.confirmed(self.revocations(), "jti", "one")
        await self.assertRevoked([client], time.monotonic())

    def hidden(self, jti: str) -> str:
        return Subjects(hiding(self.url)).hidden("jti", jti)
