"""The admin side of a proxy that runs: what it tells, and what it does, for one process and for several."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from tests.certificates import LOCAL, pem
from tests.components import requireComponent
from tests.integration.bridge import BridgeTestCase, authority
from tests.integration.client import Client
from tests.integration.operator import Answer, ask
from tests.integration.proxy import Proxy, descriptors
from tests.integration.test_life import LifeTestCase
from tests.integration.twistd import ROOT, start, startTwistd
from tests.process.programs import until

TOKEN = "a token of an operator's"[:16].replace(" ", "-")
WSPROXY = str(Path(sys.executable).with_name("wsproxy"))
READ_TOKEN = "one-for-prometheus-alone"


class AdminTestCase(LifeTestCase):
    """Proxies with an admin side on a socket file."""

    timeout = 120

    async def administered(self, *arguments: str, leads: tuple[str, ...] = ("--target", "demo:")) -> Proxy:
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        self.where: str | int = os.path.relpath(folder / "admin")  # a socket's path has 107 bytes
        proxy = Proxy(folder, *leads, "--admin", "unix:admin", *arguments)
        self.addCleanup(proxy.stop)
        [listening] = await proxy.said(r"Listening on 127\.0\.0\.1:(\d+)")
        self.port = int(listening[1])
        return proxy

    async def ask(self, method: str, path: str, **headers: str) -> Answer:
        answer: Answer = await ask(self.where, method, path, **headers)
        return answer

    async def get(self, path: str, **headers: str) -> Any:
        """What is answered 200."""
        answer = await self.ask("GET", path, **headers)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.body

    def assertDescribed(self, schema: str, answer: dict[str, Any]) -> None:
        """An answer has what docs/admin/openapi.json says."""
        described = json.loads((ROOT / "docs/admin/openapi.json").read_text())["components"]["schemas"][schema]
        self.assertEqual(set(answer), set(described["properties"]))

    async def listed(self, query: str = "") -> list[dict[str, Any]]:
        sessions: list[dict[str, Any]] = (await self.get(f"/sessions{query}"))["sessions"]
        return sessions

    async def metric(self, name: str) -> float:
        """The value of a metric, with its labels as they are written; 0 of what has not been counted yet."""
        text = (await self.get("/metrics")).decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return 0.0 if found is None else float(found[1])

    async def closed(self, client: Client) -> tuple[int | None, str]:
        return (await client.rest())[1]


class Contract(AdminTestCase):
    """Whatever serves: a test case mixes this in."""

    workers: tuple[str, ...] = ()
    worker: int | None = None

    async def administered(self, *arguments: str, leads: tuple[str, ...] = ("--target", "demo:")) -> Proxy:
        return await super().administered(*self.workers, *arguments, leads=leads)

    async def up(self, proxy: Proxy) -> None:
        """Whoever serves does."""

    async def test_sessions(self) -> None:
        """A session is listed with who it is, where it leads and what it has carried, and it is found by its id."""
        proxy = await self.administered()
        await self.up(proxy)
        client = await self.session()
        await self.assertAlive(client, b"hello")
        [session] = await self.listed()
        self.assertEqual(session["client"], f"127.0.0.1:{client.stream.port}")
        self.assertEqual((session["target"], session["identity"]), ("demo:", None))
        self.assertEqual(session["bytes_up"], len(b"hello\n"))
        self.assertGreater(session["bytes_down"], len(b"hello\n"))
        self.assertEqual((session["queued_up"], session["queued_down"]), (0, 0))
        self.assertEqual(session["worker"] is None, not self.workers)
        self.assertTrue(0 <= session["age"] < 60 and abs(session["started"] - time.time()) < 60)
        self.assertDescribed("Session", session)
        self.assertDescribed("Status", await self.get("/status"))
        self.assertDescribed("History", await self.get("/history"))
        one = await self.get(f"/sessions/{session['id']}")
        moving = {name: one[name] for name in ("age", "rate_up", "rate_down")}
        self.assertEqual(one, {**session, **moving})
        self.assertEqual((await self.ask("GET", "/sessions/" + "0" * 32)).status, 404)

    async def test_closeSome(self) -> None:
        """DELETE with a filter closes those that it is about, of whichever process; without one it closes nobody."""
        await self.up(await self.administered())
        clients = [await self.session() for _ in range(4)]
        self.assertEqual((await self.ask("DELETE", "/sessions")).status, 400)
        self.assertEqual((await self.ask("DELETE", "/sessions?client=192.0.2.0/24")).body["closed"], 0)
        for query in ("identity=&client=127.0.0.1", "client=127.0.0.1&token"):
            self.assertEqual((await self.ask("DELETE", f"/sessions?{query}")).status, 400)
        answer = await self.ask("DELETE", "/sessions?client=127.0.0.0/8&target=demo:")
        self.assertEqual(answer.body["closed"], 4)
        for client in clients:
            self.assertEqual(await self.closed(client), (4001, "Closed by an operator"))

    async def test_token(self) -> None:
        """Sessions are closed by their token, which is in no answer and in no log."""
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        (folder / "tokens").write_text("secret-one: demo:\nsecret-two: demo:\n")
        proxy = await self.administered(leads=("--target-config", str(folder / "tokens")))
        await self.up(proxy)
        clients = []
        for token in ("secret-one", "secret-two"):
            client = Client(self.connect())
            self.assertEqual((await client.upgrade(f"/?token={token}")).status, 101)
            clients.append(client)
        await until(lambda: len([line for line in proxy.lines if "→ demo:" in line]) == 2)
        self.assertNotIn("secret", repr(await self.get("/sessions")) + repr(await self.get("/metrics")))
        self.assertEqual(len(await self.listed("?token=secret-two")), 1)
        self.assertEqual((await self.ask("DELETE", "/sessions?token=secret-two")).body["closed"], 1)
        _, (code, _) = await clients[1].rest()
        self.assertEqual(code, 4001)
        clients[1].stream.reset()
        await proxy.said("closed by proxy: 4001")
        self.assertEqual(len(await self.listed()), 1)
        self.assertNotIn("secret", "\n".join(proxy.lines))

    async def test_drain(self) -> None:
        """While it drains, new clients are answered 503 and health says so; ports stay open, and it can be undone."""
        await self.up(await self.administered())
        client = await self.session()
        self.assertEqual((await self.ask("GET", "/readyz")).status, 200)
        self.assertEqual((await self.ask("POST", "/drain?rate=")).status, 400)
        self.assertEqual((await self.ask("POST", "/drain")).status, 200)
        self.assertEqual((await self.ask("GET", "/readyz")).status, 503)
        self.assertEqual((await self.ask("GET", "/healthz")).status, 200)
        self.assertEqual((await Client(self.connect()).upgrade()).status, 503)
        await self.assertAlive(client, b"still here")
        self.assertEqual((await self.ask("DELETE", "/drain")).status, 200)
        self.assertEqual((await self.ask("GET", "/readyz")).status, 200)
        await self.session()

    async def test_metrics(self) -> None:
        """Sessions, bytes, ends and refusals are counted, and promtool finds nothing to say of the text format."""
        promtool = requireComponent("promtool")
        proxy = await self.administered()
        await self.up(proxy)
        client = await self.session()
        await self.assertAlive(client, b"hello")
        self.assertEqual(await self.metric("wsproxy_sessions"), 1)
        elsewhere = await Client(self.connect()).upgrade(headers=["Origin: http://elsewhere.example"])
        self.assertEqual(elsewhere.status, 403)
        self.assertEqual(await self.metric('wsproxy_refusals_total{reason="origin"}'), 1)
        await client.leave()
        await proxy.said("closed by client")
        name = 'wsproxy_closed_sessions_total{close_code="1000",result="completed"}'
        self.assertEqual(await self.metric(name), 1)
        self.assertEqual(await self.metric('wsproxy_bytes_total{direction="up"}'), 6)
        self.assertEqual(await self.metric("wsproxy_session_duration_seconds_count"), 1)
        self.assertEqual(await self.metric("wsproxy_target_connect_seconds_count"), 1)
        document = await self.get("/metrics")
        command = [promtool, "check", "metrics"]
        checked = await deferToThread(subprocess.run, command, input=document, capture_output=True)
        self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, b"", b""))
        wanted = await self.ask("GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")
        self.assertIn("openmetrics-text", wanted.headers["content-type"])
        self.assertTrue(wanted.body.endswith(b"# EOF\n"))

    async def test_logLevel(self) -> None:
        """The log's level can be changed at any time, in all processes."""
        proxy = await self.administered()
        await self.up(proxy)
        self.assertEqual((await self.get("/log-level"))["level"], "info")
        self.assertEqual((await self.ask("POST", "/log-level?level=warn")).status, 200)
        self.assertEqual((await self.ask("POST", "/log-level?level=loud")).status, 400)
        (await self.session()).stream.reset()
        self.assertDescribed("LevelSet", (await self.ask("POST", "/log-level?level=info")).body)
        port = (await self.session()).stream.port
        await proxy.said(rf"127\.0\.0\.1:{port} → demo:")
        self.assertEqual(len([line for line in proxy.lines if "→ demo:" in line]), 1, proxy.lines)


