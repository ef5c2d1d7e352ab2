"""C{--log-format json} and C{--log-level}, as programs read them, of one process and of several."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.integration.client import Client
from tests.integration.proxy import Proxy
from tests.integration.test_life import LifeTestCase
from tests.process.programs import until


class JSONLogTests(LifeTestCase):
    timeout = 60
    workers: tuple[str, ...] = ()

    async def logged(self, *arguments: str) -> Proxy:
        proxy = Proxy(
            Path(tempfile.mkdtemp(dir=".")).absolute(), "--target", "demo:", "--log-format", "json", *arguments,
            *self.workers,
        )  # fmt: skip
        self.addCleanup(proxy.stop)
        self.port = int((await proxy.said(r"starting on (\d+)"))[0][1])
        await proxy.said("is up" if self.workers else "Room for", len(self.workers) or 1)
        return proxy

    def records(self, proxy: Proxy) -> list[dict[str, Any]]:
        return [json.loads(line) for line in proxy.lines]

    async def test_session(self) -> None:
        """A session's lines have all that the text has, by name, and numbers that are numbers."""
        proxy = await self.logged()
        client = Client(self.connect())
        agent = "a\u202e\x1b[2J" + "g" * 500
        headers = [f"User-Agent: {agent.encode().decode('latin-1')}"]
        self.assertEqual((await client.upgrade("/some%0Apath", offer=["binary"], headers=headers)).status, 101)
        await client.leave()
        await until(lambda: any("code" in record for record in self.records(proxy)))
        opened, *_, closed = [record for record in self.records(proxy) if "id" in record]
        self.assertEqual(opened["client"], f"127.0.0.1:{client.stream.port}")
        self.assertEqual((opened["target"], opened["path"], opened["subprotocol"]), ("demo:", "/some%0Apath", "binary"))
        self.assertEqual((opened["identity"], opened["level"]), (None, "info"))
        self.assertTrue(opened["user_agent"].startswith("a"))
        self.assertEqual(len(opened["user_agent"]), 200)
        self.assertEqual(closed["id"], opened["id"])
        self.assertEqual((closed["code"], closed["up"], closed["by"]), (1000, 0, "client"))
        self.assertIsInstance(closed["seconds"], float)
        self.assertEqual("worker" in opened, bool(self.workers))
        if self.workers:
            self.assertIn(opened["worker"], (1, 2))
        for line in proxy.lines:
            self.assertTrue(line.isascii() and line.isprintable())

    async def test_refusal(self) -> None:
        """A refusal has its status and reason by themselves."""
        proxy = await self.logged()
        response = await Client(self.connect()).upgrade(headers=["Origin: http://elsewhere.example"])
        self.assertEqual(response.status, 403)
        await until(lambda: any("status" in record for record in self.records(proxy)))
        [refused] = [record for record in self.records(proxy) if "status" in record]
        self.assertEqual((refused["status"], refused["reason"]), (403, "Origin not allowed"))

    async def test_level(self) -> None:
        """C{--log-level warn} leaves out what is less."""
        proxy = Proxy(
            Path(tempfile.mkdtemp(dir=".")).absolute(), "--target", "demo:", "--log-level", "warn",
            "--health", "unix:health", *self.workers,
        )  # fmt: skip
        self.addCleanup(proxy.stop)
        await until((proxy.folder / "health").exists)
        await proxy.stop()
        self.assertEqual([line for line in proxy.lines if "#info" in line], [])


class WorkersJSONLogTests(JSONLogTests):
    """Workers write to stdout by themselves."""

    workers = ("--workers", "2")