class AloneTests(Contract):
    """One process, and what is the same for several."""

    async def test_roundTrip(self) -> None:
        """The round trip of heartbeats is that of the last pong."""
        await self.up(await self.administered("--heartbeat", "0.3"))
        client = await self.session()
        while (await self.listed())[0]["round_trip"] is None:
            await self.assertAlive(client, b"something")  # as a side effect it hears pings, and answers
        self.assertTrue(0 < (await self.listed())[0]["round_trip"] < 20)
        while not await self.metric("wsproxy_heartbeat_round_trip_seconds_count"):
            await self.assertAlive(client, b"something")

    async def test_reload(self) -> None:
        """POST /reload says what was looked at."""
        await self.up(await self.administered())
        answer = await self.ask("POST", "/reload")
        self.assertEqual(answer.status, 200)
        self.assertIn("certificates looked at", answer.body["changed"])

    async def test_reloaded(self) -> None:
        """With other settings all is seen and counted as before, tokens in another place included."""
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        (folder / "tokens").write_text("secret-one: demo:\n")
        (folder / "config").write_text('target-config = "tokens"\n')
        proxy = await self.administered(leads=("--config", str(folder / "config")))
        (folder / "config").write_text('target-config = "tokens"\ntoken-header = "X-Token"\nverbose = true\n')
        answer = await self.ask("POST", "/reload")
        self.assertEqual(answer.status, 200)
        self.assertIn("token-header", answer.body["changed"])
        client = Client(self.connect())
        self.assertEqual((await client.upgrade(headers=["X-Token: secret-one"])).status, 101)
        self.assertEqual(len(await self.listed("?token=secret-one")), 1)
        self.assertEqual((await Client(self.connect()).upgrade()).status, 403)
        self.assertEqual(await self.metric('wsproxy_refusals_total{reason="token"}'), 1)
        (folder / "config").write_text("nonsense = 1\n")
        answer = await self.ask("POST", "/reload")
        self.assertEqual(answer.status, 409)
        self.assertIn("nonsense", answer.body["error"])
        self.assertNotIn("secret-one", "\n".join(proxy.lines))

    async def test_private(self) -> None:
        """The socket file is its owner's alone."""
        await self.administered()
        self.assertEqual(stat.S_IMODE(os.stat(self.where).st_mode), 0o600)

    async def test_page(self) -> None:
        """The page and its parts are there for everybody, and may load nothing from elsewhere."""
        await self.administered("--admin-token", TOKEN)
        for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")):
            answer = await self.ask("GET", path)
            self.assertEqual(answer.status, 200)
            self.assertTrue(answer.headers["content-type"].startswith(kind))
            self.assertTrue(answer.headers["content-security-policy"].startswith("default-src 'none'"))
        self.assertEqual((await self.ask("GET", "/status")).status, 401)

    async def test_close(self) -> None:
        """DELETE closes with 4001 and the reason, one session by its id; nobody else notices."""
        await self.up(await self.administered())
        first, other = await self.session(), await self.session()
        [session] = [each for each in await self.listed() if each["client"].endswith(f":{first.stream.port}")]
        answer = await self.ask("DELETE", f"/sessions/{session['id']}?reason=Maintenance%20at%20noon")
        self.assertEqual((answer.status, answer.body), (200, {"closed": 1}))
        self.assertEqual(await self.closed(first), (4001, "Maintenance at noon"))
        await self.assertAlive(other, b"still here")
        self.assertEqual((await self.ask("DELETE", "/sessions/" + "0" * 32)).status, 404)

    async def test_drainRate(self) -> None:
        """With a rate, sessions are closed so many a second, with 1001."""
        await self.up(await self.administered())
        clients = [await self.session() for _ in range(4)]
        began = time.monotonic()
        await self.ask("POST", "/drain?rate=8")
        for client in clients:
            self.assertEqual(await self.closed(client), (1001, "Draining"))
        self.assertGreater(time.monotonic() - began, 0.2)
        self.assertEqual((await self.ask("POST", "/drain?rate=-1")).status, 400)
        self.assertEqual((await self.ask("POST", "/drain?rate=nan")).status, 400)


class FeltLatencyTests(BridgeTestCase):
    """How long bytes wait, for a client that does not read what its target sends."""

    timeout = 60
    arguments = ("--admin", "unix:admin", "--heartbeat", "0.5")

    async def test_waiting(self) -> None:
        """What is queued for a deaf client is told of its session, and its wait grows; nobody else's does."""
        where = os.path.relpath(self.proxy.folder / "admin")
        deaf, flood = await self.session()
        deaf.stream.transport.pauseProducing()
        flood.write(bytes(8 << 20))

        async def deafOne() -> dict[str, Any]:
            answer = await ask(where, "GET", "/sessions")
            [session] = [each for each in answer.body["sessions"] if each["client"].endswith(f":{deaf.stream.port}")]
            return session  # type: ignore[no-any-return]  # it is one

        while not (await deafOne())["queued_down"]:
            pass
        self.assertEqual((await deafOne())["queued_up"], 0)
        self.assertLess((await deafOne())["queued_down"], 300_000)
        while True:
            text = (await ask(where, "GET", "/metrics")).body.decode()
            found = re.search(r'^wsproxy_waiting_seconds_sum\{direction="down"\} (\S+)$', text, re.MULTILINE)
            if found is not None and float(found[1]) > 2:
                break
        found = re.search(r'^wsproxy_waiting_seconds_sum\{direction="up"\} (\S+)$', text, re.MULTILINE)
        assert found is not None
        self.assertEqual(float(found[1]), 0)
        deaf.stream.reset()


class WorkersTests(Contract):
    """Two workers: one speaks for both."""

    workers = ("--workers", "2")

    async def up(self, proxy: Proxy) -> None:
        await proxy.said(r"worker \d+ is up", 2)

    async def pids(self) -> dict[int, int]:
        """The process ids of the workers, by their numbers."""
        return {each["worker"]: each["pid"] for each in (await self.get("/status"))["workers"]}

    async def spread(self) -> list[Client]:
        """Sessions, until both workers have one."""
        clients = []
        while not clients or {each["worker"] for each in await self.listed()} != {1, 2}:
            clients.append(await self.session())
        return clients

    async def test_stale(self) -> None:
        """A worker that is silent is listed as stale, and not waited for: all is told within 0.1 seconds."""
        proxy = await self.administered()
        await self.up(proxy)
        await self.spread()
        pids = await self.pids()
        count = len(await self.listed())
        before = await self.metric("wsproxy_opened_sessions_total")
        os.kill(pids[1], signal.SIGSTOP)
        try:
            for path in ("/sessions", "/status", "/metrics", "/readyz"):
                began = time.monotonic()
                answer = await self.ask("GET", path)
                self.assertLess(time.monotonic() - began, 0.1 + 0.1)  # what a busy machine adds
                self.assertEqual(answer.status, 200)
                if path in ("/sessions", "/status"):
                    self.assertEqual(answer.body["stale"], [1])
            left = await self.listed()
            self.assertEqual({each["worker"] for each in left}, {2})
            self.assertLess(len(left), count)
            self.assertEqual(await self.metric("wsproxy_opened_sessions_total"), before)
            self.assertEqual(await self.metric('wsproxy_workers{state="stale"}'), 1)
            answer = await self.ask("GET", "/sessions/" + "0" * 32)
            self.assertEqual(answer.status, 503)
            self.assertIn("silent worker: 1", answer.body["error"])
            answer = await self.ask("POST", "/log-level?level=info")
            self.assertEqual(answer.body, {"level": "info", "stale": [1], "absent": []})
            answer = await self.ask("DELETE", "/sessions/" + "0" * 32)
            self.assertEqual(answer.status, 503)
            self.assertIn("which is told all the same", answer.body["error"])
        finally:
            os.kill(pids[1], signal.SIGCONT)
        self.assertEqual(len(await self.listed()), count)

    async def test_kept(self) -> None:
        """What a killed worker has counted stays, and what its successor counts is added to it."""
        proxy = await self.administered()
        await self.up(proxy)
        clients = await self.spread()
        for client in clients:
            await client.leave()
        closed = 'wsproxy_closed_sessions_total{close_code="1000",result="completed"}'
        await until(lambda: len([line for line in proxy.lines if "closed by client" in line]) == len(clients))
        # it says so by itself a quarter of a second later
        while await self.metric(closed) != len(clients):
            pass
        os.kill((await self.pids())[1], signal.SIGKILL)
        await proxy.said("worker 1 ended with status 137")
        self.assertEqual(await self.metric(closed), len(clients))
        await proxy.said("worker 1 is up", 2)
        await (await self.session()).leave()
        while await self.metric(closed) < len(clients) + 1:
            pass
        self.assertEqual(await self.metric(closed), len(clients) + 1)

    async def test_lost(self) -> None:
        """The sessions of a killed worker are lost, and counted as that."""
        proxy = await self.administered()
        await self.up(proxy)
        clients = await self.spread()
        count = len([each for each in await self.listed() if each["worker"] == 1])
        while await self.metric("wsproxy_opened_sessions_total") != len(clients):
            pass
        os.kill((await self.pids())[1], signal.SIGKILL)
        await proxy.said("worker 1 ended with status 137")
        self.assertEqual(await self.metric('wsproxy_closed_sessions_total{close_code="1006",result="lost"}'), count)

    async def test_drainedLater(self) -> None:
        """A worker that starts while all drain takes no sessions either."""
        proxy = await self.administered()
        await self.up(proxy)
        await self.ask("POST", "/drain")
        os.kill((await self.pids())[1], signal.SIGKILL)
        await proxy.said("worker 1 is up", 2)
        for _ in range(6):
            self.assertEqual((await Client(self.connect()).upgrade()).status, 503)
        states = (await self.get("/status"))["workers"]
        self.assertEqual([state["draining"] for state in states], [True, True])


class GuardedTests(AdminTestCase):
    """TCP, with tokens."""

    async def guarded(self, *arguments: str) -> Proxy:
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        (folder / "token").write_text(f"{TOKEN}\n")
        (folder / "read").write_text(f"{READ_TOKEN}\n")
        tokens = ("--admin-token", f"@{folder}/token", "--admin-read-token", f"@{folder}/read")
        proxy = await self.start("--admin", "127.0.0.1:0", *tokens, *arguments)
        self.where = int((await proxy.said(r"Admin at 127\.0\.0\.1:(\d+)"))[0][1])
        return proxy

    async def test_tokens(self) -> None:
        """The operator's token is good for everything, the other one for reading; without one there is nothing."""
        await self.guarded()
        self.assertEqual((await self.ask("GET", "/sessions")).status, 401)
        for token in (TOKEN, READ_TOKEN):
            await self.get("/sessions", Authorization=f"Bearer {token}")
        self.assertEqual((await self.ask("POST", "/drain", Authorization=f"Bearer {READ_TOKEN}")).status, 403)
        self.assertEqual((await self.ask("POST", "/drain", Authorization=f"Bearer {TOKEN}")).status, 200)

    async def test_guesses(self) -> None:
        """Who shows ten wrong tokens is not looked at for a while, and the token is in no log."""
        proxy = await self.guarded()
        for _ in range(10):
            self.assertEqual((await self.ask("GET", "/sessions", Authorization="Bearer no")).status, 401)
        answer = await self.ask("GET", "/sessions", Authorization=f"Bearer {TOKEN}")
        self.assertEqual(answer.status, 429)
        self.assertGreater(int(answer.headers["retry-after"]), 0)
        self.assertNotIn(TOKEN, "\n".join(proxy.lines))

    async def test_pages(self) -> None:
        """Pages of others get nowhere: by a name that is not ours, or with an Origin of theirs."""
        await self.guarded("--admin-host", "proxy.example")
        shown = {"Authorization": f"Bearer {TOKEN}"}
        for host in ("evil.example", "localhost.evil.example", "", "[::1", "proxy.example.evil"):
            self.assertEqual((await self.ask("GET", "/sessions", Host=host, **shown)).status, 403, host)
        for host in ("proxy.example", "PROXY.example.:99", "127.0.0.1:1", "[::1]:9", "localhost:9"):
            self.assertEqual((await self.ask("GET", "/sessions", Host=host, **shown)).status, 200, host)
        for origin in ("http://evil.example", "null", "https://localhost", "http://localhost:9"):
            self.assertEqual((await self.ask("GET", "/sessions", Origin=origin, **shown)).status, 403, origin)
        self.assertEqual((await self.ask("GET", "/sessions", Origin="http://localhost", **shown)).status, 200)

    async def test_health(self) -> None:
        """Health, and no more, may be asked by anybody where that was wanted, by whatever name."""
        proxy = await self.guarded("--health", "127.0.0.1:0")
        self.where = int((await proxy.said(r"Health at 127\.0\.0\.1:(\d+)"))[0][1])
        for path in ("/healthz", "/readyz"):
            self.assertEqual((await self.ask("GET", path, Host="anything")).status, 200)
        for path in ("/", "/sessions", "/metrics"):
            self.assertEqual((await self.ask("GET", path)).status, 404)

    async def test_flood(self) -> None:
        """Those who come to --health without end, and never ask, take none of the descriptors that sessions have."""
        proxy = await self.guarded("--health", "127.0.0.1:0")
        port = int((await proxy.said(r"Health at 127\.0\.0\.1:(\d+)"))[0][1])
        self.port = int((await proxy.said(r"Listening on 127\.0\.0\.1:(\d+)"))[0][1])
        client = await self.session()
        before = descriptors(proxy.pid)
        flood = []
        for _ in range(200):
            flood.append(socket.create_connection(("127.0.0.1", port), 20))
            flood[-1].sendall(b"GET /healthz HT")
        self.addCleanup(lambda: [each.close() for each in flood])
        for where in (port, self.where):
            self.assertIn((await ask(where, "GET", "/healthz")).status, (200, 401))
        self.assertLessEqual(descriptors(proxy.pid), before + 20)
        await self.assertAlive(client, b"still here")

    async def test_tls(self) -> None:
        """Beyond loopback it speaks the TLS of C{--cert}, and nothing else; C{wsproxy} asks there as a browser does."""
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        (folder / "cert.pem").write_bytes(authority().issue(*LOCAL).both)
        (folder / "authority.pem").write_bytes(pem(authority().certificate))
        proxy = await self.start("--cert", str(folder / "cert.pem"), "--admin", "0.0.0.0:0", "--admin-token", TOKEN)
        port = (await proxy.said(r"Admin at 0\.0\.0\.0:(\d+)"))[0][1]
        command = [WSPROXY, "sessions", "--json", "--admin", f"https://localhost:{port}"]
        command += ["--admin-token", "env:TOKEN", "--admin-cafile", str(folder / "authority.pem")]
        outcome = await start(self, command, TOKEN=TOKEN).end()
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        self.assertEqual(json.loads(outcome.out)["sessions"], [])
        plain = await start(self, [*command[:4], f"http://localhost:{port}", *command[5:]], TOKEN=TOKEN).end()
        self.assertEqual(plain.status, 1)

    async def test_starts(self) -> None:
        """An admin side that would be open, or cannot be, is no start: one line says why."""
        token = ("--admin-token", TOKEN)
        for arguments, why in (
            (("--admin", "127.0.0.1:0"), "--admin 127.0.0.1:0: TCP needs --admin-token @FILE"),
            (("--admin", "0.0.0.0:0", *token), "--admin 0.0.0.0:0: beyond loopback it needs TLS: --cert, or an ssl: "),
            (("--admin", "unix:/nowhere/at/all"), "--admin unix:/nowhere/at/all:mode=600: no such file or directory"),
            (("--admin-token", TOKEN), "--admin-token: needs --admin"),
            (("--admin", "127.0.0.1:0", *token, "--admin-read-token", TOKEN), "--admin-read-token: the same as --adm"),
            (("--admin", "127.0.0.1:0", "--admin-token", "short"), "--admin-token: expected 16 characters"),
        ):
            outcome = await startTwistd(self, "--listen", "127.0.0.1:0", "--target", "demo:", *arguments).end()
            self.assertEqual(outcome.status, 1)
            self.assertIn(f"{why}", outcome.err)
            self.assertNotIn("Traceback", outcome.err)

    async def test_leavesNothing(self) -> None:
        """A start that fails at another place leaves no socket file of its admin side."""
        folder = Path(tempfile.mkdtemp())  # a socket's path has 107 bytes
        self.addCleanup(shutil.rmtree, folder)
        await self.start("--listen", "127.0.0.1:0")
        taken, admin = f"127.0.0.1:{self.port}", ("--admin", f"unix:{folder}/admin", "--target", "demo:")
        for words in (("--listen", taken), ("--listen", taken, "--workers", "1"), ("--health", taken, "--listen", "0")):
            outcome = await startTwistd(self, *words, *admin).end()
            self.assertEqual(outcome.status, 1)
            self.assertIn(f"{taken}: address already in use", outcome.err)
            self.assertEqual([*folder.iterdir()], [])


del Contract  # it is no test by itself
